// What can be wrong with a crystal.
#pragma once

#include <stdexcept>
#include <string>

namespace tc::crystal {

enum class Fault {
  NotFinite,      // a lattice vector or a coordinate is NaN, infinite, or too large to be one
  Flat,           // the cell has no volume, as far as float64 can tell
  NotConverged,   // the reduction did not end
  Coincident,     // two atoms are in one place
  ImageRange,     // an image does not fit int16
  TooManyEdges,   // more than the caller's bound
};

struct CrystalError : std::runtime_error {
  CrystalError(Fault fault, const std::string& what) : std::runtime_error(what), fault(fault) {}
  Fault fault;
};

}  // namespace tc::crystal
