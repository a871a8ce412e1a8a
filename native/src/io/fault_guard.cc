#include "io/fault_guard.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <mutex>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

namespace tc {

// One watched mapping. Slots are reused but never freed, so that the handler, which may run at any instruction of any thread, can walk the
// list without a lock. `version` is odd while a slot is being changed; a mapping that is being read cannot be changing.
struct FaultGuard::Slot {
  std::atomic<uint32_t> version{0};
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<int> fd{-1};
  std::atomic<bool> faulted{false};
  Slot* next = nullptr;
};

namespace {

using Slot = FaultGuard::Slot;
static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

std::atomic<Slot*> first_slot{nullptr};
std::mutex changes;
struct sigaction previous;
uintptr_t page_bytes = 4096;

void write_slot(Slot* slot, uintptr_t begin, uintptr_t end, int fd) {
  slot->version.fetch_add(1);
  slot->begin = begin;
  slot->end = end;
  slot->fd = fd;
  slot->faulted = false;
  slot->version.fetch_add(1);
}

// Puts zeros where `address` lies, if it lies in a watched mapping. Async-signal-safe: atomics, fstat and mmap only.
bool heal(uintptr_t address) {
  for (Slot* slot = first_slot.load(); slot != nullptr; slot = slot->next) {
    const uint32_t version = slot->version.load();
    const uintptr_t begin = slot->begin.load();
    const uintptr_t end = slot->end.load();
    const int fd = slot->fd.load();
    if (version % 2 != 0 || slot->version.load() != version || address < begin || address >= end) continue;
    // Marked before the zeros can be seen.
    slot->faulted = true;
    const uintptr_t page = address - address % page_bytes;
    const uintptr_t mapped_end = (end + page_bytes - 1) / page_bytes * page_bytes;
    uintptr_t stop = page + page_bytes;
    // Behind the end of a truncated file everything is replaced at once: page by page, a random reader would need a kernel map entry for
    // each, and a process may have 65,530 of them.
    struct stat status;
    if (fstat(fd, &status) == 0 && begin + static_cast<uintptr_t>(status.st_size) <= page) stop = mapped_end;
    void* zeros = mmap(reinterpret_cast<void*>(page), stop - page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_FIXED | MAP_NORESERVE, -1, 0);
    return zeros != MAP_FAILED;
  }
  return false;
}

void on_bus_error(int number, siginfo_t* info, void* context) {
  const int saved = errno;
  // si_code above zero comes from the kernel; below, another process sent the signal and there is no address.
  const bool healed = info->si_code > 0 && heal(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved;
  if (healed) return;
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
    previous.sa_sigaction(number, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(number);
  } else {
    sigaction(number, &previous, nullptr);
    raise(number);
  }
}

void install() {
  page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  // A worker thread that loaded the addon alone would unload it at its end and leave the process with a handler that is gone.
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&install), &self) != 0) dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, nullptr, &previous);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

FaultGuard::FaultGuard(void* base, size_t bytes, int fd) {
  // Not std::call_once: Node 24's binary exports its inner function, which the loader then takes instead of ours, and which looks at another libstdc++'s variables.
  [[maybe_unused]] static const bool installed = (install(), true);
  const uintptr_t begin = reinterpret_cast<uintptr_t>(base);
  std::lock_guard lock(changes);
  for (slot_ = first_slot.load(); slot_ != nullptr && slot_->end.load() != 0; slot_ = slot_->next) {
  }
  if (slot_ == nullptr) {
    slot_ = new Slot;
    slot_->next = first_slot.load();
    first_slot = slot_;
  }
  write_slot(slot_, begin, begin + bytes, fd);
}

FaultGuard::~FaultGuard() {
  std::lock_guard lock(changes);
  write_slot(slot_, 0, 0, -1);
}

bool FaultGuard::faulted() const { return slot_->faulted.load(); }

}  // namespace tc
