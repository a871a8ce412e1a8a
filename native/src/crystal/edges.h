// Edges of crystal graphs, in columns.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "exact.h"

namespace tc::crystal {

// Growing memory without zeroing.
template <typename T>
class Column {
 public:
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  void reserve(size_t wanted, size_t used) {
    if (wanted <= capacity_) return;
    capacity_ = wanted + wanted / 2;
    auto larger = std::make_unique_for_overwrite<T[]>(capacity_);
    if (used > 0) std::memcpy(larger.get(), data_.get(), used * sizeof(T));
    data_ = std::move(larger);
  }
  std::unique_ptr<T[]> release() {
    capacity_ = 0;
    return std::move(data_);
  }

 private:
  std::unique_ptr<T[]> data_;
  size_t capacity_ = 0;
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

  void reserve(size_t wanted) {
    if (wanted <= capacity_) return;
    capacity_ = wanted + wanted / 2;
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
