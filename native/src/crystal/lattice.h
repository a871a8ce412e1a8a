// Lattices as three row vectors in Å, and their parameters. Only + - * / and square roots, which IEEE 754 rounds correctly: the C library's
// trigonometric functions differ from version to version and from processor to processor in the last bit.
#pragma once

#include <array>

namespace tc::crystal {

using Vector = std::array<double, 3>;
using Lattice = std::array<Vector, 3>;

inline double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
inline Vector cross(const Vector& a, const Vector& b) { return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]}; }
inline double determinant(const Lattice& rows) { return dot(cross(rows[0], rows[1]), rows[2]); }
double length(const Vector& v);

struct Parameters {
  Vector lengths;  // a, b, c in Å
  Vector cosines;  // of alpha, beta, gamma
  Vector angles;   // alpha, beta, gamma in degrees
};
Parameters parameters_of(const Lattice& rows);

// c along z, a in the xz plane: the orientation of pymatgen's Lattice.from_parameters.
Lattice standard_lattice(const Vector& lengths, const Vector& cosines);

// The angle in degrees, within 5 units in the last place; cosines beyond ±1 count as ±1.
double degrees_of_cosine(double cosine);

// Of a positive normal number, within 0.67 units in the last place.
double cube_root(double x);

// Throws CrystalError for a lattice that is not finite, longer than 2^20 Å, or flat: |a||b||c| exceeds its volume 2^30 times.
void require_lattice(const Lattice& rows);

}  // namespace tc::crystal
