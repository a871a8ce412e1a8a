// Crystals: a lattice, atoms in it, and the periodic images of an atom around a site.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tc::crystal {

enum class Failure : uint8_t {
  none,
  not_finite,    // a NaN or an infinity in the lattice, the coordinates or the options
  zero_volume,   // the lattice vectors lie in a plane
  element,       // an atomic number outside 1 … 118, or an element without the radius that is asked for
  coincident,    // two atoms in one place
  image_range,   // an image that int16 does not hold
  unbounded,     // a Voronoi cell that no cutoff closes
  no_targets,    // cation_anion: nothing of the opposite charge around the site
  too_many,      // more points within a cutoff than memory should hold
  bad_option,
};

struct Status {
  Failure failure = Failure::none;
  std::string text;
  explicit operator bool() const { return failure != Failure::none; }  // true when something is wrong
};

// A view; whoever makes it keeps the arrays. Coordinates may lie outside the cell; images are counted from them as they are given.
struct Structure {
  const double* lattice;     // [3][3], rows a, b, c in Å
  const double* fractional;  // [sites][3]
  const int32_t* numbers;    // [sites] atomic numbers
  const double* oxidation;   // [sites] oxidation states, or null
  size_t sites;
};

struct Neighbour {
  double x, y, z;    // from the site to this atom, in Å
  double distance2;  // x² + y² + z²
  int32_t site;      // the vector is (fractional[site] + image − fractional[centre]) · lattice
  std::array<int32_t, 3> image;
};

// A structure made ready for enumeration. Images are enumerated in a reduced cell (short vectors, same lattice), so that the shape
// of the given cell costs nothing; coordinates are wrapped into it once.
class Periodic {
 public:
  Status prepare(const Structure& structure);

  // Appends every periodic atom with inner2 ≤ distance² < outer2 around a site, itself left out. In no particular order, but always the same.
  Status shell(size_t site, double inner2, double outer2, std::vector<Neighbour>& out) const;

  size_t sites() const { return wrapped_.size() / 3; }
  double volume() const { return volume_; }
  double longest_diagonal() const { return longest_diagonal_; }  // of the cell as it was given

 private:
  double reduced_[3][3];        // rows
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
Status neighbours_within(const Periodic& periodic, size_t site, double cutoff, std::vector<Neighbour>& out);
double cutoff_squared(double cutoff);

}  // namespace tc::crystal
