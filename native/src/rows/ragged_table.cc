#include "rows/ragged_table.h"

#include <algorithm>
#include <cstring>

namespace tc {
namespace {

// Items are short and lie anywhere: the processor cannot know which comes next.
constexpr size_t kItemsAhead = 8;
constexpr uint64_t kBytesAhead = 512;

}  // namespace

int64_t RaggedTable::locate(std::span<const double> indices, RaggedPlace* places) const {
  for (size_t k = 0; k < indices.size(); k++) {
    const double index = indices[k];
    // Also false for NaN.
    if (!(index >= 0 && index < static_cast<double>(blob_of_.size()))) return static_cast<int64_t>(k);
    const size_t i = static_cast<size_t>(index);
    if (static_cast<double>(i) != index || blob_of_[i] >= blobs_.size()) return static_cast<int64_t>(k);
    const RaggedBlob& place = blobs_[blob_of_[i]];
    const uint64_t row = row_of_[i];
    uint64_t first, rows;
    if (place.offsets.empty()) {
      rows = place.rows;
      if (__builtin_mul_overflow(row, rows, &first)) return static_cast<int64_t>(k);
    } else {
      if (row + 1 >= place.offsets.size()) return static_cast<int64_t>(k);
      const int64_t begin = place.offsets[row], end = place.offsets[row + 1];
      if (begin < 0 || end < begin) return static_cast<int64_t>(k);
      first = static_cast<uint64_t>(begin);
      rows = static_cast<uint64_t>(end - begin);
    }
    const uint64_t size = place.blob->size();
    if (place.field_offset > size) return static_cast<int64_t>(k);
    const uint64_t fit = row_bytes_ == 0 ? UINT64_MAX : (size - place.field_offset) / row_bytes_;
    if (first > fit || rows > fit - first) return static_cast<int64_t>(k);
    places[k] = {place.blob.get(), place.field_offset + first * row_bytes_, rows};
  }
  return -1;
}

int64_t RaggedTable::copy(std::span<const RaggedPlace> places, uint8_t* out) const {
  if (row_bytes_ == 0) return -1;
  size_t copied = 0;
  if (!resident_) {
    for (; copied < places.size(); copied++) {
      const uint64_t bytes = places[copied].rows * row_bytes_;
      if (!places[copied].blob->read(places[copied].offset, out, bytes)) return static_cast<int64_t>(copied);
      out += bytes;
    }
    return -1;
  }
  for (; copied < places.size(); copied++) {
    if (copied + kItemsAhead < places.size()) {
      const RaggedPlace& next = places[copied + kItemsAhead];
      const uint8_t* data = next.blob->data() + next.offset;
      for (uint64_t at = 0; at < std::min(next.rows * row_bytes_, kBytesAhead); at += 64) __builtin_prefetch(data + at);
    }
    const auto& [blob, offset, rows] = places[copied];
    const uint64_t bytes = rows * row_bytes_;
    if (bytes == 0) continue;
    if (!blob->is_verified(offset, bytes) && blob->verify(offset, bytes) >= 0) break;
    std::memcpy(out, blob->data() + offset, bytes);
    out += bytes;
  }
  // A page that was lost after its check was copied as zeros; the mapping was marked before they could be read.
  for (size_t k = 0; k < copied; k++) {
    if (!places[k].blob->intact()) return static_cast<int64_t>(k);
  }
  return copied < places.size() ? static_cast<int64_t>(copied) : -1;
}

}  // namespace tc
