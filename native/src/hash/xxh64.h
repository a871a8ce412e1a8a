// XXH64, seed 0 (the xxHash specification, version 0.1.1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace tc {

class Xxh64 {
 public:
  void update(const uint8_t* data, size_t size);
  uint64_t finish() const;
  uint64_t total() const { return total_; }

 private:
  static constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F;
  std::array<uint64_t, 4> lanes_ = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
  uint64_t total_ = 0;
  std::array<uint8_t, 32> rest_;
};

uint64_t xxh64(const uint8_t* data, size_t size);

// One hash per `chunk` bytes, the last chunk may be short; `out` takes 8 bytes each, little-endian.
void xxh64_chunks(const uint8_t* data, size_t size, size_t chunk, uint8_t* out);

}  // namespace tc
