// What tells whether a file is still the one that was opened, and how it begins.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tc {

struct FileFacts {
  uint64_t size = 0;
  uint64_t dev = 0;
  uint64_t ino = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
};

FileFacts facts_of(const struct stat& status);

struct FileStart {
  FileFacts facts;
  std::vector<uint8_t> bytes;  // fewer than were asked for where the file ends
};

// Failed system calls throw std::system_error; what is no regular file, too: EISDIR for a folder, ENODEV for the rest, which are not waited for.
FileStart read_start(const std::string& path, size_t length);

}  // namespace tc
