// Decodes a deflate stream into a buffer piece by piece, stopping between any two symbols and starting again there.
#pragma once

#include <stdexcept>

#include "bits.h"
#include "tables.h"

namespace tc::inflate {

// The stream is damaged; `what` says how.
struct Damaged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// How far back a distance reaches at most.
constexpr size_t HISTORY = 32768;
// Bytes that decode() may write beyond its limit: a last symbol (258) and the overrun of copying it in wide pieces.
constexpr size_t SLACK = 258 + 64;

// Where decoding can start again: the block whose header gives the tables, and the next symbol in it.
struct Place {
  enum class Kind : uint8_t { Header, Coded, Stored };
  Kind kind = Kind::Header;
  uint64_t block = 0;        // bit position of the block's header
  uint64_t next = 0;         // bit position of what is read next
  uint32_t stored_left = 0;  // bytes left of a stored block
};

class Decoder {
 public:
  Decoder(const uint8_t* data, size_t size) : in_(data, size) {}

  // Appends to `buffer` from `at` until `limit` is reached or passed (by less than SLACK) or the stream ends, and returns the new end.
  // `buffer[oldest … at)` is what was decoded before, at least the last HISTORY bytes of it. Throws Damaged.
  size_t decode(uint8_t* buffer, size_t oldest, size_t at, size_t limit);

  bool ended() const { return ended_; }
  // Bytes of the stream used, once it has ended.
  uint64_t used() const { return (in_.position() + 7) / 8; }
  Place place() const { return {kind_, block_, in_.position(), stored_left_}; }
  void resume(const Place& place);

 private:
  void read_header();
  size_t copy_stored(uint8_t* buffer, size_t at, size_t limit);

  BitReader in_;
  Place::Kind kind_ = Place::Kind::Header;
  uint64_t block_ = 0;
  uint32_t stored_left_ = 0;
  bool last_ = false;
  bool ended_ = false;
  const Tables* tables_ = nullptr;  // of the current block: `own_`, or the fixed ones
  Tables own_;
};

}  // namespace tc::inflate
