#include "stream.h"

#include <algorithm>
#include <string>

#include "../hash/crc32.h"
#include "gzip.h"

namespace tc::inflate {
namespace {

// Output decoded between two looks at the shared state. With the history it fits the second-level cache.
constexpr size_t PIECE = 192 << 10;
// Where runs end when nothing is compared.
constexpr uint64_t BLOCK = 128 << 10;
// Cursors kept between reads, so that readers that go forward do not start again from a point.
constexpr size_t IDLE_CURSORS = 4;
// A cursor nearer to the start than this is not worth its memory: a file of many members is opened by reading their first bytes.
constexpr uint64_t KEEP_FROM = 64 << 10;
// What may follow the bytes that are wanted of a gzip file. All of it has to be inflated, because only behind it the CRC-32 is known.
constexpr uint64_t TRAILING_MAX = 16 << 20;

Place member_at(uint64_t byte) { return {Place::Kind::Header, 8 * byte, 8 * byte, 0}; }

}  // namespace

// A decoder and the last bytes it made: buffer[first … at) are the stream's bytes up to `position`, and distances reach back to `oldest`.
struct Stream::Cursor {
  Cursor(const uint8_t* data, size_t size, size_t capacity) : decoder(data, size), capacity(capacity), buffer(new uint8_t[capacity + SLACK]) {}
  uint64_t position_of_first() const { return position - (at - first); }

