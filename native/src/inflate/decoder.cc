#include "decoder.h"

#include <algorithm>

namespace tc::inflate {
namespace {

#if defined(__x86_64__)
#define TC_BMI2 __attribute__((target("bmi,bmi2")))
#endif
#define TC_INLINE inline __attribute__((always_inline))

// The longest input one turn of the fast loop can load: three refills of at most 7 bytes' advance, the last one reading 8.
constexpr size_t INPUT_MARGIN = 32;

// Copies `length` (3 to 258) bytes from `distance` back. May write up to 31 bytes more than asked.
TC_INLINE void copy_match(uint8_t* to, size_t distance, size_t length) {
  const uint8_t* from = to - distance;
  uint8_t* const end = to + length;
  if (distance >= 16) [[likely]] {
    // Most matches are shorter than one piece.
    std::memcpy(to, from, 16);
    for (to += 16, from += 16; to < end; to += 16, from += 16) std::memcpy(to, from, 16);
  } else if (distance == 1) {
    const uint64_t run = 0x0101010101010101ull * *from;
    for (; to < end; to += 16) {
      std::memcpy(to, &run, 8);
      std::memcpy(to + 8, &run, 8);
    }
  } else if (distance >= 8) {
    for (; to < end; to += 8, from += 8) std::memcpy(to, from, 8);
  } else {
    // A word written `distance` further each time repeats the pattern; its tail is overwritten by the next.
    for (; to < end; to += distance, from += distance) {
      uint64_t word;
      std::memcpy(&word, from, 8);
      std::memcpy(to, &word, 8);
    }
  }
}

enum class Stop { Margin, Limit, Block };

[[noreturn]] void fail(const char* what) { throw Damaged(what); }

// Literals are stored two bytes at a time whether the entry holds one or two.
TC_INLINE uint8_t* put_literals(uint8_t* out, uint32_t entry) {
  const auto pair = static_cast<uint16_t>(entry >> 16);
  std::memcpy(out, &pair, 2);
  return out + 1 + ((entry & PAIR) != 0);
}

// The extra bits of a length or distance, which follow its code. Bits 12 and 13 of its entry are 0, so the shift needs no mask of its own.
TC_INLINE uint64_t extra_bits(uint64_t bits, uint32_t entry) { return (bits & ((uint64_t{1} << (entry & 63)) - 1)) >> (entry >> 8 & 63); }

// Decodes symbols of one block while input and output are far from their ends: no check but those of the data itself. Stops at a
// symbol boundary; the end of the block is consumed.
TC_INLINE Stop fast_symbols(BitReader& in, const Tables& tables, uint8_t* buffer, size_t oldest, size_t& at, size_t limit) {
  if (in.size < INPUT_MARGIN) return Stop::Margin;
  const uint8_t* next = in.data + in.next;
  const uint8_t* const next_end = in.data + in.size - INPUT_MARGIN;
  if (in.next > in.size - INPUT_MARGIN) return Stop::Margin;
  if (at >= limit) return Stop::Limit;
  uint64_t bits = in.bits;
  // Only the low byte counts, so that a whole entry can be subtracted.
  uint64_t count = in.count;
  uint8_t* out = buffer + at;
  uint8_t* const out_end = buffer + limit;
  const uint8_t* const first = buffer + oldest;
  const uint32_t* const symbols = tables.symbols;
  constexpr uint64_t SYMBOL_MASK = (1u << SYMBOL_BITS) - 1;
  Stop stop = Stop::Margin;

#define TC_REFILL()                        \
  do {                                     \
    bits |= load64(next) << (count & 63);  \
    next += 7 - (count >> 3 & 7);          \
    count |= 56;                           \
  } while (0)
#define TC_DROP(entry)       \
  do {                       \
    bits >>= (entry) & 63;   \
    count -= (entry);        \
  } while (0)

  // The entry of the next symbol is looked up as early as its bits are there: before the bytes of a match are copied.
  TC_REFILL();
  uint32_t entry = symbols[bits & SYMBOL_MASK];
  for (;;) {
    // At least 56 bits, or 45 and an entry that is looked up: enough for three entries of the main table.
    if ((entry & LITERAL) != 0) {
      TC_DROP(entry);
      out = put_literals(out, entry);
      entry = symbols[bits & SYMBOL_MASK];
      if ((entry & LITERAL) != 0) {
        TC_DROP(entry);
        out = put_literals(out, entry);
        entry = symbols[bits & SYMBOL_MASK];
        if ((entry & LITERAL) != 0) {
          TC_DROP(entry);
          out = put_literals(out, entry);
          entry = symbols[bits & SYMBOL_MASK];
          TC_REFILL();
          if (next > next_end) break;
          if (out >= out_end) {
            stop = Stop::Limit;
            break;
          }
          continue;
        }
      }
      // At least 34 bits are left: enough for a code of 15 with 5 extra bits.
    }
    if ((entry & SPECIAL) != 0) [[unlikely]] {
      if ((entry & SUBTABLE) != 0) entry = symbols[(entry >> 16) + ((bits >> SYMBOL_BITS) & ((1u << (entry >> 8 & 15)) - 1))];
      if ((entry & LITERAL) != 0) {
        TC_DROP(entry);
        out = put_literals(out, entry);
        TC_REFILL();
        entry = symbols[bits & SYMBOL_MASK];
        if (next > next_end) break;
        if (out >= out_end) {
          stop = Stop::Limit;
          break;
        }
        continue;
      }
      if ((entry & SPECIAL) != 0) {
        if ((entry & INVALID) != 0) fail("a code without a symbol");
        TC_DROP(entry);
        stop = Stop::Block;
        break;
      }
    }
    const size_t length = (entry >> 16) + extra_bits(bits, entry);
    TC_DROP(entry);
    if ((count & 63) < 28) TC_REFILL();
    entry = tables.distances[bits & ((1u << DISTANCE_BITS) - 1)];
    if ((entry & SPECIAL) != 0) [[unlikely]] {
      if ((entry & SUBTABLE) == 0) fail("a code without a distance");
      entry = tables.distances[(entry >> 16) + ((bits >> DISTANCE_BITS) & ((1u << (entry >> 8 & 15)) - 1))];
      if ((entry & SPECIAL) != 0) fail("a code without a distance");
    }
    const size_t distance = (entry >> 16) + extra_bits(bits, entry);
    TC_DROP(entry);
    if (distance > static_cast<size_t>(out - first)) [[unlikely]] fail("a distance too far back");
    TC_REFILL();
    entry = symbols[bits & SYMBOL_MASK];
    copy_match(out, distance, length);
    out += length;
    if (next > next_end) break;
    if (out >= out_end) {
      stop = Stop::Limit;
      break;
    }
  }
#undef TC_REFILL
#undef TC_DROP
  in.bits = bits;
  in.count = static_cast<unsigned>(count & 63);
  in.next = static_cast<size_t>(next - in.data);
  at = static_cast<size_t>(out - buffer);
  return stop;
}

Stop fast_generic(BitReader& in, const Tables& tables, uint8_t* buffer, size_t oldest, size_t& at, size_t limit) {
  return fast_symbols(in, tables, buffer, oldest, at, limit);
}

#ifdef TC_BMI2
TC_BMI2 Stop fast_bmi2(BitReader& in, const Tables& tables, uint8_t* buffer, size_t oldest, size_t& at, size_t limit) {
  return fast_symbols(in, tables, buffer, oldest, at, limit);
}
const bool HAS_BMI2 = __builtin_cpu_supports("bmi2") != 0;
Stop fast(BitReader& in, const Tables& tables, uint8_t* buffer, size_t oldest, size_t& at, size_t limit) {
  return HAS_BMI2 ? fast_bmi2(in, tables, buffer, oldest, at, limit) : fast_generic(in, tables, buffer, oldest, at, limit);
}
#else
Stop fast(BitReader& in, const Tables& tables, uint8_t* buffer, size_t oldest, size_t& at, size_t limit) {
  return fast_generic(in, tables, buffer, oldest, at, limit);
}
#endif

// The same near the end of the input, one symbol at a time, each checked for having used bits that are not there.
Stop slow_symbols(BitReader& in, const Tables& tables, uint8_t* buffer, size_t oldest, size_t& at, size_t limit) {
  while (at < limit) {
    in.refill();
    uint32_t entry = tables.symbols[in.bits & ((1u << SYMBOL_BITS) - 1)];
    if ((entry & SPECIAL) != 0 && (entry & SUBTABLE) != 0) {
      entry = tables.symbols[(entry >> 16) + ((in.bits >> SYMBOL_BITS) & ((1u << (entry >> 8 & 15)) - 1))];
    }
    if ((entry & LITERAL) != 0) {
      in.drop(entry & 63);
      if (in.overrun()) fail("the stream ends early");
      at = static_cast<size_t>(put_literals(buffer + at, entry) - buffer);
      continue;
    }
    if ((entry & SPECIAL) != 0) {
      if ((entry & INVALID) != 0) fail("a code without a symbol");
      in.drop(entry & 63);
      if (in.overrun()) fail("the stream ends early");
      return Stop::Block;
    }
    const size_t length = (entry >> 16) + extra_bits(in.bits, entry);
    in.drop(entry & 63);
    in.refill();
    entry = tables.distances[in.bits & ((1u << DISTANCE_BITS) - 1)];
    if ((entry & SPECIAL) != 0 && (entry & SUBTABLE) != 0) {
      entry = tables.distances[(entry >> 16) + ((in.bits >> DISTANCE_BITS) & ((1u << (entry >> 8 & 15)) - 1))];
    }
    if ((entry & SPECIAL) != 0) fail("a code without a distance");
    const size_t distance = (entry >> 16) + extra_bits(in.bits, entry);
    in.drop(entry & 63);
    if (in.overrun()) fail("the stream ends early");
    if (distance > at - oldest) fail("a distance too far back");
    copy_match(buffer + at, distance, length);
    at += length;
  }
  return Stop::Limit;
}

}  // namespace

void Decoder::read_header() {
  block_ = in_.position();
  in_.refill();
  last_ = in_.take(1) != 0;
  const uint32_t type = in_.take(2);
  if (in_.overrun()) fail("the stream ends early");
  if (type == 0) {
    in_.drop(in_.count & 7);
    in_.refill();
    const uint32_t length = in_.take(16), complement = in_.take(16);
    if (in_.overrun()) fail("the stream ends early");
    if ((length ^ complement) != 0xffff) fail("a stored block whose length and its complement disagree");
    stored_left_ = length;
    kind_ = Place::Kind::Stored;
  } else if (type == 1) {
    tables_ = &fixed_tables();
    kind_ = Place::Kind::Coded;
  } else if (type == 2) {
    if (const char* fault = read_dynamic(in_, own_)) fail(fault);
    tables_ = &own_;
    kind_ = Place::Kind::Coded;
  } else {
    fail("a block type that does not exist");
  }
}

size_t Decoder::copy_stored(uint8_t* buffer, size_t at, size_t limit) {
  const auto from = static_cast<size_t>(in_.position() / 8);
  const size_t length = std::min<size_t>(stored_left_, limit - at);
  if (from > in_.size || in_.size - from < length) fail("the stream ends early");
  if (length > 0) std::memcpy(buffer + at, in_.data + from, length);
  in_.seek(uint64_t{from + length} * 8);
  stored_left_ -= static_cast<uint32_t>(length);
  return at + length;
}

size_t Decoder::decode(uint8_t* buffer, size_t oldest, size_t at, size_t limit) {
  while (!ended_ && at < limit) {
    if (kind_ == Place::Kind::Header) read_header();
    bool block_ends;
    if (kind_ == Place::Kind::Stored) {
      at = copy_stored(buffer, at, limit);
      block_ends = stored_left_ == 0;
    } else {
      Stop stop = fast(in_, *tables_, buffer, oldest, at, limit);
      if (stop == Stop::Margin) stop = slow_symbols(in_, *tables_, buffer, oldest, at, limit);
      block_ends = stop == Stop::Block;
    }
    if (block_ends) {
      kind_ = Place::Kind::Header;
      block_ = in_.position();
      ended_ = last_;
    }
  }
  return at;
}

void Decoder::resume(const Place& place) {
  ended_ = false;
  stored_left_ = 0;
  in_.seek(place.block);
  if (place.kind == Place::Kind::Header) {
    kind_ = Place::Kind::Header;
    block_ = place.block;
    return;
  }
  read_header();
  if (kind_ != place.kind) fail("the stream changed while it was read");
  in_.seek(place.next);
  stored_left_ = place.stored_left;
}

}  // namespace tc::inflate
