// Decoding tables of one deflate block (RFC 1951, 3.2).
//
// An entry is one 32-bit word, found by the next main bits of the stream, or by the bits after them in a subtable:
//   bits 0–7    bits to consume: the code, for lengths and distances with their extra bits; two codes for a pair of literals
//   bits 8–11   length of the code alone, by which extra bits are found
//   bits 12–15  what it is (the constants below)
//   bits 16–31  literal bytes (first one low), base of the length or distance, or where the subtable begins
// A code of one or two literals, the usual case, is thus decoded by one load, one store and one shift.
#pragma once

#include <cstdint>

#include "bits.h"

namespace tc::inflate {

constexpr uint32_t LITERAL = 1u << 15;
constexpr uint32_t PAIR = 1u << 14;        // with LITERAL: two bytes
constexpr uint32_t SPECIAL = 1u << 13;     // neither literal nor plain length: the two below, or the end of the block when neither
constexpr uint32_t SUBTABLE = 1u << 14;    // with SPECIAL: bits 8–11 hold the number of index bits
constexpr uint32_t INVALID = 1u << 12;     // with SPECIAL: no symbol has this code

constexpr unsigned SYMBOL_BITS = 11;
constexpr unsigned DISTANCE_BITS = 8;
// A subtable of 2^k entries holds at least k+1 codes of a complete code, so 288 symbols with 4 bits beyond the main table need at most
// 288 / 5 · 16 entries, and 30 distances with 7 bits beyond at most 30 / 8 · 128.
constexpr unsigned SYMBOL_ENTRIES = (1u << SYMBOL_BITS) + 928;
constexpr unsigned DISTANCE_ENTRIES = (1u << DISTANCE_BITS) + 512;

struct Tables {
  uint32_t symbols[SYMBOL_ENTRIES];
  uint32_t distances[DISTANCE_ENTRIES];
};

// The fixed code of block type 1, built once.
const Tables& fixed_tables();

// Reads the code lengths of block type 2 and builds its tables. Returns what is wrong with them, or nullptr.
const char* read_dynamic(BitReader& in, Tables& tables);

}  // namespace tc::inflate
