// Many structures at once, on several threads; the bytes do not depend on how many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "crystalnn.h"
#include "error.h"
#include "neighbors.h"

namespace tc::crystal {

// Structure k has atoms offsets[k] … offsets[k + 1]. Views.
struct Structures {
  std::span<const double> offsets;   // one more than there are structures; rising whole numbers, the first 0
  std::span<const double> frac;      // [atoms][3]
  std::span<const int32_t> numbers;  // [atoms], or none
  std::span<const double> lattices;  // [structures][3][3]
  std::span<const double> oxidation = {};  // [atoms], or none

  size_t count() const { return offsets.size() - 1; }
  size_t first(size_t k) const { return static_cast<size_t>(offsets[k]); }
  Structure at(size_t k) const;
};

struct ItemFault {
  size_t item;
  Fault fault;
  std::string message;
};

// The cell of each, in the orientation of Lattice.from_parameters, and its atoms' coordinates in it. What is written for an item with a fault means nothing.
std::vector<ItemFault> niggli_batch(const Structures& structures, std::span<double> lattices, std::span<double> frac, unsigned threads);

// What `parameters_batch` writes, each [structures][3].
struct ParametersOut {
  std::span<double> lengths, angles;
  std::span<double> scaled;  // lengths / cube root of the number of atoms; or none
};

// On this thread: a microsecond each. `atoms` [structures] is read for `scaled`. What is written for an item with a fault means nothing.
std::vector<ItemFault> parameters_batch(std::span<const double> lattices, std::span<const int32_t> atoms, const ParametersOut& out);

struct Graphs {
  Edges edges;
  std::vector<double> offsets;  // of edges, one more than there are structures
  std::vector<int32_t> cut;     // edges of each that max_neighbors cut
  std::vector<ItemFault> faults;  // those have no edges
};

// Throws std::invalid_argument for options that mean nothing.
Graphs graph_batch(const Structures& structures, const std::variant<NeighborOptions, CrystalNNOptions>& method, unsigned threads);

}  // namespace tc::crystal
