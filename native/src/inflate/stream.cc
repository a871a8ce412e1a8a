#include "stream.h"

#include <algorithm>
#include <string>

#include "../hash/crc32.h"

namespace tc::inflate {
namespace {

// Output decoded between two looks at the shared state. With the history it fits the second-level cache.
constexpr size_t PIECE = 192 << 10;
// Cursors kept between reads, so that readers that go forward do not start again from a point.
constexpr size_t IDLE_CURSORS = 4;
// A cursor nearer to the start than this is not worth its memory: a file of many members is opened by reading their first bytes.
constexpr uint64_t KEEP_FROM = 64 << 10;

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
};

Stream::Stream(const uint8_t* data, size_t size, uint64_t inflated, uint64_t every) : data_(data), size_(size), inflated_(inflated), every_(every) {}
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
  const auto capacity = static_cast<size_t>(std::min<uint64_t>(HISTORY + PIECE, inflated_));
  auto cursor = std::make_unique<Cursor>(data_, size_, capacity);
  if (point != nullptr) {
    cursor->position = point->at;
    cursor->at = point->window_size;
    std::memcpy(cursor->buffer.get(), point->window.get(), point->window_size);
    const Place place = point->place;
    lock.unlock();
    cursor->decoder.resume(place);
  }
  return cursor;
}

// A full buffer keeps its history only. One that holds a whole short stream is never full before the stream's end.
void Stream::make_room(Cursor& cursor) {
  if (cursor.at < cursor.capacity || cursor.at - cursor.oldest <= HISTORY) return;
  std::memmove(cursor.buffer.get(), cursor.buffer.get() + cursor.at - HISTORY, HISTORY);
  cursor.oldest = 0;
  cursor.at = HISTORY;
}

// Decodes towards `to`, at most one piece.
void Stream::advance(Cursor& cursor, uint64_t to) {
  make_room(cursor);
  const uint64_t room = cursor.capacity > cursor.at ? cursor.capacity - cursor.at : 0;
  const auto step = static_cast<size_t>(std::min<uint64_t>(room, to - cursor.position));
  const size_t at = cursor.decoder.decode(cursor.buffer.get(), cursor.oldest, cursor.at, cursor.at + step);
  cursor.position += at - cursor.at;
  cursor.at = at;
  if (cursor.position > inflated_) throw Damaged("the stream holds more than the " + std::to_string(inflated_) + " bytes declared");
  if (cursor.decoder.ended() && cursor.position < inflated_) {
    throw Damaged("the stream ends after " + std::to_string(cursor.position) + " bytes of the " + std::to_string(inflated_) + " declared");
  }
  commit(cursor);
}

// Nothing but ends of blocks may follow the last byte.
void Stream::finish(Cursor& cursor) {
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
  return used_ ? std::optional(crc_) : std::nullopt;
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
