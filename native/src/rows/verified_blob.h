// A mapped blob whose chunks are checked the first time they are touched.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "io/mapping.h"

namespace tc {

// For any number of threads at once; two of them may check the same chunk, with the same outcome.
class VerifiedBlob {
 public:
  // `checksums` holds one XXH64 per `chunk_bytes` of the file, in the order of the file.
  VerifiedBlob(std::shared_ptr<Mapping> mapping, std::vector<uint64_t> checksums, uint64_t chunk_bytes);

  const uint8_t* data() const { return mapping_->data(); }
  uint64_t size() const { return mapping_->size(); }
  // False once the mapping has lost a page; it is then no longer what was checked.
  bool intact() const { return !mapping_->faulted(); }
  bool is_verified(uint64_t offset, uint64_t length) const;
  // The offset of the first damaged chunk that the range touches, or -1.
  int64_t verify(uint64_t offset, uint64_t length);
  // Copies a range without bringing a page of it in, checking what was not checked before. False where it is damaged or cannot be read.
  bool read(uint64_t offset, uint8_t* out, uint64_t length);
  // Has the system read a range that `read` will be asked for.
  void read_ahead(uint64_t offset, uint64_t length) const { mapping_->read_ahead(offset, length); }

 private:
  bool chunk_is_verified(uint64_t chunk) const { return (verified_[chunk / 64].load(std::memory_order_acquire) >> (chunk % 64) & 1) != 0; }
  // Brings pages in; false where that cannot be done.
  bool populate(uint64_t first, uint64_t last) const;
  bool check_chunk(uint64_t chunk) const;
  bool check_chunk_by_reading(uint64_t chunk);
  uint64_t chunk_size(uint64_t chunk) const { return std::min(chunk_bytes_, mapping_->size() - chunk * chunk_bytes_); }
  void mark(uint64_t chunk) { verified_[chunk / 64].fetch_or(uint64_t{1} << (chunk % 64), std::memory_order_release); }

  std::shared_ptr<Mapping> mapping_;
  std::vector<uint64_t> checksums_;
  uint64_t chunk_bytes_;
  std::vector<std::atomic<uint64_t>> verified_;
};

}  // namespace tc
