#include "io/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>
#include <vector>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

namespace tc {
namespace {

// Headers older than Linux 5.14 lack the name; the kernel answers EINVAL where it lacks the thing.
#if defined(__linux__) && !defined(MADV_POPULATE_READ)
#define MADV_POPULATE_READ 22
#endif

// Number(…) of JavaScript ends here; no file system in use has larger files.
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 53;

[[noreturn]] void fail(int number, const std::string& what) { throw std::system_error(number, std::generic_category(), what); }

uint64_t page_bytes() {
  static const uint64_t bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// Unmapping takes about 12 ms per GiB of resident pages, and the last owner is often the JavaScript thread.
void unmap(uint8_t* base, uint64_t bytes) {
  constexpr uint64_t kWorthAThread = uint64_t{128} << 20;
  if (bytes >= kWorthAThread) {
    try {
      std::thread([base, bytes] { munmap(base, bytes); }).detach();
      return;
    } catch (const std::system_error&) {
      // No thread to be had.
    }
  }
  munmap(base, bytes);
}

std::string range_text(uint64_t offset, uint64_t length) { return "bytes " + std::to_string(offset) + " … " + std::to_string(offset + length); }

}  // namespace

std::shared_ptr<Mapping> Mapping::open(const std::string& path) {
  std::shared_ptr<Mapping> mapping(new Mapping);
  mapping->path_ = path;
  // O_NONBLOCK: opening a pipe that nobody writes to would wait forever. It means nothing to a regular file.
  do {
    mapping->fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (mapping->fd_ < 0 && errno == EINTR);
  if (mapping->fd_ < 0) fail(errno == ENXIO ? ENODEV : errno, path);
  struct stat status;
  if (fstat(mapping->fd_, &status) != 0) fail(errno, path);
  if (S_ISDIR(status.st_mode)) fail(EISDIR, path);
  if (!S_ISREG(status.st_mode)) fail(ENODEV, path + " is not a regular file");
  mapping->facts_ = facts_of(status);
  const uint64_t size = mapping->facts_.size;
  if (size > kMaxFileBytes) fail(EFBIG, path);
  // mmap refuses zero bytes; an empty file is a mapping without memory.
  if (size == 0) return mapping;
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, mapping->fd_, 0);
  if (base == MAP_FAILED) fail(errno, path);
  mapping->base_ = static_cast<uint8_t*>(base);
  mapping->guard_.emplace(base, size, mapping->fd_);
  return mapping;
}

Mapping::~Mapping() {
  guard_.reset();
  if (base_ != nullptr) unmap(base_, facts_.size);
  if (fd_ >= 0) ::close(fd_);
}

FileFacts Mapping::ask_again() const {
  struct stat status;
  if (fstat(fd_, &status) != 0) fail(errno, path_);
  return facts_of(status);
}

void Mapping::populate(uint64_t offset, uint64_t length) const {
  if (length == 0) return;
#ifdef __linux__
  // In pieces, because the call holds the lock that every mmap and page fault of the process takes.
  constexpr uint64_t kPiece = uint64_t{16} << 20;
  const uint64_t stop = offset + length;
  for (uint64_t at = offset - offset % page_bytes(); at < stop; at += kPiece) {
    const uint64_t bytes = std::min(kPiece, stop - at);
    int result;
    do {
      result = madvise(base_ + at, bytes, MADV_POPULATE_READ);
    } while (result != 0 && (errno == EINTR || errno == EAGAIN));
    if (result == 0) continue;
    if (errno == EINVAL) {
      populate_by_reading(at, stop - at);
      break;
    }
    // EFAULT: behind the end of the file. EHWPOISON, EIO: the memory or the disk failed. The reader's answer is the same.
    fail(errno == ENOMEM ? ENOMEM : EFAULT, path_ + ": " + range_text(at, bytes) + " cannot be read");
  }
#else
  populate_by_reading(offset, length);
#endif
  // Zeros that stand for lost pages are readable.
  if (faulted()) fail(EFAULT, path_ + ": pages were lost while it was mapped");
}

// Brings the pages into memory; the first touch then finds them there.
void Mapping::populate_by_reading(uint64_t offset, uint64_t length) const {
  std::vector<uint8_t> scratch(std::min<uint64_t>(length, 1 << 20));
  for (uint64_t at = offset; at < offset + length; at += scratch.size()) {
    read(at, scratch.data(), std::min<uint64_t>(scratch.size(), offset + length - at));
  }
}

void Mapping::drop(uint64_t offset, uint64_t length) const {
  const uint64_t page = page_bytes();
  const uint64_t begin = (offset + page - 1) / page * page;
  // The page of the last byte has nothing behind it that someone else could want.
  const uint64_t end = offset + length == facts_.size ? facts_.size : (offset + length) / page * page;
  if (begin < end) madvise(base_ + begin, end - begin, MADV_DONTNEED);
}

void Mapping::advise(uint64_t offset, uint64_t length, Advice advice) const {
  if (length == 0) return;
  constexpr int kinds[] = {MADV_NORMAL, MADV_SEQUENTIAL, MADV_RANDOM, MADV_WILLNEED};
  const uint64_t begin = offset - offset % page_bytes();
  // A hint: where it is refused, reading is slower and nothing else.
  madvise(base_ + begin, offset + length - begin, kinds[static_cast<int>(advice)]);
}

void Mapping::read_ahead(uint64_t offset, uint64_t length) const {
  // A hint, as above.
#ifdef __linux__
  posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
#else
  (void)offset;
  (void)length;
#endif
}

void Mapping::read(uint64_t offset, uint8_t* out, size_t length) const {
  size_t done = 0;
  while (done < length) {
    const ssize_t got = pread(fd_, out + done, length - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(EFAULT, path_ + ": " + range_text(offset + done, length - done) + " cannot be read (" + std::generic_category().message(errno) + ")");
    if (got == 0) fail(EFAULT, path_ + ": the file ends at byte " + std::to_string(offset + done) + ", before the " + range_text(offset, length));
    done += static_cast<size_t>(got);
  }
}

}  // namespace tc
