#include "rows/row_table.h"

#include <algorithm>
#include <cstring>

namespace tc {
namespace {

// The processor sees a run of addresses only after the first few lines; rows ahead are announced by their beginnings.
constexpr size_t kRowsAhead = 4;
constexpr uint64_t kBytesAhead = 512;
// Of rows that are read, one call for each says which come next, so that a disk has all of them to work on; of small ones it costs as much as reading.
constexpr uint64_t kWorthReadingAhead = 4096;

void announce(const RowPlace& place, uint64_t row_bytes) {
  const uint8_t* data = place.blob->data() + place.offset;
  for (uint64_t at = 0; at < std::min(row_bytes, kBytesAhead); at += 64) __builtin_prefetch(data + at);
}

#ifdef __x86_64__
// Processors look ahead within a page and not across its end, so that a copy from one place waits for memory at each page; of four that take turns, one
// waits. Faster than memcpy for rows of four pages, a little for eight; slower for rows that are not whole pages, and the same for longer ones.
constexpr uint64_t kPlaces = 4;
constexpr uint64_t kPlaceBytes = 4096;
constexpr uint64_t kLine = 64;

void copy_row(uint8_t* out, const uint8_t* from, uint64_t bytes) {
  if (bytes != kPlaces * kPlaceBytes && bytes != 2 * kPlaces * kPlaceBytes) {
    std::memcpy(out, from, bytes);
    return;
  }
  const uint64_t piece = bytes / kPlaces;
  for (uint64_t at = 0; at < piece; at += kLine) {
    for (uint64_t place = 0; place < bytes; place += piece) std::memcpy(out + place + at, from + place + at, kLine);
  }
}
#else
void copy_row(uint8_t* out, const uint8_t* from, uint64_t bytes) { std::memcpy(out, from, bytes); }
#endif

}  // namespace

int64_t RowTable::locate(std::span<const double> indices, RowPlace* places) const {
  for (size_t k = 0; k < indices.size(); k++) {
    const double index = indices[k];
    // Also false for NaN.
    if (!(index >= 0 && index < static_cast<double>(blob_of_.size()))) return static_cast<int64_t>(k);
    const size_t i = static_cast<size_t>(index);
    const uint32_t number = blob_of_[i];
    const uint32_t row = row_of_[i];
    if (static_cast<double>(i) != index || number >= blobs_.size()) return static_cast<int64_t>(k);
    const RowBlob& place = blobs_[number];
    const uint64_t size = place.blob->size();
    // In this order no sum overflows: a row number and the size of a row that fit the blob have a product that does too.
    if (place.field_offset > size || (row_bytes_ > 0 && row >= (size - place.field_offset) / row_bytes_)) return static_cast<int64_t>(k);
    places[k] = {place.blob.get(), place.field_offset + row * row_bytes_};
  }
  return -1;
}

int64_t RowTable::copy(std::span<const RowPlace> places, uint8_t* out) const {
  if (row_bytes_ == 0) return -1;
  size_t copied = 0;
  if (!resident_) {
    for (const auto& [blob, offset] : places) {
      if (row_bytes_ >= kWorthReadingAhead) blob->read_ahead(offset, row_bytes_);
    }
    for (; copied < places.size(); copied++, out += row_bytes_) {
      if (!places[copied].blob->read(places[copied].offset, out, row_bytes_)) return static_cast<int64_t>(copied);
    }
    return -1;
  }
  for (; copied < places.size(); copied++, out += row_bytes_) {
    if (copied + kRowsAhead < places.size()) announce(places[copied + kRowsAhead], row_bytes_);
    const auto& [blob, offset] = places[copied];
    if (!blob->is_verified(offset, row_bytes_) && blob->verify(offset, row_bytes_) >= 0) break;
    copy_row(out, blob->data() + offset, row_bytes_);
  }
  // A page that was lost after its check was copied as zeros; the mapping was marked before they could be read.
  for (size_t k = 0; k < copied; k++) {
    if (!places[k].blob->intact()) return static_cast<int64_t>(k);
  }
  return copied < places.size() ? static_cast<int64_t>(copied) : -1;
}

}  // namespace tc
