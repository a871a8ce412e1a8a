#include "niggli.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "lines.h"

namespace tc::crystal {
namespace {

using Integers = std::array<std::array<int64_t, 3>, 3>;

constexpr double kTolerance = 1e-5;
constexpr int kStepsMax = 100;
constexpr int kSwapsMax = 10'000;
// Lattice points that are looked at for the basis; needles have more.
constexpr double kPointsMax = 1e6;

struct Basis {
  Lattice rows;
  // rows = transform · input.
  Integers transform = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
};

// Lenstra, Lenstra & Lovász with delta = 0.75: keeps the metric tensor well conditioned for skewed cells.
Basis lll(const Lattice& rows) {
  Basis basis{rows};
  Lattice& a = basis.rows;
  Lattice b{};    // orthogonal part of each vector
  Vector m{};     // its square
  double u[3][3] = {};
  const auto orthogonalize = [&](int i) {
    b[i] = a[i];
    for (int j = 0; j < i; j++) {
      u[i][j] = dot(a[i], b[j]) / m[j];
      for (int x = 0; x < 3; x++) b[i][x] -= u[i][j] * b[j][x];
    }
    m[i] = dot(b[i], b[i]);
  };
  for (int i = 0; i < 3; i++) orthogonalize(i);
  int swaps = 0;
  for (int k = 1; k < 3;) {
    for (int i = k - 1; i >= 0; i--) {
      const double q = std::nearbyint(u[k][i]);
      if (q == 0) continue;
      if (!(std::abs(q) < 0x1p40)) throw CrystalError(Fault::NotConverged, "the lattice is too skewed to be reduced");
      for (int x = 0; x < 3; x++) {
        a[k][x] -= q * a[i][x];
        basis.transform[k][x] -= static_cast<int64_t>(q) * basis.transform[i][x];
      }
      for (int j = 0; j < i; j++) u[k][j] -= q * u[i][j];
      u[k][i] -= q;
    }
    if (m[k] >= (0.75 - u[k][k - 1] * u[k][k - 1]) * m[k - 1]) {
      k++;
      continue;
    }
    if (++swaps > kSwapsMax) throw CrystalError(Fault::NotConverged, "the LLL reduction does not end");
    std::swap(a[k], a[k - 1]);
    std::swap(basis.transform[k], basis.transform[k - 1]);
    for (int i = k - 1; i < 3; i++) orthogonalize(i);
    k = std::max(1, k - 1);
  }
  return basis;
}

// The metric tensor on its way through the steps A1 to A8 of the paper, whose names these are: A = a·a, B, C, and xi = 2 b·c, eta = 2 a·c, zeta = 2 a·b.
struct Metric {
  double g[3][3];
  Integers transform;  // columns are the new vectors: G' = MᵀGM

  void apply(const int (&m)[3][3]) {
    double half[3][3] = {}, next[3][3] = {};
    Integers product{};
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) {
        for (int k = 0; k < 3; k++) half[i][j] += g[i][k] * m[k][j], product[i][j] += m[k][i] * transform[k][j];
      }
    }
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) {
        for (int k = 0; k < 3; k++) next[i][j] += m[k][i] * half[k][j];
      }
    }
    std::copy(&next[0][0], &next[0][0] + 9, &g[0][0]);
    transform = product;
  }

  // One pass; true when nothing was left to do. As in pymatgen, what was taken before A1 still serves A2 to A4: where A1 swapped two vectors, A3 and A4 can turn the wrong
  // one round, and a cell of three acute angles comes out with one acute and two obtuse.
  bool step(double e) {
    double A = g[0][0], B = g[1][1], C = g[2][2], xi = 2 * g[1][2], eta = 2 * g[0][2], zeta = 2 * g[0][1];
    if (A > B + e || (std::abs(A - B) < e && std::abs(xi) > std::abs(eta) + e)) apply({{0, -1, 0}, {-1, 0, 0}, {0, 0, -1}});
    if (B > C + e || (std::abs(B - C) < e && std::abs(eta) > std::abs(zeta) + e)) {
      apply({{-1, 0, 0}, {0, 0, -1}, {0, -1, 0}});
      return false;
    }
    const int l = std::abs(xi) < e ? 0 : xi > 0 ? 1 : -1, m = std::abs(eta) < e ? 0 : eta > 0 ? 1 : -1, n = std::abs(zeta) < e ? 0 : zeta > 0 ? 1 : -1;
    if (l * m * n == 1) {
      apply({{l, 0, 0}, {0, m, 0}, {0, 0, n}});
    } else {
      int i = l == 1 ? -1 : 1, j = m == 1 ? -1 : 1, k = n == 1 ? -1 : 1;
      if (i * j * k == -1) {
        if (n == 0) k = -1;
        else if (m == 0) j = -1;
        else if (l == 0) i = -1;
      }
      apply({{i, 0, 0}, {0, j, 0}, {0, 0, k}});
    }
    A = g[0][0], B = g[1][1], C = g[2][2], xi = 2 * g[1][2], eta = 2 * g[0][2], zeta = 2 * g[0][1];
    if (std::abs(xi) > B + e || (std::abs(xi - B) < e && 2 * eta < zeta - e) || (std::abs(xi + B) < e && zeta < -e)) {
      apply({{1, 0, 0}, {0, 1, xi > 0 ? -1 : 1}, {0, 0, 1}});
      return false;
    }
    if (std::abs(eta) > A + e || (std::abs(A - eta) < e && 2 * xi < zeta - e) || (std::abs(A + eta) < e && zeta < -e)) {
      apply({{1, 0, eta > 0 ? -1 : 1}, {0, 1, 0}, {0, 0, 1}});
      return false;
    }
    if (std::abs(zeta) > A + e || (std::abs(A - zeta) < e && 2 * xi < eta - e) || (std::abs(A + zeta) < e && eta < -e)) {
      apply({{1, zeta > 0 ? -1 : 1, 0}, {0, 1, 0}, {0, 0, 1}});
      return false;
    }
    const double sum = xi + eta + zeta + A + B;
    if (sum < -e || (std::abs(sum) < e && e < zeta + (A + eta) * 2)) {
      apply({{1, 0, 1}, {0, 1, 1}, {0, 0, 1}});
      return false;
    }
    return true;
  }
};

