// Stored arrays into C order, little-endian. Elements are moved, never interpreted; addresses need no alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tc::arrays {

// Rows start … stop of axis 0 of the Fortran-ordered array `source`, in C order. `element` is 1, 2, 4, 8 or 16 bytes.
void from_fortran(const uint8_t* source, const std::vector<size_t>& shape, unsigned element, size_t start, size_t stop, uint8_t* out, unsigned threads);

// The same from an array that arrives front to back in pieces of any size, as an inflated one does.
class FortranSink {
 public:
  FortranSink(const std::vector<size_t>& shape, unsigned element, size_t start, size_t stop, uint8_t* out);
  void push(const uint8_t* piece, size_t size);

 private:
  void elements(const uint8_t* from, size_t count);
  void next_column();

  std::vector<size_t> extents_;  // of axes 1 …
  std::vector<size_t> strides_;  // of axes 1 … in the result, in elements
  std::vector<size_t> index_;
  unsigned element_;
  size_t rows_, start_, stop_, row_stride_;
  uint8_t* out_;
  size_t row_ = 0;
  size_t column_ = 0;  // where the current column lies in a row of the result
  uint8_t cut_[16];    // an element cut by the end of a piece
  unsigned cut_size_ = 0;
};

// Reverses the bytes of every `unit` (2, 4 or 8), or copies (1). `size` is a multiple of `unit`; `from` may be `to`.
void copy_swapped(const uint8_t* from, unsigned unit, uint8_t* to, size_t size);

}  // namespace tc::arrays
