// LZ4 frames (LZ4 frame format 1.6.4) of one block. The block codec is the reference implementation, compiled from the copy that the lmdb package carries; what is around the block is written
// here, so that a frame is decoded in one go into memory of the right size.
#include "codec.h"

#ifdef TC_LZ4
#include <lz4.h>
#include <lz4hc.h>

#include <algorithm>
#include <cstring>

#include "xxh32.h"

namespace tc::frames {
namespace {

// Magic number; version 1, independent blocks, content size, content checksum; blocks of at most 1 MiB.
constexpr uint8_t kHeader[6] = {0x04, 0x22, 0x4d, 0x18, 0x6c, 0x60};
constexpr size_t kSizeAt = 6, kHeaderCheckAt = 14, kBlockAt = 15, kDataAt = 19, kAfter = 8;
constexpr uint32_t kStored = 0x80000000u;
// From this level on the tool `lz4` takes the slower, better compressor.
constexpr int kHighCompression = 3;

void write_header(uint8_t* out, size_t size) {
  std::memcpy(out, kHeader, sizeof kHeader);
  write_u32(out + kSizeAt, static_cast<uint32_t>(size));
  write_u32(out + kSizeAt + 4, 0);
  out[kHeaderCheckAt] = static_cast<uint8_t>(xxh32(out + 4, kHeaderCheckAt - 4) >> 8);
}

class Lz4Context : public Context {
 public:
  size_t compress(const uint8_t* in, size_t size, int level, uint8_t* out, size_t room) override {
    write_header(out, size);
    size_t at = kBlockAt;
    if (size > 0) {
      const auto* source = reinterpret_cast<const char*>(in);
      auto* target = reinterpret_cast<char*>(out + kDataAt);
      // A block that would not be smaller is stored.
      const int most = static_cast<int>(std::min(size - 1, room - kDataAt - kAfter));
      int length = level < kHighCompression ? LZ4_compress_default(source, target, static_cast<int>(size), most) : LZ4_compress_HC(source, target, static_cast<int>(size), most, level);
      uint32_t word = static_cast<uint32_t>(length);
      if (length <= 0) {
        std::memcpy(target, source, size);
        length = static_cast<int>(size);
        word = static_cast<uint32_t>(size) | kStored;
      }
      write_u32(out + kBlockAt, word);
      at = kDataAt + static_cast<size_t>(length);
    }
    write_u32(out + at, 0);
    write_u32(out + at + 4, xxh32(in, size));
    return at + kAfter;
  }

  void decompress(const uint8_t* in, size_t size, uint8_t* out, size_t expected) override {
    uint8_t header[kBlockAt];
    write_header(header, expected);
    if (size < kBlockAt + kAfter || std::memcmp(in, header, sizeof header) != 0) throw Damaged("it has another header");
    if (expected == 0) {
      if (size != kBlockAt + kAfter) throw Damaged("it goes on after its end");
    } else {
      const uint32_t word = read_u32(in + kBlockAt);
      const size_t length = word & ~kStored;
      if (size < kDataAt + kAfter || length != size - kDataAt - kAfter) throw Damaged("its block has another length");
      if ((word & kStored) != 0) {
        if (length != expected) throw Damaged("its block has another length");
        std::memcpy(out, in + kDataAt, expected);
      } else {
        const int got = LZ4_decompress_safe(reinterpret_cast<const char*>(in + kDataAt), reinterpret_cast<char*>(out), static_cast<int>(length), static_cast<int>(expected));
        if (got < 0 || static_cast<size_t>(got) != expected) throw Damaged("its block cannot be decoded");
      }
    }
    if (read_u32(in + size - 8) != 0) throw Damaged("it goes on after its block");
    if (read_u32(in + size - 4) != xxh32(out, expected)) throw Damaged("its checksum does not match");
  }
};

}  // namespace

const char* lz4_missing() { return nullptr; }
std::unique_ptr<Context> lz4_context() { return std::make_unique<Lz4Context>(); }

}  // namespace tc::frames

#else

namespace tc::frames {
const char* lz4_missing() { return "the native part of tensorcache was built without LZ4, whose source was not in the lmdb package"; }
std::unique_ptr<Context> lz4_context() { throw std::runtime_error(lz4_missing()); }
}  // namespace tc::frames

#endif
