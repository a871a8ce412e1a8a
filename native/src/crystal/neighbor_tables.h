// What kernels/neighbors-*.wgsl are given: exact cells as words, and which pairs each invocation looks at.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "candidates.h"
#include "exact.h"

namespace tc::crystal {

// All words little endian; an int64 is its lower word, then its upper one. Layouts as kernels/shared/neighbors.wgsl reads them.
struct NeighborTables {
  static constexpr size_t kCellWords = 32, kAtomWords = 9, kLimitWords = 4, kRowWords = 4;

  std::vector<uint32_t> cells;
  std::vector<uint32_t> atoms;
  // By atom: what is kept of its neighbours. Here everything within the structure's limit.
  std::vector<uint32_t> limits;
  // Rows of edges, in the order of the result.
  std::vector<uint32_t> rows;
  std::vector<uint32_t> targets;
  // By structure, and one more: where its rows begin.
  std::vector<uint32_t> first_row = {0};

  // Adds a structure; `limit` is key_of_cutoff(cutoff). A row has at most `targets_per_row` targets, more rows being more invocations; 0: one row per atom, as
  // neighbors-select and its limits need it. Throws CrystalError (ImageRange) for what only the CPU computes: images that could leave int16.
  void append(const ExactCell& cell, Key limit, uint32_t targets_per_row);

 private:
  Candidates candidates_;
  // Where the list 0, 1, 2, … begins in targets, which structures without a cell list share.
  uint32_t identity_ = 0;
  uint32_t identity_size_ = 0;
};

}  // namespace tc::crystal
