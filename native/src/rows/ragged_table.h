// Copies items of any number of rows that lie anywhere in any number of blobs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rows/verified_blob.h"

namespace tc {

struct RaggedBlob {
  std::shared_ptr<VerifiedBlob> blob;
  // Where row 0 of the field begins in the file.
  uint64_t field_offset;
  // Item k is rows offsets[k] … offsets[k + 1]; where there are none, each item has `rows`.
  std::span<const int64_t> offsets;
  uint64_t rows;
};

// Where the rows of one item lie.
struct RaggedPlace {
  VerifiedBlob* blob;
  uint64_t offset;
  uint64_t rows;
};

class RaggedTable {
 public:
  // Item i is item `row_of[i]` of `blobs[blob_of[i]]`. The spans must outlive the table. Of `resident` as in RowTable.
  RaggedTable(std::vector<RaggedBlob> blobs, uint64_t row_bytes, std::span<const uint32_t> blob_of, std::span<const uint32_t> row_of, bool resident)
      : blobs_(std::move(blobs)), row_bytes_(row_bytes), blob_of_(blob_of), row_of_(row_of), resident_(resident) {}

  uint64_t row_bytes() const { return row_bytes_; }

  // Looks the items up. Returns the position of the first index that names no item, or one that leaves its blob, or -1.
  int64_t locate(std::span<const double> indices, RaggedPlace* places) const;

  // Copies located items one after the other to `out`, checking chunks that were not checked before. Returns the position of the first item in a
  // damaged chunk, or -1.
  int64_t copy(std::span<const RaggedPlace> places, uint8_t* out) const;

 private:
  std::vector<RaggedBlob> blobs_;
  uint64_t row_bytes_;
  std::span<const uint32_t> blob_of_;
  std::span<const uint32_t> row_of_;
  bool resident_;
};

}  // namespace tc
