#include "lattice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "error.h"

namespace tc::crystal {
namespace {

// atan(k / 16).
constexpr double kAtan[17] = {0.0, 0.06241880999595735, 0.12435499454676144, 0.18534794999569476, 0.24497866312686414, 0.3028848683749714, 0.35877067027057225, 0.4124104415973873, 0.4636476090008061,
                              0.5123894603107377, 0.5585993153435624, 0.6022873461349642, 0.6435011087932844, 0.6823165548747481, 0.7188299996216245, 0.7531512809621944, 0.7853981633974483};

// 0 <= t <= 1: from the nearest k / 16, what is left is at most 1/32, and eight terms of its series leave 1e-27.
double atan_unit(double t) {
  const int k = static_cast<int>(t * 16 + 0.5);
  const double from = k / 16.0;
  const double u = (t - from) / (1 + t * from);
  const double u2 = u * u;
  double sum = 0;
  for (int odd = 15; odd >= 3; odd -= 2) sum = u2 * (1.0 / odd - sum);
  return kAtan[k] + (u - u * sum);
}

}  // namespace

double length(const Vector& v) { return std::sqrt(dot(v, v)); }

double degrees_of_cosine(double cosine) {
  constexpr double kPi = 3.141592653589793;
  const double c = std::clamp(cosine, -1.0, 1.0);
  const double acute = 2 * atan_unit(std::sqrt((1 - std::abs(c)) / (1 + std::abs(c))));
  return (c < 0 ? kPi - acute : acute) * 180 / kPi;
}

double cube_root(double x) {
  // A third of the exponent, wrong by 6 % at most, and Newton's steps: the third leaves 1e-10.
  double t = std::bit_cast<double>(std::bit_cast<uint64_t>(x) / 3 + 0x2a9f7893782da1ce);
  for (int step = 0; step < 3; step++) t -= (t * t * t - x) / (3 * t * t);
  // Of 23 bits t² has no rounding, so that Halley's step sees the whole remainder (the method of FreeBSD's cbrt).
  t = std::bit_cast<double>((std::bit_cast<uint64_t>(t) + (uint64_t{1} << 29)) & ~((uint64_t{1} << 30) - 1));
  const double r = x / (t * t);
  return t + t * ((r - t) / (t + t + r));
}

Parameters parameters_of(const Lattice& rows) {
  Parameters result;
  for (int k = 0; k < 3; k++) result.lengths[k] = length(rows[k]);
  for (int k = 0; k < 3; k++) {
    const int i = (k + 1) % 3, j = (k + 2) % 3;
    result.cosines[k] = std::clamp(dot(rows[i], rows[j]) / (result.lengths[i] * result.lengths[j]), -1.0, 1.0);
    result.angles[k] = degrees_of_cosine(result.cosines[k]);
  }
  return result;
}

Lattice standard_lattice(const Vector& lengths, const Vector& cosines) {
  const double sin_alpha = std::sqrt((1 - cosines[0]) * (1 + cosines[0]));
  const double sin_beta = std::sqrt((1 - cosines[1]) * (1 + cosines[1]));
  // The cosine of the reciprocal cell's gamma.
  const double star = std::clamp((cosines[0] * cosines[1] - cosines[2]) / (sin_alpha * sin_beta), -1.0, 1.0);
  return {{{lengths[0] * sin_beta, 0, lengths[0] * cosines[1]},
           {-lengths[1] * sin_alpha * star, lengths[1] * sin_alpha * std::sqrt((1 - star) * (1 + star)), lengths[1] * cosines[0]},
           {0, 0, lengths[2]}}};
}

void require_lattice(const Lattice& rows) {
  double product = 1;
  for (const Vector& row : rows) {
    for (const double x : row) {
      if (!(std::abs(x) <= 1048576)) throw CrystalError(Fault::NotFinite, "a lattice vector is not finite, or longer than 2^20 Å");
    }
    product *= length(row);
  }
  const double volume = std::abs(determinant(rows));
  if (!(volume > 0 && volume * 1073741824 >= product)) throw CrystalError(Fault::Flat, "the cell has no volume");
}

}  // namespace tc::crystal
