#include "hash/crc32.h"

#include <array>
#include <bit>
#include <cstring>

namespace tc {
namespace {

static_assert(std::endian::native == std::endian::little);

// table[k][b]: what byte b does to the state when k more bytes follow in the same step.
constexpr auto make_tables() {
  std::array<std::array<uint32_t, 256>, 8> table{};
  for (uint32_t b = 0; b < 256; b++) {
    uint32_t state = b;
    for (int bit = 0; bit < 8; bit++) state = (state >> 1) ^ ((state & 1) != 0 ? 0xEDB88320u : 0);
    table[0][b] = state;
  }
  for (size_t k = 1; k < 8; k++) {
    for (size_t b = 0; b < 256; b++) table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 255];
  }
  return table;
}
constexpr auto kTable = make_tables();

// A polynomial over GF(2) with x^0 in the highest bit, as the state has it: their product modulo the CRC's.
constexpr uint32_t product(uint32_t a, uint32_t b) {
  uint32_t sum = 0;
  for (; a != 0; a <<= 1) {
    if ((a & 0x80000000u) != 0) sum ^= b;
    b = (b >> 1) ^ ((b & 1) != 0 ? 0xEDB88320u : 0);
  }
  return sum;
}

// x^(8 · 2^k): what 2^k bytes of zeros do to a CRC.
constexpr auto make_shifts() {
  std::array<uint32_t, 64> shifts{};
  shifts[0] = 0x80000000u >> 8;
  for (size_t k = 1; k < shifts.size(); k++) shifts[k] = product(shifts[k - 1], shifts[k - 1]);
  return shifts;
}
constexpr auto kShift = make_shifts();

bool has_clmul() {
#ifdef __x86_64__
  static const bool has = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
  return has;
#else
  return false;
#endif
}

}  // namespace

uint32_t crc32_tables(const uint8_t* data, size_t size, uint32_t state) {
  for (; size >= 8; data += 8, size -= 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    word ^= state;
    state = 0;
    for (int k = 0; k < 8; k++) state ^= kTable[7 - k][(word >> (8 * k)) & 255];
  }
  for (; size > 0; data++, size--) state = (state >> 8) ^ kTable[0][(state ^ *data) & 255];
  return state;
}

uint32_t crc32(const uint8_t* data, size_t size, uint32_t start) {
  uint32_t state = ~start;
  if (size >= 64 && has_clmul()) {
    const size_t folded = size & ~size_t{15};
    state = crc32_folded(data, folded, state);
    data += folded;
    size -= folded;
  }
  return ~crc32_tables(data, size, state);
}

#ifndef __x86_64__
uint32_t crc32_folded(const uint8_t* data, size_t size, uint32_t state) { return crc32_tables(data, size, state); }
#endif

uint32_t crc32_join(uint32_t first, uint32_t second, uint64_t second_size) {
  for (; second_size != 0; second_size &= second_size - 1) first = product(first, kShift[std::countr_zero(second_size)]);
  return first ^ second;
}

}  // namespace tc
