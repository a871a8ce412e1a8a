// crystal_graphs and CrystalNN::near as C functions, for crystalnn.golden.py.
#include <algorithm>
#include <cstring>

#include "crystal/crystalnn.h"

using namespace tc::crystal;

namespace {

std::vector<Structure> views(size_t count, const int64_t* offsets, const double* lattices, const double* fractional, const int32_t* numbers, const double* oxidation) {
  std::vector<Structure> out;
  for (size_t k = 0; k < count; k++) {
    const auto first = static_cast<size_t>(offsets[k]);
    out.push_back({lattices + k * 9, fractional + first * 3, numbers + first, oxidation == nullptr ? nullptr : oxidation + first, static_cast<size_t>(offsets[k + 1]) - first});
  }
  return out;
}

// options: weighted_cn, cation_anion, has_distance_cutoffs, cutoff_low, cutoff_high, x_diff_weight, porous_adjustment, search_cutoff
CrystalNNOptions from(const double* o) { return {o[0] != 0, o[1] != 0, o[2] != 0, o[3], o[4], o[5], o[6] != 0, o[7]}; }

}  // namespace

extern "C" {

// Edges as rows of source, target, image; edge_offsets has count + 1 places. Negative: minus the number of the first structure that fails, minus 1.
int64_t graphs(int64_t count, const int64_t* offsets, const double* lattices, const double* fractional, const int32_t* numbers, const double* oxidation, const double* options, int64_t threads,
               int64_t* edge_offsets, int32_t* edges, int64_t capacity, char* text) {
  const auto result = crystal_graphs(views(static_cast<size_t>(count), offsets, lattices, fractional, numbers, oxidation), from(options), static_cast<unsigned>(threads));
  int64_t total = 0;
  for (size_t k = 0; k < result.size(); k++) {
    edge_offsets[k] = total;
    if (result[k].status) {
      std::strncpy(text, result[k].status.text.c_str(), 255);
      return -1 - static_cast<int64_t>(k);
    }
    for (const Edge& edge : result[k].edges) {
      if (total == capacity) return total;
      int32_t* row = edges + total++ * 5;
      row[0] = edge.source;
      row[1] = edge.target;
      std::copy(edge.image.begin(), edge.image.end(), row + 2);
    }
  }
  edge_offsets[count] = total;
  return total;
}

// Near neighbours of one site: rows of target, image, and weights.
int64_t near(int64_t sites, const double* lattice, const double* fractional, const int32_t* numbers, const double* oxidation, const double* options, int64_t site, int32_t* rows, double* weights, char* text) {
  const Structure structure{lattice, fractional, numbers, oxidation, static_cast<size_t>(sites)};
  Periodic periodic;
  std::vector<Bond> bonds;
  CrystalNN nn(from(options));
  Status status = periodic.prepare(structure);
  if (!status) status = nn.near(structure, periodic, static_cast<size_t>(site), bonds);
  if (status) {
    std::strncpy(text, status.text.c_str(), 255);
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
  if (periodic.prepare({lattice, fractional, numbers, nullptr, static_cast<size_t>(sites)}) || nn.faces(periodic, static_cast<size_t>(site), out)) return -1;
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