struct Point {
  std::array<int64_t, 3> index;
  Vector at;
  double length;
  int octant;
};

// pymatgen does not keep track of the basis: it looks for vectors of the input lattice that have the reduced lengths within a relative epsilon and the reduced
// angles within 1 degree, and takes the first three that it meets. Which one that is depends on the order in which its cell list gives lattice points: by cube
// of the space around the origin (each coordinate below -1e-8, or not, or at the radius), and within a cube in falling order of indices.
bool first_match(const Lattice& rows, const Vector& lengths, const Vector& angles, double e, Integers& found) {
  const double radius = std::max({lengths[0], lengths[1], lengths[2]}) * (1 + e);
  const double volume = std::abs(determinant(rows));
  if (!(4.2 * radius * radius * radius < kPointsMax * volume)) return false;
  const Lines lines = Lines::of(rows, radius + 1e-6, false);
  std::vector<Point> points[3];
  const auto visit = [&](int64_t i, int64_t j, int64_t k, const Vector& at) {
    const double d2 = dot(at, at);
    if (!(d2 < radius * radius + 1e-8)) return;
    const double d = std::sqrt(d2);
    int octant = 0;
    for (const double x : at) octant = octant * 3 + (x < -1e-8 ? 0 : x < radius - 1e-8 ? 1 : 2);
    for (int v = 0; v < 3; v++) {
      if (d / lengths[v] < 1 + e && d / lengths[v] > 1 / (1 + e)) points[v].push_back({{i, j, k}, at, d, octant});
    }
  };
  const Vector& half = lines.half;
  for (int64_t i = ceil_of(-half[0]), i_end = floor_of(half[0]); i <= i_end; i++) {
    Vector plane;
    for (int x = 0; x < 3; x++) plane[x] = static_cast<double>(i) * rows[0][x];
    const double cj = -dot(plane, lines.dual[1]);
    for (int64_t j = ceil_of(cj - half[1]), j_end = floor_of(cj + half[1]); j <= j_end; j++) {
      Vector line;
      for (int x = 0; x < 3; x++) line[x] = plane[x] + static_cast<double>(j) * rows[1][x];
      const double ck = -dot(line, lines.dual[2]);
      for (int64_t k = ceil_of(ck - half[2]), k_end = floor_of(ck + half[2]); k <= k_end; k++) {
        Vector at;
        for (int x = 0; x < 3; x++) at[x] = line[x] + static_cast<double>(k) * rows[2][x];
        visit(i, j, k, at);
      }
    }
  }
  for (auto& list : points) {
    std::sort(list.begin(), list.end(), [](const Point& p, const Point& q) { return p.octant != q.octant ? p.octant < q.octant : p.index > q.index; });
  }
  const auto angle_fits = [](const Point& p, const Point& q, double angle) { return std::abs(degrees_of_cosine(dot(p.at, q.at) / p.length / q.length) - angle) < 1; };
  for (const Point& a : points[0]) {
    for (const Point& b : points[1]) {
      if (!angle_fits(a, b, angles[2])) continue;
      for (const Point& c : points[2]) {
        if (!angle_fits(b, c, angles[0]) || !angle_fits(a, c, angles[1])) continue;
        found = {a.index, b.index, c.index};
        const auto& t = found;
        const int64_t det = t[0][0] * (t[1][1] * t[2][2] - t[1][2] * t[2][1]) - t[0][1] * (t[1][0] * t[2][2] - t[1][2] * t[2][0]) + t[0][2] * (t[1][0] * t[2][1] - t[1][1] * t[2][0]);
        if (det == 1 || det == -1) return true;
      }
    }
  }
  return false;
}

