// Copies rows that lie anywhere in any number of blobs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rows/verified_blob.h"

namespace tc {

struct RowBlob {
  std::shared_ptr<VerifiedBlob> blob;
  // Where row 0 of the field begins in the file.
  uint64_t field_offset;
};

// Where one row lies.
struct RowPlace {
  VerifiedBlob* blob;
  uint64_t offset;
};

class RowTable {
 public:
  // Row i is row `row_of[i]` of the field in `blobs[blob_of[i]]`. The spans must outlive the table. Rows that are not `resident` are read from their
  // files, so that no page of them is mapped.
  RowTable(std::vector<RowBlob> blobs, uint64_t row_bytes, std::span<const uint32_t> blob_of, std::span<const uint32_t> row_of, bool resident)
      : blobs_(std::move(blobs)), row_bytes_(row_bytes), blob_of_(blob_of), row_of_(row_of), resident_(resident) {}

  uint64_t row_bytes() const { return row_bytes_; }

  // Looks the rows up. Returns the position of the first index that names no row or a row outside its blob, or -1.
  int64_t locate(std::span<const double> indices, RowPlace* places) const;

  // Copies located rows one after the other to `out`, checking chunks that were not checked before. Returns the position of the first row
  // in a damaged chunk, or -1.
  int64_t copy(std::span<const RowPlace> places, uint8_t* out) const;

 private:
  std::vector<RowBlob> blobs_;
  uint64_t row_bytes_;
  std::span<const uint32_t> blob_of_;
  std::span<const uint32_t> row_of_;
  bool resident_;
};

}  // namespace tc
