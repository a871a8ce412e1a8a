#include "io/blob_writer.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <system_error>
#include <thread>

#include "hash/sha256.h"
#include "hash/xxh64.h"
#include "io/disk.h"

namespace tc {
namespace {

using Segments = std::vector<std::span<const uint8_t>>;

// One system call writes about this much: large enough that calls cost nothing, small enough that the disk starts early.
constexpr size_t kWritePiece = 1 << 20;
constexpr size_t kVectors = 64;
// How often the hashing side looks whether the writing side has failed.
constexpr size_t kHashPiece = 1 << 20;
// The kernel is asked to start writing back after this much, so that the fsync at the end finds little left to do.
constexpr uint64_t kWriteBack = 8 << 20;
// Below this a second thread costs more than it saves.
constexpr uint64_t kWorthAThread = 256 << 10;

// Chunk hashes of bytes that come in any portions.
class ChunkHashes {
 public:
  ChunkHashes(uint64_t chunk_bytes, std::vector<uint8_t>& out) : chunk_bytes_(chunk_bytes), out_(out) {}
  void update(const uint8_t* data, size_t size) {
    while (size > 0) {
      const size_t taken = std::min<uint64_t>(size, chunk_bytes_ - hash_.total());
      hash_.update(data, taken);
      data += taken;
      size -= taken;
      if (hash_.total() == chunk_bytes_) end_chunk();
    }
  }
  void finish() {
    if (hash_.total() > 0) end_chunk();
  }

 private:
  void end_chunk() {
    const uint64_t hash = hash_.finish();
    const auto* bytes = reinterpret_cast<const uint8_t*>(&hash);
    out_.insert(out_.end(), bytes, bytes + 8);
    hash_ = Xxh64();
  }
  uint64_t chunk_bytes_;
  std::vector<uint8_t>& out_;
  Xxh64 hash_;
};

// XXH64 belongs to this side: it is eight times faster than SHA-256, which keeps the other thread busy alone.
void write_all(int fd, const Segments& segments, uint64_t chunk_bytes, BlobSummary& summary, const std::atomic<bool>& abandoned) {
  ChunkHashes chunks(chunk_bytes, summary.checksums);
  size_t index = 0;
  size_t inside = 0;
  uint64_t at = 0;
  uint64_t started = 0;
  while (!abandoned.load(std::memory_order_relaxed)) {
    iovec vectors[kVectors];
    size_t count = 0;
    size_t bytes = 0;
    size_t next_inside = inside;
    for (size_t k = index; k < segments.size() && count < kVectors && bytes < kWritePiece; k++, next_inside = 0) {
      const size_t length = std::min(segments[k].size() - next_inside, kWritePiece - bytes);
      if (length == 0) continue;
      vectors[count++] = {const_cast<uint8_t*>(segments[k].data() + next_inside), length};
      bytes += length;
    }
    if (count == 0) break;
    const ssize_t written = pwritev(fd, vectors, static_cast<int>(count), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw std::system_error(errno, std::generic_category(), "writing at byte " + std::to_string(at));
    if (written == 0) throw std::system_error(EIO, std::generic_category(), "nothing could be written at byte " + std::to_string(at));
    at += static_cast<uint64_t>(written);
    // A write may end anywhere, for example where the disk became full.
    for (size_t left = static_cast<size_t>(written); left > 0;) {
      const size_t taken = std::min(left, segments[index].size() - inside);
      // Just copied by the kernel, so still in a cache.
      chunks.update(segments[index].data() + inside, taken);
      left -= taken;
      inside += taken;
      if (inside == segments[index].size()) index++, inside = 0;
    }
#ifdef __linux__
    if (at - started >= kWriteBack) {
      sync_file_range(fd, static_cast<off64_t>(started), static_cast<off64_t>(at - started), SYNC_FILE_RANGE_WRITE);
      started = at;
    }
#endif
  }
  chunks.finish();
  if (!abandoned) fsync_descriptor(fd);
}

void hash_all(const Segments& segments, BlobSummary& summary, const std::atomic<bool>& abandoned) {
  Sha256 hash;
  for (const auto& segment : segments) {
    for (size_t at = 0; at < segment.size(); at += kHashPiece) {
      if (abandoned.load(std::memory_order_relaxed)) return;
      hash.update(segment.data() + at, std::min(segment.size() - at, kHashPiece));
    }
  }
  hash.finish(summary.sha256.data());
}

}  // namespace

BlobSummary write_blob(int fd, const Segments& segments, uint64_t chunk_bytes) {
  BlobSummary summary;
  for (const auto& segment : segments) summary.bytes += segment.size();
  summary.checksums.reserve((summary.bytes / chunk_bytes + 1) * 8);

  // Whoever fails tells the other one to stop.
  std::atomic<bool> abandoned{false};
  std::exception_ptr failure;
  auto write = [&] {
    try {
      write_all(fd, segments, chunk_bytes, summary, abandoned);
    } catch (...) {
      failure = std::current_exception();
      abandoned = true;
    }
  };
  std::thread writer;
  if (summary.bytes >= kWorthAThread) {
    try {
      writer = std::thread(write);
    } catch (const std::system_error&) {
      // No thread to be had: one after the other gives the same file.
    }
  }
  if (!writer.joinable()) write();
  try {
    hash_all(segments, summary, abandoned);
  } catch (...) {
    abandoned = true;
    if (writer.joinable()) writer.join();
    throw;
  }
  if (writer.joinable()) writer.join();
  if (failure) std::rethrow_exception(failure);
  return summary;
}

}  // namespace tc
