#include "rows/shuffle.h"

#include <algorithm>
#include <cmath>

#include "rows/philox.h"

namespace tc {
namespace {

constexpr uint32_t kRounds = 8;
constexpr uint32_t kRoundsSmall = 32;
constexpr uint64_t kSmall = 256;
constexpr uint32_t kDomain = 0x73687566;
constexpr int kLanes = 8;

struct Shuffle {
  uint64_t n;
  uint32_t a, b, rounds, epoch, k0, k1;

  Shuffle(uint64_t n, uint64_t seed, uint32_t epoch)
      : n(n), rounds(n < kSmall ? kRoundsSmall : kRounds), epoch(epoch), k0(static_cast<uint32_t>(seed)), k1(static_cast<uint32_t>(seed >> 32)) {
    a = static_cast<uint32_t>(std::ceil(std::sqrt(static_cast<double>(n))));
    b = static_cast<uint32_t>((n + a - 1) / a);
    b += b % 2;
  }

  // half += draw(other) modulo limit
  template <int kCount>
  void step(uint32_t* half, const uint32_t* other, uint32_t round, uint32_t limit) const {
    Philox<kCount> philox;
    for (int lane = 0; lane < kCount; lane++) {
      philox.c0[lane] = other[lane];
      philox.c1[lane] = epoch;
      philox.c2[lane] = round;
      philox.c3[lane] = kDomain;
    }
    philox.run(k0, k1);
    for (int lane = 0; lane < kCount; lane++) {
      const uint32_t sum = half[lane] + static_cast<uint32_t>(uint64_t{philox.c0[lane]} * limit >> 32);
      half[lane] = sum >= limit ? sum - limit : sum;
    }
  }

  template <int kCount>
  void permute(uint64_t* place) const {
    uint32_t left[kCount], right[kCount];
    for (int lane = 0; lane < kCount; lane++) {
      left[lane] = static_cast<uint32_t>(place[lane] / b);
      right[lane] = static_cast<uint32_t>(place[lane] % b);
    }
    for (uint32_t round = 0; round < rounds; round += 2) {
      step<kCount>(left, right, round, a);
      step<kCount>(right, left, round + 1, b);
    }
    for (int lane = 0; lane < kCount; lane++) place[lane] = uint64_t{left[lane]} * b + right[lane];
  }
};

}  // namespace

void shuffle_indices(uint64_t n, uint64_t seed, uint32_t epoch, uint64_t start, double* out, size_t count) {
  if (count == 0) return;
  const Shuffle shuffle(n, seed, epoch);
  for (size_t done = 0; done < count; done += kLanes) {
    uint64_t place[kLanes];
    // Lanes behind the end repeat the last position.
    for (size_t lane = 0; lane < kLanes; lane++) place[lane] = start + std::min(done + lane, count - 1);
    shuffle.permute<kLanes>(place);
    for (size_t lane = 0; lane < kLanes && done + lane < count; lane++) {
      // Rare: about two in √n places lie outside 0 … n-1.
      while (place[lane] >= n) shuffle.permute<1>(place + lane);
      out[done + lane] = static_cast<double>(place[lane]);
    }
  }
}

}  // namespace tc
