// The nearest of candidates that something less exact has listed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "points/grid.h"

namespace tc::points {

struct Lists {
  std::span<const double> x, y;
  // Which points the places in lists are.
  std::span<const int32_t> order;
  // 1 + room words each: how many candidates there are, then their places.
  std::span<const uint32_t> words;
  size_t room;
};

// The k candidates of a list nearest to a point, as PointGrid::nearest. False, with nothing written, where there are fewer than k or more than there is room for, or where something is no point.
bool nearest_listed(const Lists& lists, size_t list, int32_t point, uint32_t k, int32_t* index, double* squared, PointGrid::Found& found);

}  // namespace tc::points
