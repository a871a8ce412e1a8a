// Properties of Niggli reduction and neighbour lists. Prints the number of checks; built and run by crystal.plain.test.ts with the sanitizers on.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "crystal.plain.h"
#include "crystal/error.h"
#include "crystal/neighbors.h"
#include "crystal/niggli.h"

using namespace tc::crystal;
using namespace made;

namespace {

int checks = 0;
void check(bool holds, const char* what, int at = 0) {
  checks++;
  if (holds) return;
  std::printf("does not hold: %s (%d)\n", what, at);
  std::exit(1);
}
void fails(Fault fault, const char* what, const std::function<void()>& body) {
  try {
    body();
  } catch (const CrystalError& error) {
    check(error.fault == fault, what, static_cast<int>(error.fault));
    return;
  }
  check(false, what);
}

struct Edge {
  int source, target, image[3];
  float distance, vector[3];
  std::array<int, 5> key() const { return {source, target, image[0], image[1], image[2]}; }
};
std::vector<Edge> edges_of(const Structure& structure, const NeighborOptions& options, uint64_t* cut = nullptr) {
  NeighborFinder finder(options);
  Edges edges;
  const uint64_t count = finder.append(structure.lattice, structure.frac, edges);
  if (cut != nullptr) *cut = count;
  std::vector<Edge> list(edges.size);
  for (size_t k = 0; k < edges.size; k++) {
    list[k] = {edges.source.data()[k], edges.target.data()[k], {}, edges.distance.data()[k], {}};
    for (int x = 0; x < 3; x++) list[k].image[x] = edges.image.data()[3 * k + x], list[k].vector[x] = edges.vector.data()[3 * k + x];
  }
  return list;
}
NeighborOptions radius(double cutoff) {
  NeighborOptions options;
  options.cutoff = cutoff;
  return options;
}
NeighborOptions knn(uint32_t k, Ties ties) {
  NeighborOptions options;
  options.nearest = k;
  options.ties = ties;
  return options;
}
std::set<std::array<int, 5>> set_of(const std::vector<Edge>& edges) {
  std::set<std::array<int, 5>> set;
  for (const Edge& edge : edges) set.insert(edge.key());
  return set;
}

// Every pair and every image of a box that surely holds the sphere, in long double.
std::vector<Edge> brute(const Structure& s, double cutoff, int spread = 5) {
  const double volume = std::abs(determinant(s.lattice));
  int reach[3];
  for (int k = 0; k < 3; k++) reach[k] = static_cast<int>(cutoff * length(cross(s.lattice[(k + 1) % 3], s.lattice[(k + 2) % 3])) / volume) + spread;
  std::vector<Edge> list;
  const int atoms = static_cast<int>(s.frac.size() / 3);
  for (int a = 0; a < atoms; a++) {
    for (int b = 0; b < atoms; b++) {
      for (int i = -reach[0]; i <= reach[0]; i++) {
        for (int j = -reach[1]; j <= reach[1]; j++) {
          for (int k = -reach[2]; k <= reach[2]; k++) {
            if (a == b && i == 0 && j == 0 && k == 0) continue;
            const int image[3] = {i, j, k};
            long double square = 0, vector[3] = {};
            for (int x = 0; x < 3; x++) {
              for (int m = 0; m < 3; m++) vector[x] += (static_cast<long double>(s.frac[3 * b + m]) + image[m] - s.frac[3 * a + m]) * s.lattice[m][x];
              square += vector[x] * vector[x];
            }
            if (square >= static_cast<long double>(cutoff) * cutoff + 1e-8L) continue;
            Edge edge{a, b, {i, j, k}, static_cast<float>(std::sqrt(square)), {}};
            for (int x = 0; x < 3; x++) edge.vector[x] = static_cast<float>(vector[x]);
            list.push_back(edge);
          }
        }
      }
    }
  }
  return list;
}

void radius_is_complete() {
  Numbers numbers(1);
  for (int at = 0; at < 120; at++) {
    const int skews = at % 5 == 4 ? 6 : at % 3;
    const Structure s = random_structure(numbers, 1 + numbers.below(4), numbers.between(1.2, 5), skews);
    const double cutoff = numbers.between(1.5, 5);
    // What a box around the sphere costs grows with the skew.
    const double volume = std::abs(determinant(s.lattice));
    double boxes = 1;
    for (int k = 0; k < 3; k++) boxes *= 2 * cutoff * length(cross(s.lattice[(k + 1) % 3], s.lattice[(k + 2) % 3])) / volume + 11;
    if (boxes > 4e4) continue;
    const auto found = edges_of(s, radius(cutoff));
    const auto expected = brute(s, cutoff);
    check(found.size() == expected.size(), "as many edges as by brute force", at);
    for (size_t k = 0; k < found.size(); k++) {
      check(found[k].key() == expected[k].key(), "the edges of brute force, in order", at);
      check(std::abs(found[k].distance - expected[k].distance) <= 1e-6 * expected[k].distance, "distance", at);
      for (int x = 0; x < 3; x++) check(std::abs(found[k].vector[x] - expected[k].vector[x]) <= 1e-6, "vector", at);
    }
  }
}

void edges_keep_symmetries() {
  Numbers numbers(2);
  for (int at = 0; at < 60; at++) {
    const int atoms = 1 + numbers.below(6);
    const Structure s = random_structure(numbers, atoms, numbers.between(2, 4), at % 4);
    const auto found = edges_of(s, radius(4));
    const auto edges = set_of(found);
    check(edges.size() == found.size() && std::is_sorted(found.begin(), found.end(), [](const Edge& a, const Edge& b) { return a.key() < b.key(); }), "sorted, each once", at);
    std::map<std::array<int, 5>, float> distances;
    for (const Edge& e : found) distances[e.key()] = e.distance;
    for (const Edge& e : found) {
      const auto back = distances.find({e.target, e.source, -e.image[0], -e.image[1], -e.image[2]});
      check(back != distances.end() && back->second == e.distance, "every edge has its opposite, as long", at);
    }
    // Each atom moved by lattice vectors of its own, and all by one vector.
    Structure moved = s;
    std::vector<std::array<int, 3>> by(atoms);
    const double shift[3] = {numbers.unit(), numbers.unit(), numbers.unit()};
    for (int a = 0; a < atoms; a++) {
      for (int x = 0; x < 3; x++) moved.frac[3 * a + x] += (by[a][x] = numbers.below(7) - 3) + shift[x];
    }
    std::set<std::array<int, 5>> expected;
    for (const Edge& e : found) expected.insert({e.source, e.target, e.image[0] - by[e.target][0] + by[e.source][0], e.image[1] - by[e.target][1] + by[e.source][1], e.image[2] - by[e.target][2] + by[e.source][2]});
    check(set_of(edges_of(moved, radius(4))) == expected, "translations move images alone", at);
    // Sites in reverse.
    Structure reversed{s.lattice, {}};
    for (int a = atoms - 1; a >= 0; a--) reversed.frac.insert(reversed.frac.end(), s.frac.begin() + 3 * a, s.frac.begin() + 3 * a + 3);
    expected.clear();
    for (const Edge& e : found) expected.insert({atoms - 1 - e.source, atoms - 1 - e.target, e.image[0], e.image[1], e.image[2]});
    check(set_of(edges_of(reversed, radius(4))) == expected, "a permutation renames atoms", at);
    // Another basis of the same lattice.
    Structure rebased = s;
    add_row(rebased.lattice, 2, 0, 3);
    for (int a = 0; a < atoms; a++) rebased.frac[3 * a] -= 3 * s.frac[3 * a + 2];
    expected.clear();
    for (const Edge& e : found) expected.insert({e.source, e.target, e.image[0] - 3 * e.image[2], e.image[1], e.image[2]});
    check(set_of(edges_of(rebased, radius(4))) == expected, "another basis renames images", at);
    const int times[3] = {1 + at % 3, 2, 1 + at % 2};
    const size_t copies = times[0] * times[1] * times[2];
    check(edges_of(supercell(s, times), radius(4)).size() == copies * found.size(), "a supercell has each edge once per cell", at);
  }
}

void nearest_neighbors() {
  Numbers numbers(3);
  for (int at = 0; at < 40; at++) {
    const Structure s = random_structure(numbers, 1 + numbers.below(5), numbers.between(2, 4), at % 3);
    const uint32_t k = 1 + numbers.below(14);
    auto all = edges_of(s, radius(12));
    const auto take = [&](uint32_t wanted, const std::vector<Edge>& from) {
      std::map<int, std::vector<Edge>> by;
      for (const Edge& e : from) by[e.source].push_back(e);
      std::set<std::array<int, 5>> kept;
      for (auto& [source, list] : by) {
        std::stable_sort(list.begin(), list.end(), [](const Edge& a, const Edge& b) { return a.distance < b.distance; });
        for (size_t n = 0; n < std::min<size_t>(wanted, list.size()); n++) kept.insert(list[n].key());
      }
      return kept;
    };
    // Only what is surely complete: k nearest lie well within 12 Å here.
    check(set_of(edges_of(s, knn(k, Ties::Cut))) == take(k, all), "the k nearest", at);
    check(set_of(edges_of(s, knn(k, Ties::Keep))).size() >= k * (s.frac.size() / 3), "ties are added", at);
    NeighborOptions most = radius(5);
    most.max_neighbors = k;
    uint64_t cut;
    const auto within = edges_of(s, radius(5));
    const auto kept = edges_of(s, most, &cut);
    check(set_of(kept) == take(k, within), "max_neighbors keeps the nearest", at);
    check(cut + kept.size() == within.size(), "what is cut is counted", at);
  }
  // In rock salt 6 neighbours are as near as the first, then 12.
  const Structure salt = rock_salt(5.64, 1);
  check(edges_of(salt, knn(3, Ties::Keep)).size() == 8 * 6, "ties of symmetry are kept");
  check(edges_of(salt, knn(7, Ties::Keep)).size() == 8 * 18, "ties of symmetry are kept, second shell");
  const auto three = edges_of(salt, knn(3, Ties::Cut));
  const auto six = edges_of(salt, knn(6, Ties::Cut));
  check(three.size() == 8 * 3 && six.size() == 8 * 6, "ties are cut");
  for (int k = 0; k < 24; k++) check(three[k].key() == six[k / 3 * 6 + k % 3].key(), "by (target, image)", k);
  NeighborOptions loops = knn(6, Ties::Cut);
  loops.self_loops = true;
  check(edges_of(salt, loops).size() == 8 * 7, "self loops count towards nothing");
  loops = radius(2.9);
  loops.self_loops = true;
  const auto looped = edges_of(salt, loops);
  check(looped.size() == 8 * 7 && looped[0].distance == 0 && looped[0].target == 0 && looped[0].vector[2] == 0, "self loops of a radius");
}

void special_cells() {
  // Cutoffs that are distances: everything at them is inside, whatever rounding did to the coordinates.
  check(edges_of(rock_salt(5.64, 1), radius(2.82)).size() == 8 * 6, "a cutoff that is a distance");
  check(edges_of(rock_salt(5.64, 1), radius(2.82 * std::sqrt(2.0))).size() == 8 * 18, "a cutoff that is a diagonal");
  const double h = 2.46, w = h * std::sqrt(3.0) / 2;
  check(edges_of({{{{h, 0, 0}, {-h / 2, w, 0}, {0, 0, 20}}}, {0.1, 0.2, 0.3}}, radius(h)).size() == 6, "hexagonal");
  // One atom, in a cell far smaller than the cutoff, and as skewed as it can be with images in int16.
  const Structure simple{{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}, {0, 0, 0}};
  const size_t expected = edges_of(simple, radius(6.1)).size();
  check(expected == brute(simple, 6.1).size(), "simple cubic");
  for (const int times : {7, 100, 4000}) {
    Structure skewed = simple;
    add_row(skewed.lattice, 1, 0, times);
    add_row(skewed.lattice, 2, 1, 1);
    check(edges_of(skewed, radius(6.1)).size() == expected, "skewed", times);
    const NiggliCell reduced = niggli(skewed.lattice);
    for (int k = 0; k < 3; k++) check(std::abs(reduced.parameters.lengths[k] - 1) < 1e-12 && reduced.parameters.angles[k] == 90, "skewed cells are reduced", times);
  }
  check(edges_of({{{{0.05, 0, 0}, {0, 3, 0}, {0, 0, 3}}}, {0, 0, 0}}, radius(2)).size() == 80, "a needle");
  check(edges_of({{{{4, 0, 0}, {0, 4, 0}, {0, 0, 4}}}, {}}, radius(5)).empty(), "no atoms");
  // Cell lists.
  Numbers numbers(4);
  Structure box = random_structure(numbers, 200, 16, 0);
  for (double& x : box.frac) x -= std::floor(x);
  const auto found = set_of(edges_of(box, radius(3)));
  check(found == set_of(brute(box, 3, 2)), "a cell list finds what brute force finds");
  const Structure many = rock_salt(5.64, 11);
  check(many.frac.size() == 3 * 10648 && edges_of(many, radius(4)).size() == 10648 * 18, "10,648 atoms");
}

void errors() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Lattice cube = {{{4, 0, 0}, {0, 4, 0}, {0, 0, 4}}};
  const auto run = [](const Lattice& lattice, std::vector<double> frac, double cutoff) { edges_of({lattice, std::move(frac)}, radius(cutoff)); };
  fails(Fault::Coincident, "two atoms in one place", [&] { run(cube, {0.1, 0.2, 0.3, 1.1, -0.8, 0.3}, 5); });
  fails(Fault::Coincident, "two atoms nearly in one place", [&] { run(cube, {0.1, 0.2, 0.3, 0.1, 0.2, 0.3001}, 5); });
  fails(Fault::Coincident, "also for the nearest", [&] { edges_of({cube, {0, 0, 0, 0, 0, 0}}, knn(3, Ties::Keep)); });
  fails(Fault::NotFinite, "NaN coordinates", [&] { run(cube, {0, nan, 0}, 5); });
  fails(Fault::NotFinite, "NaN in the lattice", [&] { run({{{4, 0, 0}, {0, nan, 0}, {0, 0, 4}}}, {0, 0, 0}, 5); });
  fails(Fault::NotFinite, "infinite lattice", [&] { niggli({{{4, 0, 0}, {0, 4, 0}, {0, 0, std::numeric_limits<double>::infinity()}}}); });
  fails(Fault::Flat, "no volume", [&] { run({{{4, 0, 0}, {0, 4, 0}, {4, 4, 0}}}, {0, 0, 0}, 5); });
  fails(Fault::Flat, "no volume to reduce", [&] { niggli({{{1, 2, 3}, {2, 4, 6}, {0, 0, 1}}}); });
  fails(Fault::Flat, "zero", [&] { niggli({}); });
  fails(Fault::ImageRange, "images beyond int16", [&] { run(cube, {0, 0, 0, 40000.5, 0, 0}, 5); });
  fails(Fault::TooManyEdges, "more edges than asked for", [&] {
    NeighborOptions options = radius(100);
    options.edges_max = 1000;
    edges_of({cube, {0, 0, 0}}, options);
  });
}

