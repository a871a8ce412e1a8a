// Properties that hold for any crystal, on crystals made to be awkward. Prints the number of sites checked; built and run by
// crystalnn.plain.test.ts with the sanitizers on.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <numbers>
#include <optional>
#include <set>
#include <stdexcept>
#include <tuple>

#include "crystal/batch.h"
#include "crystal/error.h"

using namespace tc::crystal;

namespace {

long checked = 0;

void expect(bool holds, const char* what, int line) {
  if (holds) return;
  std::fprintf(stderr, "line %d: %s\n", line, what);
  std::exit(1);
}
#define EXPECT(condition) expect(condition, #condition, __LINE__)

struct Crystal {
  std::vector<double> lattice, fractional;
  std::vector<int32_t> numbers;
  Structure view() const {
    Structure structure;
    for (int k = 0; k < 9; k++) structure.lattice[k / 3][k % 3] = lattice[k];
    structure.frac = fractional;
    structure.numbers = numbers;
    return structure;
  }
  // Of one structure.
  Graphs graph(const CrystalNNOptions& options) const {
    const double offsets[2] = {0, static_cast<double>(numbers.size())};
    return graph_batch({offsets, fractional, numbers, lattice}, options, 1);
  }
};

Crystal cubic(double a, const std::vector<double>& fractional) { return {{a, 0, 0, 0, a, 0, 0, 0, a}, fractional, std::vector<int32_t>(fractional.size() / 3, 6)}; }

const std::vector<double> kFcc = {0, 0, 0, 0, .5, .5, .5, 0, .5, .5, .5, 0};
const std::vector<double> kBcc = {0, 0, 0, .5, .5, .5};
const std::vector<double> kDiamond = {0, 0, 0, 0, .5, .5, .5, 0, .5, .5, .5, 0, .25, .25, .25, .25, .75, .75, .75, .25, .75, .75, .75, .25};

double random_unit() {
  static uint64_t state = 1;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<double>(state >> 11) * 0x1p-53;
}

// The same crystal with other lattice vectors: a + m·b, b, c + n·a + k·b of the cell before.
Crystal skewed(const Crystal& crystal, int m, int n, int k) {
  Crystal out = crystal;
  double* l = out.lattice.data();
  for (int x = 0; x < 3; x++) l[x] += m * l[3 + x];
  for (int x = 0; x < 3; x++) l[6 + x] += n * l[x] + k * l[3 + x];
  for (size_t s = 0; s < out.numbers.size(); s++) {
    double* f = &out.fractional[s * 3];
    f[1] -= k * f[2];
    f[0] -= n * f[2];
    f[1] -= m * f[0];
  }
  return out;
}

// Cells fill the crystal, facets are seen from all sides, and every facet has a partner.
void check_cells(const Crystal& crystal) {
  const Structure view = crystal.view();
  Periodic periodic;
  periodic.prepare(view);
  CrystalNN nn(cdvae_options());
  double volume = 0;
  for (size_t site = 0; site < view.atoms(); site++, checked++) {
    std::vector<Face> faces;
    nn.faces(periodic, site, faces);
    double angle = 0;
    for (const Face& face : faces) {
      angle += face.solid_angle;
      volume += face.area * face.distance / 3;
    }
    EXPECT(std::abs(angle - 4 * std::numbers::pi) < 1e-8);
  }
  // The cutoff leaves a crystal emptier than 7 Å with cells that are too large.
  EXPECT(volume > periodic.volume() * (1 - 1e-8));
  if (periodic.volume() / static_cast<double>(view.atoms()) < 20) EXPECT(volume < periodic.volume() * (1 + 1e-8));
}

void check_graph(const Crystal& crystal, size_t edges_per_site) {
  const auto [edges, offsets, cut, faults] = crystal.graph(cdvae_options());
  EXPECT(faults.empty());
  EXPECT(edges.size == edges_per_site * crystal.numbers.size());
  std::set<std::tuple<int, int, std::array<int16_t, 3>>> seen;
  for (size_t k = 0; k < edges.size; k++) {
    const int16_t* image = edges.image.data() + 3 * k;
    seen.insert({edges.source.data()[k], edges.target.data()[k], {image[0], image[1], image[2]}});
    // Distance and vector are those of the image.
    const int32_t source = edges.source.data()[k], target = edges.target.data()[k];
    double square = 0;
    for (int x = 0; x < 3; x++) {
      double component = 0;
      for (int axis = 0; axis < 3; axis++) component += (crystal.fractional[target * 3 + axis] + image[axis] - crystal.fractional[source * 3 + axis]) * crystal.lattice[axis * 3 + x];
      EXPECT(std::abs(edges.vector.data()[3 * k + x] - component) < 1e-6 * (1 + std::abs(component)));
      square += component * component;
    }
    EXPECT(std::abs(edges.distance.data()[k] - std::sqrt(square)) < 1e-6 * std::sqrt(square));
  }
  EXPECT(seen.size() == edges.size);
  for (const auto& [source, target, image] : seen) {
    const auto back = [](int16_t x) { return static_cast<int16_t>(-x); };
    EXPECT(seen.count({target, source, {back(image[0]), back(image[1]), back(image[2])}}) == 1);
  }
}

// Enumeration against the plain triple loop, as many cells out as the cutoff can reach.
void check_neighbours(const Crystal& crystal, double cutoff, int cells) {
  const Structure view = crystal.view();
  Periodic periodic;
  periodic.prepare(view);
  for (size_t site = 0; site < view.atoms(); site++, checked++) {
    std::vector<Neighbour> found;
    neighbours_within(periodic, site, cutoff, found);
    std::set<std::tuple<int, int, int, int>> expected, got;
    for (int target = 0; target < static_cast<int>(view.atoms()); target++) {
      for (int a = -cells; a <= cells; a++) for (int b = -cells; b <= cells; b++) for (int c = -cells; c <= cells; c++) {
        const double f[3] = {view.frac[target * 3] + a - view.frac[site * 3], view.frac[target * 3 + 1] + b - view.frac[site * 3 + 1], view.frac[target * 3 + 2] + c - view.frac[site * 3 + 2]};
        double square = 0;
        for (int k = 0; k < 3; k++) {
          const double x = f[0] * view.lattice[0][k] + f[1] * view.lattice[1][k] + f[2] * view.lattice[2][k];
          square += x * x;
        }
        if (square > 1e-12 && square < cutoff_squared(cutoff)) expected.insert({target, a, b, c});
      }
    }
    double last = 0;
    for (const Neighbour& n : found) {
      got.insert({n.site, n.image[0], n.image[1], n.image[2]});
      EXPECT(n.distance2 >= last);
      last = n.distance2;
      double square = 0;
      for (int k = 0; k < 3; k++) {
        double x = 0;
        for (int axis = 0; axis < 3; axis++) x += (view.frac[n.site * 3 + axis] + n.image[axis] - view.frac[site * 3 + axis]) * view.lattice[axis][k];
        square += x * x;
      }
      EXPECT(std::abs(square - n.distance2) < 1e-7);
    }
    EXPECT(got.size() == found.size());
    EXPECT(got == expected);
  }
}

// What is wrong with it, if anything.
std::optional<Fault> fault(const Crystal& crystal, CrystalNNOptions options = cdvae_options()) {
  const Graphs graphs = crystal.graph(options);
  EXPECT(graphs.faults.empty() || (graphs.edges.size == 0 && !graphs.faults[0].message.empty()));
  if (graphs.faults.empty()) return {};
  return graphs.faults[0].fault;
}

}  // namespace

