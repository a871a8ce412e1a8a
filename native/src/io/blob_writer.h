// Writes a file once, hashing it on the way.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tc {

struct BlobSummary {
  std::array<uint8_t, 32> sha256;
  // One XXH64 per chunk of the file, little-endian.
  std::vector<uint8_t> checksums;
  uint64_t bytes = 0;
};

// Writes the segments one after the other from the start of `fd`, then fsyncs. Chunks are counted in the file: where segments begin and end
// does not matter. A failed write or fsync throws std::system_error; what the file then holds is undefined.
BlobSummary write_blob(int fd, const std::vector<std::span<const uint8_t>>& segments, uint64_t chunk_bytes);

}  // namespace tc
