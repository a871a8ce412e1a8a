#include "neighbor_tables.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "error.h"
#include "lines.h"

namespace tc::crystal {
namespace {

// Relative error of products in float32: 2^-24 for each factor, product and sum, with much to spare.
constexpr double kError = 0x1p-20;

void put64(std::vector<uint32_t>& words, int64_t value) {
  words.push_back(static_cast<uint32_t>(value));
  words.push_back(static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32));
}
void put_float(std::vector<uint32_t>& words, double value) { words.push_back(std::bit_cast<uint32_t>(static_cast<float>(value))); }

}  // namespace

void NeighborTables::append(const ExactCell& cell, Key limit, uint32_t targets_per_row) {
  const double radius = std::sqrt((static_cast<double>(limit) + 1) * 0x1p-30);
  const Lines lines = Lines::of(cell.lattice, radius, true, kError);
  int64_t moved = 0;
  for (const auto& by : cell.cells) {
    for (const int64_t x : by) moved = std::max(moved, x < 0 ? -x : x);
  }
  if (!(lines.index_bound + 2 * static_cast<double>(moved) < 32767) || !(lines.farthest < 0x1p22)) throw CrystalError(Fault::ImageRange, "images could leave int16");

  const auto structure = static_cast<uint32_t>(first_row.size() - 1);
  const auto first_atom = static_cast<uint32_t>(atoms.size() / kAtomWords);
  for (const Steps& row : cell.rows) {
    for (const int64_t x : row) put64(cells, x);
  }
  for (const Vector& axis : lines.dual) {
    for (const double x : axis) put_float(cells, x);
  }
  for (const double half : lines.half) put_float(cells, half);
  cells.push_back(first_atom);
  cells.push_back(0);

  candidates_.assign(cell, radius);
  const auto count = static_cast<uint32_t>(cell.atoms());
  const bool listed = candidates_.lists() > 1;
  if (!listed && identity_size_ < count) {
    identity_ = static_cast<uint32_t>(targets.size());
    identity_size_ = std::max(count, 256u);
    for (uint32_t k = 0; k < identity_size_; k++) targets.push_back(k);
  }
  // Atoms of a bin share their list.
  constexpr uint32_t kNotYet = UINT32_MAX;
  std::vector<uint32_t> begin_of(candidates_.lists(), listed ? kNotYet : identity_);
  for (uint32_t atom = 0; atom < count; atom++) {
    for (const int64_t x : cell.positions[atom]) put64(atoms, x);
    for (const int64_t x : cell.cells[atom]) atoms.push_back(static_cast<uint32_t>(static_cast<int32_t>(x)));
    limits.push_back(static_cast<uint32_t>(limit));
    limits.push_back(static_cast<uint32_t>(limit >> 32));
    limits.push_back(UINT32_MAX);
    limits.push_back(0);

    const auto list = candidates_.of(atom);
    const auto size = static_cast<uint32_t>(list.size());
    uint32_t& begin = begin_of[candidates_.list_of(atom)];
    if (begin == kNotYet) {
      begin = static_cast<uint32_t>(targets.size());
      targets.insert(targets.end(), list.begin(), list.end());
    }
    const uint32_t step = targets_per_row == 0 ? size : targets_per_row;
    for (uint32_t at = 0; at < size; at += step) rows.insert(rows.end(), {structure, atom, begin + at, begin + std::min(size, at + step)});
  }
  first_row.push_back(static_cast<uint32_t>(rows.size() / kRowWords));
}

}  // namespace tc::crystal
