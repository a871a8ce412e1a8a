#include "hash/xxh64.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tc {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F, kPrime3 = 0x165667B19E3779F9, kPrime4 = 0x85EBCA77C2B2AE63,
                   kPrime5 = 0x27D4EB2F165667C5;

template <typename T>
T load(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

uint64_t mix(uint64_t lane, uint64_t word) { return std::rotl(lane + word * kPrime2, 31) * kPrime1; }

void stripes(std::array<uint64_t, 4>& lanes, const uint8_t* data, size_t count) {
  auto [a, b, c, d] = lanes;
  for (; count > 0; count--, data += 32) {
    a = mix(a, load<uint64_t>(data));
    b = mix(b, load<uint64_t>(data + 8));
    c = mix(c, load<uint64_t>(data + 16));
    d = mix(d, load<uint64_t>(data + 24));
  }
  lanes = {a, b, c, d};
}

}  // namespace

void Xxh64::update(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const size_t held = total_ % 32;
  total_ += size;
  if (held > 0) {
    const size_t taken = std::min(size, 32 - held);
    std::memcpy(rest_.data() + held, data, taken);
    if (held + taken < 32) return;
    stripes(lanes_, rest_.data(), 1);
    data += taken;
    size -= taken;
  }
  stripes(lanes_, data, size / 32);
  std::memcpy(rest_.data(), data + size / 32 * 32, size % 32);
}

uint64_t Xxh64::finish() const {
  uint64_t hash = kPrime5;
  if (total_ >= 32) {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
    for (const uint64_t lane : lanes_) hash = (hash ^ mix(0, lane)) * kPrime1 + kPrime4;
  }
  hash += total_;
  const uint8_t* data = rest_.data();
  size_t left = total_ % 32;
  for (; left >= 8; data += 8, left -= 8) hash = std::rotl(hash ^ mix(0, load<uint64_t>(data)), 27) * kPrime1 + kPrime4;
  if (left >= 4) {
    hash = std::rotl(hash ^ load<uint32_t>(data) * kPrime1, 23) * kPrime2 + kPrime3;
    data += 4;
    left -= 4;
  }
  for (; left > 0; data++, left--) hash = std::rotl(hash ^ *data * kPrime5, 11) * kPrime1;
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

uint64_t xxh64(const uint8_t* data, size_t size) {
  Xxh64 hash;
  hash.update(data, size);
  return hash.finish();
}

void xxh64_chunks(const uint8_t* data, size_t size, size_t chunk, uint8_t* out) {
  for (size_t at = 0; at < size; at += chunk, out += 8) {
    const uint64_t hash = xxh64(data + at, std::min(chunk, size - at));
    std::memcpy(out, &hash, 8);
  }
}

}  // namespace tc
