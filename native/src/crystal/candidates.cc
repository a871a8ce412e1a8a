#include "candidates.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tc::crystal {
namespace {

// Up to here testing all pairs is faster.
constexpr size_t kFewAtoms = 48;

}  // namespace

void Candidates::assign(const ExactCell& cell, double radius) {
  const size_t atoms = cell.atoms();
  list_of_.clear();
  int bins[3] = {1, 1, 1};
  if (atoms > kFewAtoms) {
    const double volume = std::abs(determinant(cell.lattice));
    // No more bins than atoms.
    const int most = static_cast<int>(std::cbrt(static_cast<double>(atoms))) + 1;
    for (int k = 0; k < 3; k++) {
      // Bins wider than the radius, measured between their faces: neighbours lie in bins side by side. Three or fewer of them would all be neighbours.
      const double height = volume / length(cross(cell.lattice[(k + 1) % 3], cell.lattice[(k + 2) % 3]));
      const int fit = static_cast<int>(std::min<double>(most, height / radius * (1 - 1e-6)));
      bins[k] = fit > 3 ? fit : 1;
    }
  }
  const int total = bins[0] * bins[1] * bins[2];
  if (total == 1) {
    targets_.resize(atoms);
    std::iota(targets_.begin(), targets_.end(), 0u);
    begin_ = {0, static_cast<uint32_t>(atoms)};
    return;
  }
  list_of_.resize(atoms);
  std::vector<uint32_t> begin(total + 1, 0);
  for (size_t i = 0; i < atoms; i++) {
    int bin = 0;
    for (int k = 0; k < 3; k++) bin = bin * bins[k] + std::min(bins[k] - 1, static_cast<int>(cell.wrapped[i][k] * bins[k]));
    list_of_[i] = bin;
    begin[bin + 1]++;
  }
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  std::vector<uint32_t> members(atoms), at(begin.begin(), begin.end() - 1);
  for (size_t i = 0; i < atoms; i++) members[at[list_of_[i]]++] = i;

  begin_.assign(1, 0);
  targets_.clear();
  const int reach[3] = {bins[0] > 1, bins[1] > 1, bins[2] > 1};
  for (int bin = 0; bin < total; bin++) {
    if (begin[bin] < begin[bin + 1]) {
      const int place[3] = {bin / (bins[1] * bins[2]), bin / bins[2] % bins[1], bin % bins[2]};
      for (int i = -reach[0]; i <= reach[0]; i++) {
        for (int j = -reach[1]; j <= reach[1]; j++) {
          for (int k = -reach[2]; k <= reach[2]; k++) {
            const int other = ((place[0] + i + bins[0]) % bins[0] * bins[1] + (place[1] + j + bins[1]) % bins[1]) * bins[2] + (place[2] + k + bins[2]) % bins[2];
            targets_.insert(targets_.end(), members.begin() + begin[other], members.begin() + begin[other + 1]);
          }
        }
      }
      std::sort(targets_.begin() + begin_.back(), targets_.end());
    }
    begin_.push_back(static_cast<uint32_t>(targets_.size()));
  }
}

}  // namespace tc::crystal
