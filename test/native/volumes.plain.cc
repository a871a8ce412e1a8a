// Boxes placed and gzip members inflated as plain C++ under the sanitizers: against the slow, obvious way, and with damaged files.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "arrays/place.h"
#include "hash/crc32.h"
#include "inflate/stream.h"
#include "kernels/kernels.h"

namespace tc {
// In two parts, so that what a part begins with is seen.
void parallel_for(size_t count, unsigned, const std::function<void(size_t, size_t)>& body) {
  if (count > 0) body(0, count / 2);
  if (count > 0) body(count / 2, count);
}
}  // namespace tc

namespace {

std::mt19937_64 random_bits(7);
size_t below(size_t n) { return random_bits() % n; }

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

// int16 in either byte order to int16, float32 and float64, with every awkward extent; guards around the result must stay.
void boxes() {
  const int targets[] = {tc::kInt16, tc::kFloat32, tc::kFloat64};
  for (int round = 0; round < 600; round++) {
    const size_t rank = 1 + below(5);
    std::vector<size_t> extents(rank), order(rank), strides(rank);
    size_t count = 1;
    for (size_t axis = 0; axis < rank; axis++) {
      extents[axis] = axis < 2 ? 1 + below(70) : 1 + below(5);
      order[axis] = axis;
      count *= extents[axis];
    }
    std::shuffle(order.begin(), order.end(), random_bits);
    size_t stride = 1;
    for (const size_t axis : order) {
      strides[axis] = stride;
      stride *= extents[axis];
    }
    tc::arrays::Elements elements{tc::kInt16, targets[below(3)], below(2) == 1, false, 1, 0};
    if (elements.to != tc::kInt16 && below(2) == 1) {
      elements.scaled = true;
      elements.slope = 0.37;
      elements.inter = below(2) == 1 ? -3.1 : 0;
    }
    const size_t size = tc::arrays::placed_size(elements.to), offset = below(9);
    // An odd address: files have no alignment.
    std::vector<uint8_t> file(2 * count + 1);
    for (auto& byte : file) byte = static_cast<uint8_t>(random_bits());
    std::vector<uint8_t> out((offset + count) * size, 0xaa);
    tc::arrays::place(file.data() + 1, elements, {extents, strides, offset}, out.data(), 2);
    for (size_t k = 0; k < offset * size; k++) if (out[k] != 0xaa) fail("written before the box");
    for (size_t k = 0; k < count; k++) {
      size_t at = offset, rest = k;
      for (size_t axis = 0; axis < rank; axis++) {
        at += rest % extents[axis] * strides[axis];
        rest /= extents[axis];
      }
      uint16_t bits;
      std::memcpy(&bits, file.data() + 1 + 2 * k, 2);
      if (elements.swapped) bits = static_cast<uint16_t>(bits << 8 | bits >> 8);
      const auto x = static_cast<int16_t>(bits);
      double value = x;
      if (elements.scaled) {
        value = x * elements.slope;
        if (elements.inter != 0) value = value + elements.inter;
      }
      const float single = static_cast<float>(value);
      const void* expected = elements.to == tc::kInt16 ? static_cast<const void*>(&x) : elements.to == tc::kFloat32 ? static_cast<const void*>(&single) : static_cast<const void*>(&value);
      if (std::memcmp(out.data() + at * size, expected, size) != 0) fail("element " + std::to_string(k) + " of round " + std::to_string(round));
    }
  }
}

void put32(std::vector<uint8_t>& file, uint32_t value) {
  for (int k = 0; k < 4; k++) file.push_back(static_cast<uint8_t>(value >> 8 * k));
}

// Stored blocks only; optional parts of the header at random.
std::vector<uint8_t> gzip(const std::vector<uint8_t>& data, size_t each) {
  std::vector<uint8_t> file;
  for (size_t from = 0; from <= data.size(); from += each) {
    const size_t length = std::min(each, data.size() - from);
    const size_t start = file.size();
    const auto flags = static_cast<uint8_t>(below(16) << 1 & ~0u);
    for (const int byte : {0x1f, 0x8b, 8, int{flags}, 0, 0, 0, 0, 0, 255}) file.push_back(static_cast<uint8_t>(byte));
    if ((flags & 4) != 0) {
      const size_t extra = below(300);
      file.push_back(static_cast<uint8_t>(extra));
      file.push_back(static_cast<uint8_t>(extra >> 8));
      file.insert(file.end(), extra, 7);
    }
    for (const int flag : {8, 16}) if ((flags & flag) != 0) for (const char c : {'a', 'b', '\0'}) file.push_back(static_cast<uint8_t>(c));
    if ((flags & 2) != 0) {
      const uint32_t crc = tc::crc32(file.data() + start, file.size() - start);
      file.push_back(static_cast<uint8_t>(crc));
      file.push_back(static_cast<uint8_t>(crc >> 8));
    }
    for (size_t at = 0; at < length || at == 0; at += 60'000) {
      const size_t part = std::min<size_t>(60'000, length - at);
      file.push_back(at + part >= length ? 1 : 0);
      for (const size_t value : {part, ~part}) {
        file.push_back(static_cast<uint8_t>(value));
        file.push_back(static_cast<uint8_t>(value >> 8));
      }
      file.insert(file.end(), data.begin() + static_cast<ptrdiff_t>(from + at), data.begin() + static_cast<ptrdiff_t>(from + at + part));
    }
    put32(file, tc::crc32(data.data() + from, length));
    put32(file, static_cast<uint32_t>(length));
  }
  return file;
}

void members() {
  std::vector<uint8_t> data(400'000);
  for (auto& byte : data) byte = static_cast<uint8_t>(random_bits());
  for (const size_t each : {1'000ul, 65'280ul, 399'999ul, 500'000ul}) {
    const std::vector<uint8_t> file = gzip(data, each);
    tc::inflate::Stream stream(file.data(), file.size(), data.size(), 50'000, tc::inflate::Framing::Gzip);
    for (int k = 0; k < 60; k++) {
      const size_t from = below(data.size()), length = below(data.size() - from + 1);
      size_t at = from;
      stream.read(from, length, [&](const uint8_t* piece, size_t size) {
        if (std::memcmp(piece, data.data() + at, size) != 0) fail("members of " + std::to_string(each));
        at += size;
      });
      if (at != from + length) fail("a range is short");
    }
    for (int k = 0; k < 300; k++) {
      std::vector<uint8_t> damaged = file;
      if (below(3) == 0) damaged.resize(below(damaged.size()));
      for (size_t edits = below(4); edits > 0 && !damaged.empty(); edits--) damaged[below(2) == 0 ? below(damaged.size()) : below(std::min<size_t>(400, damaged.size()))] = static_cast<uint8_t>(random_bits());
      std::vector<uint8_t> made;
      try {
        tc::inflate::Stream(damaged.data(), damaged.size(), data.size(), 50'000, tc::inflate::Framing::Gzip).read(0, data.size(), [&](const uint8_t* piece, size_t size) { made.insert(made.end(), piece, piece + size); });
        if (made != data) fail("damage was not noticed");
      } catch (const tc::inflate::Damaged&) {
      }
    }
  }
}

}  // namespace

int main() {
  boxes();
  members();
  std::puts("ok");
}
