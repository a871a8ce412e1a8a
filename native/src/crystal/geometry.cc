#include "geometry.h"

#include <algorithm>
#include <cmath>

namespace tc::crystal {
namespace {

// Beyond these an answer would not fit into memory, or indices would lose their meaning in float64.
constexpr double kMaxPoints = 4e6;
constexpr double kMaxWraps = 1e9;
// Atoms this near are one atom given twice.
constexpr double kCoincident2 = 1e-12;
constexpr double kFlat = 1e-10;

double dot(const double* p, const double* q) { return p[0] * q[0] + p[1] * q[1] + p[2] * q[2]; }

double determinant(const double m[3][3]) {
  return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
         m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

// rows = change · lattice
void apply(const int64_t change[3][3], const double* lattice, double rows[3][3]) {
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < 3; k++) {
      rows[i][k] = static_cast<double>(change[i][0]) * lattice[k] + static_cast<double>(change[i][1]) * lattice[3 + k] + static_cast<double>(change[i][2]) * lattice[6 + k];
    }
  }
}

// Subtracts whole multiples of one row from another while that makes it clearly shorter (pairwise Gauss reduction): not the unique reduced
// cell, but one whose vectors are about as short as the lattice allows. A cell that is reduced already stays as it is, bit for bit.
void reduce(const double* lattice, double rows[3][3], int64_t change[3][3]) {
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
        double shorter[3];
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

Status Periodic::prepare(const Structure& structure) {
  const double* lattice = structure.lattice;
  for (int k = 0; k < 9; k++) {
    if (!std::isfinite(lattice[k]) || std::abs(lattice[k]) > 1e12) return {Failure::not_finite, "The lattice has a component that is not a finite length."};
  }
  for (size_t k = 0; k < structure.sites * 3; k++) {
    if (!std::isfinite(structure.fractional[k])) return {Failure::not_finite, "Site " + std::to_string(k / 3) + " has a coordinate that is not finite."};
  }
  for (size_t k = 0; k < structure.sites; k++) {
    const int32_t number = structure.numbers[k];
    if (number < 1 || number > 118) return {Failure::element, "Site " + std::to_string(k) + " has the atomic number " + std::to_string(number) + "; expected 1 to 118."};
    if (structure.oxidation != nullptr && !std::isfinite(structure.oxidation[k])) return {Failure::not_finite, "Site " + std::to_string(k) + " has an oxidation state that is not finite."};
  }

  reduce(lattice, reduced_, change_);
  volume_ = std::abs(determinant(reduced_));
  const double lengths = std::sqrt(dot(reduced_[0], reduced_[0])) * std::sqrt(dot(reduced_[1], reduced_[1])) * std::sqrt(dot(reduced_[2], reduced_[2]));
  if (!(volume_ > kFlat * lengths)) return {Failure::zero_volume, "The lattice vectors enclose no volume."};

  const double* a = reduced_[0];
  const double* b = reduced_[1];
  const double* c = reduced_[2];
  const double c2 = dot(c, c);
  mu_bc_ = dot(b, c) / c2;
  mu_ac_ = dot(a, c) / c2;
  double across[3], height[3];
  for (int k = 0; k < 3; k++) across[k] = b[k] - mu_bc_ * c[k];
  const double across2 = dot(across, across);
  mu_ab_ = dot(a, across) / across2;
  for (int k = 0; k < 3; k++) height[k] = a[k] - mu_ab_ * across[k] - mu_ac_ * c[k];
  length_[0] = std::sqrt(dot(height, height));
  length_[1] = std::sqrt(across2);
  length_[2] = std::sqrt(c2);

  longest_diagonal_ = 0;
  for (const auto& sign : {std::array{1, 1, 1}, std::array{-1, 1, 1}, std::array{1, -1, 1}, std::array{1, 1, -1}}) {
    double diagonal[3];
    for (int k = 0; k < 3; k++) diagonal[k] = sign[0] * lattice[k] + sign[1] * lattice[3 + k] + sign[2] * lattice[6 + k];
    longest_diagonal_ = std::max(longest_diagonal_, std::sqrt(dot(diagonal, diagonal)));
  }

  double inverse[3][3];
  invert(change_, inverse);
  wrapped_.resize(structure.sites * 3);
  wraps_.resize(structure.sites * 3);
  for (size_t site = 0; site < structure.sites; site++) {
    const double* f = structure.fractional + site * 3;
    for (int k = 0; k < 3; k++) {
      const double at = f[0] * inverse[0][k] + f[1] * inverse[1][k] + f[2] * inverse[2][k];
      const double whole = std::floor(at);
      if (!(std::abs(whole) <= kMaxWraps)) return {Failure::image_range, "Site " + std::to_string(site) + " lies more than 1e9 cells away."};
      wrapped_[site * 3 + k] = at - whole;
      wraps_[site * 3 + k] = static_cast<int64_t>(whole);
    }
  }
  return {};
}

// The lattice as layers (steps of a), lines within a layer (steps of b) and points on a line (steps of c), each level visited only where
// the sphere still reaches it.
Status Periodic::shell(size_t site, double inner2, double outer2, std::vector<Neighbour>& out) const {
  const double reach2 = outer2 * (1 + 1e-9) + 1e-9;
  const double reach = std::sqrt(reach2);
  // Of the box that is gone through, which in a cell much shorter one way than the others holds far more than density times volume.
  double most = static_cast<double>(sites());
  for (const double length : length_) most *= 2 * reach / length + 1;
  if (!(most < kMaxPoints)) {
    return {Failure::too_many, "More than 4e6 atoms may lie within " + std::to_string(std::sqrt(outer2)) + " Å of a site."};
  }
  const double* from = &wrapped_[site * 3];
  const double *a = reduced_[0], *b = reduced_[1], *c = reduced_[2];
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
            return {Failure::coincident, "Sites " + std::to_string(site) + " and " + std::to_string(target) + " lie in one place."};
          }
          // Cells stepped in the reduced lattice, back in the given one.
          const int64_t step[3] = {na - wraps[0], nb - wraps[1], nc - wraps[2]};
          Neighbour neighbour{x, y, z, distance2, static_cast<int32_t>(target), {}};
          for (int k = 0; k < 3; k++) {
            const auto image = static_cast<__int128>(step[0]) * change_[0][k] + static_cast<__int128>(step[1]) * change_[1][k] + static_cast<__int128>(step[2]) * change_[2][k];
            if (image < INT32_MIN || image > INT32_MAX) return {Failure::image_range, "A neighbour of site " + std::to_string(site) + " lies in an image beyond int32."};
            neighbour.image[k] = static_cast<int32_t>(image);
          }
          out.push_back(neighbour);
        }
      }
    }
  }
  return {};
}

void sort_by_distance(std::vector<Neighbour>& neighbours) {
  std::sort(neighbours.begin(), neighbours.end(), [](const Neighbour& p, const Neighbour& q) {
    if (p.distance2 != q.distance2) return p.distance2 < q.distance2;
    return p.site != q.site ? p.site < q.site : p.image < q.image;
  });
}

double cutoff_squared(double cutoff) { return cutoff * cutoff + 1e-8; }

Status neighbours_within(const Periodic& periodic, size_t site, double cutoff, std::vector<Neighbour>& out) {
  out.clear();
  if (!(cutoff >= 0) || !std::isfinite(cutoff)) return {Failure::bad_option, "A cutoff is a finite length."};
  Status status = periodic.shell(site, 0, cutoff_squared(cutoff), out);
  if (!status) sort_by_distance(out);
  return status;
}

}  // namespace tc::crystal
