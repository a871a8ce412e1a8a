// Parts of Fortran-ordered arrays to their places in an array of another order, converted on the way: volumes of medical images.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace tc::arrays {

// What the elements are and become. Values that are not converted are moved as bytes.
struct Elements {
  int from = 0, to = 0;  // dtype codes; `to` is `from`, float32 or float64
  bool swapped = false;  // stored in the other byte order
  // double(x) · slope + inter, each rounded as IEEE double, then to the result's type. Without scaling there is one rounding, or none. An `inter` of 0 is not
  // added, so that −0 stays what it is.
  bool scaled = false;
  double slope = 1, inter = 0;
};

// True for a pair of dtypes that `place` knows.
bool can_place(const Elements& elements);
// Bytes of an element of the dtype with this code, 0 where `place` does not know it.
size_t placed_size(int dtype);

// A box of the array: its elements lie together in the source, axis 0 fastest; element i of it goes to offset + Σ i_k · strides_k of the result, in elements.
struct Box {
  std::vector<size_t> extents, strides;
  size_t offset = 0;
};

void place(const uint8_t* source, const Elements& elements, const Box& box, uint8_t* out, unsigned threads);

// Gives `bytes` bytes from `offset` of the source on; called by several threads at the same time.
using ReadSource = std::function<void(uint64_t offset, uint8_t* to, size_t bytes)>;
// The same for a source that is read, by blocks that stay in the second-level cache: of a mapped file each page would have to be mapped and unmapped, which takes longer than copying it.
void place_read(const ReadSource& read, const Elements& elements, const Box& box, uint8_t* out, unsigned threads);

}  // namespace tc::arrays
