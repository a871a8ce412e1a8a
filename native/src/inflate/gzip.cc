#include "gzip.h"

#include <cstring>

#include "../hash/crc32.h"
#include "decoder.h"

namespace tc::inflate {
namespace {

constexpr uint64_t FIXED_BYTES = 10;
constexpr uint8_t DEFLATE = 8;
enum Flags : uint8_t { HEADER_CRC = 2, EXTRA = 4, NAME = 8, COMMENT = 16, RESERVED = 0xe0 };

[[noreturn]] void ends_early() { throw Damaged("it ends within the header of a member"); }

// Behind the zero that ends a text.
uint64_t after_text(const uint8_t* data, uint64_t size, uint64_t at) {
  const void* end = std::memchr(data + at, 0, size - at);
  if (end == nullptr) ends_early();
  return static_cast<uint64_t>(static_cast<const uint8_t*>(end) - data) + 1;
}

}  // namespace

uint64_t after_gzip_header(const uint8_t* data, uint64_t size, uint64_t start) {
  if (size < start || size - start < FIXED_BYTES) ends_early();
  if (data[start] != 0x1f || data[start + 1] != 0x8b) throw Damaged(start == 0 ? "it does not begin as gzip does" : "something that is not gzip follows a member");
  if (data[start + 2] != DEFLATE) throw Damaged("a compression method that gzip does not have");
  const uint8_t flags = data[start + 3];
  if ((flags & RESERVED) != 0) throw Damaged("flags that gzip does not have");
  uint64_t at = start + FIXED_BYTES;
  if ((flags & EXTRA) != 0) {
    if (size - at < 2) ends_early();
    const uint64_t length = data[at] | uint64_t{data[at + 1]} << 8;
    if (size - at < 2 + length) ends_early();
    at += 2 + length;
  }
  if ((flags & NAME) != 0) at = after_text(data, size, at);
  if ((flags & COMMENT) != 0) at = after_text(data, size, at);
  if ((flags & HEADER_CRC) != 0) {
    if (size - at < 2) ends_early();
    const uint32_t said = data[at] | uint32_t{data[at + 1]} << 8;
    if (said != (crc32(data + start, at - start) & 0xffff)) throw Damaged("a header that does not have the CRC-16 it says");
    at += 2;
  }
  return at;
}

}  // namespace tc::inflate
