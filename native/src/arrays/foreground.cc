#include "arrays/foreground.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/kernels.h"

namespace tc::arrays {
namespace {

struct Half { uint16_t bits; };
struct BFloat16 { uint16_t bits; };

float widen(BFloat16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }
float widen(Half value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
  const uint32_t exponent = (value.bits >> 10) & 31, mantissa = value.bits & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float small = std::ldexp(static_cast<float>(mantissa), -24);
  return sign != 0 ? -small : small;
}

// Integers are compared with the threshold rounded down, which says the same and is exact for 64 bits.
template <typename T>
struct Above {
  T bound{};
  bool always = false, never = false;
  explicit Above(double threshold) {
    if (std::isnan(threshold)) {
      never = true;
      return;
    }
    const double floor = std::floor(threshold);
    // The largest value of a 64-bit type is no double: the power of two above it is.
    if (floor < static_cast<double>(std::numeric_limits<T>::min())) always = true;
    else if (floor >= std::ldexp(1.0, std::numeric_limits<T>::digits)) never = true;
    else bound = static_cast<T>(floor);
  }
  bool operator()(T value) const { return always || (!never && value > bound); }
};
template <typename T>
  requires std::is_floating_point_v<T>
struct Above<T> {
  double bound;
  explicit Above(double threshold) : bound(threshold) {}
  bool operator()(T value) const { return static_cast<double>(value) > bound; }
};
template <typename T>
  requires(std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
struct Above<T> {
  double bound;
  explicit Above(double threshold) : bound(threshold) {}
  bool operator()(T value) const { return static_cast<double>(widen(value)) > bound; }
};

template <typename T>
ForegroundBox search(const uint8_t* bytes, std::span<const size_t> shape, const std::array<size_t, 3>& axes, double threshold) {
  const Above<T> above(threshold);
  const T* data = reinterpret_cast<const T*>(bytes);
  const size_t rank = shape.size();
  const size_t length = shape[rank - 1];
  size_t rows = 1;
  for (size_t axis = 0; axis + 1 < rank; axis++) rows *= shape[axis];
  ForegroundBox box;
  box.start.fill(std::numeric_limits<int64_t>::max());
  std::vector<size_t> at(rank, 0);
  // Which of the three the rows run along, if any.
  const auto along = std::find(axes.begin(), axes.end(), rank - 1) - axes.begin();
  for (size_t row = 0; row < rows && length > 0; row++, data += length) {
    size_t first = 0;
    while (first < length && !above(data[first])) first++;
    if (first < length) {
      size_t last = length - 1;
      while (!above(data[last])) last--;
      for (int k = 0; k < 3; k++) {
        const bool runs = k == along;
        box.start[k] = std::min(box.start[k], static_cast<int64_t>(runs ? first : at[axes[k]]));
        box.stop[k] = std::max(box.stop[k], static_cast<int64_t>(runs ? last : at[axes[k]]) + 1);
      }
    }
    for (size_t axis = rank - 1; axis-- > 0;) {
      if (++at[axis] < shape[axis]) break;
      at[axis] = 0;
    }
  }
  if (box.stop[0] == 0) box.start.fill(0);
  return box;
}

}  // namespace

bool can_compare(int dtype) { return dtype >= kBool && dtype <= kFloat64; }

ForegroundBox foreground_box(const uint8_t* data, int dtype, std::span<const size_t> shape, const std::array<size_t, 3>& axes, double threshold) {
  switch (dtype) {
    case kBool:
    case kUint8: return search<uint8_t>(data, shape, axes, threshold);
    case kInt8: return search<int8_t>(data, shape, axes, threshold);
    case kInt16: return search<int16_t>(data, shape, axes, threshold);
    case kUint16: return search<uint16_t>(data, shape, axes, threshold);
    case kInt32: return search<int32_t>(data, shape, axes, threshold);
    case kUint32: return search<uint32_t>(data, shape, axes, threshold);
    case kInt64: return search<int64_t>(data, shape, axes, threshold);
    case kUint64: return search<uint64_t>(data, shape, axes, threshold);
    case kFloat16: return search<Half>(data, shape, axes, threshold);
    case kBFloat16: return search<BFloat16>(data, shape, axes, threshold);
    case kFloat32: return search<float>(data, shape, axes, threshold);
    default: return search<double>(data, shape, axes, threshold);
  }
}

}  // namespace tc::arrays
