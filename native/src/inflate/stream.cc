#include "stream.h"

#include <algorithm>
#include <string>

#include "../hash/crc32.h"
#include "gzip.h"

namespace tc::inflate {
namespace {

// Output decoded between two looks at the shared state. With the history it fits the second-level cache.
constexpr size_t PIECE = 192 << 10;
// Cursors kept between reads, so that readers that go forward do not start again from a point.
constexpr size_t IDLE_CURSORS = 4;
// A cursor nearer to the start than this is not worth its memory: a file of many members is opened by reading their first bytes.
constexpr uint64_t KEEP_FROM = 64 << 10;
// What may follow the bytes that are wanted of a gzip file. All of it has to be inflated, because only behind it the CRC-32 is known.
constexpr uint64_t TRAILING_MAX = 16 << 20;

Place member_at(uint64_t byte) { return {Place::Kind::Header, 8 * byte, 8 * byte, 0}; }

}  // namespace

// A decoder and the last bytes it made: buffer[oldest … at) are the stream's bytes up to `position`.
struct Stream::Cursor {
  Cursor(const uint8_t* data, size_t size, size_t capacity) : decoder(data, size), capacity(capacity), buffer(new uint8_t[capacity + SLACK]) {}
  uint64_t position_of_oldest() const { return position - (at - oldest); }

