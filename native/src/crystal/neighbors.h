// Neighbour lists of periodic structures: all images, any cell shape, decided in integers (exact.h). kernels/neighbors-count.wgsl and neighbors-fill.wgsl give the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "candidates.h"
#include "edges.h"
#include "exact.h"
#include "lines.h"

namespace tc::crystal {

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
    std::array<int16_t, 3> image;
    Vector at;
  };
  void prepare(Sphere& sphere, Key limit);
  template <typename Found>
  void around(const Sphere& sphere, uint32_t source, Found&& found) const;
  void append_all(Edges& edges);
  uint64_t append_nearest(Edges& edges);
  Sphere& sphere_for_nearest(size_t step);

  NeighborOptions options_;
  ExactCell cell_;
  std::vector<Sphere> spheres_;
  size_t prepared_ = 0;
  std::vector<Hit> hits_;
  std::vector<uint32_t> order_;
};

}  // namespace tc::crystal
