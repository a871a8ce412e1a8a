// The headers of gzip members (RFC 1952).
#pragma once

#include <cstddef>
#include <cstdint>

namespace tc::inflate {

// Where the deflate stream of the member begins whose header lies at `at`. Throws Damaged.
uint64_t after_gzip_header(const uint8_t* data, uint64_t size, uint64_t at);

}  // namespace tc::inflate
