#include "rows/verified_blob.h"

#include <system_error>

#include "hash/xxh64.h"

namespace tc {

VerifiedBlob::VerifiedBlob(std::shared_ptr<Mapping> mapping, std::vector<uint64_t> checksums, uint64_t chunk_bytes)
    : mapping_(std::move(mapping)), checksums_(std::move(checksums)), chunk_bytes_(chunk_bytes), verified_((checksums_.size() + 63) / 64) {}

bool VerifiedBlob::is_verified(uint64_t offset, uint64_t length) const {
  if (mapping_->faulted()) return false;
  if (length == 0) return true;
  const uint64_t last = (offset + length - 1) / chunk_bytes_;
  for (uint64_t chunk = offset / chunk_bytes_; chunk <= last; chunk++) {
    if (!chunk_is_verified(chunk)) return false;
  }
  return true;
}

int64_t VerifiedBlob::verify(uint64_t offset, uint64_t length) {
  if (length == 0) return -1;
  const uint64_t first = offset / chunk_bytes_, last = (offset + length - 1) / chunk_bytes_;
  // One call instead of one for each chunk, which threads would wait for each other with; pages that cannot be read are met below.
  const bool populated = last > first && !is_verified(offset, length) && populate(first, last);
  for (uint64_t chunk = first; chunk <= last; chunk++) {
    if (!mapping_->faulted()) {
      if (chunk_is_verified(chunk)) continue;
      if ((populated || populate(chunk, chunk)) && check_chunk(chunk)) {
        mark(chunk);
        continue;
      }
    }
    return static_cast<int64_t>(chunk * chunk_bytes_);
  }
  return -1;
}

bool VerifiedBlob::populate(uint64_t first, uint64_t last) const {
  const uint64_t offset = first * chunk_bytes_;
  try {
    // Instead of a page fault every few pages.
    mapping_->populate(offset, std::min((last + 1) * chunk_bytes_, mapping_->size()) - offset);
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

bool VerifiedBlob::check_chunk(uint64_t chunk) const {
  // Zeros in place of a lost page might be what the checksum says.
  return xxh64(mapping_->data() + chunk * chunk_bytes_, chunk_size(chunk)) == checksums_[chunk] && !mapping_->faulted();
}

bool VerifiedBlob::read(uint64_t offset, uint8_t* out, uint64_t length) {
  if (length == 0) return true;
  if (mapping_->faulted()) return false;
  try {
    for (uint64_t chunk = offset / chunk_bytes_; chunk <= (offset + length - 1) / chunk_bytes_; chunk++) {
      if (!chunk_is_verified(chunk) && !check_chunk_by_reading(chunk)) return false;
    }
    mapping_->read(offset, out, length);
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

bool VerifiedBlob::check_chunk_by_reading(uint64_t chunk) {
  std::vector<uint8_t> bytes(chunk_size(chunk));
  mapping_->read(chunk * chunk_bytes_, bytes.data(), bytes.size());
  if (xxh64(bytes.data(), bytes.size()) != checksums_[chunk]) return false;
  mark(chunk);
  return true;
}

}  // namespace tc