  Decoder decoder;
  size_t capacity;
  std::unique_ptr<uint8_t[]> buffer;
  size_t first = 0;
  size_t oldest = 0;
  size_t at = 0;
  uint64_t position = 0;
  Run run;
  bool ended = false;  // behind the last member of a gzip file
};

Stream::Stream(const uint8_t* data, size_t size, uint64_t inflated, uint64_t every, Framing framing, uint64_t check)
    : data_(data), size_(size), inflated_(inflated), every_(every), framing_(framing), checks_(check > 0) {
  known_.block = check > 0 ? check : BLOCK;
}
Stream::Stream(const uint8_t* data, size_t size, uint64_t inflated, uint64_t every, Index&& index)
    : data_(data), size_(size), inflated_(inflated), every_(every), framing_(Framing::Gzip), checks_(true), known_(std::move(index)) {
  if (known_.complete) used_ = size;
}
Stream::~Stream() = default;

std::unique_ptr<Stream::Cursor> Stream::cursor_for(uint64_t offset) {
  std::unique_lock lock(mutex_);
  auto best = idle_.end();
  for (auto it = idle_.begin(); it != idle_.end(); ++it) {
    if ((*it)->position_of_first() <= offset && (best == idle_.end() || (*it)->position > (*best)->position)) best = it;
  }
  const auto& points = known_.points;
  auto after = std::upper_bound(points.begin(), points.end(), offset, [](uint64_t value, const Point& point) { return value < point.at; });
  const Point* point = after == points.begin() ? nullptr : &*std::prev(after);
  if (best != idle_.end() && (point == nullptr || (*best)->position >= point->at)) {
    auto cursor = std::move(*best);
    idle_.erase(best);
    return cursor;
  }
  // A short stream needs no full buffer. A read may end a block further than it was asked to, and the next one begins where it was asked to end.
  const size_t full = HISTORY + PIECE + (checks_ ? static_cast<size_t>(known_.block) : 0);
  const auto capacity = framing_ == Framing::Gzip ? full : static_cast<size_t>(std::min<uint64_t>(full, inflated_));
  auto cursor = std::make_unique<Cursor>(data_, size_, capacity);
  if (point != nullptr) {
    cursor->position = point->at;
    cursor->run = point->run;
    cursor->first = cursor->at = point->window_size;
    const Place place = point->place;
    if (point->window.size() == point->window_size) {
      if (point->window_size > 0) std::memcpy(cursor->buffer.get(), point->window.data(), point->window_size);
      lock.unlock();
    } else {
      const std::vector<uint8_t> window = point->window;
      lock.unlock();
      Decoder decoder(window.data(), window.size());
      const size_t end = decoder.decode(cursor->buffer.get(), 0, 0, cursor->at);
      if (end != cursor->at) throw Damaged("a window of another size");
    }
    cursor->decoder.resume(place);
  } else if (framing_ == Framing::Gzip) {
    lock.unlock();
    cursor->decoder.resume(member_at(after_gzip_header(data_, size_, 0)));
  }
  return cursor;
}

// A full buffer keeps its history only, and what the next read may ask for. One that holds a whole short stream is never full before the stream's end.
void Stream::make_room(Cursor& cursor) {
  if (cursor.at < cursor.capacity) return;
  const size_t kept = std::min(std::max(HISTORY, cursor.capacity - std::min(cursor.capacity, PIECE)), cursor.at - std::min(cursor.first, cursor.oldest));
  const size_t dropped = cursor.at - kept;
  std::memmove(cursor.buffer.get(), cursor.buffer.get() + dropped, kept);
  cursor.first -= std::min(cursor.first, dropped);
  cursor.oldest -= std::min(cursor.oldest, dropped);
  cursor.at = kept;
}

// Decodes towards `to`, at most one piece.
void Stream::advance(Cursor& cursor, uint64_t to) {
  if (cursor.ended) throw Damaged("it ends after " + std::to_string(cursor.position) + " bytes of the " + std::to_string(inflated_) + " that are needed");
  make_room(cursor);
  const uint64_t room = cursor.capacity > cursor.at ? std::min(cursor.capacity - cursor.at, PIECE) : 0;
  const auto step = static_cast<size_t>(std::min<uint64_t>(room, to - cursor.position));
  const size_t before = cursor.at;
  cursor.at = cursor.decoder.decode(cursor.buffer.get(), cursor.oldest, before, before + step);
  cursor.position += cursor.at - before;
  account(cursor, before);
  if (framing_ == Framing::Gzip) {
    leave_point(cursor);
    if (cursor.decoder.ended()) next_member(cursor);
    return;
  }
  if (cursor.position > inflated_) throw Damaged("the stream holds more than the " + std::to_string(inflated_) + " bytes declared");
  if (cursor.decoder.ended() && cursor.position < inflated_) {
    throw Damaged("the stream ends after " + std::to_string(cursor.position) + " bytes of the " + std::to_string(inflated_) + " declared");
  }
  leave_point(cursor);
}

// Takes the CRC-32 of buffer[before … at).
void Stream::account(Cursor& cursor, size_t before) {
  for (size_t from = before; from < cursor.at;) {
    const uint64_t position = cursor.position - (cursor.at - from);
    const uint64_t block_end = (cursor.run.from / known_.block + 1) * known_.block;
    const auto length = static_cast<size_t>(std::min<uint64_t>(cursor.at - from, block_end - position));
    cursor.run.crc = crc32(cursor.buffer.get() + from, length, cursor.run.crc);
    from += length;
    if (position + length == block_end) cut(cursor, block_end);
  }
}

// Ends the run: at the end of a block, or of a member. Whoever comes to such an end first is the first pass; every pass ends its runs at the same places, so it has no gaps.
void Stream::cut(Cursor& cursor, uint64_t at) {
  Run& run = cursor.run;
  if (at == run.from) return;
  const bool ends_block = at % known_.block == 0;
  const uint32_t block = run.from % known_.block == 0 ? run.crc : crc32_join(run.before, run.crc, at - run.from);
  {
    std::lock_guard lock(mutex_);
    if (run.from == known_.passed) {
      known_.member_crc = run.from == known_.member_from ? run.crc : crc32_join(known_.member_crc, run.crc, at - run.from);
      known_.passed = at;
    }
    if (checks_ && ends_block) compare(at / known_.block - 1, block);
  }
  run = {at, 0, ends_block ? 0 : block};
}

// Notes the CRC-32 of a block, or compares it with what was noted. The mutex is held.
void Stream::compare(uint64_t block, uint32_t crc) {
  if (block == known_.checks.size()) known_.checks.push_back(crc);
  else if (block < known_.checks.size() && known_.checks[block] != crc) throw Damaged("block " + std::to_string(block) + " does not have the CRC-32 it had");
}

void Stream::leave_point(const Cursor& cursor) {
  if (every_ == 0 || cursor.decoder.ended()) return;
  std::lock_guard lock(mutex_);
  const uint64_t last = known_.points.empty() ? 0 : known_.points.back().at;
  // Ahead of all others, or with the first of them.
  if (cursor.run.from != known_.passed || cursor.position < last || cursor.position - last < every_) return;
  const size_t size = std::min(HISTORY, cursor.at - cursor.oldest);
  const uint8_t* end = cursor.buffer.get() + cursor.at;
  known_.points.push_back({cursor.position, cursor.decoder.place(), cursor.run, static_cast<uint32_t>(size), std::vector<uint8_t>(end - size, end)});
}

// Compares what the end of a member says of it, if nobody has yet, and begins the next.
void Stream::next_member(Cursor& cursor) {
  const uint64_t end = cursor.decoder.used();
  if (size_ < end || size_ - end < 8) throw Damaged("it ends within the CRC-32 and size behind a member");
  uint32_t said[2];
  std::memcpy(said, data_ + end, 8);
  cut(cursor, cursor.position);
  {
    std::lock_guard lock(mutex_);
    if (end > known_.members_checked && cursor.position == known_.passed) {
      if (said[0] != (known_.passed == known_.member_from ? 0 : known_.member_crc)) throw Damaged("a member's CRC-32 is not the one behind it");
      if (said[1] != static_cast<uint32_t>(known_.passed - known_.member_from)) throw Damaged("a member's size is not the one behind it");
      known_.members_checked = end;
      known_.member_from = known_.passed;
    }
  }
  uint64_t next = end + 8;
  // Padding, as tapes have it.
  while (next < size_ && data_[next] == 0) next++;
  cursor.ended = next == size_;
  if (cursor.ended) {
    std::lock_guard lock(mutex_);
    const uint64_t rest = cursor.position % known_.block;
    if (checks_ && rest != 0) compare(cursor.position / known_.block, cursor.run.before);
    return;
  }
  cursor.decoder.resume(member_at(after_gzip_header(data_, size_, next)));
  // No distance reaches back into another member.
  cursor.oldest = cursor.at;
  leave_point(cursor);
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
    known_.complete = true;
    return;
  }
  make_room(cursor);
  const size_t at = cursor.decoder.decode(cursor.buffer.get(), cursor.oldest, cursor.at, cursor.at + 1);
  if (at != cursor.at) throw Damaged("the stream holds more than the " + std::to_string(inflated_) + " bytes declared");
  cut(cursor, inflated_);
  std::lock_guard lock(mutex_);
  used_ = cursor.decoder.used();
}

