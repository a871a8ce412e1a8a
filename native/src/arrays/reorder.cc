#include "reorder.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace tc {
void parallel_for(size_t count, unsigned threads, const std::function<void(size_t, size_t)>& body);
}

namespace tc::arrays {
namespace {

// 32 × 32 elements of 8 bytes: two tiles lie in the first-level cache, and every line that is touched is used up.
constexpr size_t TILE = 32;

struct Wide {
  uint64_t low, high;
};

template <class T>
inline void move(uint8_t* to, const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  std::memcpy(to, &value, sizeof(T));
}

// out[i · row_stride + j] = source[i + j · column_stride], strides in elements.
template <class T>
void transpose(const uint8_t* source, size_t column_stride, uint8_t* out, size_t row_stride, size_t rows, size_t columns) {
  for (size_t i0 = 0; i0 < rows; i0 += TILE) {
    const size_t i1 = std::min(rows, i0 + TILE);
    for (size_t j0 = 0; j0 < columns; j0 += TILE) {
      const size_t j1 = std::min(columns, j0 + TILE);
      for (size_t i = i0; i < i1; i++) {
        const uint8_t* from = source + (i + j0 * column_stride) * sizeof(T);
        uint8_t* to = out + (i * row_stride + j0) * sizeof(T);
        for (size_t j = j0; j < j1; j++, from += column_stride * sizeof(T), to += sizeof(T)) move<T>(to, from);
      }
    }
  }
}

template <class T>
void rows_of(const uint8_t* source, const std::vector<size_t>& shape, size_t start, size_t stop, uint8_t* out) {
  const size_t rank = shape.size();
  if (rank == 1) {
    std::memcpy(out, source + start * sizeof(T), (stop - start) * sizeof(T));
    return;
  }
  // Axis 0 is contiguous in the source, the last axis in the result: transpose these two, and step through the axes between.
  std::vector<size_t> source_stride(rank), out_stride(rank);
  for (size_t axis = 0, stride = 1; axis < rank; stride *= shape[axis++]) source_stride[axis] = stride;
  for (size_t axis = rank, stride = 1; axis-- > 0; stride *= shape[axis]) out_stride[axis] = stride;
  std::vector<size_t> index(rank, 0);
  size_t from = start, to = 0;
  for (;;) {
    transpose<T>(source + from * sizeof(T), source_stride[rank - 1], out + to * sizeof(T), out_stride[0], stop - start, shape[rank - 1]);
    size_t axis = rank - 2;
    for (; axis > 0; axis--) {
      from += source_stride[axis];
      to += out_stride[axis];
      if (++index[axis] < shape[axis]) break;
      from -= source_stride[axis] * shape[axis];
      to -= out_stride[axis] * shape[axis];
      index[axis] = 0;
    }
    if (axis == 0) return;
  }
}

template <class T>
void swap_all(const uint8_t* from, uint8_t* to, size_t size) {
  for (size_t at = 0; at < size; at += sizeof(T)) {
    T value;
    std::memcpy(&value, from + at, sizeof(T));
    if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
    std::memcpy(to + at, &value, sizeof(T));
  }
}

}  // namespace

void from_fortran(const uint8_t* source, const std::vector<size_t>& shape, unsigned element, size_t start, size_t stop, uint8_t* out, unsigned threads) {
  size_t row = element;
  for (size_t axis = 1; axis < shape.size(); axis++) row *= shape[axis];
  if (row == 0) return;
  parallel_for(stop - start, threads, [&](size_t begin, size_t end) {
    uint8_t* const to = out + begin * row;
    switch (element) {
      case 1: return rows_of<uint8_t>(source, shape, start + begin, start + end, to);
      case 2: return rows_of<uint16_t>(source, shape, start + begin, start + end, to);
      case 4: return rows_of<uint32_t>(source, shape, start + begin, start + end, to);
      case 8: return rows_of<uint64_t>(source, shape, start + begin, start + end, to);
      default: return rows_of<Wide>(source, shape, start + begin, start + end, to);
    }
  });
}

FortranSink::FortranSink(const std::vector<size_t>& shape, unsigned element, size_t start, size_t stop, uint8_t* out)
    : extents_(shape.begin() + 1, shape.end()), strides_(extents_.size()), index_(extents_.size(), 0), element_(element), rows_(shape[0]), start_(start), stop_(stop), out_(out) {
  size_t stride = 1;
  for (size_t axis = extents_.size(); axis-- > 0; stride *= extents_[axis]) strides_[axis] = stride;
  row_stride_ = stride;
}

void FortranSink::next_column() {
  row_ = 0;
  for (size_t axis = 0; axis < extents_.size(); axis++) {
    column_ += strides_[axis];
    if (++index_[axis] < extents_[axis]) return;
    column_ -= strides_[axis] * extents_[axis];
    index_[axis] = 0;
  }
}

void FortranSink::elements(const uint8_t* from, size_t count) {
  while (count > 0) {
    const size_t run = std::min(count, rows_ - row_);
    const size_t begin = std::max(row_, start_), end = std::min(row_ + run, stop_);
    for (size_t row = begin; row < end; row++) {
      std::memcpy(out_ + ((row - start_) * row_stride_ + column_) * element_, from + (row - row_) * element_, element_);
    }
    from += run * element_;
    count -= run;
    row_ += run;
    if (row_ == rows_) next_column();
  }
}

void FortranSink::push(const uint8_t* piece, size_t size) {
  if (cut_size_ > 0) {
    const size_t take = std::min<size_t>(element_ - cut_size_, size);
    std::memcpy(cut_ + cut_size_, piece, take);
    cut_size_ += static_cast<unsigned>(take);
    piece += take;
    size -= take;
    if (cut_size_ < element_) return;
    cut_size_ = 0;
    elements(cut_, 1);
  }
  elements(piece, size / element_);
  cut_size_ = static_cast<unsigned>(size % element_);
  std::memcpy(cut_, piece + (size - cut_size_), cut_size_);
}

void copy_swapped(const uint8_t* from, unsigned unit, uint8_t* to, size_t size) {
  switch (unit) {
    case 2: return swap_all<uint16_t>(from, to, size);
    case 4: return swap_all<uint32_t>(from, to, size);
    case 8: return swap_all<uint64_t>(from, to, size);
    default:
      if (from != to && size > 0) std::memcpy(to, from, size);
  }
}

}  // namespace tc::arrays
