// A whole file mapped copy-on-write. No memory is reserved for it, so its size is bounded by the address space only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "io/fault_guard.h"
#include "io/file_facts.h"

namespace tc {

enum class Advice { normal, sequential, random, willneed };

// Failed system calls throw std::system_error. Ranges are the caller's to check.
class Mapping {
 public:
  // Regular files only: EISDIR for a folder, ENODEV for pipes, devices and sockets.
  static std::shared_ptr<Mapping> open(const std::string& path);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const std::string& path() const { return path_; }
  uint8_t* data() const { return base_; }
  uint64_t size() const { return facts_.size; }
  const FileFacts& facts() const { return facts_; }
  FileFacts ask_again() const;
  bool faulted() const { return guard_.has_value() && guard_->faulted(); }

  // EFAULT where a page cannot be read.
  void populate(uint64_t offset, uint64_t length) const;
  void drop(uint64_t offset, uint64_t length) const;
  void advise(uint64_t offset, uint64_t length, Advice advice) const;
  // Has a range of the file read into the system's cache, without waiting for it and without mapping it.
  void read_ahead(uint64_t offset, uint64_t length) const;
  // Reads through the descriptor, never through the mapping. EFAULT when the file ends inside the range.
  void read(uint64_t offset, uint8_t* out, size_t length) const;

 private:
  Mapping() = default;
  void populate_by_reading(uint64_t offset, uint64_t length) const;

  std::string path_;
  int fd_ = -1;
  FileFacts facts_;
  uint8_t* base_ = nullptr;
  std::optional<FaultGuard> guard_;
};

}  // namespace tc
