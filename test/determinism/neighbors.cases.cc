// Writes what the neighbors kernels are given and the edges that the CPU finds, for neighbors.test.ts: arrays of words, each after its length.
// neighbors.cases <file> <radius | cut | keep | most | loops>
#include <bit>
#include <cstdio>
#include <cstring>
#include <string>

#include "../native/crystal.plain.h"
#include "crystal/neighbor_tables.h"
#include "crystal/neighbors.h"

using namespace tc::crystal;
using namespace made;

namespace {

void write(std::FILE* file, const std::vector<uint32_t>& words) {
  const auto size = static_cast<uint32_t>(words.size());
  std::fwrite(&size, 4, 1, file);
  std::fwrite(words.data(), 4, size, file);
}

std::vector<Structure> structures() {
  Numbers numbers(7);
  std::vector<Structure> list;
  for (int at = 0; at < 60; at++) list.push_back(random_structure(numbers, 1 + numbers.below(6), numbers.between(2, 6), at % 7));
  list.push_back(rock_salt(5.64, 1));
  list.push_back(rock_salt(5.64, 4));
  // Distances that lie on one axis and have 25 bits: midpoints of two float32, where ties round to even.
  for (const double bits : {16777217.0, 16777219.0, 25165825.0}) list.push_back({{{{8, 0, 0}, {0, 8, 0}, {0, 0, 8}}}, {0, 0, 0, bits * 0x1p-26, 0, 0}});
  // Just inside the cutoff, just outside, and where float32 cannot tell.
  for (const double edge : {5.64 + 5e-10, 5.64 + 3e-9, 5.64001}) list.push_back({{{{edge, 0, 0}, {0, edge, 0}, {0, 0, edge}}}, {0, 0, 0}});
  Structure skewed{{{{3, 0, 0}, {0, 3, 0}, {0, 0, 3}}}, {0.1, 0.2, 0.3, 0.6, 0.7, 0.8}};
  add_row(skewed.lattice, 1, 0, 60);
  add_row(skewed.lattice, 2, 1, 1);
  list.push_back(skewed);
  return list;
}

}  // namespace

int main(int, char** arguments) {
  const std::string mode = arguments[2];
  const bool nearest = mode == "cut" || mode == "keep";
  NeighborOptions options;
  options.cutoff = 5.64;
  if (nearest) options.nearest = 12;
  if (mode == "most") options.max_neighbors = 12;
  options.ties = mode == "keep" ? Ties::Keep : Ties::Cut;
  options.self_loops = mode == "loops";

  NeighborTables tables;
  NeighborFinder finder(options);
  Edges edges;
  for (const Structure& s : structures()) {
    ExactCell cell;
    cell.assign(s.lattice, s.frac);
    tables.append(cell, key_of_cutoff(nearest ? 14 : options.cutoff), nearest || mode == "most" ? 0 : 3);
    finder.append(s.lattice, s.frac, edges);
  }
  std::FILE* file = std::fopen(arguments[1], "wb");
  const auto targets_at = static_cast<uint32_t>(tables.rows.size());
  tables.rows.insert(tables.rows.end(), tables.targets.begin(), tables.targets.end());
  write(file, {targets_at, static_cast<uint32_t>(edges.size)});
  for (const auto* words : {&tables.rows, &tables.cells, &tables.atoms, &tables.limits}) write(file, *words);
  std::vector<uint32_t> ends(edges.source.data(), edges.source.data() + edges.size);
  ends.insert(ends.end(), edges.target.data(), edges.target.data() + edges.size);
  write(file, ends);
  std::vector<uint32_t> words;
  for (size_t k = 0; k < 3 * edges.size; k++) words.push_back(static_cast<uint32_t>(static_cast<int32_t>(edges.image.data()[k])));
  write(file, words);
  words.clear();
  for (size_t k = 0; k < edges.size; k++) words.push_back(std::bit_cast<uint32_t>(edges.distance.data()[k]));
  for (size_t k = 0; k < 3 * edges.size; k++) words.push_back(std::bit_cast<uint32_t>(edges.vector.data()[k]));
  write(file, words);
  return std::fclose(file);
}
