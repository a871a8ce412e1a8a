// A deflate stream, or a gzip file, read by ranges of its inflated bytes.
//
// The first pass goes from the start and leaves points behind it: where decoding can start again, and the 32 KiB before. What lies behind
// is reached from the nearest point; what lies ahead extends the first pass, so the CRC-32 of the whole is known once the end has been reached, in
// whatever order the ranges were asked for.
//
// A gzip file is one or more members, each a deflate stream between a header and its own CRC-32 and size, which the first pass checks as it comes to them.
// bgzip makes members of 64 KiB. How many bytes they hold in all is not known before the end.
//
// The CRC-32 is taken in runs, which end at every multiple of a block's size and at the ends of members, the same for whoever passes. With `check` the first pass
// notes the CRC-32 of each block, and everybody who passes later is compared: that, and the points, can be taken to another stream over the same file.
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

// Bytes since the last place that every pass stops its CRC-32 at.
struct Run {
  uint64_t from = 0;
  uint32_t crc = 0;
  uint32_t before = 0;  // CRC-32 of what its block holds before it
};

// Where decoding can start again.
struct Point {
  uint64_t at = 0;  // inflated bytes before it
  Place place;
  Run run;
  uint32_t window_size = 0;
  std::vector<uint8_t> window;  // as it is, or deflated when it is of another size
};

// What a first pass has learned.
struct Index {
  uint64_t block = 0;             // bytes of a block
  uint64_t passed = 0;            // inflated bytes up to the end of the first pass's last run
  uint64_t member_from = 0;       // inflated bytes before the member there
  uint32_t member_crc = 0;        // of that member so far
  uint64_t members_checked = 0;   // where the CRC-32 of the last member that was compared lies in the data
  bool complete = false;
  std::vector<Point> points;      // in order
  std::vector<uint32_t> checks;   // of whole blocks from the start on; of a complete index the last may be shorter
};

class Stream {
 public:
  // Data must outlive the stream. No points when `every` is 0. A raw stream holds `inflated` bytes; a gzip file holds so many that are wanted, and may hold some more.
  // With `check` blocks of so many bytes of a gzip file are compared; it is at least HISTORY.
  Stream(const uint8_t* data, size_t size, uint64_t inflated, uint64_t every, Framing framing = Framing::Raw, uint64_t check = 0);
  // Goes on from an index, whose numbers need not be right: what it leads to is Damaged then, or has the CRC-32s it says.
  Stream(const uint8_t* data, size_t size, uint64_t inflated, uint64_t every, Index&& index);
  ~Stream();

  // Gives the inflated bytes offset … offset+length to `sink` in order, in pieces. The caller has checked the range. A range that
  // ends where the stream should end also checks that it does; one in a block that is known inflates that to its end. Throws Damaged. Any number of threads may read at once.
  void read(uint64_t offset, uint64_t length, const std::function<void(const uint8_t*, size_t)>& sink);

  // Of a raw stream.
  std::optional<uint32_t> crc() const;
  // Compressed bytes used, once the end has been seen.
  std::optional<uint64_t> used() const;
  size_t points() const;
  uint64_t passed() const;
  // Bytes inflated by all reads together.
  uint64_t work() const;
  // What another stream can go on from: points behind which enough was checked to tell that they are right. Windows of points before `from` are left out.
  Index index(size_t from) const;

 private:
  struct Cursor;

  std::unique_ptr<Cursor> cursor_for(uint64_t offset);
  void make_room(Cursor& cursor);
  void advance(Cursor& cursor, uint64_t to);
  void account(Cursor& cursor, size_t before);
  void cut(Cursor& cursor, uint64_t at);
  void compare(uint64_t block, uint32_t crc);
  void leave_point(const Cursor& cursor);
  void next_member(Cursor& cursor);
  void finish(Cursor& cursor);
  uint64_t checked_end(uint64_t end) const;

  const uint8_t* data_;
  size_t size_;
  uint64_t inflated_;
  uint64_t every_;
  Framing framing_;
  bool checks_ = false;

  mutable std::mutex mutex_;  // guards all below
  Index known_;
  std::deque<std::unique_ptr<Cursor>> idle_;  // least recently used first
  std::optional<uint64_t> used_;
  uint64_t work_ = 0;
};

}  // namespace tc::inflate
