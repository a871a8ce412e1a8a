// Structures for the tests of native/src/crystal, made from a fixed stream of numbers.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "crystal/lattice.h"

namespace made {

using tc::crystal::Lattice;

struct Structure {
  Lattice lattice;
  std::vector<double> frac;
};

class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  double unit() {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<double>(state_ >> 11) * 0x1p-53;
  }
  double between(double low, double high) { return low + (high - low) * unit(); }
  int below(int n) { return static_cast<int>(unit() * n); }

 private:
  uint64_t state_;
};

inline void add_row(Lattice& rows, int to, int from, int times) {
  for (int x = 0; x < 3; x++) rows[to][x] += times * rows[from][x];
}

// Few atoms at random places, in cells up to 1.5 around the first: none of the seeds used puts two together.
inline Structure random_structure(Numbers& numbers, int atoms, double edge, int skews) {
  Structure made;
  for (int i = 0; i < 3; i++) {
    for (int x = 0; x < 3; x++) made.lattice[i][x] = edge * ((i == x) + numbers.between(-0.3, 0.3));
  }
  for (int s = 0; s < skews; s++) {
    const int to = numbers.below(3);
    add_row(made.lattice, to, (to + 1 + numbers.below(2)) % 3, numbers.below(5) - 2);
  }
  for (int k = 0; k < 3 * atoms; k++) made.frac.push_back(numbers.between(-1.5, 1.5));
  return made;
}

// Na and Cl alternate on a cubic grid of `edge` / 2, `cells`³ conventional cells of 8 atoms.
inline Structure rock_salt(double edge, int cells) {
  Structure made{{{{edge * cells, 0, 0}, {0, edge * cells, 0}, {0, 0, edge * cells}}}, {}};
  for (int i = 0; i < 2 * cells; i++) {
    for (int j = 0; j < 2 * cells; j++) {
      for (int k = 0; k < 2 * cells; k++) {
        for (const int n : {i, j, k}) made.frac.push_back(n / (2.0 * cells));
      }
    }
  }
  return made;
}

// `times` cells along each vector.
inline Structure supercell(const Structure& cell, const int (&times)[3]) {
  Structure made{cell.lattice, {}};
  for (int i = 0; i < 3; i++) {
    for (double& x : made.lattice[i]) x *= times[i];
  }
  for (size_t atom = 0; atom < cell.frac.size(); atom += 3) {
    for (int i = 0; i < times[0]; i++) {
      for (int j = 0; j < times[1]; j++) {
        for (int k = 0; k < times[2]; k++) {
          const int at[3] = {i, j, k};
          for (int x = 0; x < 3; x++) made.frac.push_back((cell.frac[atom + x] + at[x]) / times[x]);
        }
      }
    }
  }
  return made;
}

}  // namespace made
