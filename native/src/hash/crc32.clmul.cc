// Folding with carry-less multiplication (Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", Intel 2009). Four lanes of
// 128 bits are moved 512 bits ahead at a time; the last 128 bits have the same remainder as the whole and go through the tables.
#ifdef __x86_64__

#include <immintrin.h>

#include "hash/crc32.h"

namespace tc {
namespace {

// x^power modulo the polynomial, bits reflected, times x: the factor that moves 64 reflected bits.
constexpr uint64_t factor(int power) {
  uint32_t value = 0x80000000u;
  for (int k = 0; k < power; k++) value = (value >> 1) ^ ((value & 1) != 0 ? 0xEDB88320u : 0);
  return static_cast<uint64_t>(value) << 1;
}
static_assert(factor(512 + 32) == 0x154442bd4 && factor(128 - 32) == 0x0ccaa009e);

__m128i fold(__m128i lane, __m128i factors) {
  return _mm_xor_si128(_mm_clmulepi64_si128(lane, factors, 0x00), _mm_clmulepi64_si128(lane, factors, 0x11));
}
__m128i load(const uint8_t* data) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(data)); }

}  // namespace

uint32_t crc32_folded(const uint8_t* data, size_t size, uint32_t state) {
  const __m128i far = _mm_set_epi64x(static_cast<long long>(factor(512 - 32)), static_cast<long long>(factor(512 + 32)));
  const __m128i near = _mm_set_epi64x(static_cast<long long>(factor(128 - 32)), static_cast<long long>(factor(128 + 32)));
  __m128i a = _mm_xor_si128(load(data), _mm_cvtsi32_si128(static_cast<int>(state)));
  __m128i b = load(data + 16);
  __m128i c = load(data + 32);
  __m128i d = load(data + 48);
  for (data += 64, size -= 64; size >= 64; data += 64, size -= 64) {
    a = _mm_xor_si128(fold(a, far), load(data));
    b = _mm_xor_si128(fold(b, far), load(data + 16));
    c = _mm_xor_si128(fold(c, far), load(data + 32));
    d = _mm_xor_si128(fold(d, far), load(data + 48));
  }
  b = _mm_xor_si128(fold(a, near), b);
  c = _mm_xor_si128(fold(b, near), c);
  d = _mm_xor_si128(fold(c, near), d);
  for (; size >= 16; data += 16, size -= 16) d = _mm_xor_si128(fold(d, near), load(data));
  alignas(16) uint8_t rest[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(rest), d);
  return crc32_tables(rest, 16, 0);
}

}  // namespace tc

#endif