// How far a read to `end` has to go: to the end of its last block where the CRC-32 of that is known.
uint64_t Stream::checked_end(uint64_t end) const {
  if (!checks_ || end == 0) return end;
  std::lock_guard lock(mutex_);
  const uint64_t block = (end - 1) / known_.block;
  if (block >= known_.checks.size()) return end;
  const uint64_t stop = (block + 1) * known_.block;
  return known_.complete ? std::max(end, std::min(stop, known_.passed)) : stop;
}

void Stream::read(uint64_t offset, uint64_t length, const std::function<void(const uint8_t*, size_t)>& sink) {
  auto cursor = cursor_for(offset);
  const uint64_t began = cursor->position;
  const uint64_t end = offset + length;
  const uint64_t stop = checked_end(end);
  for (uint64_t at = offset;;) {
    if (at < cursor->position && at < end) {
      const uint64_t to = std::min(cursor->position, end);
      const uint64_t back = cursor->position - at;
      sink(cursor->buffer.get() + cursor->at - back, static_cast<size_t>(to - at));
      at = to;
    }
    if (cursor->position >= stop) break;
    advance(*cursor, stop);
  }
  if (end == inflated_ && !used()) {
    while (cursor->position < inflated_) advance(*cursor, inflated_);
    finish(*cursor);
  }
  std::lock_guard lock(mutex_);
  work_ += cursor->position - began;
  if (cursor->position < KEEP_FROM) return;
  idle_.push_back(std::move(cursor));
  if (idle_.size() > IDLE_CURSORS) idle_.pop_front();
}

std::optional<uint32_t> Stream::crc() const {
  std::lock_guard lock(mutex_);
  return used_ && framing_ == Framing::Raw ? std::optional(known_.member_crc) : std::nullopt;
}

std::optional<uint64_t> Stream::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

size_t Stream::points() const {
  std::lock_guard lock(mutex_);
  return known_.points.size();
}

uint64_t Stream::passed() const {
  std::lock_guard lock(mutex_);
  return known_.passed;
}

uint64_t Stream::work() const {
  std::lock_guard lock(mutex_);
  return work_;
}

Index Stream::index(size_t from) const {
  std::lock_guard lock(mutex_);
  Index index{known_.block, known_.passed, known_.member_from, known_.member_crc, known_.members_checked, known_.complete, {}, known_.checks};
  const uint64_t checked = known_.checks.size() * known_.block;
  for (size_t k = 0; k < known_.points.size(); k++) {
    const Point& point = known_.points[k];
    // Every byte of a window is out of reach HISTORY bytes later.
    if (!known_.complete && point.at + HISTORY > checked) break;
    index.points.push_back({point.at, point.place, point.run, point.window_size, k < from ? std::vector<uint8_t>() : point.window});
  }
  return index;
}

}  // namespace tc::inflate
