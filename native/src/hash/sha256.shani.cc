// SHA-256 with the SHA extensions of x86 (Intel SDM: SHA256RNDS2, SHA256MSG1, SHA256MSG2): two rounds per instruction, state in two registers as
// (f, e, b, a) and (h, g, d, c) from the low element up.
#ifdef __x86_64__

#include <immintrin.h>

#include "hash/sha256.h"

namespace tc {
namespace {

__m128i load(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
void store(void* to, __m128i value) { _mm_storeu_si128(static_cast<__m128i*>(to), value); }

// The rounds of one message depend on each other; those of a second one fill the gaps.
template <int kLanes>
inline void blocks_of(uint32_t* const* state, const uint8_t* const* data, size_t blocks) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i feba[kLanes], hgdc[kLanes];
  for (int lane = 0; lane < kLanes; lane++) {
    const __m128i badc = _mm_shuffle_epi32(load(state[lane]), 0xB1);
    const __m128i hgfe = _mm_shuffle_epi32(load(state[lane] + 4), 0x1B);
    feba[lane] = _mm_alignr_epi8(badc, hgfe, 8);
    hgdc[lane] = _mm_blend_epi16(hgfe, badc, 0xF0);
  }

  for (size_t block = 0; block < blocks; block++) {
    __m128i feba_before[kLanes], hgdc_before[kLanes];
    // The last sixteen words of the message schedule.
    __m128i w[kLanes][4];
    for (int lane = 0; lane < kLanes; lane++) {
      feba_before[lane] = feba[lane];
      hgdc_before[lane] = hgdc[lane];
    }
#pragma GCC unroll 16
    for (int g = 0; g < 16; g++) {
      const __m128i constants = load(kSha256Constants.data() + 4 * g);
#pragma GCC unroll 2
      for (int lane = 0; lane < kLanes; lane++) {
        __m128i& now = w[lane][g % 4];
        if (g < 4) {
          now = _mm_shuffle_epi8(load(data[lane] + 64 * block + 16 * g), big_endian);
        } else {
          const __m128i last = w[lane][(g + 3) % 4];
          const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(now, w[lane][(g + 1) % 4]), _mm_alignr_epi8(last, w[lane][(g + 2) % 4], 4));
          now = _mm_sha256msg2_epu32(sum, last);
        }
        const __m128i added = _mm_add_epi32(now, constants);
        hgdc[lane] = _mm_sha256rnds2_epu32(hgdc[lane], feba[lane], added);
        feba[lane] = _mm_sha256rnds2_epu32(feba[lane], hgdc[lane], _mm_shuffle_epi32(added, 0x0E));
      }
    }
    for (int lane = 0; lane < kLanes; lane++) {
      feba[lane] = _mm_add_epi32(feba[lane], feba_before[lane]);
      hgdc[lane] = _mm_add_epi32(hgdc[lane], hgdc_before[lane]);
    }
  }

  for (int lane = 0; lane < kLanes; lane++) {
    const __m128i abef = _mm_shuffle_epi32(feba[lane], 0x1B);
    const __m128i ghcd = _mm_shuffle_epi32(hgdc[lane], 0xB1);
    store(state[lane], _mm_blend_epi16(abef, ghcd, 0xF0));
    store(state[lane] + 4, _mm_alignr_epi8(ghcd, abef, 8));
  }
}

}  // namespace

void sha256_blocks_shani(uint32_t* state, const uint8_t* data, size_t blocks) { blocks_of<1>(&state, &data, blocks); }
void sha256_blocks_shani_two(uint32_t* const* states, const uint8_t* const* data, size_t blocks) { blocks_of<2>(states, data, blocks); }

}  // namespace tc

#endif
