#include "hash/sha256.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tc {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr std::array<uint32_t, 64> kConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
const std::array<uint32_t, 64> kSha256Constants = kConstants;

namespace {

uint32_t load_big(const uint8_t* data) {
  return static_cast<uint32_t>(data[0]) << 24 | static_cast<uint32_t>(data[1]) << 16 | static_cast<uint32_t>(data[2]) << 8 | data[3];
}

bool has_sha_extensions() {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  // Leaf 7, EBX bit 29; the shuffles around it are SSSE3 and SSE4.1, which every such processor has.
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0 && __builtin_cpu_supports("sse4.1");
#else
  return false;
#endif
}

std::atomic<bool> portable_forced{false};

bool use_extensions() {
  static const bool has = has_sha_extensions();
  return has && !portable_forced.load(std::memory_order_relaxed);
}

}  // namespace

void sha256_force_portable(bool portable) { portable_forced = portable; }

void sha256_blocks_portable(uint32_t* state, const uint8_t* data, size_t blocks) {
  for (; blocks > 0; blocks--, data += 64) {
    uint32_t w[64];
    for (int t = 0; t < 16; t++) w[t] = load_big(data + 4 * t);
    for (int t = 16; t < 64; t++) {
      const uint32_t s0 = std::rotr(w[t - 15], 7) ^ std::rotr(w[t - 15], 18) ^ (w[t - 15] >> 3);
      const uint32_t s1 = std::rotr(w[t - 2], 17) ^ std::rotr(w[t - 2], 19) ^ (w[t - 2] >> 10);
      w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; t++) {
      const uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) + kConstants[t] + w[t];
      const uint32_t t2 = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e, state[5] += f, state[6] += g, state[7] += h;
  }
}

template <size_t kLanes>
Sha256Lanes<kLanes>::Sha256Lanes() {
  // The first 32 bits of the fractional parts of the square roots of the first 8 primes.
  state_.fill({0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19});
}

template <size_t kLanes>
void Sha256Lanes<kLanes>::blocks(const In& data, size_t count) {
  const bool extensions = use_extensions();
#if defined(__x86_64__)
  if constexpr (kLanes == 2) {
    uint32_t* const states[] = {state_[0].data(), state_[1].data()};
    if (extensions) return sha256_blocks_shani_two(states, data.data(), count);
  }
#endif
  for (size_t lane = 0; lane < kLanes; lane++) {
#if defined(__x86_64__)
    if (extensions) {
      sha256_blocks_shani(state_[lane].data(), data[lane], count);
      continue;
    }
#endif
    sha256_blocks_portable(state_[lane].data(), data[lane], count);
  }
}

template <size_t kLanes>
void Sha256Lanes<kLanes>::update(In data, size_t size) {
  if (size == 0) return;
  const size_t held = total_ % 64;
  total_ += size;
  if (held > 0) {
    const size_t taken = std::min(size, 64 - held);
    In rest;
    for (size_t lane = 0; lane < kLanes; lane++) {
      std::memcpy(rest_[lane].data() + held, data[lane], taken);
      rest[lane] = rest_[lane].data();
      data[lane] += taken;
    }
    if (held + taken < 64) return;
    blocks(rest, 1);
    size -= taken;
  }
  blocks(data, size / 64);
  for (size_t lane = 0; lane < kLanes; lane++) std::memcpy(rest_[lane].data(), data[lane] + size / 64 * 64, size % 64);
}

template <size_t kLanes>
void Sha256Lanes<kLanes>::finish(Out out) {
  const uint64_t bits = total_ * 8;
  const size_t held = total_ % 64;
  // A one bit, zeros, and the length in the last eight bytes of a block.
  const size_t bytes = held < 56 ? 64 : 128;
  uint8_t tail[kLanes][128] = {};
  In tails;
  for (size_t lane = 0; lane < kLanes; lane++) {
    std::memcpy(tail[lane], rest_[lane].data(), held);
    tail[lane][held] = 0x80;
    for (int k = 0; k < 8; k++) tail[lane][bytes - 1 - k] = static_cast<uint8_t>(bits >> (8 * k));
    tails[lane] = tail[lane];
  }
  blocks(tails, bytes / 64);
  for (size_t lane = 0; lane < kLanes; lane++) {
    for (size_t k = 0; k < Sha256::kBytes; k++) out[lane][k] = static_cast<uint8_t>(state_[lane][k / 4] >> (24 - 8 * (k % 4)));
  }
}

template class Sha256Lanes<1>;
template class Sha256Lanes<2>;

}  // namespace tc