Vector sorted(Vector v) {
  for (double& x : v) x = std::abs(x);
  std::sort(v.begin(), v.end());
  return v;
}

void niggli_is_canonical() {
  Numbers numbers(5);
  for (int at = 0; at < 300; at++) {
    const Structure s = random_structure(numbers, 3, 4, 0);
    const NiggliCell first = niggli(s.lattice);
    Structure other = s;
    for (int n = 0; n < at % 12; n++) {
      const int to = numbers.below(3), from = (to + 1 + numbers.below(2)) % 3, times = numbers.below(5) - 2;
      add_row(other.lattice, to, from, times);
      for (int a = 0; a < 3; a++) other.frac[3 * a + from] -= times * other.frac[3 * a + to];
    }
    const NiggliCell second = niggli(other.lattice);
    // pymatgen's cell is not always the reduced one of the paper (see Metric::step): vectors may come in another order, or one of them the other way round.
    const auto lengths = sorted(first.parameters.lengths), others = sorted(second.parameters.lengths);
    const auto cosines = sorted(first.parameters.cosines), beside = sorted(second.parameters.cosines);
    for (int k = 0; k < 3; k++) {
      check(std::abs(lengths[k] / others[k] - 1) < 1e-10, "lengths of all bases of a lattice", at);
      check(std::abs(cosines[k] - beside[k]) < 1e-10, "angles of all bases of a lattice, up to 180°", at);
      check(std::abs(length(first.standard[k]) / first.parameters.lengths[k] - 1) < 1e-14, "rebuilt from parameters", at);
    }
    check(determinant(first.lattice) > 0 && determinant(second.lattice) > 0, "right-handed", at);
    check(std::abs(determinant(second.standard) / std::abs(determinant(s.lattice)) - 1) < 1e-10, "the volume stays", at);
    Structure reduced{second.standard, other.frac};
    niggli_coordinates(second, other.frac, reduced.frac);
    for (const double x : reduced.frac) check(second.unchanged || (x >= 0 && x < 1), "wrapped", at);
    const auto before = edges_of(s, radius(4)), after = edges_of(reduced, radius(4));
    check(before.size() == after.size(), "the same crystal", at);
    std::vector<float> a, b;
    for (const Edge& e : before) a.push_back(e.distance);
    for (const Edge& e : after) b.push_back(e.distance);
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    for (size_t k = 0; k < a.size(); k++) check(std::abs(a[k] - b[k]) < 1e-5, "the same distances", at);
  }
}

