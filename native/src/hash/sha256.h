// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace tc {

class Sha256 {
 public:
  static constexpr size_t kBytes = 32;
  void update(const uint8_t* data, size_t size);
  // Ends the message; the object is spent.
  void finish(uint8_t* out);

 private:
  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint64_t total_ = 0;
  std::array<uint8_t, 64> rest_;
};

extern const std::array<uint32_t, 64> kSha256Constants;

// The compression function over `blocks` blocks of 64 bytes.
using Sha256Blocks = void (*)(uint32_t* state, const uint8_t* data, size_t blocks);
void sha256_blocks_portable(uint32_t* state, const uint8_t* data, size_t blocks);
// Needs the SHA extensions of x86.
void sha256_blocks_shani(uint32_t* state, const uint8_t* data, size_t blocks);

// Forces the portable form from now on, or goes back to the best one; for tests.
void sha256_force_portable(bool portable);

}  // namespace tc
