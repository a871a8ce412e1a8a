// Normal noise: see src/ops/random/normal.ts, whose numbers these are.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tc {

// out[e] = in[e] + (shift + scale · z), each operation rounded to float; z is the normal quantile of word e % 4 of Philox block e / 4 under key (k0, k1) and the counter's other words c1, c2, c3. count ≤ 2^34.
void add_normal(const float* in, float* out, size_t count, const uint32_t key[2], const uint32_t counter[3], float scale, float shift);

}  // namespace tc
