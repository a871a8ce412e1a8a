#include "io/file_facts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace tc {
namespace {

int64_t nanoseconds(const timespec& time) { return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec; }

struct Descriptor {
  int fd;
  ~Descriptor() { close(fd); }
};

}  // namespace

FileFacts facts_of(const struct stat& status) {
  FileFacts facts;
  facts.size = static_cast<uint64_t>(status.st_size);
  facts.dev = static_cast<uint64_t>(status.st_dev);
  facts.ino = static_cast<uint64_t>(status.st_ino);
#ifdef __APPLE__
  facts.mtime_ns = nanoseconds(status.st_mtimespec);
  facts.ctime_ns = nanoseconds(status.st_ctimespec);
#else
  facts.mtime_ns = nanoseconds(status.st_mtim);
  facts.ctime_ns = nanoseconds(status.st_ctim);
#endif
  return facts;
}

FileStart read_start(const std::string& path, size_t length) {
  const auto fail = [&](int number) { throw std::system_error(number, std::generic_category(), path); };
  // A pipe that nobody writes would be waited for.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail(errno);
  struct stat status;
  if (fstat(file.fd, &status) != 0) fail(errno);
  if (!S_ISREG(status.st_mode)) fail(S_ISDIR(status.st_mode) ? EISDIR : ENODEV);
  FileStart start{facts_of(status), {}};
  start.bytes.resize(std::min<uint64_t>(length, start.facts.size));
  size_t done = 0;
  while (done < start.bytes.size()) {
    const ssize_t got = pread(file.fd, start.bytes.data() + done, start.bytes.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(errno);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  start.bytes.resize(done);
  return start;
}

}  // namespace tc
