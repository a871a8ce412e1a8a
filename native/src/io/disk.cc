#include "io/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#ifdef __linux__
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#include <sys/param.h>
#endif

namespace tc {
namespace {

[[noreturn]] void fail(int number, const std::string& what) { throw std::system_error(number, std::generic_category(), what); }

}  // namespace

int allocate_ahead([[maybe_unused]] int fd, [[maybe_unused]] uint64_t offset, [[maybe_unused]] uint64_t length, [[maybe_unused]] bool keep_size) {
#ifdef __linux__
  int result;
  do {
    result = fallocate(fd, keep_size ? FALLOC_FL_KEEP_SIZE : 0, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
#else
  return EOPNOTSUPP;
#endif
}

uint64_t allocated_bytes(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) fail(errno, "file descriptor " + std::to_string(fd));
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

uint32_t file_system_type(const std::string& path) {
  struct statfs status;
  if (statfs(path.c_str(), &status) != 0) fail(errno, path);
  return static_cast<uint32_t>(status.f_type);
}

void fsync_descriptor(int fd) {
#ifdef __APPLE__
  // fsync of macOS leaves the bytes in the drive's cache.
  if (fcntl(fd, F_FULLFSYNC) == 0) return;
#endif
  int result;
  do {
    result = fsync(fd);
  } while (result != 0 && errno == EINTR);
  if (result != 0) fail(errno, "fsync");
}

void fsync_path(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) fail(errno, path);
  try {
    fsync_descriptor(fd);
  } catch (const std::system_error& error) {
    close(fd);
    fail(error.code().value(), "fsync of " + path);
  }
  close(fd);
}

}  // namespace tc