int main() {
  // Lattices whose vertices are met by many planes, exactly, displaced by roundings, and displaced by more.
  for (const double noise : {0.0, 1e-16, 1e-14, 1e-12, 1e-10, 1e-8, 1e-5}) {
    for (const auto& fractional : {std::vector<double>{0, 0, 0}, kBcc, kFcc, kDiamond}) {
      for (int turn = 0; turn < 5; turn++) {
        Crystal crystal = cubic(fractional.size() == 3 ? 2.7 : 3.6, fractional);
        for (double& f : crystal.fractional) f += noise * (random_unit() - 0.5);
        check_cells(crystal);
        check_cells(skewed(crystal, turn * 3 - 4, turn - 2, 7 - turn));
        check_graph(crystal, fractional.size() == 3 ? 6 : fractional.size() == 6 ? 8 : fractional.size() == 12 ? 12 : 4);
        check_graph(skewed(crystal, 50 * turn, -31, 7), fractional.size() == 3 ? 6 : fractional.size() == 6 ? 8 : fractional.size() == 12 ? 12 : 4);
      }
    }
  }
  // Any atoms in any cell.
  for (int turn = 0; turn < 60; turn++) {
    Crystal crystal;
    for (int k = 0; k < 9; k++) crystal.lattice.push_back((k % 4 == 0 ? 4 : 0) + 3 * (random_unit() - 0.5));
    const int sites = 1 + static_cast<int>(random_unit() * 8);
    for (int k = 0; k < sites; k++) {
      for (int axis = 0; axis < 3; axis++) crystal.fractional.push_back(6 * (random_unit() - 0.5));
      crystal.numbers.push_back(1 + static_cast<int>(random_unit() * 90));
    }
    check_cells(crystal);
    check_cells(skewed(crystal, 40, -17, 9));
    if (turn < 6) check_neighbours(crystal, 5, 14);
    EXPECT(!fault(crystal, {}));
  }
  check_neighbours(cubic(3, kBcc), 3, 3);
  check_neighbours(skewed(cubic(3, kFcc), 2, 1, -1), 4, 14);

  // Layers, wires and single atoms, farther apart than the search reaches.
  for (const auto& lattice : {std::array<double, 3>{2.5, 2.5, 25}, {2.5, 25, 30}, {25, 25, 25}, {0.2, 0.2, 0.2}, {1, 40, 1}}) {
    Crystal crystal{{lattice[0], 0, 0, 0, lattice[1], 0, 0, 0, lattice[2]}, {0.3, 0.4, 0.5}, {6}};
    check_cells(crystal);
    EXPECT(!fault(crystal));
  }

  // What is wrong is said.
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT(fault(cubic(nan, {0, 0, 0})) == Fault::NotFinite);
  EXPECT(fault(cubic(3, {0, 0, nan})) == Fault::NotFinite);
  EXPECT(fault(cubic(3, {0, 0, 1e300})) == Fault::NotFinite);
  EXPECT(fault(cubic(0, {0, 0, 0})) == Fault::Flat);
  EXPECT(fault({{1, 0, 0, 0, 1, 0, 1, 1, 0}, {0, 0, 0}, {6}}) == Fault::Flat);
  EXPECT(fault(cubic(3, {0, 0, 0, 1, -2, 3})) == Fault::Coincident);
  EXPECT(fault(cubic(3, {0, 0, 0, 40000, 0.5, 0.5})) == Fault::ImageRange);
  EXPECT(fault({{3, 0, 0, 0, 3, 0, 0, 0, 3}, {0, 0, 0}, {0}}) == Fault::Element);
  EXPECT(fault({{3, 0, 0, 0, 3, 0, 0, 0, 3}, {0, 0, 0}, {110}}, {}) == Fault::Element);
  EXPECT(fault({{3, 0, 0, 0, 3, 0, 0, 0, 3}, {0, 0, 0}, {6}}, {.cation_anion = true}) == Fault::NoTargets);
  EXPECT(fault({{1e-6, 0, 0, 0, 1e4, 0, 0, 0, 1e4}, {0, 0, 0}, {6}}) == Fault::TooManyPoints);
  bool refused = false;
  try {
    fault(cubic(3, {0, 0, 0}), {.search_cutoff = -1});
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  EXPECT(refused);
  EXPECT(!fault({{3, 0, 0, 0, 3, 0, 0, 0, 3}, {}, {}}));

  // Threads do not change the answer, and what is wrong with one structure does not touch the others.
  std::vector<double> offsets = {0}, fractional, lattices;
  std::vector<int32_t> numbers;
  for (int k = 0; k < 1000; k++) {
    const Crystal crystal = k % 97 == 50 ? cubic(0, kBcc) : cubic(3 + 0.001 * k, k % 2 == 0 ? kDiamond : kFcc);
    fractional.insert(fractional.end(), crystal.fractional.begin(), crystal.fractional.end());
    lattices.insert(lattices.end(), crystal.lattice.begin(), crystal.lattice.end());
    numbers.insert(numbers.end(), crystal.numbers.begin(), crystal.numbers.end());
    offsets.push_back(static_cast<double>(numbers.size()));
  }
  const Structures structures{offsets, fractional, numbers, lattices};
  for (const CrystalNNOptions& options : {cdvae_options(), CrystalNNOptions{.weighted_cn = true}}) {
    const Graphs one = graph_batch(structures, options, 1), four = graph_batch(structures, options, 4);
    const auto same = [](const auto& p, const auto& q, size_t count) { return std::equal(p.data(), p.data() + count, q.data()); };
    EXPECT(one.offsets == four.offsets && one.edges.size == four.edges.size && one.edges.size > 20000);
    EXPECT(same(one.edges.source, four.edges.source, one.edges.size) && same(one.edges.target, four.edges.target, one.edges.size) && same(one.edges.image, four.edges.image, 3 * one.edges.size));
    EXPECT(same(one.edges.distance, four.edges.distance, one.edges.size) && same(one.edges.vector, four.edges.vector, 3 * one.edges.size));
    EXPECT(!options.weighted_cn || same(one.edges.weight, four.edges.weight, one.edges.size));
    EXPECT(one.faults.size() == 10 && four.faults.size() == 10);
    for (size_t k = 0; k < 10; k++) EXPECT(one.faults[k].item == 97 * k + 50 && four.faults[k].item == one.faults[k].item && one.faults[k].fault == Fault::Flat);
    if (!options.weighted_cn) for (size_t k = 0; k < 1000; k++) EXPECT((one.offsets[k + 1] == one.offsets[k]) == (k % 97 == 50));
  }
  std::printf("%ld\n", checked);
}
