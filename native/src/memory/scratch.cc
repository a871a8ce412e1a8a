#include "memory/scratch.h"

#include <algorithm>
#include <cstdlib>
#include <list>
#include <mutex>
#include <new>

#include "memory/pool.h"

namespace tc {
namespace {

// Items of a megabyte or so; who has larger ones in work says so.
constexpr size_t kKeptBytes = size_t{32} << 20;
// Bounds the search.
constexpr size_t kKeptCount = 32;

struct Block {
  uint8_t* data;
  size_t size;
};

struct Kept {
  std::mutex mutex;
  std::list<Block> blocks;  // newest first
  size_t bytes = 0, limit = kKeptBytes;

  void trim() {
    while (!blocks.empty() && (bytes > limit || blocks.size() > kKeptCount)) {
      bytes -= blocks.back().size;
      pages_give(blocks.back().data, blocks.back().size);
      blocks.pop_back();
    }
  }
};

// Never destroyed: threads may outlive static destructors.
Kept& kept() {
  static Kept* const instance = new Kept;
  return *instance;
}

}  // namespace

void scratch_keep(size_t bytes) {
  Kept& all = kept();
  const std::lock_guard lock(all.mutex);
  all.limit = std::max(bytes, kKeptBytes);
  all.trim();
}

Scratch::Scratch(size_t bytes) {
  if (bytes == 0) return;
  Kept& all = kept();
  {
    const std::lock_guard lock(all.mutex);
    // Much larger ones are left for those who need them.
    const auto fits = std::find_if(all.blocks.begin(), all.blocks.end(), [&](const Block& block) { return block.size >= bytes && block.size / 2 <= bytes; });
    if (fits != all.blocks.end()) {
      data_ = fits->data;
      size_ = fits->size;
      all.bytes -= size_;
      all.blocks.erase(fits);
      return;
    }
  }
  data_ = static_cast<uint8_t*>(pages_take(bytes));
  if (data_ == nullptr) throw std::bad_alloc();
  size_ = bytes;
}

Scratch::~Scratch() {
  if (data_ == nullptr) return;
  Kept& all = kept();
  const std::lock_guard lock(all.mutex);
  all.blocks.push_front({data_, size_});
  all.bytes += size_;
  all.trim();
}

}  // namespace tc