Lattice product(const Integers& transform, const Lattice& rows) {
  Lattice result;
  for (int i = 0; i < 3; i++) {
    for (int x = 0; x < 3; x++) {
      result[i][x] = static_cast<double>(transform[i][0]) * rows[0][x] + static_cast<double>(transform[i][1]) * rows[1][x] + static_cast<double>(transform[i][2]) * rows[2][x];
    }
  }
  return result;
}

}  // namespace

NiggliCell niggli(const Lattice& rows) {
  require_lattice(rows);
  const Basis start = lll(rows);
  // The cube root of the volume, by Newton's steps from above.
  const double volume = std::abs(determinant(rows));
  double root = std::max(1.0, volume);
  for (double next; (next = (2 * root + volume / (root * root)) / 3) < root;) root = next;
  const double e = kTolerance * root;

  Metric metric;
  metric.transform = start.transform;
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 3; j++) metric.g[i][j] = dot(start.rows[i], start.rows[j]);
  }
  int steps = 1;
  while (!metric.step(e)) {
    if (++steps > kStepsMax) throw CrystalError(Fault::NotConverged, "the Niggli reduction does not end within 100 steps");
  }

  const auto& g = metric.g;
  Vector lengths, angles;
  for (int k = 0; k < 3; k++) lengths[k] = std::sqrt(g[k][k]);
  for (int k = 0; k < 3; k++) angles[k] = degrees_of_cosine(g[(k + 1) % 3][(k + 2) % 3] / lengths[(k + 1) % 3] / lengths[(k + 2) % 3]);
  Integers transform;
  if (!first_match(rows, lengths, angles, e, transform)) transform = metric.transform;

  NiggliCell cell;
  cell.lattice = product(transform, rows);
  if (determinant(cell.lattice) < 0) {
    for (int i = 0; i < 3; i++) {
      for (int x = 0; x < 3; x++) {
        transform[i][x] = -transform[i][x];
        cell.lattice[i][x] = -cell.lattice[i][x];
      }
    }
  }
  for (int i = 0; i < 3; i++) {
    for (int x = 0; x < 3; x++) {
      if (std::abs(transform[i][x]) > INT32_MAX) throw CrystalError(Fault::NotConverged, "the lattice is too skewed to be reduced");
      cell.transform[i][x] = static_cast<int32_t>(transform[i][x]);
    }
  }
  cell.unchanged = true;
  for (int i = 0; i < 3; i++) {
    for (int x = 0; x < 3; x++) cell.unchanged = cell.unchanged && std::abs(cell.lattice[i][x] - rows[i][x]) <= 1e-8 + 1e-5 * std::abs(rows[i][x]);
  }
  if (cell.unchanged) {
    cell.lattice = rows;
    cell.transform = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  }
  cell.parameters = parameters_of(cell.lattice);
  cell.standard = standard_lattice(cell.parameters.lengths, cell.parameters.cosines);
  return cell;
}

void niggli_coordinates(const NiggliCell& cell, std::span<const double> frac, std::span<double> out) {
  // frac' = frac · transform⁻¹; the inverse of a unimodular matrix is of integers, so that 1/2 stays 1/2.
  const auto& t = cell.transform;
  const auto at = [&](int i, int j) { return static_cast<int64_t>(t[i % 3][j % 3]); };
  const int64_t det = at(0, 0) * (at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1)) - at(0, 1) * (at(1, 0) * at(2, 2) - at(1, 2) * at(2, 0)) + at(0, 2) * (at(1, 0) * at(2, 1) - at(1, 1) * at(2, 0));
  double inverse[3][3];
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 3; j++) inverse[i][j] = static_cast<double>(det * (at(j + 1, i + 1) * at(j + 2, i + 2) - at(j + 1, i + 2) * at(j + 2, i + 1)));
  }
  for (size_t k = 0; k < frac.size(); k += 3) {
    const Vector f = {frac[k], frac[k + 1], frac[k + 2]};
    for (const double x : f) {
      if (!(std::abs(x) < 0x1p50)) throw CrystalError(Fault::NotFinite, "coordinates of atom " + std::to_string(k / 3) + " are not finite, or beyond 2^50 cells");
    }
    for (int j = 0; j < 3; j++) {
      const double x = cell.unchanged ? f[j] : f[0] * inverse[0][j] + f[1] * inverse[1][j] + f[2] * inverse[2][j];
      const double wrapped = x - std::floor(x);
      out[k + j] = cell.unchanged ? x : wrapped < 1 ? wrapped : 0;
    }
  }
}

}  // namespace tc::crystal
