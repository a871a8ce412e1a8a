#include "place.h"

#include <algorithm>
#include <cstring>
#include <functional>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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
// Half of a small second-level cache; and two cache lines of int16 in each row of the result.
constexpr size_t BLOCK_BYTES = size_t{256} << 10;
constexpr size_t BLOCK_HEIGHT = 64;

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

#if defined(__SSE2__)
template <class T>
inline constexpr size_t kSquare = sizeof(T) == 2 ? 8 : sizeof(T) == 4 ? 4 : 0;

// A square of registers, turned: rows `from_step` bytes apart become columns `to_step` bytes apart. Every x86-64 has these instructions.
template <class T>
inline void put_square(const uint8_t* from, size_t from_step, uint8_t* to, size_t to_step) {
  const auto row = [&](size_t k) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k * from_step)); };
  const auto put = [&](size_t k, __m128i value) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to + k * to_step), value); };
  if constexpr (sizeof(T) == 4) {
    const __m128i a = _mm_unpacklo_epi32(row(0), row(1)), b = _mm_unpackhi_epi32(row(0), row(1));
    const __m128i c = _mm_unpacklo_epi32(row(2), row(3)), d = _mm_unpackhi_epi32(row(2), row(3));
    put(0, _mm_unpacklo_epi64(a, c)), put(1, _mm_unpackhi_epi64(a, c)), put(2, _mm_unpacklo_epi64(b, d)), put(3, _mm_unpackhi_epi64(b, d));
  } else {
    __m128i pairs[8], fours[8];
    for (size_t k = 0; k < 4; k++) {
      pairs[k] = _mm_unpacklo_epi16(row(2 * k), row(2 * k + 1));
      pairs[4 + k] = _mm_unpackhi_epi16(row(2 * k), row(2 * k + 1));
    }
    for (size_t half = 0; half < 8; half += 4) {
      for (size_t k = 0; k < 2; k++) {
        fours[half + k] = _mm_unpacklo_epi32(pairs[half + 2 * k], pairs[half + 2 * k + 1]);
        fours[half + 2 + k] = _mm_unpackhi_epi32(pairs[half + 2 * k], pairs[half + 2 * k + 1]);
      }
      put(half, _mm_unpacklo_epi64(fours[half], fours[half + 1])), put(half + 1, _mm_unpackhi_epi64(fours[half], fours[half + 1]));
      put(half + 2, _mm_unpacklo_epi64(fours[half + 2], fours[half + 3])), put(half + 3, _mm_unpackhi_epi64(fours[half + 2], fours[half + 3]));
    }
  }
}
#endif

// to[i · along + j · across] = tile[j][i]: i < width, j < height. Rows of the tile are `step` bytes apart.
template <class T>
void put_tile(const uint8_t* tile, size_t step, size_t width, size_t height, uint8_t* to, size_t along, size_t across) {
  size_t done = 0;
#if defined(__SSE2__)
  if constexpr (kSquare<T> > 0) {
    constexpr size_t square = kSquare<T>;
    if (across == 1 && height % square == 0) {
      for (; done + square <= width; done += square) {
        for (size_t j = 0; j < height; j += square) put_square<T>(tile + j * step + done * sizeof(T), step, to + (done * along + j) * sizeof(T), along * sizeof(T));
      }
    }
  }
#endif
  for (size_t i = done; i < width; i++) {
    for (size_t j = 0; j < height; j++) std::memcpy(to + (i * along + j * across) * sizeof(T), tile + j * step + i * sizeof(T), sizeof(T));
  }
}

