// Points of a lattice within a radius of a point, in the order of their indices: nested intervals (Fincke & Pohst, Math. Comp. 44 (1985) 463-471).
// Planes of b and c, lines along c in them, points on those: every line visited passes the sphere nearly, however skewed the cell is. The intervals are a little
// too wide, never too narrow; the caller decides about each point.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lattice.h"

namespace tc::crystal {

struct Lines {
  // Component along the axis of each level, in units of the level's vector: planes, lines, points.
  Lattice dual;
  // Half widths of the intervals.
  Vector half;
  // No point on the way is farther from the origin than this, and no index of a level larger.
  double farthest;
  double index_bound;

  // Around the origin, or between any two atoms of the cell. `error` is the relative error of products with `dual`, for other arithmetic than float64.
  static Lines of(const Lattice& rows, double radius, bool pairs, double error = 0) {
    Lines lines;
    lines.index_bound = 0;
    const double lengths[3] = {length(rows[0]), length(rows[1]), length(rows[2])};
    const double volume = std::abs(determinant(rows));
    const Vector normal = cross(rows[1], rows[2]);
    const double sign = determinant(rows) < 0 ? -1.0 : 1.0;
    const double cc = dot(rows[2], rows[2]);
    // Part of b perpendicular to c, as c × (b × c) / c².
    const Vector across = cross(rows[2], normal);
    const double across2 = dot(across, across);
    for (int m = 0; m < 3; m++) {
      lines.dual[0][m] = sign * normal[m] / volume;
      // (across / cc) / |across / cc|²; b × c = normal, so c × normal = b c² - c (b·c).
      lines.dual[1][m] = across[m] * cc / across2;
      lines.dual[2][m] = rows[2][m] / cc;
    }
    // Rounding of the duals grows with the skew of the cell.
    const double relative = error + 0x1p-44 * (lengths[0] * lengths[1] * lengths[2] / volume);
    // Two atoms of the cell are up to one cell apart along each vector.
    double reached = pairs ? lengths[0] + lengths[1] + lengths[2] : 0;
    double index[3];
    for (int level = 0; level < 3; level++) {
      const double size = length(lines.dual[level]);
      lines.half[level] = radius * size * (1 + relative) + relative * (1 + size * reached) + 0x1p-30;
      double center = 0;
      for (int m = 0; m < 3; m++) center += std::abs(dot(rows[m], lines.dual[level])) * ((m < level ? index[m] : 0) + (pairs ? 1 : 0));
      index[level] = center * (1 + relative) + lines.half[level] + 1;
      lines.index_bound = std::max(lines.index_bound, index[level]);
      reached += index[level] * lengths[level];
    }
    lines.farthest = reached;
    return lines;
  }
};

inline int64_t ceil_of(double x) {
  const int64_t t = static_cast<int64_t>(x);
  return t + (static_cast<double>(t) < x);
}
inline int64_t floor_of(double x) {
  const int64_t t = static_cast<int64_t>(x);
  return t - (static_cast<double>(t) > x);
}

}  // namespace tc::crystal
