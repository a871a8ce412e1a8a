// Geometry in integers: what decides which atoms are neighbours, and in what order, is exact from here on, on every processor.
//
// Cartesian coordinates and lattice vectors are rounded once, from float64, to steps of 2^-40 Å; a displacement is then a sum of integers, and its square D is known
// exactly in steps of 2^-80 Å². Distances are compared by their key, D rounded to steps of 2^-30 Å² (9.3e-10): distances that differ only by the rounding
// of the coordinates are equal, so that ties of symmetry are ties.
//
// Against the same geometry in real numbers a displacement is wrong by at most 2^-41 (2 + |i| + |j| + |k|) Å per component, for an image (i, j, k): below 1e-11 Å for images up to 10.
// Together with the rounding of the key, d² is decided within 5e-10 Å² + 2e-11 Å · d.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lattice.h"

namespace tc::crystal {

// Squared distance in steps of 2^-30 Å².
using Key = uint64_t;
using Wide = unsigned __int128;
using Signed = __int128;
using Steps = std::array<int64_t, 3>;

constexpr double kStep = 0x1p-40;
constexpr double kCutoffMax = 1024;
// Nearer than about 2^-10 Å, two atoms are in one place.
constexpr Key kCoincident = 1024;

// The largest key within the cutoff. pymatgen takes d² < r² + 1e-8; this is the same rule.
inline Key key_of_cutoff(double cutoff) { return static_cast<Key>(cutoff * cutoff * 0x1p30 + 0.5) + 10; }

struct ExactCell {
  std::array<Steps, 3> rows;
  // Of atoms wrapped into the cell, and how many cells they were wrapped by.
  std::vector<Steps> positions;
  std::vector<std::array<int64_t, 3>> cells;
  std::vector<Vector> wrapped;  // fractional, in [0, 1)
  // `rows` in Å, exactly.
  Lattice lattice;

  // Throws CrystalError: NotFinite, Flat.
  void assign(const Lattice& lattice, std::span<const double> frac);
  size_t atoms() const { return positions.size(); }

  // From one wrapped atom to an image of another, in Å: exact within 4096 Å.
  Vector displacement(size_t source, size_t target, const std::array<int64_t, 3>& image) const {
    Vector at;
    for (int x = 0; x < 3; x++) {
      Signed sum = static_cast<Signed>(positions[target][x]) - positions[source][x];
      for (int k = 0; k < 3; k++) sum += static_cast<Signed>(image[k]) * rows[k][x];
      at[x] = static_cast<double>(sum) * kStep;
    }
    return at;
  }
};

inline Wide square_of(const Steps& d) {
  Wide sum = 0;
  for (const int64_t x : d) {
    const uint64_t size = x < 0 ? -static_cast<uint64_t>(x) : static_cast<uint64_t>(x);
    sum += static_cast<Wide>(size) * size;
  }
  return sum;
}
inline Key key_of(Wide square) { return static_cast<Key>((square + (Wide{1} << 49)) >> 50); }

// √D as float32, correctly rounded. `near` is the distance in Å, right to some units in the last place of a float64; the exact square is only asked for where that is
// too little to tell which of two float32 is nearer.
template <typename Square>
inline float round_distance(double near, Square&& square) {
  uint64_t bits;
  __builtin_memcpy(&bits, &near, 8);
  constexpr uint64_t kHalf = uint64_t{1} << 28;
  if (((bits - (kHalf - 8)) & ((kHalf << 1) - 1)) > 16) return static_cast<float>(near);
  // The midpoint is a whole number of steps: from 2^-10 Å on, half a unit in the last place is at least 2^-35 Å.
  bits = (bits & ~((kHalf << 1) - 1)) | kHalf;
  double middle;
  __builtin_memcpy(&middle, &bits, 8);
  const Wide half = static_cast<Wide>(middle * 0x1p40);
  const Wide exact = square();
  // To either side of the midpoint, or the midpoint itself, which rounds to even.
  const uint64_t moved = exact > half * half ? bits + 1 : exact < half * half ? bits - 1 : bits;
  __builtin_memcpy(&middle, &moved, 8);
  return static_cast<float>(middle);
}

}  // namespace tc::crystal
