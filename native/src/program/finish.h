// The f64 half of normalize: from statistics of a group to its parameters. Formulas at NormalizeStep in src/ops/program.ts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace tc {

// float32, and +0 where devices may differ on tininess.
float flushed(double value);

struct Moments {
  double mean;
  double variance;
};
Moments integer_moments(size_t n, int64_t s1, unsigned __int128 s2);

Affine from_moments(Moments moments, double eps);
// `low` maps to `to_low`, `high` to `to_high`; a group without extent maps to `to_low`.
Affine from_range(double low, double high, double to_low, double to_high);
// Member between the order statistics a and b, t of the way.
double between(float a, float b, double t);

}  // namespace tc
