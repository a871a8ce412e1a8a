// One frame: at most 1 MiB that is compressed on its own, as a complete zstd frame, LZ4 frame or gzip member. docs/formats/store.md has the layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace tc::frames {

constexpr size_t kFrameBytes = size_t(1) << 20;

// Numbers that JavaScript uses.
enum class Codec { lz4, zstd, gzip };
constexpr unsigned kCodecs = 3;

// These are not the bytes of such a frame; `what` says how.
struct Damaged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a thread needs for many frames: the codec's tables, and room for one frame. For one thread at a time.
class Context {
 public:
  virtual ~Context() = default;
  // Room for `room >= frame_bound(codec)` bytes at `out`; returns the bytes used.
  virtual size_t compress(const uint8_t* in, size_t size, int level, uint8_t* out, size_t room) = 0;
  // Writes exactly `expected` bytes, never more, or throws Damaged.
  virtual void decompress(const uint8_t* in, size_t size, uint8_t* out, size_t expected) = 0;

  uint8_t* scratch() { return scratch_.get(); }

 private:
  std::unique_ptr<uint8_t[]> scratch_{new uint8_t[kFrameBytes]};
};

std::unique_ptr<Context> lz4_context();
std::unique_ptr<Context> zstd_context();
std::unique_ptr<Context> gzip_context();

// Null when the codec is here, otherwise what is missing.
const char* lz4_missing();
const char* zstd_missing();
const char* gzip_missing();

// More than any frame of 1 MiB comes to.
constexpr size_t kFrameBound = kFrameBytes + kFrameBytes / 128 + 1024;

inline uint32_t read_u32(const uint8_t* at) { return at[0] | at[1] << 8 | at[2] << 16 | uint32_t(at[3]) << 24; }
inline void write_u32(uint8_t* at, uint32_t value) {
  for (unsigned k = 0; k < 4; k++) at[k] = static_cast<uint8_t>(value >> (8 * k));
}

}  // namespace tc::frames
