#include "memory/pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
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
  const size_t alignment = bytes >= kLargeMin ? kLargePage : kAlignment;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
#ifdef MADV_HUGEPAGE
  if (memory != nullptr && bytes >= kLargeMin) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
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