  Decoder decoder;
  size_t capacity;
  std::unique_ptr<uint8_t[]> buffer;
  size_t oldest = 0;
  size_t at = 0;
  uint64_t position = 0;
  bool ended = false;  // behind the last member of a gzip file
};

Stream::Stream(const uint8_t* data, size_t size, uint64_t inflated, uint64_t every, Framing framing)
    : data_(data), size_(size), inflated_(inflated), every_(every), framing_(framing) {}
Stream::~Stream() = default;

std::unique_ptr<Stream::Cursor> Stream::cursor_for(uint64_t offset) {
  std::unique_lock lock(mutex_);
  auto best = idle_.end();
  for (auto it = idle_.begin(); it != idle_.end(); ++it) {
    if ((*it)->position_of_oldest() <= offset && (best == idle_.end() || (*it)->position > (*best)->position)) best = it;
  }
  auto after = std::upper_bound(points_.begin(), points_.end(), offset, [](uint64_t value, const Point& point) { return value < point.at; });
  const Point* point = after == points_.begin() ? nullptr : &*std::prev(after);
  if (best != idle_.end() && (point == nullptr || (*best)->position >= point->at)) {
    auto cursor = std::move(*best);
    idle_.erase(best);
    return cursor;
  }
  // A short stream needs no full buffer.
  const auto capacity = framing_ == Framing::Gzip ? HISTORY + PIECE : static_cast<size_t>(std::min<uint64_t>(HISTORY + PIECE, inflated_));
  auto cursor = std::make_unique<Cursor>(data_, size_, capacity);
  if (point != nullptr) {
    cursor->position = point->at;
    cursor->at = point->window_size;
    if (point->window_size > 0) std::memcpy(cursor->buffer.get(), point->window.get(), point->window_size);
    const Place place = point->place;
    lock.unlock();
    cursor->decoder.resume(place);
  } else if (framing_ == Framing::Gzip) {
    lock.unlock();
    cursor->decoder.resume(member_at(after_gzip_header(data_, size_, 0)));
  }
  return cursor;
}

// A full buffer keeps its history only, of a gzip file that of the member. One that holds a whole short stream is never full before the stream's end.
void Stream::make_room(Cursor& cursor) {
  if (cursor.at < cursor.capacity) return;
  const size_t kept = std::min(HISTORY, cursor.at - cursor.oldest);
  std::memmove(cursor.buffer.get(), cursor.buffer.get() + cursor.at - kept, kept);
  cursor.oldest = 0;
  cursor.at = kept;
}

// Decodes towards `to`, at most one piece.
void Stream::advance(Cursor& cursor, uint64_t to) {
  if (cursor.ended) throw Damaged("it ends after " + std::to_string(cursor.position) + " bytes of the " + std::to_string(inflated_) + " that are needed");
  make_room(cursor);
  const uint64_t room = cursor.capacity > cursor.at ? cursor.capacity - cursor.at : 0;
  const auto step = static_cast<size_t>(std::min<uint64_t>(room, to - cursor.position));
  const size_t at = cursor.decoder.decode(cursor.buffer.get(), cursor.oldest, cursor.at, cursor.at + step);
  cursor.position += at - cursor.at;
  cursor.at = at;
  if (framing_ == Framing::Gzip) {
    commit(cursor);
    if (cursor.decoder.ended()) next_member(cursor);
    return;
  }
  if (cursor.position > inflated_) throw Damaged("the stream holds more than the " + std::to_string(inflated_) + " bytes declared");
  if (cursor.decoder.ended() && cursor.position < inflated_) {
    throw Damaged("the stream ends after " + std::to_string(cursor.position) + " bytes of the " + std::to_string(inflated_) + " declared");
  }
  commit(cursor);
}

// Compares what the end of a member says of it, if nobody has yet, and begins the next. Whoever comes to such an end first is the first pass.
void Stream::next_member(Cursor& cursor) {
  const uint64_t end = cursor.decoder.used();
  if (size_ < end || size_ - end < 8) throw Damaged("it ends within the CRC-32 and size behind a member");
  uint32_t said[2];
  std::memcpy(said, data_ + end, 8);
  {
    std::lock_guard lock(mutex_);
    if (end > members_checked_) {
      if (said[0] != crc_) throw Damaged("a member's CRC-32 is not the one behind it");
      if (said[1] != static_cast<uint32_t>(frontier_ - member_from_)) throw Damaged("a member's size is not the one behind it");
      members_checked_ = end;
      member_from_ = frontier_;
      crc_ = 0;
    }
  }
  uint64_t next = end + 8;
  // Padding, as tapes have it.
  while (next < size_ && data_[next] == 0) next++;
  cursor.ended = next == size_;
  if (cursor.ended) return;
  const Place place = member_at(after_gzip_header(data_, size_, next));
  cursor.decoder.resume(place);
  // No distance reaches back into another member.
  cursor.oldest = cursor.at;
  std::lock_guard lock(mutex_);
  const uint64_t last = points_.empty() ? 0 : points_.back().at;
  if (every_ > 0 && cursor.position == frontier_ && frontier_ - last >= every_) points_.push_back({frontier_, place, 0, nullptr});
}

// Nothing but ends of blocks may follow the last byte of a raw stream; what follows in a gzip file belongs to its CRC-32.
void Stream::finish(Cursor& cursor) {
  if (framing_ == Framing::Gzip) {
    while (!cursor.ended) {
      if (cursor.position - inflated_ > TRAILING_MAX) throw Damaged("more than 16 MiB follow the " + std::to_string(inflated_) + " bytes that its header declares");
      advance(cursor, cursor.position + PIECE);
    }
    std::lock_guard lock(mutex_);
    used_ = size_;
    return;
  }
  make_room(cursor);
  const size_t at = cursor.decoder.decode(cursor.buffer.get(), cursor.oldest, cursor.at, cursor.at + 1);
  if (at != cursor.at) throw Damaged("the stream holds more than the " + std::to_string(inflated_) + " bytes declared");
  std::lock_guard lock(mutex_);
  used_ = cursor.decoder.used();
}

// Whoever passes the frontier came from at or before it, so the first pass has no gaps.
void Stream::commit(const Cursor& cursor) {
  std::lock_guard lock(mutex_);
  if (cursor.position <= frontier_) return;
  const auto fresh = static_cast<size_t>(cursor.position - frontier_);
  crc_ = crc32(cursor.buffer.get() + cursor.at - fresh, fresh, crc_);
  frontier_ = cursor.position;
  const uint64_t last = points_.empty() ? 0 : points_.back().at;
  if (every_ == 0 || frontier_ - last < every_ || cursor.decoder.ended()) return;
  const auto size = static_cast<uint32_t>(std::min<size_t>(HISTORY, cursor.at - cursor.oldest));
  Point point{frontier_, cursor.decoder.place(), size, std::make_unique<uint8_t[]>(size)};
  std::memcpy(point.window.get(), cursor.buffer.get() + cursor.at - size, size);
  points_.push_back(std::move(point));
}

void Stream::read(uint64_t offset, uint64_t length, const std::function<void(const uint8_t*, size_t)>& sink) {
  auto cursor = cursor_for(offset);
  const uint64_t end = offset + length;
  for (uint64_t at = offset;;) {
    if (at < cursor->position && at < end) {
      const uint64_t stop = std::min(cursor->position, end);
      const uint64_t back = cursor->position - at;
      sink(cursor->buffer.get() + cursor->at - back, static_cast<size_t>(stop - at));
      at = stop;
    }
    if (cursor->position >= end) break;
    advance(*cursor, end);
  }
  if (end == inflated_ && !used()) {
    while (cursor->position < inflated_) advance(*cursor, inflated_);
    finish(*cursor);
  }
  if (cursor->position < KEEP_FROM) return;
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(cursor));
  if (idle_.size() > IDLE_CURSORS) idle_.pop_front();
}

std::optional<uint32_t> Stream::crc() const {
  std::lock_guard lock(mutex_);
  return used_ && framing_ == Framing::Raw ? std::optional(crc_) : std::nullopt;
}

std::optional<uint64_t> Stream::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

size_t Stream::points() const {
  std::lock_guard lock(mutex_);
  return points_.size();
}

}  // namespace tc::inflate