// The axis behind the first that is fastest in the result; 0 where there is none.
size_t fastest(const Box& box) {
  size_t fast = 0;
  for (size_t axis = 1; axis < box.extents.size(); axis++) {
    if (box.extents[axis] > 1 && (fast == 0 || box.strides[axis] < box.strides[fast])) fast = axis;
  }
  return fast;
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
  // As they are: put where they go without another copy.
  const bool moved = elements.from == elements.to && !elements.scaled && !elements.swapped;
  std::vector<size_t> source_strides(rank);
  size_t count = 1;
  for (size_t axis = 0; axis < rank; count *= box.extents[axis++]) source_strides[axis] = count;
  if (count == 0) return;

  // Tiles lie along axis 0 and the one that is fastest in the result; the others are stepped through.
  const size_t fast = fastest(box);
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
        const uint8_t* at = source + (from + j * source_across) * from_size;
        size_t apart = source_across * from_size;
        if (!moved) {
          for (size_t k = 0; k < rows; k++) run(at + k * apart, tile + k * TILE * to_size, width, elements);
          at = tile;
          apart = TILE * to_size;
        }
        uint8_t* const goes = out + (to + j * across) * to_size;
        switch (to_size) {
          case 1: put_tile<uint8_t>(at, apart, width, rows, goes, box.strides[0], across); break;
          case 2: put_tile<uint16_t>(at, apart, width, rows, goes, box.strides[0], across); break;
          case 4: put_tile<uint32_t>(at, apart, width, rows, goes, box.strides[0], across); break;
          case 8: put_tile<uint64_t>(at, apart, width, rows, goes, box.strides[0], across); break;
          default: put_tile<Wide>(at, apart, width, rows, goes, box.strides[0], across); break;
        }
      }
    }
  });
}

void place_read(const ReadSource& read, const Elements& elements, const Box& box, uint8_t* out, unsigned threads) {
  const size_t rank = box.extents.size(), size = placed_size(elements.from), fast = fastest(box);
  std::vector<size_t> source_strides(rank);
  size_t count = 1;
  for (size_t axis = 0; axis < rank; count *= box.extents[axis++]) source_strides[axis] = count;
  if (count == 0) return;

  // A block is some of the axis that is fastest in the result, and of what lies before that in the source a part that lies together: axes below `cut` whole, a piece of that one.
  const size_t height = fast == 0 ? 1 : std::min(box.extents[fast], BLOCK_HEIGHT);
  const size_t room = std::max<size_t>(1, BLOCK_BYTES / size / height);
  size_t cut = 0, below = 1;
  while (cut + 1 < fast && below * box.extents[cut] <= room) below *= box.extents[cut++];
  const size_t width = std::clamp<size_t>(room / below, 1, box.extents[cut]);

  // How many pieces each axis is in.
  std::vector<size_t> steps(rank, 1), pieces(rank);
  for (size_t axis = 0; axis < rank; axis++) {
    steps[axis] = axis < cut ? box.extents[axis] : axis == cut ? width : axis == fast ? height : 1;
    pieces[axis] = (box.extents[axis] + steps[axis] - 1) / steps[axis];
  }
  size_t blocks = 1;
  for (const size_t some : pieces) blocks *= some;
  parallel_for(blocks, threads, [&](size_t begin, size_t end) {
    std::vector<uint8_t> buffer(below * width * height * size);
    Box part = {box.extents, box.strides, 0};
    for (size_t block = begin; block < end; block++) {
      size_t rest = block, from = 0;
      part.offset = box.offset;
      for (size_t axis = 0; axis < rank; axis++) {
        const size_t at = rest % pieces[axis] * steps[axis];
        rest /= pieces[axis];
        part.extents[axis] = std::min(steps[axis], box.extents[axis] - at);
        part.offset += at * box.strides[axis];
        from += at * source_strides[axis];
      }
      const size_t run = below * part.extents[cut] * size;
      const size_t runs = fast == 0 ? 1 : part.extents[fast];
      for (size_t k = 0; k < runs; k++) read((from + k * source_strides[fast]) * size, buffer.data() + k * run, run);
      place(buffer.data(), elements, part, out, 1);
    }
  });
}

}  // namespace tc::arrays
