// Keeps a process alive when a mapped page cannot be read: the page becomes zeros and the mapping is marked.
#pragma once

#include <atomic>
#include <cstddef>

namespace tc {

class FaultGuard {
 public:
  // Watches [base, base + bytes), a mapping of the file `fd`. The first guard of the process installs the SIGBUS handler.
  FaultGuard(void* base, size_t bytes, int fd);
  // Before the memory is unmapped and the descriptor closed.
  ~FaultGuard();
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;

  bool faulted() const;

  struct Slot;

 private:
  Slot* slot_;
};

}  // namespace tc
