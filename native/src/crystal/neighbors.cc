#include "neighbors.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "error.h"

namespace tc::crystal {
namespace {

// Squares of exact displacements in float64 are right to 2^-51: nearer to the limit than this, the integers decide.
constexpr double kDoubt = 0x1p-49;
// Below this all displacements on the way are multiples of 2^-40 that a float64 holds exactly.
constexpr double kExactBelow = 4096;
constexpr double kImageMax = 32767;

std::string describe(uint32_t source, uint32_t target, int64_t i, int64_t j, int64_t k) {
  return std::to_string(source) + " and " + std::to_string(target) + ", image " + std::to_string(i) + " " + std::to_string(j) + " " + std::to_string(k);
}

Key key_at(const Vector& at) {
  const double key = dot(at, at) * 0x1p30 + 0.5;
  const double whole = static_cast<double>(static_cast<int64_t>(key));
  const double doubt = key * kDoubt;
  if (key - whole <= doubt || whole + 1 - key <= doubt) return key_of(square_of(steps_of(at)));
  return static_cast<Key>(whole);
}

}  // namespace

double radius_for_nearest(const ExactCell& cell, uint32_t nearest, size_t step) {
  const double volume = std::abs(determinant(cell.lattice)) / static_cast<double>(cell.atoms());
  const double radius = std::cbrt(volume * (nearest + 1.0) / 2) * std::pow(1.3, static_cast<double>(step));
  if (!(radius <= kCutoffMax)) throw CrystalError(Fault::TooManyEdges, std::to_string(nearest) + " neighbours are not found within 1024 Å");
  return radius;
}

NeighborFinder::NeighborFinder(const NeighborOptions& options) : options_(options) {
  if (options.nearest == 0 && !(options.cutoff > 0 && options.cutoff <= kCutoffMax)) throw std::invalid_argument("cutoff must be above 0 and at most 1024 Å");
}

void NeighborFinder::prepare(Sphere& sphere, Key limit) {
  sphere.limit = limit;
  sphere.radius = std::sqrt((static_cast<double>(limit) + 1) * 0x1p-30);
  const double volume = std::abs(determinant(cell_.lattice)), atoms = static_cast<double>(cell_.atoms());
  const double expected = atoms * atoms * 4.19 * sphere.radius * sphere.radius * sphere.radius / volume;
  if (expected > 2 * static_cast<double>(options_.edges_max)) {
    throw CrystalError(Fault::TooManyEdges, "about " + std::to_string(static_cast<uint64_t>(std::min(expected, 1e18))) + " edges would be found, more than " + std::to_string(options_.edges_max));
  }
  sphere.lines = Lines::of(cell_.lattice, sphere.radius, true);
  // The second: sums of steps stay within int64.
  if (!(sphere.lines.half[0] <= kImageMax) || !(sphere.lines.farthest < 0x1p22)) throw CrystalError(Fault::ImageRange, "the cell is so skewed that neighbours could lie in images beyond ±32767");
  sphere.candidates.assign(cell_, sphere.radius);
}

// Calls found(target, images, first point, points on the line) for each line of images that comes near: displacements are first + k · c.
template <typename Found>
void NeighborFinder::around(const Sphere& sphere, uint32_t source, Found&& found) const {
  const Lines& lines = sphere.lines;
  const Lattice& rows = cell_.lattice;
  const bool exact = lines.farthest < kExactBelow;
  for (const uint32_t target : sphere.candidates.of(source)) {
    Steps apart;
    Vector from;
    for (int x = 0; x < 3; x++) {
      apart[x] = cell_.positions[target][x] - cell_.positions[source][x];
      from[x] = static_cast<double>(apart[x]) * kStep;
    }
    const double ci = -dot(from, lines.dual[0]);
    for (int64_t i = ceil_of(ci - lines.half[0]), i_end = floor_of(ci + lines.half[0]); i <= i_end; i++) {
      Vector plane;
      for (int x = 0; x < 3; x++) plane[x] = from[x] + static_cast<double>(i) * rows[0][x];
      const double cj = -dot(plane, lines.dual[1]);
      for (int64_t j = ceil_of(cj - lines.half[1]), j_end = floor_of(cj + lines.half[1]); j <= j_end; j++) {
        Vector line;
        for (int x = 0; x < 3; x++) line[x] = plane[x] + static_cast<double>(j) * rows[1][x];
        const double ck = -dot(line, lines.dual[2]);
        const int64_t k = ceil_of(ck - lines.half[2]), k_end = floor_of(ck + lines.half[2]);
        if (k > k_end) continue;
        if (exact) {
          for (int x = 0; x < 3; x++) line[x] += static_cast<double>(k) * rows[2][x];
          found(target, i, j, k, static_cast<int>(k_end - k + 1), line);
          continue;
        }
        for (int64_t at = k; at <= k_end; at++) found(target, i, j, at, 1, cell_.displacement(source, target, {i, j, at}));
      }
    }
  }
}

void NeighborFinder::append_all(Edges& edges) {
  const Sphere& sphere = spheres_[0];
  const double limit = (static_cast<double>(sphere.limit) + 0.5) * 0x1p-30;
  const double inside = limit * (1 - kDoubt), outside = limit * (1 + kDoubt);
  const Vector c = cell_.lattice[2];
  size_t size = edges.size;
  const size_t most = size + options_.edges_max;
  for (uint32_t source = 0; source < cell_.atoms(); source++) {
    const auto home = cell_.cells[source];
    around(sphere, source, [&](uint32_t target, int64_t i, int64_t j, int64_t k, int points, Vector at) {
      const auto& away = cell_.cells[target];
      const int64_t ii = i + home[0] - away[0], jj = j + home[1] - away[1];
      int64_t kk = k + home[2] - away[2];
      edges.size = size;
      edges.reserve(size + points);
      int32_t* const sources = edges.source.data();
      int32_t* const targets = edges.target.data();
      int16_t* const images = edges.image.data();
      float* const distances = edges.distance.data();
      float* const vectors = edges.vector.data();
      for (int p = 0; p < points; p++, kk++, at[0] += c[0], at[1] += c[1], at[2] += c[2]) {
        const double square = dot(at, at);
        if (square > inside && (square >= outside || key_of(square_of(steps_of(at))) > sphere.limit)) continue;
        if (square < 0x1p-19) [[unlikely]] {
          const bool self = source == target && ii == 0 && jj == 0 && kk == 0;
          if (self && !options_.self_loops) continue;
          if (!self && key_of(square_of(steps_of(at))) < kCoincident) throw CrystalError(Fault::Coincident, "one place holds atoms " + describe(source, target, ii, jj, kk));
        }
        if (ii != static_cast<int16_t>(ii) || jj != static_cast<int16_t>(jj) || kk != static_cast<int16_t>(kk)) [[unlikely]] {
          throw CrystalError(Fault::ImageRange, "an image is beyond int16: atoms " + describe(source, target, ii, jj, kk));
        }
        sources[size] = static_cast<int32_t>(source);
        targets[size] = static_cast<int32_t>(target);
        images[3 * size] = static_cast<int16_t>(ii);
        images[3 * size + 1] = static_cast<int16_t>(jj);
        images[3 * size + 2] = static_cast<int16_t>(kk);
        distances[size] = distance_at(at, square);
        for (int x = 0; x < 3; x++) vectors[3 * size + x] = static_cast<float>(at[x]);
        size++;
      }
      if (size > most) throw CrystalError(Fault::TooManyEdges, "more than " + std::to_string(options_.edges_max) + " edges");
    });
  }
  edges.size = size;
}

NeighborFinder::Sphere& NeighborFinder::sphere_for_nearest(size_t step) {
  if (spheres_.size() <= step) spheres_.resize(step + 1);
  if (prepared_ <= step) {
    prepare(spheres_[step], key_of_cutoff(radius_for_nearest(cell_, options_.nearest, step)));
    prepared_ = step + 1;
  }
  return spheres_[step];
}

uint64_t NeighborFinder::append_nearest(Edges& edges) {
  const bool knn = options_.nearest > 0;
  const size_t wanted = knn ? options_.nearest : options_.max_neighbors;
  const size_t most = edges.size + options_.edges_max;
  uint64_t cut = 0;
  for (uint32_t source = 0; source < cell_.atoms(); source++) {
    const auto home = cell_.cells[source];
    size_t self = 0;
    for (size_t step = 0;; step++) {
      const Sphere& sphere = knn ? sphere_for_nearest(step) : spheres_[0];
      const Vector c = cell_.lattice[2];
      const double outside = (static_cast<double>(sphere.limit) + 1) * 0x1p-30;
      hits_.clear();
      self = 0;
      around(sphere, source, [&](uint32_t target, int64_t i, int64_t j, int64_t k, int points, Vector at) {
        const auto& away = cell_.cells[target];
        const int64_t ii = i + home[0] - away[0], jj = j + home[1] - away[1];
        int64_t kk = k + home[2] - away[2];
        for (int p = 0; p < points; p++, kk++, at[0] += c[0], at[1] += c[1], at[2] += c[2]) {
          if (dot(at, at) > outside) continue;
          const Key key = key_at(at);
          if (key > sphere.limit) continue;
          const bool itself = source == target && ii == 0 && jj == 0 && kk == 0;
          if (itself && !options_.self_loops) continue;
          if (!itself && key < kCoincident) throw CrystalError(Fault::Coincident, "one place holds atoms " + describe(source, target, ii, jj, kk));
          if (ii != static_cast<int16_t>(ii) || jj != static_cast<int16_t>(jj) || kk != static_cast<int16_t>(kk)) {
            throw CrystalError(Fault::ImageRange, "an image is beyond int16: atoms " + describe(source, target, ii, jj, kk));
          }
          self += itself;
          hits_.push_back({key, static_cast<int32_t>(target), {static_cast<int16_t>(ii), static_cast<int16_t>(jj), static_cast<int16_t>(kk)}, at});
        }
      });
      if (!knn || hits_.size() - self >= wanted) break;
    }
    // The atom itself has key 0, before all others.
    const size_t kept = wanted + self;
    if (hits_.size() > kept) {
      // Hits come in the order of (target, image), so their positions break ties.
      order_.resize(hits_.size());
      std::iota(order_.begin(), order_.end(), 0u);
      const auto nearer = [&](uint32_t a, uint32_t b) { return hits_[a].key != hits_[b].key ? hits_[a].key < hits_[b].key : a < b; };
      std::nth_element(order_.begin(), order_.begin() + (kept - 1), order_.end(), nearer);
      const uint32_t last = order_[kept - 1];
      const Key reach = hits_[last].key;
      const bool all = knn && options_.ties == Ties::Keep;
      size_t left = 0;
      for (uint32_t at = 0; at < hits_.size(); at++) {
        if (hits_[at].key < reach || (hits_[at].key == reach && (all || at <= last))) hits_[left++] = hits_[at];
      }
      if (!knn) cut += hits_.size() - left;
      hits_.resize(left);
    }
    edges.reserve(edges.size + hits_.size());
    for (const Hit& hit : hits_) edges.put(static_cast<int32_t>(source), hit.target, hit.image, hit.at);
    if (edges.size > most) throw CrystalError(Fault::TooManyEdges, "more than " + std::to_string(options_.edges_max) + " edges");
  }
  return cut;
}

uint64_t NeighborFinder::append(const Lattice& lattice, std::span<const double> frac, Edges& edges) {
  cell_.assign(lattice, frac);
  if (cell_.atoms() == 0) return 0;
  prepared_ = 0;
  const size_t before = edges.size;
  try {
    if (options_.nearest > 0) return append_nearest(edges);
    if (spheres_.empty()) spheres_.resize(1);
    prepare(spheres_[0], key_of_cutoff(options_.cutoff));
    if (options_.max_neighbors > 0) return append_nearest(edges);
    append_all(edges);
    return 0;
  } catch (...) {
    edges.size = before;
    throw;
  }
}

}  // namespace tc::crystal
