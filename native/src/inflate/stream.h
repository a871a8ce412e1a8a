// A deflate stream, or a gzip file, read by ranges of its inflated bytes.
//
// The first pass goes from the start and leaves points behind it: where decoding can start again, and the 32 KiB before. Everything at or
// before the frontier, the furthest byte ever inflated, is reached from the nearest point; what lies beyond extends the first pass, so the CRC-32 of the
// whole is known once the end has been reached, in whatever order the ranges were asked for.
//
// A gzip file is one or more members, each a deflate stream between a header and its own CRC-32 and size, which the first pass checks as it comes to them.
// bgzip makes members of 64 KiB. How many bytes they hold in all is not known before the end.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "decoder.h"

namespace tc::inflate {

enum class Framing { Raw, Gzip };

class Stream {
 public:
  // Data must outlive the stream. No points when `every` is 0. A raw stream holds `inflated` bytes; a gzip file holds so many that are wanted, and may hold some more.
  Stream(const uint8_t* data, size_t size, uint64_t inflated, uint64_t every, Framing framing = Framing::Raw);
  ~Stream();

  // Gives the inflated bytes offset … offset+length to `sink` in order, in pieces. The caller has checked the range. A range that
  // ends where the stream should end also checks that it does. Throws Damaged. Any number of threads may read at once.
  void read(uint64_t offset, uint64_t length, const std::function<void(const uint8_t*, size_t)>& sink);

  // Of a raw stream.
  std::optional<uint32_t> crc() const;
  // Compressed bytes used, once the end has been seen.
  std::optional<uint64_t> used() const;
  size_t points() const;

 private:
  struct Point {
    uint64_t at;  // inflated bytes before it
    Place place;
    uint32_t window_size;
    std::unique_ptr<uint8_t[]> window;
  };
  struct Cursor;

  std::unique_ptr<Cursor> cursor_for(uint64_t offset);
  void make_room(Cursor& cursor);
  void advance(Cursor& cursor, uint64_t to);
  void next_member(Cursor& cursor);
  void finish(Cursor& cursor);
  void commit(const Cursor& cursor);

  const uint8_t* data_;
  size_t size_;
  uint64_t inflated_;
  uint64_t every_;
  Framing framing_;

  mutable std::mutex mutex_;  // guards all below
  std::vector<Point> points_;
  std::deque<std::unique_ptr<Cursor>> idle_;  // least recently used first
  uint64_t frontier_ = 0;
  uint32_t crc_ = 0;            // up to the frontier, of a gzip file from where its member begins
  uint64_t member_from_ = 0;    // inflated bytes before the frontier's member
  uint64_t members_checked_ = 0;  // where the CRC-32 of the last member that was compared lies in the data
  std::optional<uint64_t> used_;
};

}  // namespace tc::inflate
