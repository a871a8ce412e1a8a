// gzip members: the deflate stream is made and read by the zlib that Node has and exports for addons. Its header is written down here, because it is not there when this is compiled.
#include <cstring>
#include <new>

#include "codec.h"
#include "hash/crc32.h"
#include "library.h"

namespace tc::frames {
namespace {

// zlib's z_stream; deflateInit2_ and inflateInit2_ compare its size.
struct Stream {
  const uint8_t* next_in;
  unsigned avail_in;
  unsigned long total_in;
  uint8_t* next_out;
  unsigned avail_out;
  unsigned long total_out;
  const char* msg;
  void* state;
  void* (*zalloc)(void*, unsigned, unsigned);
  void (*zfree)(void*, void*);
  void* opaque;
  int data_type;
  unsigned long adler;
  unsigned long reserved;
};
constexpr int kOk = 0, kStreamEnd = 1, kFinish = 4, kDeflated = 8, kRaw = -15, kMemory = 8, kDefaultStrategy = 0;

struct Zlib {
  int (*deflate_init)(Stream*, int, int, int, int, int, const char*, int);
  int (*deflate)(Stream*, int);
  int (*deflate_reset)(Stream*);
  int (*deflate_end)(Stream*);
  int (*inflate_init)(Stream*, int, const char*, int);
  int (*inflate)(Stream*, int);
  int (*inflate_reset)(Stream*);
  int (*inflate_end)(Stream*);
  bool found;

  Zlib() {
    Library library("deflateInit2_", {"libz.so.1", "libz.1.dylib"});
    library.bind(deflate_init, "deflateInit2_");
    library.bind(deflate, "deflate");
    library.bind(deflate_reset, "deflateReset");
    library.bind(deflate_end, "deflateEnd");
    library.bind(inflate_init, "inflateInit2_");
    library.bind(inflate, "inflate");
    library.bind(inflate_reset, "inflateReset");
    library.bind(inflate_end, "inflateEnd");
    found = library.found();
  }
};

const Zlib& zlib() {
  static const Zlib functions;
  return functions;
}

// RFC 1952: deflate, an extra field, no time, no name, unknown system. The field "TC" holds the member's size, so that the next one is found without inflating this one.
constexpr uint8_t kHeader[16] = {0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, 'T', 'C', 4, 0};
constexpr size_t kBefore = sizeof kHeader + 4, kAfter = 8;

class GzipContext : public Context {
 public:
  ~GzipContext() override {
    if (deflating_level_ >= 0) zlib().deflate_end(&deflating_);
    if (inflating_ready_) zlib().inflate_end(&inflating_);
  }

  size_t compress(const uint8_t* in, size_t size, int level, uint8_t* out, size_t room) override {
    if (deflating_level_ != level) {
      if (deflating_level_ >= 0) zlib().deflate_end(&deflating_);
      deflating_level_ = -1;
      deflating_ = Stream{};
      if (zlib().deflate_init(&deflating_, level, kDeflated, kRaw, kMemory, kDefaultStrategy, "1", sizeof(Stream)) != kOk) throw std::bad_alloc();
      deflating_level_ = level;
    } else {
      zlib().deflate_reset(&deflating_);
    }
    std::memcpy(out, kHeader, sizeof kHeader);
    give(deflating_, in, size, out + kBefore, room - kBefore - kAfter);
    if (zlib().deflate(&deflating_, kFinish) != kStreamEnd) throw std::runtime_error("gzip: no room for a frame");
    const size_t total = kBefore + deflating_.total_out + kAfter;
    write_u32(out + sizeof kHeader, static_cast<uint32_t>(total));
    write_u32(out + total - 8, crc32(in, size));
    write_u32(out + total - 4, static_cast<uint32_t>(size));
    return total;
  }

  void decompress(const uint8_t* in, size_t size, uint8_t* out, size_t expected) override {
    if (size < kBefore + kAfter || std::memcmp(in, kHeader, sizeof kHeader) != 0 || read_u32(in + sizeof kHeader) != size) throw Damaged("it has another header");
    if (!inflating_ready_) {
      inflating_ = Stream{};
      if (zlib().inflate_init(&inflating_, kRaw, "1", sizeof(Stream)) != kOk) throw std::bad_alloc();
      inflating_ready_ = true;
    } else {
      zlib().inflate_reset(&inflating_);
    }
    // zlib wants an address even for nothing.
    uint8_t nothing;
    give(inflating_, in + kBefore, size - kBefore - kAfter, expected > 0 ? out : &nothing, expected);
    const int status = zlib().inflate(&inflating_, kFinish);
    if (status != kStreamEnd || inflating_.total_out != expected || inflating_.avail_in != 0) {
      throw Damaged(status < 0 && inflating_.msg != nullptr ? inflating_.msg : "the stream does not end where it should");
    }
    if (read_u32(in + size - 4) != expected) throw Damaged("it has another length");
    if (read_u32(in + size - 8) != crc32(out, expected)) throw Damaged("its CRC-32 does not match");
  }

 private:
  static void give(Stream& stream, const uint8_t* in, size_t size, uint8_t* out, size_t room) {
    stream.next_in = in;
    stream.avail_in = static_cast<unsigned>(size);
    stream.next_out = out;
    stream.avail_out = static_cast<unsigned>(room);
  }

  Stream deflating_{}, inflating_{};
  int deflating_level_ = -1;
  bool inflating_ready_ = false;
};

}  // namespace

const char* gzip_missing() { return zlib().found ? nullptr : "gzip needs zlib, which Node exports, and this process has none"; }
std::unique_ptr<Context> gzip_context() { return std::make_unique<GzipContext>(); }

}  // namespace tc::frames
