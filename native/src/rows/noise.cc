#include "rows/noise.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "rows/philox.h"

namespace tc {
namespace {

constexpr double kLn2 = 0.6931471805599453;
constexpr double kSqrt2 = 1.4142135623730951;
// Blocks of four words at a time.
constexpr int kLanes = 8;

// Natural logarithm of an odd integer.
double log_of(uint64_t value) {
  int exponent = 63 - std::countl_zero(value);
  double f = static_cast<double>(value) / static_cast<double>(uint64_t{1} << exponent);
  if (f > kSqrt2) {
    f /= 2;
    exponent++;
  }
  const double s = (f - 1) / (f + 1);
  const double t = s * s;
  return exponent * kLn2 + 2 * s * (1 + t * (1.0 / 3 + t * (1.0 / 5 + t * (1.0 / 7 + t * (1.0 / 9 + t * (1.0 / 11 + t * (1.0 / 13 + t / 15)))))));
}

// Where |q| ≤ 0.425, which is 85 % of all words.
double central(double q) {
  const double r = 0.180625 - q * q;
  return q * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1);
}

double tail(uint32_t word, double q) {
  const uint64_t units = q < 0 ? 2 * uint64_t{word} + 1 : (uint64_t{1} << 33) - 2 * uint64_t{word} - 1;
  const double r = std::sqrt(33 * kLn2 - log_of(units)) - 1.6;
  const double z = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) / ((0.12021132975 * r + 0.73700164250) * r + 1);
  return q < 0 ? -z : z;
}

}  // namespace

void add_normal(const float* in, float* out, size_t count, const uint32_t key[2], const uint32_t counter[3], float scale, float shift) {
  for (size_t at = 0; at < count; at += 4 * kLanes) {
    Philox<kLanes> philox;
    for (int lane = 0; lane < kLanes; lane++) {
      philox.c0[lane] = static_cast<uint32_t>(at / 4 + lane);
      philox.c1[lane] = counter[0];
      philox.c2[lane] = counter[1];
      philox.c3[lane] = counter[2];
    }
    philox.run(key[0], key[1]);
    const uint32_t* words[4] = {philox.c0, philox.c1, philox.c2, philox.c3};
    double q[4 * kLanes], z[4 * kLanes];
    for (int lane = 0; lane < kLanes; lane++) {
      for (int word = 0; word < 4; word++) q[4 * lane + word] = (words[word][lane] + 0.5) * 0x1p-32 - 0.5;
    }
    for (int k = 0; k < 4 * kLanes; k++) z[k] = central(q[k]);
    for (int k = 0; k < 4 * kLanes; k++) {
      if (std::abs(q[k]) > 0.425) z[k] = tail(words[k % 4][k / 4], q[k]);
    }
    const size_t stop = std::min<size_t>(4 * kLanes, count - at);
    for (size_t k = 0; k < stop; k++) {
      const float noise = scale * static_cast<float>(z[k]);
      const float shifted = shift + noise;
      out[at + k] = in[at + k] + shifted;
    }
  }
}

}  // namespace tc
