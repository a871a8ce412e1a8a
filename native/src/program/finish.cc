#include "program/finish.h"

#include <cmath>

namespace tc {

float flushed(double value) {
  const float rounded = static_cast<float>(value);
  return std::fabs(rounded) <= 0x1p-126f ? 0.0f : rounded;
}

Moments integer_moments(size_t n, int64_t s1, unsigned __int128 s2) {
  const double count = static_cast<double>(n);
  // Never negative (Cauchy and Schwarz), and below 2^127 for any group that fits into memory. The conversion rounds to nearest even.
  const __int128 sum = s1;
  const unsigned __int128 numerator = n * s2 - static_cast<unsigned __int128>(sum * sum);
  return {static_cast<double>(s1) / count, static_cast<double>(numerator) / (count * count)};
}

Affine from_moments(Moments moments, double eps) {
  Affine affine = {};
  affine.sub_high = flushed(moments.mean);
  affine.sub_low = flushed(moments.mean - static_cast<double>(affine.sub_high));
  affine.mul = flushed(1.0 / (std::sqrt(moments.variance) + eps));
  return affine;
}

Affine from_range(double low, double high, double to_low, double to_high) {
  Affine affine = {};
  affine.sub_high = flushed(low);
  affine.sub_low = flushed(low - static_cast<double>(affine.sub_high));
  affine.mul = high == low ? 0.0f : flushed((to_high - to_low) / (high - low));
  affine.add = flushed(to_low);
  return affine;
}

double between(float a, float b, double t) {
  const double from = a, to = b, difference = to - from;
  return t < 0.5 ? from + difference * t : to - difference * (1.0 - t);
}

}  // namespace tc
