// Many frames of a file on several threads, with the byte shuffle between the file's plain bytes and the codec.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codec.h"

namespace tc::frames {

// Bytes begin … end of the plain file are elements of 2, 4 or 8 bytes; in each frame its part of them is shuffled by itself.
struct Shuffled {
  uint64_t begin, end;
  unsigned element;
};

struct Piece {
  const uint8_t* data;
  size_t size;
};

// The plain file's bytes from `offset`, a frame's beginning, on, in pieces that follow one another; they end where a frame does or where the file does.
struct CompressWork {
  Codec codec;
  int level;
  uint64_t offset;
  std::vector<Piece> pieces;
  std::vector<Shuffled> shuffled;  // ascending, apart
};

// Frame k of the work goes to out + k · kFrameBound and has sizes[k] bytes. No bytes at all are one empty frame.
void compress(const CompressWork& work, uint8_t* out, std::vector<double>& sizes, unsigned threads);

struct DecompressWork {
  Codec codec;
  uint64_t file_bytes;          // of the plain file
  uint64_t first;               // number of the first frame
  const uint8_t* source;        // frame first + k lies at source + ends[k] … source + ends[k + 1]
  std::vector<uint64_t> ends;
  uint64_t offset;              // of the plain bytes that are wanted
  uint8_t* out;
  size_t size;
  uint8_t* head;                // null, or where the whole first frame is wanted, too
  uint8_t* tail;                // and the last
  std::vector<Shuffled> shuffled;
};

struct Fault {
  uint64_t frame;
  std::string reason;
};

// The damaged frame with the lowest number, if there is one.
std::optional<Fault> decompress(const DecompressWork& work, unsigned threads);

}  // namespace tc::frames
