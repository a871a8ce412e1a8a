#include "batch.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "async.h"
#include "program/isa.h"

namespace tc::frames {
namespace {

// Contexts that nobody uses just now: setting one up costs as much as a frame. One per processor is kept for each codec.
class Contexts {
 public:
  std::unique_ptr<Context> take(Codec codec) {
    {
      const std::lock_guard lock(mutex_);
      auto& idle = idle_[static_cast<unsigned>(codec)];
      if (!idle.empty()) {
        auto context = std::move(idle.back());
        idle.pop_back();
        return context;
      }
    }
    return codec == Codec::lz4 ? lz4_context() : codec == Codec::zstd ? zstd_context() : gzip_context();
  }
  void give(Codec codec, std::unique_ptr<Context> context) {
    const std::lock_guard lock(mutex_);
    auto& idle = idle_[static_cast<unsigned>(codec)];
    if (idle.size() < std::max(1u, std::thread::hardware_concurrency())) idle.push_back(std::move(context));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Context>> idle_[kCodecs];
};

Contexts& contexts() {
  static auto* const instance = new Contexts;
  return *instance;
}

// Runs body(context, k) for each k once, the next free thread taking the next. A context whose work threw is not used again.
template <typename Body>
void each_frame(Codec codec, size_t count, unsigned threads, const Body& body) {
  std::atomic<size_t> next{0};
  threads = static_cast<unsigned>(std::min<size_t>(std::max(1u, threads), count));
  parallel_for(threads, threads, [&](size_t, size_t) {
    auto context = contexts().take(codec);
    for (size_t k = next++; k < count; k = next++) body(*context, k);
    contexts().give(codec, std::move(context));
  });
}

// Calls part(begin, end, element) for stretches that follow one another from `begin` to `end`; element 1 is what is not shuffled.
template <typename Part>
void stretches(const std::vector<Shuffled>& shuffled, uint64_t begin, uint64_t end, const Part& part) {
  auto range = std::upper_bound(shuffled.begin(), shuffled.end(), begin, [](uint64_t at, const Shuffled& one) { return at < one.end; });
  while (begin < end) {
    if (range == shuffled.end() || range->begin >= end) return part(begin, end, 1u);
    if (range->begin > begin) part(begin, range->begin, 1u);
    const uint64_t from = std::max(begin, range->begin), to = std::min(end, range->end);
    part(from, to, range->element);
    begin = to;
    ++range;
  }
}

bool any_shuffled(const std::vector<Shuffled>& shuffled, uint64_t begin, uint64_t end) {
  bool any = false;
  if (!shuffled.empty()) stretches(shuffled, begin, end, [&](uint64_t, uint64_t, unsigned element) { any = any || element > 1; });
  return any;
}

// `begin` … `begin + size` of the pieces: where they lie when they lie in one piece, otherwise copied to `room`.
const uint8_t* gathered(const std::vector<Piece>& pieces, const std::vector<uint64_t>& starts, uint64_t begin, size_t size, uint8_t* room) {
  size_t at = static_cast<size_t>(std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin()) - 1;
  uint64_t inside = begin - starts[at];
  if (inside + size <= pieces[at].size) return pieces[at].data + inside;
  for (size_t done = 0; done < size; at++, inside = 0) {
    const size_t some = std::min<size_t>(size - done, pieces[at].size - inside);
    if (some > 0) std::memcpy(room + done, pieces[at].data + inside, some);
    done += some;
  }
  return room;
}

}  // namespace

void compress(const CompressWork& work, uint8_t* out, std::vector<double>& sizes, unsigned threads) {
  std::vector<uint64_t> starts;
  uint64_t total = 0;
  for (const Piece& piece : work.pieces) {
    starts.push_back(total);
    total += piece.size;
  }
  const Kernels& kernels = selected_kernels();
  sizes.assign(std::max<uint64_t>(1, (total + kFrameBytes - 1) / kFrameBytes), 0);
  each_frame(work.codec, sizes.size(), threads, [&](Context& context, size_t k) {
    const uint64_t begin = k * kFrameBytes;
    const size_t size = std::min<uint64_t>(kFrameBytes, total - begin);
    uint8_t* const target = out + k * kFrameBound;
    const uint8_t* plain = target;
    if (size > 0 && any_shuffled(work.shuffled, work.offset + begin, work.offset + begin + size)) {
      stretches(work.shuffled, work.offset + begin, work.offset + begin + size, [&](uint64_t from, uint64_t to, unsigned element) {
        uint8_t* const there = context.scratch() + (from - work.offset - begin);
        // Stretches of many pieces are put together where the compressed frame will be.
        const uint8_t* const here = gathered(work.pieces, starts, from - work.offset, to - from, target);
        if (element > 1) kernels.shuffle(here, to - from, element, there);
        else std::memcpy(there, here, to - from);
      });
      plain = context.scratch();
    } else if (size > 0) {
      plain = gathered(work.pieces, starts, begin, size, context.scratch());
    }
    sizes[k] = static_cast<double>(context.compress(plain, size, work.level, target, kFrameBound));
  });
}

std::optional<Fault> decompress(const DecompressWork& work, unsigned threads) {
  std::mutex mutex;
  std::optional<Fault> fault;
  const size_t count = work.ends.size() - 1;
  const Kernels& kernels = selected_kernels();
  each_frame(work.codec, count, threads, [&](Context& context, size_t k) {
    const uint64_t begin = (work.first + k) * kFrameBytes;
    const size_t size = std::min<uint64_t>(kFrameBytes, work.file_bytes - begin);
    const uint64_t from = std::max(begin, work.offset), to = std::min(begin + size, work.offset + work.size);
    const bool whole = from == begin && to == begin + size;
    uint8_t* const kept = k == 0 && work.head != nullptr ? work.head : k == count - 1 ? work.tail : nullptr;
    uint8_t* const wanted = work.out + (from - work.offset);
    try {
      const bool shuffled = any_shuffled(work.shuffled, begin, begin + size);
      uint8_t* const decoded = !shuffled && whole ? wanted : !shuffled && kept != nullptr ? kept : context.scratch();
      context.decompress(work.source + work.ends[k], work.ends[k + 1] - work.ends[k], decoded, size);
      const uint8_t* plain = decoded;
      if (shuffled) {
        // Parts of a frame that are neither kept nor wanted are unshuffled in room for one more frame.
        std::unique_ptr<uint8_t[]> room;
        uint8_t* target = whole ? wanted : kept;
        if (target == nullptr) target = (room = std::make_unique_for_overwrite<uint8_t[]>(size)).get();
        stretches(work.shuffled, begin, begin + size, [&](uint64_t at, uint64_t end, unsigned element) {
          if (element > 1) kernels.unshuffle(decoded + (at - begin), end - at, element, target + (at - begin));
          else std::memcpy(target + (at - begin), decoded + (at - begin), end - at);
        });
        plain = target;
        if (plain != wanted && to > from) std::memcpy(wanted, plain + (from - begin), to - from);
      } else if (plain != wanted && to > from) {
        std::memcpy(wanted, plain + (from - begin), to - from);
      }
      if (kept != nullptr && kept != plain) std::memcpy(kept, plain, size);
    } catch (const Damaged& damaged) {
      const std::lock_guard lock(mutex);
      if (!fault || fault->frame > work.first + k) fault = Fault{work.first + k, damaged.what()};
    }
  });
  return fault;
}

}  // namespace tc::frames
