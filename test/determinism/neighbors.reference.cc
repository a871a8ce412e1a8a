// Edges as the CPU finds them, for neighbors.reference.ts, which says what is in the files.
// neighbors.reference <in> <out>
#include <bit>
#include <cstdio>
#include <vector>

#include "crystal/error.h"
#include "crystal/neighbors.h"

using namespace tc::crystal;

int main(int, char** arguments) {
  std::FILE* in = std::fopen(arguments[1], "rb");
  std::vector<double> numbers;
  for (double x; std::fread(&x, sizeof x, 1, in) == 1;) numbers.push_back(x);
  std::fclose(in);
  const double* at = numbers.data();
  const auto next = [&] { return *at++; };

  NeighborOptions options;
  options.cutoff = next();
  options.max_neighbors = static_cast<uint32_t>(next());
  options.self_loops = next() != 0;
  options.nearest = static_cast<uint32_t>(next());
  options.ties = next() != 0 ? Ties::Keep : Ties::Cut;
  NeighborFinder finder(options);
  Edges edges;
  std::FILE* out = std::fopen(arguments[2], "wb");
  const auto write = [&](const auto* values, size_t count) { std::fwrite(values, sizeof *values, count, out); };
  for (auto left = static_cast<size_t>(next()); left > 0; left--) {
    const auto atoms = static_cast<size_t>(next());
    Lattice lattice;
    for (Vector& row : lattice) row = {at[0], at[1], at[2]}, at += 3;
    // Edges, those that were cut, and what is wrong: 0 for nothing.
    double counts[3] = {static_cast<double>(edges.size), 0, 0};
    try {
      counts[1] = static_cast<double>(finder.append(lattice, {at, 3 * atoms}, edges));
    } catch (const CrystalError& error) {
      counts[2] = 1 + static_cast<double>(error.fault);
    }
    counts[0] = static_cast<double>(edges.size) - counts[0];
    write(counts, 3);
    at += 3 * atoms;
  }
  write(edges.source.data(), edges.size);
  write(edges.target.data(), edges.size);
  write(edges.distance.data(), edges.size);
  write(edges.vector.data(), 3 * edges.size);
  write(edges.image.data(), 3 * edges.size);
  return std::fclose(out);
}
