#include "batch.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "niggli.h"

namespace tc::crystal {
namespace {

// Structures differ in size, so each thread takes the next few when it is done.
constexpr size_t kBlock = 8;
// Atoms; below this, starting a thread takes longer than it saves.
constexpr size_t kPerThread = 256;
// Edges that memory is taken for before they are found.
constexpr double kExpectedMax = 1 << 22;

// Calls work(first, end, thread) for all blocks; the first exception of any is thrown again.
void in_blocks(size_t count, unsigned threads, const std::function<void(size_t, size_t, unsigned)>& work) {
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  std::mutex mutex;
  const auto loop = [&](unsigned thread) {
    try {
      for (size_t first = next.fetch_add(kBlock); first < count; first = next.fetch_add(kBlock)) work(first, std::min(count, first + kBlock), thread);
    } catch (...) {
      next = count;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::jthread> helpers;
  for (unsigned thread = 1; thread < threads; thread++) helpers.emplace_back(loop, thread);
  loop(0);
  helpers.clear();
  if (failure) std::rethrow_exception(failure);
}

unsigned worth(const Structures& structures, unsigned threads) {
  const size_t most = std::min((structures.count() + kBlock - 1) / kBlock, structures.frac.size() / 3 / kPerThread);
  return static_cast<unsigned>(std::clamp<size_t>(most, 1, std::max(1u, threads)));
}

std::vector<ItemFault> sorted(std::vector<std::vector<ItemFault>>& by_thread) {
  std::vector<ItemFault> all;
  for (auto& faults : by_thread) std::move(faults.begin(), faults.end(), std::back_inserter(all));
  std::sort(all.begin(), all.end(), [](const ItemFault& p, const ItemFault& q) { return p.item < q.item; });
  return all;
}

// What one thread has found.
struct Part {
  explicit Part(const NeighborOptions& options) : edges(false), finder(std::in_place_type<NeighborFinder>, options) {}
  explicit Part(const CrystalNNOptions& options) : edges(options.weighted_cn), finder(std::in_place_type<CrystalNN>, options) {}

  Edges edges;
  std::variant<NeighborFinder, CrystalNN> finder;
  std::vector<ItemFault> faults;
};

// About how many edges there will be: memory that grows is copied.
size_t expected_edges(const Structures& structures, const std::variant<NeighborOptions, CrystalNNOptions>& method) {
  const double atoms = static_cast<double>(structures.frac.size() / 3);
  const auto* neighbors = std::get_if<NeighborOptions>(&method);
  // Of most crystals; a site has 4 to 14 neighbours.
  if (neighbors == nullptr) return static_cast<size_t>(atoms * 10);
  if (neighbors->nearest > 0) return static_cast<size_t>(atoms * neighbors->nearest * 1.2);
  double edges = 0;
  for (size_t k = 0; k < structures.count(); k++) {
    Lattice rows;
    std::memcpy(&rows, &structures.lattices[9 * k], sizeof(Lattice));
    const double count = structures.offsets[k + 1] - structures.offsets[k], volume = std::abs(determinant(rows));
    const double sphere = 4.19 * neighbors->cutoff * neighbors->cutoff * neighbors->cutoff;
    const double each = neighbors->max_neighbors > 0 ? std::min<double>(count * sphere / volume, neighbors->max_neighbors) : count * sphere / volume;
    // What is flat or not finite says nothing.
    if (each >= 0 && each < kExpectedMax) edges += count * each;
  }
  return static_cast<size_t>(std::min(edges * 1.05, kExpectedMax));
}

// Edges of structures first … end lie in the part of one thread from `at` on.
struct Block {
  unsigned part;
  size_t at;
};

template <typename T>
void copy(Column<T>& to, size_t to_at, const Column<T>& from, size_t from_at, size_t count, size_t width = 1) {
  if (count > 0) std::memcpy(to.data() + to_at * width, from.data() + from_at * width, count * width * sizeof(T));
}

}  // namespace

Structure Structures::at(size_t k) const {
  const size_t begin = first(k), atoms = first(k + 1) - begin;
  Structure structure;
  std::memcpy(&structure.lattice, &lattices[9 * k], sizeof(Lattice));
  structure.frac = frac.subspan(3 * begin, 3 * atoms);
  if (!numbers.empty()) structure.numbers = numbers.subspan(begin, atoms);
  if (!oxidation.empty()) structure.oxidation = oxidation.subspan(begin, atoms);
  return structure;
}

std::vector<ItemFault> niggli_batch(const Structures& structures, std::span<double> lattices, std::span<double> frac, unsigned threads) {
  const unsigned used = worth(structures, threads);
  std::vector<std::vector<ItemFault>> faults(used);
  in_blocks(structures.count(), used, [&](size_t first, size_t end, unsigned thread) {
    for (size_t k = first; k < end; k++) {
      const Structure structure = structures.at(k);
      try {
        const NiggliCell cell = niggli(structure.lattice);
        std::memcpy(&lattices[9 * k], &cell.standard, sizeof(Lattice));
        niggli_coordinates(cell, structure.frac, frac.subspan(3 * structures.first(k), structure.frac.size()));
      } catch (const CrystalError& error) {
        faults[thread].push_back({k, error.fault, error.what()});
      }
    }
  });
  return sorted(faults);
}

std::vector<ItemFault> parameters_batch(std::span<const double> lattices, std::span<const int32_t> atoms, const ParametersOut& out) {
  std::vector<ItemFault> faults;
  for (size_t k = 0; k < lattices.size() / 9; k++) {
    Lattice rows;
    std::memcpy(&rows, &lattices[9 * k], sizeof(Lattice));
    try {
      require_lattice(rows);
      const Parameters parameters = parameters_of(rows);
      std::copy_n(parameters.lengths.begin(), 3, &out.lengths[3 * k]);
      std::copy_n(parameters.angles.begin(), 3, &out.angles[3 * k]);
      if (out.scaled.empty()) continue;
      if (atoms[k] < 1) throw CrystalError(Fault::NoAtoms, "there are no atoms to scale the lengths by");
      const double root = cube_root(atoms[k]);
      for (int x = 0; x < 3; x++) out.scaled[3 * k + x] = parameters.lengths[x] / root;
    } catch (const CrystalError& error) {
      faults.push_back({k, error.fault, error.what()});
    }
  }
  return faults;
}

Graphs graph_batch(const Structures& structures, const std::variant<NeighborOptions, CrystalNNOptions>& method, unsigned threads) {
  const size_t count = structures.count();
  const unsigned used = worth(structures, threads);
  std::vector<Part> parts;
  for (unsigned k = 0; k < used; k++) std::visit([&](const auto& options) { parts.emplace_back(options); }, method);
  const size_t expected = std::min(expected_edges(structures, method), static_cast<size_t>(kExpectedMax));
  for (Part& part : parts) part.edges.reserve_exactly(expected / used + 1);
  std::vector<Block> blocks((count + kBlock - 1) / kBlock);
  Graphs graphs;
  graphs.offsets.assign(count + 1, 0);
  graphs.cut.assign(count, 0);
  in_blocks(count, used, [&](size_t first, size_t end, unsigned thread) {
    Part& part = parts[thread];
    blocks[first / kBlock] = {thread, part.edges.size};
    for (size_t k = first; k < end; k++) {
      const Structure structure = structures.at(k);
      const size_t before = part.edges.size;
      try {
        if (auto* finder = std::get_if<NeighborFinder>(&part.finder)) graphs.cut[k] = static_cast<int32_t>(std::min<uint64_t>(finder->append(structure.lattice, structure.frac, part.edges), INT32_MAX));
        else std::get<CrystalNN>(part.finder).append(structure, part.edges);
      } catch (const CrystalError& error) {
        part.faults.push_back({k, error.fault, error.what()});
      }
      graphs.offsets[k + 1] = static_cast<double>(part.edges.size - before);
    }
  });
  for (size_t k = 0; k < count; k++) graphs.offsets[k + 1] += graphs.offsets[k];
  std::vector<std::vector<ItemFault>> faults;
  for (Part& part : parts) faults.push_back(std::move(part.faults));
  graphs.faults = sorted(faults);

  if (used == 1) {
    graphs.edges = std::move(parts[0].edges);
    return graphs;
  }
  Edges& all = graphs.edges = Edges(parts[0].edges.weighted());
  all.reserve_exactly(static_cast<size_t>(graphs.offsets[count]));
  all.size = static_cast<size_t>(graphs.offsets[count]);
  in_blocks(blocks.size(), used, [&](size_t first, size_t end, unsigned) {
    for (size_t k = first; k < end; k++) {
      const Edges& from = parts[blocks[k].part].edges;
      const auto to = static_cast<size_t>(graphs.offsets[k * kBlock]);
      const size_t edges = static_cast<size_t>(graphs.offsets[std::min(count, (k + 1) * kBlock)]) - to;
      copy(all.source, to, from.source, blocks[k].at, edges);
      copy(all.target, to, from.target, blocks[k].at, edges);
      copy(all.image, to, from.image, blocks[k].at, edges, 3);
      copy(all.distance, to, from.distance, blocks[k].at, edges);
      copy(all.vector, to, from.vector, blocks[k].at, edges, 3);
      if (all.weighted()) copy(all.weight, to, from.weight, blocks[k].at, edges);
    }
  });
  return graphs;
}

}  // namespace tc::crystal
