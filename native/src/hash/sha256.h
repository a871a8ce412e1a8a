// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace tc {

// Messages of equal length, fed in equal parts, hashed side by side. Two take little longer than one: each waits for its own results half of the time.
template <size_t kLanes>
class Sha256Lanes {
 public:
  using In = std::array<const uint8_t*, kLanes>;
  using Out = std::array<uint8_t*, kLanes>;
  Sha256Lanes();
  void update(In data, size_t size);
  // Ends the messages; the object is spent.
  void finish(Out out);

 private:
  void blocks(const In& data, size_t count);
  std::array<std::array<uint32_t, 8>, kLanes> state_;
  std::array<std::array<uint8_t, 64>, kLanes> rest_;
  uint64_t total_ = 0;
};
extern template class Sha256Lanes<1>;
extern template class Sha256Lanes<2>;

class Sha256 {
 public:
  static constexpr size_t kBytes = 32;
  void update(const uint8_t* data, size_t size) { lane_.update({data}, size); }
  void finish(uint8_t* out) { lane_.finish({out}); }

 private:
  Sha256Lanes<1> lane_;
};

extern const std::array<uint32_t, 64> kSha256Constants;

// The compression function over `blocks` blocks of 64 bytes of one message, and of two.
void sha256_blocks_portable(uint32_t* state, const uint8_t* data, size_t blocks);
// Need the SHA extensions of x86.
void sha256_blocks_shani(uint32_t* state, const uint8_t* data, size_t blocks);
void sha256_blocks_shani_two(uint32_t* const* states, const uint8_t* const* data, size_t blocks);

// Forces the portable form from now on, or goes back to the best one; for tests.
void sha256_force_portable(bool portable);

}  // namespace tc
