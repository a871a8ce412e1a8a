// Philox4x32-10: see src/core/philox.ts.
#pragma once

#include <cstdint>

namespace tc {

// `kLanes` counters at a time: one alone would wait for its multiplications. Arrays in, arrays out, so that compilers vectorise it.
template <int kLanes>
struct Philox {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];

  void run(uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
      for (int lane = 0; lane < kLanes; lane++) {
        const uint64_t product0 = uint64_t{0xD2511F53} * c0[lane];
        const uint64_t product1 = uint64_t{0xCD9E8D57} * c2[lane];
        c0[lane] = static_cast<uint32_t>(product1 >> 32) ^ c1[lane] ^ k0;
        c1[lane] = static_cast<uint32_t>(product1);
        c2[lane] = static_cast<uint32_t>(product0 >> 32) ^ c3[lane] ^ k1;
        c3[lane] = static_cast<uint32_t>(product0);
      }
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
  }
};

}  // namespace tc
