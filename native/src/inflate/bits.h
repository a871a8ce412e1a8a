// Bits of a deflate stream, least significant first, from memory that may change under us (a mapped file): every value is
// loaded once and judged after loading.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tc::inflate {

static_assert(std::endian::native == std::endian::little, "bits are refilled by little-endian loads");

inline uint64_t load64(const uint8_t* at) {
  uint64_t value;
  std::memcpy(&value, at, 8);
  return value;
}

class BitReader {
 public:
  BitReader(const uint8_t* data, size_t size) : data(data), size(size) {}

  // Fills up to at least 56 bits. Past the end zeros come in and `next` counts on, so that position() tells an overrun afterwards.
  // Bits above `count` may be the beginning of the byte `next`; loading it again by `or` leaves them as they are.
  void refill() {
    if (next <= size && size - next >= 8) [[likely]] {
      bits |= load64(data + next) << count;
      next += (63 - count) >> 3;
      count |= 56;
      return;
    }
    while (count < 56) {
      if (next < size) bits |= static_cast<uint64_t>(data[next]) << count;
      next++;
      count += 8;
    }
  }
  void drop(unsigned n) {
    bits >>= n;
    count -= n;
  }
  uint32_t take(unsigned n) {
    const auto value = static_cast<uint32_t>(bits & ((uint64_t{1} << n) - 1));
    drop(n);
    return value;
  }
  // Bits consumed since the start of the stream.
  uint64_t position() const { return uint64_t{next} * 8 - count; }
  bool overrun() const { return position() > uint64_t{size} * 8; }
  void seek(uint64_t position) {
    next = static_cast<size_t>(position >> 3);
    bits = 0;
    count = 0;
    refill();
    drop(position & 7);
  }

  const uint8_t* data;
  size_t size;
  size_t next = 0;
  uint64_t bits = 0;
  unsigned count = 0;
};

}  // namespace tc::inflate
