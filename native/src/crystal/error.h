// What can be wrong with a crystal.
#pragma once

#include <stdexcept>
#include <string>

namespace tc::crystal {

enum class Fault {
  NotFinite,      // a lattice vector, a coordinate or an oxidation state is NaN, infinite, or too large to be one
  Flat,           // the cell has no volume, as far as float64 can tell
  NotConverged,   // the reduction did not end
  Coincident,     // two atoms are in one place
  ImageRange,     // an image does not fit int16
  TooManyEdges,   // more than the caller's bound
  TooManyPoints,  // more atoms within a cutoff than memory should hold
  Element,        // an atomic number outside 1 … 118, or an element without the radius that is asked for
  Unbounded,      // a Voronoi cell that no cutoff closes
  NoTargets,      // nothing of the opposite charge around an atom
  NoAtoms,        // a crystal without atoms
};

struct CrystalError : std::runtime_error {
  CrystalError(Fault fault, const std::string& what) : std::runtime_error(what), fault(fault) {}
  Fault fault;
};

}  // namespace tc::crystal
