#include "periodic.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"

namespace tc::crystal {
namespace {

// Beyond these an answer would not fit into memory, or indices would lose their meaning in float64.
constexpr double kMaxPoints = 4e6;
constexpr double kMaxWraps = 1e9;
// Atoms this near are one atom given twice.
constexpr double kCoincident2 = 1e-12;
constexpr double kFlat = 1e-10;

// rows = change · lattice
void apply(const int64_t change[3][3], const Lattice& lattice, Lattice& rows) {
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < 3; k++) {
      rows[i][k] = static_cast<double>(change[i][0]) * lattice[0][k] + static_cast<double>(change[i][1]) * lattice[1][k] + static_cast<double>(change[i][2]) * lattice[2][k];
    }
  }
}

// Subtracts whole multiples of one row from another while that makes it clearly shorter (pairwise Gauss reduction): not the unique reduced
// cell, but one whose vectors are about as short as the lattice allows. A cell that is reduced already stays as it is, bit for bit.
void reduce(const Lattice& lattice, Lattice& rows, int64_t change[3][3]) {
  for (int i = 0; i < 3; i++) for (int k = 0; k < 3; k++) change[i][k] = i == k;
  apply(change, lattice, rows);
  for (int pass = 0, changed = 1; changed != 0 && pass < 200; pass++) {
    changed = 0;
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) {
        const double square = dot(rows[j], rows[j]);
        if (i == j || square == 0) continue;
        const double times = std::nearbyint(dot(rows[i], rows[j]) / square);
        if (times == 0 || std::abs(times) > kMaxWraps) continue;
        Vector shorter;
        for (int k = 0; k < 3; k++) shorter[k] = rows[i][k] - times * rows[j][k];
        if (!(dot(shorter, shorter) < dot(rows[i], rows[i]) * (1 - 1e-9))) continue;
        int64_t next[3];
        bool fits = true;
        for (int k = 0; k < 3; k++) {
          const double exact = static_cast<double>(change[i][k]) - times * static_cast<double>(change[j][k]);
          fits = fits && std::abs(exact) <= kMaxWraps;
          if (fits) next[k] = change[i][k] - static_cast<int64_t>(times) * change[j][k];
        }
        if (!fits) continue;
        for (int k = 0; k < 3; k++) change[i][k] = next[k];
        apply(change, lattice, rows);
        changed = 1;
      }
    }
  }
}

// The inverse of an integer matrix of determinant ±1 is its cofactors, transposed, times the determinant.
void invert(const int64_t m[3][3], double inverse[3][3]) {
  const auto minor = [&](int r0, int r1, int c0, int c1) {
    return static_cast<__int128>(m[r0][c0]) * m[r1][c1] - static_cast<__int128>(m[r0][c1]) * m[r1][c0];
  };
  __int128 cofactors[3][3];
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < 3; k++) cofactors[i][k] = minor((i + 1) % 3, (i + 2) % 3, (k + 1) % 3, (k + 2) % 3);
  }
  const __int128 det = m[0][0] * cofactors[0][0] + m[0][1] * cofactors[0][1] + m[0][2] * cofactors[0][2];
  for (int i = 0; i < 3; i++) for (int k = 0; k < 3; k++) inverse[k][i] = static_cast<double>(det * cofactors[i][k]);
}

}  // namespace

