// CrystalNN as C functions, for crystalnn.golden.py.
#include <algorithm>
#include <cstring>

#include "crystal/crystalnn.h"
#include "crystal/error.h"

using namespace tc::crystal;

namespace {

Structure view(const double* lattice, const double* frac, const int32_t* numbers, const double* oxidation, size_t atoms) {
  Structure structure;
  std::memcpy(&structure.lattice, lattice, sizeof(Lattice));
  structure.frac = {frac, 3 * atoms};
  structure.numbers = {numbers, atoms};
  if (oxidation != nullptr) structure.oxidation = {oxidation, atoms};
  return structure;
}

// options: weighted_cn, cation_anion, has_distance_cutoffs, cutoff_low, cutoff_high, x_diff_weight, porous_adjustment, search_cutoff
CrystalNNOptions from(const double* o) { return {o[0] != 0, o[1] != 0, o[2] != 0, o[3], o[4], o[5], o[6] != 0, o[7]}; }

}  // namespace

extern "C" {

// Edges as rows of source, target, image; edge_offsets has count + 1 places. Negative: minus the number of the first structure that fails, minus 1.
int64_t graphs(int64_t count, const int64_t* offsets, const double* lattices, const double* fractional, const int32_t* numbers, const double* oxidation, const double* options,
               int64_t* edge_offsets, int32_t* edges, int64_t capacity, char* text) {
  CrystalNN nn(from(options));
  Edges found;
  for (int64_t k = 0; k < count; k++) {
    edge_offsets[k] = static_cast<int64_t>(found.size);
    const int64_t first = offsets[k];
    try {
      nn.append(view(lattices + k * 9, fractional + first * 3, numbers + first, oxidation == nullptr ? nullptr : oxidation + first, static_cast<size_t>(offsets[k + 1] - first)), found);
    } catch (const CrystalError& error) {
      std::strncpy(text, error.what(), 255);
      return -1 - k;
    }
  }
  edge_offsets[count] = static_cast<int64_t>(found.size);
  for (size_t k = 0; k < std::min(found.size, static_cast<size_t>(capacity)); k++) {
    int32_t* row = edges + k * 5;
    row[0] = found.source.data()[k];
    row[1] = found.target.data()[k];
    for (int x = 0; x < 3; x++) row[2 + x] = found.image.data()[3 * k + x];
  }
  return static_cast<int64_t>(found.size);
}

// Near neighbours of one site: rows of target, image, and weights.
int64_t near(int64_t sites, const double* lattice, const double* fractional, const int32_t* numbers, const double* oxidation, const double* options, int64_t site, int32_t* rows, double* weights, char* text) {
  const Structure structure = view(lattice, fractional, numbers, oxidation, static_cast<size_t>(sites));
  Periodic periodic;
  std::vector<Bond> bonds;
  CrystalNN nn(from(options));
  try {
    periodic.prepare(structure);
    nn.near(structure, periodic, static_cast<size_t>(site), bonds);
  } catch (const CrystalError& error) {
    std::strncpy(text, error.what(), 255);
    return -1;
  }
  for (const Bond& bond : bonds) {
    *rows++ = bond.target;
    for (const int16_t image : bond.image) *rows++ = image;
    *weights++ = bond.weight;
  }
  return static_cast<int64_t>(bonds.size());
}

// Faces of one Voronoi cell: rows of target, image; and of solid angle, area, distance.
int64_t faces(int64_t sites, const double* lattice, const double* fractional, const int32_t* numbers, const double* options, int64_t site, int32_t* rows, double* values) {
  Periodic periodic;
  std::vector<Face> out;
  CrystalNN nn(from(options));
  try {
    periodic.prepare(view(lattice, fractional, numbers, nullptr, static_cast<size_t>(sites)));
    nn.faces(periodic, static_cast<size_t>(site), out);
  } catch (const CrystalError&) {
    return -1;
  }
  for (const Face& face : out) {
    *rows++ = face.neighbour.site;
    for (const int32_t image : face.neighbour.image) *rows++ = image;
    *values++ = face.solid_angle;
    *values++ = face.area;
    *values++ = face.distance;
  }
  return static_cast<int64_t>(out.size());
}
}
