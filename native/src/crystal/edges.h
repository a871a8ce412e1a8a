// Edges of crystal graphs, in columns.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "exact.h"
#include "memory/pool.h"

namespace tc::crystal {

// Growing memory from the pool, not zeroed.
template <typename T>
class Column {
 public:
  Column() = default;
  Column(Column&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Column& operator=(Column&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Column() {
    if (data_ != nullptr) pool_give(data_, bytes_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  // Keeps the first `used` elements.
  void reserve(size_t wanted, size_t used) {
    if (wanted * sizeof(T) <= bytes_) return;
    const size_t bytes = pool_size(wanted * sizeof(T));
    T* larger = static_cast<T*>(pool_take(bytes));
    if (larger == nullptr) throw std::bad_alloc();
    if (used > 0) std::memcpy(larger, data_, used * sizeof(T));
    if (data_ != nullptr) pool_give(data_, bytes_);
    data_ = larger;
    bytes_ = bytes;
  }
  // Whoever takes the memory gives it back to the pool.
  std::pair<T*, size_t> release() { return {std::exchange(data_, nullptr), std::exchange(bytes_, 0)}; }

 private:
  T* data_ = nullptr;
  size_t bytes_ = 0;
};

inline Steps steps_of(const Vector& at) {
  return {static_cast<int64_t>(at[0] * 0x1p40), static_cast<int64_t>(at[1] * 0x1p40), static_cast<int64_t>(at[2] * 0x1p40)};
}

// Of a displacement that is a multiple of kStep.
inline float distance_at(const Vector& at, double square) {
  return square == 0 ? 0 : round_distance(std::sqrt(square), [&] { return square_of(steps_of(at)); });
}

// Directed edges, sorted by (source, target, image) within each structure; atoms are counted from 0 in each.
struct Edges {
  Edges() = default;
  explicit Edges(bool weighted) : weighted_(weighted) {}

  size_t size = 0;
  Column<int32_t> source, target;
  Column<int16_t> image;     // [size][3]
  Column<float> distance;    // the exact distance, rounded once
  Column<float> vector;      // [size][3]: (frac[target] + image - frac[source]) · lattice, each component rounded once
  Column<float> weight;      // only where there are weights

  bool weighted() const { return weighted_; }

  // At least half as much again, so that growing edge by edge is cheap.
  void reserve(size_t wanted) {
    if (wanted > capacity_) reserve_exactly(std::max(wanted, capacity_ + capacity_ / 2));
  }
  void reserve_exactly(size_t wanted) {
    capacity_ = wanted;
    source.reserve(capacity_, size);
    target.reserve(capacity_, size);
    image.reserve(3 * capacity_, 3 * size);
    distance.reserve(capacity_, size);
    vector.reserve(3 * capacity_, 3 * size);
    if (weighted_) weight.reserve(capacity_, size);
  }

  // There is room. `at` is the displacement in Å, a multiple of kStep.
  void put(int32_t from, int32_t to, const std::array<int16_t, 3>& cell, const Vector& at) {
    source.data()[size] = from;
    target.data()[size] = to;
    distance.data()[size] = distance_at(at, dot(at, at));
    for (int x = 0; x < 3; x++) {
      image.data()[3 * size + x] = cell[x];
      vector.data()[3 * size + x] = static_cast<float>(at[x]);
    }
    size++;
  }

 private:
  size_t capacity_ = 0;
  bool weighted_ = false;
};

}  // namespace tc::crystal