void Periodic::prepare(const Structure& structure) {
  const Lattice& lattice = structure.lattice;
  for (int k = 0; k < 9; k++) {
    if (!(std::abs(lattice[k / 3][k % 3]) <= 1e12)) throw CrystalError(Fault::NotFinite, "a lattice vector is not finite");
  }
  for (size_t k = 0; k < structure.atoms() * 3; k++) {
    if (!std::isfinite(structure.frac[k])) throw CrystalError(Fault::NotFinite, "a coordinate of atom " + std::to_string(k / 3) + " is not finite");
  }
  for (size_t k = 0; k < structure.atoms(); k++) {
    const int32_t number = structure.numbers[k];
    if (number < 1 || number > 118) throw CrystalError(Fault::Element, "expected an atomic number from 1 to 118 for atom " + std::to_string(k) + ", found " + std::to_string(number));
    if (!structure.oxidation.empty() && !std::isfinite(structure.oxidation[k])) throw CrystalError(Fault::NotFinite, "the oxidation state of atom " + std::to_string(k) + " is not finite");
  }

  reduce(lattice, reduced_, change_);
  volume_ = std::abs(determinant(reduced_));
  const double lengths = length(reduced_[0]) * length(reduced_[1]) * length(reduced_[2]);
  if (!(volume_ > kFlat * lengths)) throw CrystalError(Fault::Flat, "the cell has no volume");

  const auto& [a, b, c] = reduced_;
  const double c2 = dot(c, c);
  mu_bc_ = dot(b, c) / c2;
  mu_ac_ = dot(a, c) / c2;
  Vector across, height;
  for (int k = 0; k < 3; k++) across[k] = b[k] - mu_bc_ * c[k];
  const double across2 = dot(across, across);
  mu_ab_ = dot(a, across) / across2;
  for (int k = 0; k < 3; k++) height[k] = a[k] - mu_ab_ * across[k] - mu_ac_ * c[k];
  length_[0] = std::sqrt(dot(height, height));
  length_[1] = std::sqrt(across2);
  length_[2] = std::sqrt(c2);

  longest_diagonal_ = 0;
  for (const auto& sign : {std::array{1, 1, 1}, std::array{-1, 1, 1}, std::array{1, -1, 1}, std::array{1, 1, -1}}) {
    Vector diagonal;
    for (int k = 0; k < 3; k++) diagonal[k] = sign[0] * lattice[0][k] + sign[1] * lattice[1][k] + sign[2] * lattice[2][k];
    longest_diagonal_ = std::max(longest_diagonal_, std::sqrt(dot(diagonal, diagonal)));
  }

  double inverse[3][3];
  invert(change_, inverse);
  wrapped_.resize(structure.atoms() * 3);
  wraps_.resize(structure.atoms() * 3);
  for (size_t site = 0; site < structure.atoms(); site++) {
    const double* f = &structure.frac[site * 3];
    for (int k = 0; k < 3; k++) {
      const double at = f[0] * inverse[0][k] + f[1] * inverse[1][k] + f[2] * inverse[2][k];
      const double whole = std::floor(at);
      if (!(std::abs(whole) <= kMaxWraps)) throw CrystalError(Fault::ImageRange, "atom " + std::to_string(site) + " lies more than 1e9 cells away");
      wrapped_[site * 3 + k] = at - whole;
      wraps_[site * 3 + k] = static_cast<int64_t>(whole);
    }
  }
}

