// Neighbour lists of periodic structures: all images, any cell shape, decided in integers (exact.h). kernels/neighbors-count.wgsl and neighbors-fill.wgsl give the same bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "candidates.h"
#include "exact.h"
#include "lines.h"

namespace tc::crystal {

// Growing memory without zeroing.
template <typename T>
class Column {
 public:
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  void reserve(size_t wanted, size_t used) {
    if (wanted <= capacity_) return;
    capacity_ = wanted + wanted / 2;
    auto larger = std::make_unique_for_overwrite<T[]>(capacity_);
    if (used > 0) std::memcpy(larger.get(), data_.get(), used * sizeof(T));
    data_ = std::move(larger);
  }

 private:
  std::unique_ptr<T[]> data_;
  size_t capacity_ = 0;
};

// Directed edges, sorted by (source, target, image) within each structure; atoms are counted from 0 in each.
struct Edges {
  size_t size = 0;
  Column<int32_t> source, target;
  Column<int16_t> image;     // [size][3]
  Column<float> distance;    // the exact distance, rounded once
  Column<float> vector;      // [size][3]: (frac[target] + image - frac[source]) · lattice, each component rounded once

  void reserve(size_t wanted) {
    if (wanted <= capacity_) return;
    capacity_ = wanted + wanted / 2;
    source.reserve(capacity_, size);
    target.reserve(capacity_, size);
    image.reserve(3 * capacity_, 3 * size);
    distance.reserve(capacity_, size);
    vector.reserve(3 * capacity_, 3 * size);
  }

 private:
  size_t capacity_ = 0;
};

enum class Ties : uint8_t { Keep, Cut };

struct NeighborOptions {
  // radius: neighbours within `cutoff` Å, up to 1024, of each atom. Not used when `nearest` is given.
  double cutoff = 0;
  // At most so many of them, the nearest first, ties by (target, image); 0 for all. What is left out is counted.
  uint32_t max_neighbors = 0;
  // knn: so many nearest neighbours of each atom; 0 for radius.
  uint32_t nearest = 0;
  // knn: all as near as the last one, or by (target, image) until there are enough.
  Ties ties = Ties::Keep;
  // An edge from each atom to itself; it counts towards nothing.
  bool self_loops = false;
  // Refuses structures with more.
  uint64_t edges_max = uint64_t{1} << 31;
};

// Radii in which the k nearest are looked for, each 1.3 times the one before; the first holds about twice as many atoms in the mean. Throws CrystalError (TooManyEdges) beyond kCutoffMax.
double radius_for_nearest(const ExactCell& cell, uint32_t nearest, size_t step);

// Finds edges of one structure after another; keeps its memory.
class NeighborFinder {
 public:
  explicit NeighborFinder(const NeighborOptions& options);

  // Appends the edges of a structure; returns how many max_neighbors cut. Throws CrystalError (and leaves `edges` as it was).
  uint64_t append(const Lattice& lattice, std::span<const double> frac, Edges& edges);

 private:
  // What is prepared for a structure and a radius.
  struct Sphere {
    Key limit;
    double radius;
    Lines lines;
    Candidates candidates;
  };
  struct Hit {
    Key key;
    int32_t target;
    int16_t image[3];
    Vector at;
  };
  void prepare(Sphere& sphere, Key limit);
  template <typename Found>
  void around(const Sphere& sphere, uint32_t source, Found&& found) const;
  void append_all(Edges& edges);
  uint64_t append_nearest(Edges& edges);
  void put(Edges& edges, uint32_t source, const Hit& hit) const;
  Sphere& sphere_for_nearest(size_t step);

  NeighborOptions options_;
  ExactCell cell_;
  std::vector<Sphere> spheres_;
  size_t prepared_ = 0;
  std::vector<Hit> hits_;
  std::vector<uint32_t> order_;
};

}  // namespace tc::crystal