// Squares at and beside the midpoint of two float32.
void distances_round_once() {
  Numbers numbers(6);
  for (int at = 0; at < 20000; at++) {
    const float low = static_cast<float>(std::exp2(numbers.between(-9.9, 9.9))), high = std::nextafter(low, 2048.0f);
    const double middle = (static_cast<double>(low) + high) / 2;
    const Wide half = static_cast<Wide>(middle * 0x1p40);
    uint32_t bits;
    __builtin_memcpy(&bits, &low, 4);
    for (const int beside : {-1, 0, 1}) {
      const float got = round_distance(middle, [&] { return half * half + beside; });
      check(got == (beside < 0 || (beside == 0 && bits % 2 == 0) ? low : high), "beside the midpoint", at);
    }
    const double anywhere = numbers.between(0.01, 900);
    check(round_distance(anywhere, [&] { return static_cast<Wide>(anywhere * 0x1p40) * static_cast<Wide>(anywhere * 0x1p40); }) == static_cast<float>(anywhere), "anywhere", at);
  }
}

}  // namespace

int main() {
  radius_is_complete();
  edges_keep_symmetries();
  nearest_neighbors();
  special_cells();
  errors();
  niggli_is_canonical();
  distances_round_once();
  std::printf("%d\n", checks);
}
