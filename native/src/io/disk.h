// What is asked of file systems. Failed calls throw std::system_error where nothing else is said.
#pragma once

#include <cstdint>
#include <string>

namespace tc {

// Returns 0 or an errno; EOPNOTSUPP where blocks cannot be allocated ahead.
int allocate_ahead(int fd, uint64_t offset, uint64_t length, bool keep_size);
uint64_t allocated_bytes(int fd);
// The magic number of statfs.
uint32_t file_system_type(const std::string& path);
// Down to the medium, as far as the system lets programs ask for it.
void fsync_descriptor(int fd);
// A file or a folder.
void fsync_path(const std::string& path);

}  // namespace tc
