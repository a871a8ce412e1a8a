// The order of a shuffled epoch: see src/core/shuffle.ts, whose numbers these are.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tc {

constexpr uint64_t kShuffleMax = uint64_t{1} << 40;

// Positions start … start + count of the permutation of 0 … n-1 chosen by (seed, epoch); start + count ≤ n ≤ kShuffleMax.
void shuffle_indices(uint64_t n, uint64_t seed, uint32_t epoch, uint64_t start, double* out, size_t count);

}  // namespace tc
