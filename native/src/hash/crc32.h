// CRC-32 as in gzip, zip and PNG (reflected polynomial 0xEDB88320).
#pragma once

#include <cstddef>
#include <cstdint>

namespace tc {

// `start` is the CRC of the bytes before, 0 at the beginning.
uint32_t crc32(const uint8_t* data, size_t size, uint32_t start = 0);

// Of two pieces that follow each other, from the CRC of each and the bytes of the second.
uint32_t crc32_join(uint32_t first, uint32_t second, uint64_t second_size);

// The parts, with the state not inverted; tests compare them.
uint32_t crc32_tables(const uint8_t* data, size_t size, uint32_t state);
// `size` is a multiple of 16 and at least 64; needs PCLMULQDQ.
uint32_t crc32_folded(const uint8_t* data, size_t size, uint32_t state);

}  // namespace tc
