#include "exact.h"

#include <cmath>
#include <string>

#include "error.h"

namespace tc::crystal {

void ExactCell::assign(const Lattice& given, std::span<const double> frac) {
  require_lattice(given);
  for (int i = 0; i < 3; i++) {
    for (int x = 0; x < 3; x++) {
      rows[i][x] = static_cast<int64_t>(std::nearbyint(given[i][x] * 0x1p40));
      lattice[i][x] = static_cast<double>(rows[i][x]) * kStep;
    }
  }
  require_lattice(lattice);
  const size_t count = frac.size() / 3;
  positions.resize(count);
  cells.resize(count);
  wrapped.resize(count);
  for (size_t k = 0; k < count; k++) {
    for (int i = 0; i < 3; i++) {
      const double f = frac[3 * k + i];
      if (!(std::abs(f) < 0x1p50)) throw CrystalError(Fault::NotFinite, "coordinates of atom " + std::to_string(k) + " are not finite, or beyond 2^50 cells");
      int64_t cell = static_cast<int64_t>(f);
      cell -= static_cast<double>(cell) > f;
      double rest = f - static_cast<double>(cell);
      // A negative number too small to be seen beside 1.
      if (rest >= 1) {
        rest = 0;
        cell++;
      }
      cells[k][i] = cell;
      wrapped[k][i] = rest;
    }
    const Vector& w = wrapped[k];
    for (int x = 0; x < 3; x++) positions[k][x] = static_cast<int64_t>(std::nearbyint((w[0] * given[0][x] + w[1] * given[1][x] + w[2] * given[2][x]) * 0x1p40));
  }
}

}  // namespace tc::crystal
