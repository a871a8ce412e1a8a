// Memory for intermediate values, used again by whoever runs next: volumes of many shapes have a program each, which must not keep its own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tc {

// How many bytes may lie here for the next; what is too much goes at once. Process-wide.
void scratch_keep(size_t bytes);

// On a boundary of 64 bytes, with arbitrary content. Goes back when it is destroyed.
class Scratch {
 public:
  // Throws std::bad_alloc.
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tc
