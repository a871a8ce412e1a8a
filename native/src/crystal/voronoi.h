// The Voronoi cell of a point at the origin among other points: a cube, cut by the bisector plane of one point after the other.
//
// Crystals put many points on one sphere around a vertex, so planes meet vertices that are already there, up to rounding. The cell is kept
// combinatorially simple (three facets at every vertex) whatever the signs of such near-zero distances are: a plane that only touches may
// leave facets of no area and vertices that coincide, never a broken polyhedron.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tc::crystal {

class VoronoiCell {
 public:
  struct Facet {
    int32_t point;  // as given to cut(), or negative: a side of the cube, so the cell is not closed
    uint32_t first, count;
  };

  // Starts over with a cube of 2 · half_width.
  void start(double half_width);

  // Takes away what lies nearer to (x, y, z) than to the origin. False when that is nothing.
  bool cut(double x, double y, double z, int32_t point);

  // A point farther than this cannot cut: twice the distance of the farthest vertex (squared).
  double security2() const { return 4 * farthest2_; }

  bool closed() const;
  bool full() const { return full_; }  // a cut was left out: more vertices than identifiers
  const std::vector<Facet>& facets() const { return facets_; }

  struct Measure {
    double solid_angle;  // as seen from the origin, in sr
    double area;         // Å²
  };
  // `distance` from the origin to the facet's plane. Vertices go round the facet, and the triangles from its first vertex fill it.
  Measure measure(const Facet& facet, double distance) const;

  // Vertex k of a facet, 0 ≤ k < count.
  void vertex(const Facet& facet, uint32_t k, double* xyz) const;

 private:
  struct CutEdge {
    uint32_t key;   // kept vertex · 2¹⁶ + vertex that is cut off
    uint16_t id;    // of the new vertex between them
    int32_t next;   // along the new facet, as an index into cut_edges_
  };
  int32_t split(uint16_t kept, uint16_t lost);
  uint16_t place(double x, double y, double z);

  // Vertices, with slots that are not used parked at the origin, where no plane reaches them.
  std::vector<double> x_, y_, z_, beyond_;
  std::vector<uint16_t> unused_;
  size_t slots_ = 0;
  std::vector<Facet> facets_, next_facets_;
  std::vector<uint16_t> loops_, next_loops_;  // vertices of all facets
  std::vector<CutEdge> cut_edges_;
  size_t used_ = 0;                           // of loops_, which only grows
  double farthest2_ = 0;
  bool full_ = false;
};

}  // namespace tc::crystal
