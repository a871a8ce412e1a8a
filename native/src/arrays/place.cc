#include "place.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "../kernels/kernels.h"

namespace tc {
void parallel_for(size_t count, unsigned threads, const std::function<void(size_t, size_t)>& body);
}

namespace tc::arrays {
namespace {

// A tile of 32 × 32 elements is converted into a buffer of its own, which lies in the first-level cache, along the source's fastest axis, and written along
// the result's. 32 elements of 2 bytes are a cache line.
constexpr size_t TILE = 32;
constexpr size_t ELEMENT_MAX = 16;

template <size_t N> struct BitsOf;
template <> struct BitsOf<1> { using type = uint8_t; };
template <> struct BitsOf<2> { using type = uint16_t; };
template <> struct BitsOf<4> { using type = uint32_t; };
template <> struct BitsOf<8> { using type = uint64_t; };

template <class T>
inline T reversed(T value) {
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
  return value;
}

// A run of elements into a buffer. Addresses need no alignment.
using Run = void (*)(const uint8_t* from, uint8_t* to, size_t count, const Elements& elements);

template <size_t Size, size_t Unit>
void copy_run(const uint8_t* from, uint8_t* to, size_t count, const Elements& elements) {
  if (!elements.swapped) {
    std::memcpy(to, from, count * Size);
    return;
  }
  using Bits = typename BitsOf<Unit>::type;
  for (size_t at = 0; at < count * Size; at += Unit) {
    Bits bits;
    std::memcpy(&bits, from + at, Unit);
    bits = reversed(bits);
    std::memcpy(to + at, &bits, Unit);
  }
}

template <class S, class D, bool Swapped, bool Scaled, bool Added>
void convert(const uint8_t* from, uint8_t* to, size_t count, double slope, double inter) {
  using Bits = typename BitsOf<sizeof(S)>::type;
  for (size_t i = 0; i < count; i++) {
    Bits bits;
    std::memcpy(&bits, from + i * sizeof(S), sizeof(S));
    if constexpr (Swapped) bits = reversed(bits);
    const S x = __builtin_bit_cast(S, bits);
    D value;
    if constexpr (Scaled) {
      const double product = static_cast<double>(x) * slope;
      value = static_cast<D>(Added ? product + inter : product);
    } else {
      value = static_cast<D>(x);
    }
    std::memcpy(to + i * sizeof(D), &value, sizeof(D));
  }
}

template <class S, class D, bool Swapped>
void convert_run(const uint8_t* from, uint8_t* to, size_t count, const Elements& e) {
  if (!e.scaled) return convert<S, D, Swapped, false, false>(from, to, count, 1, 0);
  if (e.inter == 0) return convert<S, D, Swapped, true, false>(from, to, count, e.slope, 0);
  convert<S, D, Swapped, true, true>(from, to, count, e.slope, e.inter);
}

template <class D>
Run converting(int from, bool swapped) {
  switch (from) {
#define TC_FROM(code, S) case code: return swapped ? convert_run<S, D, true> : convert_run<S, D, false>
    TC_FROM(kInt8, int8_t);
    TC_FROM(kUint8, uint8_t);
    TC_FROM(kInt16, int16_t);
    TC_FROM(kUint16, uint16_t);
    TC_FROM(kInt32, int32_t);
    TC_FROM(kUint32, uint32_t);
    TC_FROM(kInt64, int64_t);
    TC_FROM(kUint64, uint64_t);
    TC_FROM(kFloat32, float);
    TC_FROM(kFloat64, double);
#undef TC_FROM
    default: return nullptr;
  }
}

Run run_for(const Elements& e) {
  if (e.from == e.to && !e.scaled) {
    if (e.from == kComplex64) return copy_run<8, 4>;
    if (e.from == kComplex128) return copy_run<16, 8>;
    switch (placed_size(e.from)) {
      case 1: return copy_run<1, 1>;
      case 2: return copy_run<2, 2>;
      case 4: return copy_run<4, 4>;
      case 8: return copy_run<8, 8>;
      default: return nullptr;
    }
  }
  if (e.to == kFloat32) return converting<float>(e.from, e.swapped);
  if (e.to == kFloat64) return converting<double>(e.from, e.swapped);
  return nullptr;
}

struct Wide {
  uint64_t low, high;
};

// to[i · along + j · across] = tile[j][i]: i < width, j < height.
template <class T>
void put_tile(const uint8_t* tile, size_t width, size_t height, uint8_t* to, size_t along, size_t across) {
  for (size_t i = 0; i < width; i++) {
    for (size_t j = 0; j < height; j++) std::memcpy(to + (i * along + j * across) * sizeof(T), tile + (j * TILE + i) * sizeof(T), sizeof(T));
  }
}

}  // namespace

size_t placed_size(int dtype) {
  switch (dtype) {
    case kInt8: case kUint8: return 1;
    case kInt16: case kUint16: return 2;
    case kInt32: case kUint32: case kFloat32: return 4;
    case kInt64: case kUint64: case kFloat64: case kComplex64: return 8;
    case kComplex128: return 16;
    default: return 0;
  }
}

bool can_place(const Elements& elements) { return run_for(elements) != nullptr; }

void place(const uint8_t* source, const Elements& elements, const Box& box, uint8_t* out, unsigned threads) {
  const size_t rank = box.extents.size();
  const size_t from_size = placed_size(elements.from), to_size = placed_size(elements.to);
  const Run run = run_for(elements);
  std::vector<size_t> source_strides(rank);
  size_t count = 1;
  for (size_t axis = 0; axis < rank; count *= box.extents[axis++]) source_strides[axis] = count;
  if (count == 0) return;

  // Tiles lie along axis 0 and the one that is fastest in the result; the others are stepped through.
  size_t fast = 0;
  for (size_t axis = 1; axis < rank; axis++) {
    if (box.extents[axis] > 1 && (fast == 0 || box.strides[axis] < box.strides[fast])) fast = axis;
  }
  const size_t height = fast == 0 ? 1 : box.extents[fast];
  const size_t source_across = source_strides[fast], across = box.strides[fast];
  std::vector<size_t> others;
  for (size_t axis = 1; axis < rank; axis++) {
    if (axis != fast) others.push_back(axis);
  }
  const size_t steps = count / box.extents[0] / height;
  const size_t tiles = (box.extents[0] + TILE - 1) / TILE;
  // Steps are innermost: the rows of the result that a tile touches are then written on where they were left.
  parallel_for(tiles * steps, threads, [&](size_t begin, size_t end) {
    alignas(64) uint8_t tile[TILE * TILE * ELEMENT_MAX];
    for (size_t unit = begin; unit < end; unit++) {
      const size_t x = unit / steps * TILE;
      const size_t width = std::min(TILE, box.extents[0] - x);
      size_t from = x, to = box.offset + x * box.strides[0];
      size_t step = unit % steps;
      for (const size_t axis : others) {
        from += step % box.extents[axis] * source_strides[axis];
        to += step % box.extents[axis] * box.strides[axis];
        step /= box.extents[axis];
      }
      for (size_t j = 0; j < height; j += TILE) {
        const size_t rows = std::min(TILE, height - j);
        for (size_t k = 0; k < rows; k++) run(source + (from + (j + k) * source_across) * from_size, tile + k * TILE * to_size, width, elements);
        uint8_t* const at = out + (to + j * across) * to_size;
        switch (to_size) {
          case 1: put_tile<uint8_t>(tile, width, rows, at, box.strides[0], across); break;
          case 2: put_tile<uint16_t>(tile, width, rows, at, box.strides[0], across); break;
          case 4: put_tile<uint32_t>(tile, width, rows, at, box.strides[0], across); break;
          case 8: put_tile<uint64_t>(tile, width, rows, at, box.strides[0], across); break;
          default: put_tile<Wide>(tile, width, rows, at, box.strides[0], across); break;
        }
      }
    }
  });
}

}  // namespace tc::arrays
