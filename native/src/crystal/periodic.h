// A structure, and the periodic images of its atoms around a site.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lattice.h"

namespace tc::crystal {

// A view; whoever makes it keeps the arrays. Coordinates may lie outside the cell; images are counted from them as they are given.
struct Structure {
  Lattice lattice;
  std::span<const double> frac;     // [atoms][3]
  std::span<const int32_t> numbers; // [atoms] atomic numbers
  std::span<const double> oxidation = {};  // [atoms] oxidation states, or none

  size_t atoms() const { return numbers.size(); }
};

struct Neighbour {
  double x, y, z;    // from the site to this atom, in Å
  double distance2;  // x² + y² + z²
  int32_t site;      // the vector is (frac[site] + image − frac[centre]) · lattice
  std::array<int32_t, 3> image;
};

// A structure made ready for enumeration. Images are enumerated in a reduced cell (short vectors, same lattice), so that the shape
// of the given cell costs nothing; coordinates are wrapped into it once.
class Periodic {
 public:
  // Throws CrystalError: NotFinite, Flat, Element, ImageRange.
  void prepare(const Structure& structure);

  // Appends every periodic atom with inner2 ≤ distance² < outer2 around a site, itself left out. In no particular order, but always the same.
  // Throws CrystalError: Coincident, ImageRange, TooManyPoints.
  void shell(size_t site, double inner2, double outer2, std::vector<Neighbour>& out) const;

  size_t sites() const { return wrapped_.size() / 3; }
  double volume() const { return volume_; }
  double longest_diagonal() const { return longest_diagonal_; }  // of the cell as it was given

 private:
  Lattice reduced_;
  int64_t change_[3][3];        // reduced = change · lattice
  double length_[3];            // of the reduced rows made orthogonal from the last to the first
  double mu_ab_, mu_ac_, mu_bc_;
  double volume_, longest_diagonal_;
  std::vector<double> wrapped_;   // [sites][3] in the reduced cell, 0 ≤ w < 1
  std::vector<int64_t> wraps_;    // [sites][3] whole cells taken away
};

// Nearest first; atoms at one distance by site, then by image.
void sort_by_distance(std::vector<Neighbour>& neighbours);

// All of them within a cutoff, sorted. Whether an atom at the cutoff itself belongs to it is decided as pymatgen does: distance² < cutoff² + 1e-8 Å².
void neighbours_within(const Periodic& periodic, size_t site, double cutoff, std::vector<Neighbour>& out);
double cutoff_squared(double cutoff);

}  // namespace tc::crystal
