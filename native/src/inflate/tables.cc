#include "tables.h"

#include <algorithm>
#include <array>

namespace tc::inflate {
namespace {

constexpr unsigned CODE_BITS_MAX = 15;
constexpr unsigned SYMBOLS = 288;
constexpr unsigned END_OF_BLOCK = 256;

constexpr std::array<uint16_t, 29> LENGTH_BASE = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                                  31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::array<uint8_t, 29> LENGTH_EXTRA = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr std::array<uint16_t, 30> DISTANCE_BASE = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                                    193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr std::array<uint8_t, 30> DISTANCE_EXTRA = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

enum class Alphabet { Symbols, Distances, Lengths };

// What a symbol's entry says apart from the length of its code.
uint32_t meaning(Alphabet alphabet, unsigned symbol) {
  if (alphabet == Alphabet::Lengths) return symbol << 16;
  if (alphabet == Alphabet::Distances) {
    return symbol < 30 ? static_cast<uint32_t>(DISTANCE_BASE[symbol]) << 16 | DISTANCE_EXTRA[symbol] : SPECIAL | INVALID;
  }
  if (symbol < END_OF_BLOCK) return LITERAL | symbol << 16;
  if (symbol == END_OF_BLOCK) return SPECIAL;
  const unsigned length = symbol - END_OF_BLOCK - 1;
  return length < 29 ? static_cast<uint32_t>(LENGTH_BASE[length]) << 16 | LENGTH_EXTRA[length] : SPECIAL | INVALID;
}

unsigned reversed(unsigned code, unsigned bits) {
  unsigned result = 0;
  for (unsigned k = 0; k < bits; k++) result |= (code >> k & 1) << (bits - 1 - k);
  return result;
}

// Builds the table of a canonical code. False when the lengths do not make one: more codes than fit, or bit patterns without a code. Two
// exceptions, as every decoder has them: a single code of one bit, and (distances only) no code at all; the patterns without a code are INVALID.
bool build(uint32_t* table, unsigned main_bits, unsigned capacity, const uint8_t* lengths, unsigned count, Alphabet alphabet) {
  unsigned of_length[CODE_BITS_MAX + 1] = {};
  for (unsigned symbol = 0; symbol < count; symbol++) of_length[lengths[symbol]]++;
  of_length[0] = 0;
  int left = 1;
  unsigned used = 0, longest = 0;
  unsigned start[CODE_BITS_MAX + 2] = {};
  for (unsigned length = 1; length <= CODE_BITS_MAX; length++) {
    left = left * 2 - static_cast<int>(of_length[length]);
    if (left < 0) return false;
    start[length + 1] = start[length] + of_length[length];
    used += of_length[length];
    if (of_length[length] != 0) longest = length;
  }
  const unsigned main_size = 1u << main_bits;
  if (left > 0) {
    if (alphabet == Alphabet::Lengths || longest > 1) return false;
    std::fill_n(table, main_size, SPECIAL | INVALID);
    if (used == 0) return true;
  }

  uint16_t sorted[SYMBOLS];
  for (unsigned symbol = 0; symbol < count; symbol++) {
    if (lengths[symbol] != 0) sorted[start[lengths[symbol]]++] = static_cast<uint16_t>(symbol);
  }

  // Codes in canonical order; `code` is kept with its first bit highest and turned round for the index.
  unsigned code = 0, free = main_size, length_before = 0;
  unsigned sub_start = 0, sub_bits = 0, sub_prefix = ~0u;
  for (unsigned k = 0; k < used; k++) {
    const unsigned symbol = sorted[k], length = lengths[symbol];
    code <<= length - length_before;
    length_before = length;
    const uint32_t what = meaning(alphabet, symbol);
    const uint32_t entry = (what & SPECIAL) != 0 ? what | length : what + (length << 8 | length);
    const unsigned index = reversed(code, length);
    if (length <= main_bits) {
      for (unsigned at = index; at < main_size; at += 1u << length) table[at] = entry;
    } else {
      const unsigned prefix = index & (main_size - 1);
      if (prefix != sub_prefix) {
        // The last code of this prefix is the longest. A complete code fills the subtable exactly.
        unsigned deepest = length, next_code = code, next_length = length;
        for (unsigned other = k + 1; other < used; other++) {
          const unsigned other_length = lengths[sorted[other]];
          next_code = (next_code + 1) << (other_length - next_length);
          next_length = other_length;
          if (next_code >> (other_length - main_bits) != code >> (length - main_bits)) break;
          deepest = other_length;
        }
        sub_prefix = prefix;
        sub_bits = deepest - main_bits;
        sub_start = free;
        free += 1u << sub_bits;
        if (free > capacity) return false;
        table[prefix] = SPECIAL | SUBTABLE | sub_start << 16 | sub_bits << 8;
      }
      for (unsigned at = index >> main_bits; at < 1u << sub_bits; at += 1u << (length - main_bits)) table[sub_start + at] = entry;
    }
    code++;
  }
  return true;
}

// Puts two literals into one entry where both codes lie within the main bits. Worth its 2,048 steps only for a block with short literal
// codes: `share` is the expected share of literals of at most 5 bits, in units of 1/32.
void pair_literals(uint32_t* table, const uint8_t* lengths) {
  unsigned share = 0;
  for (unsigned symbol = 0; symbol < END_OF_BLOCK; symbol++) {
    if (lengths[symbol] != 0 && lengths[symbol] <= 5) share += 32u >> lengths[symbol];
  }
  if (share < 8) return;
  // Downwards, so that the second literal is looked up in an entry that is not paired yet.
  for (unsigned at = 1u << SYMBOL_BITS; at-- > 0;) {
    const uint32_t first = table[at];
    if ((first & LITERAL) == 0) continue;
    const unsigned bits = first & 0xff;
    const uint32_t second = table[at >> bits];
    if ((second & LITERAL) == 0 || bits + (second & 0xff) > SYMBOL_BITS) continue;
    table[at] = LITERAL | PAIR | (bits + (second & 0xff)) | (first & 0xff0000) | (second & 0xff0000) << 8;
  }
}

void build_fixed(Tables& tables) {
  uint8_t lengths[SYMBOLS];
  std::fill_n(lengths, 144, 8);
  std::fill_n(lengths + 144, 112, 9);
  std::fill_n(lengths + 256, 24, 7);
  std::fill_n(lengths + 280, 8, 8);
  build(tables.symbols, SYMBOL_BITS, SYMBOL_ENTRIES, lengths, SYMBOLS, Alphabet::Symbols);
  std::fill_n(lengths, 32, 5);
  build(tables.distances, DISTANCE_BITS, DISTANCE_ENTRIES, lengths, 32, Alphabet::Distances);
}

}  // namespace

const Tables& fixed_tables() {
  static const Tables fixed = [] {
    Tables tables;
    build_fixed(tables);
    return tables;
  }();
  return fixed;
}

const char* read_dynamic(BitReader& in, Tables& tables) {
  static constexpr uint8_t ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  in.refill();
  const unsigned symbols = in.take(5) + 257, distances = in.take(5) + 1, codes = in.take(4) + 4;
  if (symbols > 286 || distances > 30) return "too many symbols in a block";

  uint8_t code_lengths[19] = {};
  for (unsigned k = 0; k < codes; k++) {
    if (in.count < 3) in.refill();
    code_lengths[ORDER[k]] = static_cast<uint8_t>(in.take(3));
  }
  uint32_t table[1 << 7];
  if (!build(table, 7, 1 << 7, code_lengths, 19, Alphabet::Lengths)) return "the code of code lengths is not complete";

  uint8_t lengths[286 + 30 + 138];
  const unsigned total = symbols + distances;
  for (unsigned have = 0; have < total;) {
    in.refill();
    if (in.overrun()) return "the stream ends early";
    const uint32_t entry = table[in.bits & 0x7f];
    in.drop(entry & 0xff);
    const unsigned symbol = entry >> 16;
    if (symbol < 16) {
      lengths[have++] = static_cast<uint8_t>(symbol);
      continue;
    }
    if (symbol == 16 && have == 0) return "a repeated code length without one before it";
    const uint8_t value = symbol == 16 ? lengths[have - 1] : 0;
    const unsigned times = symbol == 16 ? 3 + in.take(2) : symbol == 17 ? 3 + in.take(3) : 11 + in.take(7);
    if (have + times > total) return "more code lengths than symbols";
    std::fill_n(lengths + have, times, value);
    have += times;
  }
  if (in.overrun()) return "the stream ends early";
  if (lengths[END_OF_BLOCK] == 0) return "a block without an end code";
  if (!build(tables.symbols, SYMBOL_BITS, SYMBOL_ENTRIES, lengths, symbols, Alphabet::Symbols)) return "the code of literals and lengths is not complete";
  if (!build(tables.distances, DISTANCE_BITS, DISTANCE_ENTRIES, lengths + symbols, distances, Alphabet::Distances)) return "the code of distances is not complete";
  pair_literals(tables.symbols, lengths);
  return nullptr;
}

}  // namespace tc::inflate
