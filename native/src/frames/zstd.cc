// zstd as the process has it (Node exports it from 22.15 on) or as the system has it. The functions are of libzstd's stable interface; its headers are not needed.
#include <new>

#include "codec.h"
#include "library.h"

namespace tc::frames {
namespace {

// ZSTD_cParameter
constexpr int kCompressionLevel = 100, kChecksumFlag = 201;

struct Zstd {
  void* (*create_cctx)();
  size_t (*free_cctx)(void*);
  size_t (*set_parameter)(void*, int, int);
  size_t (*compress2)(void*, void*, size_t, const void*, size_t);
  void* (*create_dctx)();
  size_t (*free_dctx)(void*);
  size_t (*decompress)(void*, void*, size_t, const void*, size_t);
  unsigned (*is_error)(size_t);
  const char* (*error_name)(size_t);
  bool found;

  Zstd() {
    Library library("ZSTD_compress2", {"libzstd.so.1", "libzstd.1.dylib", "/opt/homebrew/lib/libzstd.1.dylib", "/usr/local/lib/libzstd.1.dylib"});
    library.bind(create_cctx, "ZSTD_createCCtx");
    library.bind(free_cctx, "ZSTD_freeCCtx");
    library.bind(set_parameter, "ZSTD_CCtx_setParameter");
    library.bind(compress2, "ZSTD_compress2");
    library.bind(create_dctx, "ZSTD_createDCtx");
    library.bind(free_dctx, "ZSTD_freeDCtx");
    library.bind(decompress, "ZSTD_decompressDCtx");
    library.bind(is_error, "ZSTD_isError");
    library.bind(error_name, "ZSTD_getErrorName");
    found = library.found();
  }
};

const Zstd& zstd() {
  static const Zstd functions;
  return functions;
}

class ZstdContext : public Context {
 public:
  ~ZstdContext() override {
    if (compressing_ != nullptr) zstd().free_cctx(compressing_);
    if (decompressing_ != nullptr) zstd().free_dctx(decompressing_);
  }

  size_t compress(const uint8_t* in, size_t size, int level, uint8_t* out, size_t room) override {
    if (compressing_ == nullptr && (compressing_ = zstd().create_cctx()) == nullptr) throw std::bad_alloc();
    checked(zstd().set_parameter(compressing_, kCompressionLevel, level));
    checked(zstd().set_parameter(compressing_, kChecksumFlag, 1));
    return checked(zstd().compress2(compressing_, out, room, in, size));
  }

  void decompress(const uint8_t* in, size_t size, uint8_t* out, size_t expected) override {
    if (decompressing_ == nullptr && (decompressing_ = zstd().create_dctx()) == nullptr) throw std::bad_alloc();
    const size_t got = zstd().decompress(decompressing_, out, expected, in, size);
    if (zstd().is_error(got)) throw Damaged(zstd().error_name(got));
    if (got != expected) throw Damaged("it ends after " + std::to_string(got) + " of " + std::to_string(expected) + " bytes");
  }

 private:
  static size_t checked(size_t result) {
    if (zstd().is_error(result)) throw std::runtime_error(std::string("zstd: ") + zstd().error_name(result));
    return result;
  }

  void* compressing_ = nullptr;
  void* decompressing_ = nullptr;
};

}  // namespace

const char* zstd_missing() { return zstd().found ? nullptr : "zstd needs Node 22.15 or newer, or libzstd on the system (Debian: apt-get install libzstd1; macOS: brew install zstd)"; }
std::unique_ptr<Context> zstd_context() { return std::make_unique<ZstdContext>(); }

}  // namespace tc::frames
