#include "memory/pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace tc {
namespace {

constexpr size_t kAlignment = 4096;
// Large pages are faulted in 512 times as fast; below this they would mostly be waste.
constexpr size_t kLargePage = size_t{2} << 20;
constexpr size_t kLargeMin = 4 * kLargePage;
// A few dozen batches of a few megabytes: what the garbage collector lets pile up.
constexpr size_t kKeptMax = size_t{256} << 20;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void ask_for_large_pages(void* memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (bytes >= kLargeMin) madvise(memory, bytes, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

struct Pool {
  std::mutex mutex;
  std::unordered_map<size_t, std::vector<void*>> free;
  size_t kept = 0;
};

// Never destroyed: buffers may be finalised after static destructors have run.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

}  // namespace

void* pages_take(size_t bytes) {
  const size_t alignment = bytes >= kLargeMin ? kLargePage : kAlignment;
  const size_t length = round_up(bytes, kAlignment);
  const size_t reserved = length + alignment - kAlignment;
  void* const mapped = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  // What lies before and behind goes back at once.
  uint8_t* const begin = static_cast<uint8_t*>(mapped);
  uint8_t* const memory = reinterpret_cast<uint8_t*>(round_up(reinterpret_cast<uintptr_t>(mapped), alignment));
  if (memory > begin) munmap(begin, size_t(memory - begin));
  if (begin + reserved > memory + length) munmap(memory + length, size_t(begin + reserved - (memory + length)));
  ask_for_large_pages(memory, length);
  return memory;
}

void pages_give(void* memory, size_t bytes) { munmap(memory, round_up(bytes, kAlignment)); }

void* pool_take(size_t bytes) {
  Pool& from = pool();
  {
    const std::lock_guard lock(from.mutex);
    const auto found = from.free.find(bytes);
    if (found != from.free.end() && !found->second.empty()) {
      void* memory = found->second.back();
      found->second.pop_back();
      from.kept -= bytes;
      return memory;
    }
  }
  const size_t rounded = round_up(bytes, bytes >= kLargeMin ? kLargePage : kAlignment);
  void* memory = std::aligned_alloc(bytes >= kLargeMin ? kLargePage : kAlignment, rounded);
  if (memory != nullptr) ask_for_large_pages(memory, rounded);
  return memory;
}

void pool_give(void* memory, size_t bytes) {
  Pool& to = pool();
  const std::lock_guard lock(to.mutex);
  if (bytes > kKeptMax) return std::free(memory);
  // What is given back now is likelier to be taken again than what is of another size.
  for (auto& [size, list] : to.free) {
    for (; size != bytes && !list.empty() && to.kept + bytes > kKeptMax; to.kept -= size) {
      std::free(list.back());
      list.pop_back();
    }
  }
  if (to.kept + bytes > kKeptMax) return std::free(memory);
  to.free[bytes].push_back(memory);
  to.kept += bytes;
}

size_t pool_size(size_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  const size_t step = std::max(kAlignment, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

}  // namespace tc