// The lattice as layers (steps of a), lines within a layer (steps of b) and points on a line (steps of c), each level visited only where
// the sphere still reaches it.
void Periodic::shell(size_t site, double inner2, double outer2, std::vector<Neighbour>& out) const {
  const double reach2 = outer2 * (1 + 1e-9) + 1e-9;
  const double reach = std::sqrt(reach2);
  // Of the box that is gone through, which in a cell much shorter one way than the others holds far more than density times volume.
  double most = static_cast<double>(sites());
  for (const double length : length_) most *= 2 * reach / length + 1;
  if (!(most < kMaxPoints)) {
    throw CrystalError(Fault::TooManyPoints, "more than 4e6 atoms may lie within " + std::to_string(std::sqrt(outer2)) + " Å of atom " + std::to_string(site));
  }
  const double* from = &wrapped_[site * 3];
  const auto& [a, b, c] = reduced_;
  const double per_a = 1 / length_[0], per_b = 1 / length_[1], per_c = 1 / length_[2];
  for (size_t target = 0; target < sites(); target++) {
    const double da = wrapped_[target * 3] - from[0], db = wrapped_[target * 3 + 1] - from[1], dc = wrapped_[target * 3 + 2] - from[2];
    int64_t wraps[3];
    for (int k = 0; k < 3; k++) wraps[k] = wraps_[target * 3 + k] - wraps_[site * 3 + k];
    const auto a0 = static_cast<int64_t>(std::ceil(-reach * per_a - da)), a1 = static_cast<int64_t>(std::floor(reach * per_a - da));
    for (int64_t na = a0; na <= a1; na++) {
      const double ta = da + static_cast<double>(na);
      const double left_b2 = reach2 - ta * ta * length_[0] * length_[0];
      if (left_b2 < 0) continue;
      const double middle_b = -db - mu_ab_ * ta, half_b = std::sqrt(left_b2) * per_b;
      const auto b0 = static_cast<int64_t>(std::ceil(middle_b - half_b)), b1 = static_cast<int64_t>(std::floor(middle_b + half_b));
      for (int64_t nb = b0; nb <= b1; nb++) {
        const double tb = db + static_cast<double>(nb);
        const double off_b = (tb + mu_ab_ * ta) * length_[1];
        const double left_c2 = left_b2 - off_b * off_b;
        if (left_c2 < 0) continue;
        const double middle_c = -dc - mu_bc_ * tb - mu_ac_ * ta, half_c = std::sqrt(left_c2) * per_c;
        const auto c0 = static_cast<int64_t>(std::ceil(middle_c - half_c)), c1 = static_cast<int64_t>(std::floor(middle_c + half_c));
        for (int64_t nc = c0; nc <= c1; nc++) {
          const double tc = dc + static_cast<double>(nc);
          const double x = ta * a[0] + tb * b[0] + tc * c[0], y = ta * a[1] + tb * b[1] + tc * c[1], z = ta * a[2] + tb * b[2] + tc * c[2];
          const double distance2 = x * x + y * y + z * z;
          if (!(distance2 >= inner2 && distance2 < outer2)) continue;
          if (distance2 < kCoincident2) {
            if (target == site && na == 0 && nb == 0 && nc == 0) continue;
            throw CrystalError(Fault::Coincident, "one place holds atoms " + std::to_string(site) + " and " + std::to_string(target));
          }
          // Cells stepped in the reduced lattice, back in the given one.
          const int64_t step[3] = {na - wraps[0], nb - wraps[1], nc - wraps[2]};
          Neighbour neighbour{x, y, z, distance2, static_cast<int32_t>(target), {}};
          for (int k = 0; k < 3; k++) {
            const auto image = static_cast<__int128>(step[0]) * change_[0][k] + static_cast<__int128>(step[1]) * change_[1][k] + static_cast<__int128>(step[2]) * change_[2][k];
            if (image < INT32_MIN || image > INT32_MAX) throw CrystalError(Fault::ImageRange, "a neighbour of atom " + std::to_string(site) + " lies in an image beyond int32");
            neighbour.image[k] = static_cast<int32_t>(image);
          }
          out.push_back(neighbour);
        }
      }
    }
  }
}

void sort_by_distance(std::vector<Neighbour>& neighbours) {
  std::sort(neighbours.begin(), neighbours.end(), [](const Neighbour& p, const Neighbour& q) {
    if (p.distance2 != q.distance2) return p.distance2 < q.distance2;
    return p.site != q.site ? p.site < q.site : p.image < q.image;
  });
}

double cutoff_squared(double cutoff) { return cutoff * cutoff + 1e-8; }

void neighbours_within(const Periodic& periodic, size_t site, double cutoff, std::vector<Neighbour>& out) {
  out.clear();
  if (!(cutoff >= 0) || !std::isfinite(cutoff)) throw std::invalid_argument("cutoff must be a finite length in Å");
  periodic.shell(site, 0, cutoff_squared(cutoff), out);
  sort_by_distance(out);
}

}  // namespace tc::crystal
