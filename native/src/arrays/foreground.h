// The smallest box that holds what lies above a threshold.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tc::arrays {

// First position and the one after the last, along each of three axes; both 0 where nothing is above.
struct ForegroundBox {
  std::array<int64_t, 3> start{}, stop{};
};

// True for dtypes (codes of src/core/dtype.ts) whose elements can be compared with a number.
bool can_compare(int dtype);

// `axes` are three different ones of `shape`, C order. An element is above when its exact value is greater than the threshold; NaN is not.
ForegroundBox foreground_box(const uint8_t* data, int dtype, std::span<const size_t> shape, const std::array<size_t, 3>& axes, double threshold);

}  // namespace tc::arrays
