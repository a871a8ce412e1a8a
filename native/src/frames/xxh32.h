// XXH32, seed 0 (the xxHash specification, version 0.1.1): the checksum of LZ4 frames.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tc::frames {

inline uint32_t xxh32(const uint8_t* data, size_t size) {
  constexpr uint32_t kPrime1 = 0x9E3779B1, kPrime2 = 0x85EBCA77, kPrime3 = 0xC2B2AE3D, kPrime4 = 0x27D4EB2F, kPrime5 = 0x165667B1;
  const auto word = [](const uint8_t* at) {
    uint32_t value;
    std::memcpy(&value, at, 4);
    return value;
  };
  const uint8_t* const end = data + size;
  uint32_t hash = kPrime5;
  if (size >= 16) {
    uint32_t a = kPrime1 + kPrime2, b = kPrime2, c = 0, d = 0 - kPrime1;
    const auto round = [](uint32_t lane, uint32_t value) { return std::rotl(lane + value * kPrime2, 13) * kPrime1; };
    for (; end - data >= 16; data += 16) {
      a = round(a, word(data));
      b = round(b, word(data + 4));
      c = round(c, word(data + 8));
      d = round(d, word(data + 12));
    }
    hash = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
  }
  hash += static_cast<uint32_t>(size);
  for (; end - data >= 4; data += 4) hash = std::rotl(hash + word(data) * kPrime3, 17) * kPrime4;
  for (; data < end; data++) hash = std::rotl(hash + *data * kPrime5, 11) * kPrime1;
  hash = (hash ^ hash >> 15) * kPrime2;
  hash = (hash ^ hash >> 13) * kPrime3;
  return hash ^ hash >> 16;
}

}  // namespace tc::frames
