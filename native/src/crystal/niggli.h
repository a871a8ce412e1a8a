// Niggli reduction, with the result of pymatgen's Structure.get_reduced_structure(): Grosse-Kunstleve, Sauter & Adams, Acta Cryst. A60 (2004) 1-6
// (doi:10.1107/S010876730302186X), after an LLL reduction, with epsilon = 1e-5 V^(1/3).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lattice.h"

namespace tc::crystal {

struct NiggliCell {
  Lattice lattice;        // right-handed, in the orientation of the input
  Parameters parameters;  // of `lattice`
  Lattice standard;       // the same cell rebuilt from its parameters, in which graphs are computed
  // lattice = transform · input lattice; unimodular.
  std::array<std::array<int32_t, 3>, 3> transform;
  // pymatgen leaves lattice and coordinates as they are when each element of the lattice is the same within 1e-8 + 1e-5 of it.
  bool unchanged;
};

// Throws CrystalError: NotFinite, Flat, NotConverged.
NiggliCell niggli(const Lattice& rows);

// Coordinates of the same sites in the reduced cell, in [0, 1); as given when the cell is unchanged. [n][3]. `out` may be `frac`.
// Throws CrystalError (NotFinite).
void niggli_coordinates(const NiggliCell& cell, std::span<const double> frac, std::span<double> out);

}  // namespace tc::crystal
