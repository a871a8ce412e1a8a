// Runs items: one after the other, dealt out to threads, or each split over threads when it is large. How the work is split
// never shows in the result.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <mutex>

#include "async.h"
#include "memory/scratch.h"
#include "program/finish.h"
#include "program/isa.h"
#include "program/program.h"

namespace tc {

// Below this many bytes of work a thread costs more than it brings.
static constexpr size_t kBytesPerThread = size_t{1} << 17;
static constexpr size_t kPiecesPerThread = 8;
static constexpr size_t kCastPiece = size_t{1} << 14;

// One item in work: where its values lie.
struct ItemRun {
  const Program& program;
  const Kernels& kernels;
  std::vector<uint8_t*> data;  // by value
  uint8_t* scratch;
  unsigned threads;
  Spent* spent;
};

// Adds the time from here to the end of the block.
class Watch {
 public:
  explicit Watch(std::atomic<int64_t>* sum) : sum_(sum) {
    if (sum_ != nullptr) began_ = std::chrono::steady_clock::now();
  }
  ~Watch() {
    if (sum_ != nullptr) *sum_ += std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - began_).count();
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  std::atomic<int64_t>* sum_;
  std::chrono::steady_clock::time_point began_;
};

// Deals `count` units, worth `bytes` together, to threads: in several pieces each, taken as they get to them, so that a thread that the
// system holds back holds up a piece and not its share of the whole.
static void split(const ItemRun& item, size_t count, size_t bytes, const std::function<void(size_t, size_t)>& body) {
  const size_t threads = std::min(count, std::clamp<size_t>(bytes / kBytesPerThread, 1, item.threads));
  if (threads <= 1) {
    if (count > 0) body(0, count);
    return;
  }
  const size_t pieces = std::min(count, threads * kPiecesPerThread);
  std::atomic<size_t> next{0};
  parallel_for(threads, static_cast<unsigned>(threads), [&](size_t, size_t) {
    for (size_t piece = next++; piece < pieces; piece = next++) body(count * piece / pieces, count * (piece + 1) / pieces);
  });
}

// Collects what pieces find.
class Finds {
 public:
  void add(Found found) {
    if (found.count == 0) return;
    const std::lock_guard lock(mutex_);
    all_.first = all_.count == 0 ? found.first : std::min(all_.first, found.first);
    all_.count += found.count;
  }
  void note(bool bad) {
    if (bad) any_.store(true, std::memory_order_relaxed);
  }
  Found all() const { return all_; }
  bool any() const { return any_; }

 private:
  std::mutex mutex_;
  std::atomic<bool> any_{false};
  Found all_ = {0, 0};
};

// --- cast ---------------------------------------------------------------------------------------------------------------

static Found cast_piece(CastRun cast, const uint8_t* from, size_t from_size, uint8_t* to, size_t to_size, NonFinite non_finite, size_t begin, size_t end) {
  Found found = {0, 0};
  alignas(16) uint8_t element[16];
  for (size_t i = begin; i < end; i += kCastPiece) {
    const size_t n = std::min(kCastPiece, end - i);
    if (!cast(from + i * from_size, to + i * to_size, n) || non_finite == NonFinite::kKeep) continue;
    // Rare, so element by element with the same kernel.
    for (size_t k = i; k < i + n; k++) {
      if (!cast(from + k * from_size, element, 1)) continue;
      if (non_finite == NonFinite::kZero) {
        std::memset(to + k * to_size, 0, to_size);
      } else {
        if (found.count == 0) found.first = k;
        found.count++;
      }
    }
  }
  return found;
}

static Found run_cast(const ItemRun& item, const Unit& unit, NonFinite non_finite) {
  const Value &in = item.program.values()[unit.in], &out = item.program.values()[unit.out];
  const uint8_t* from = item.data[unit.in];
  uint8_t* to = item.data[unit.out];
  if (in.elements == 0) return {0, 0};
  const CastRun cast = item.kernels.cast[in.dtype][out.dtype];
  const size_t from_size = in.bytes / in.elements, to_size = out.bytes / out.elements;
  Finds finds;
  split(item, in.elements, in.bytes, [&](size_t begin, size_t end) {
    if (from != to) return finds.add(cast_piece(cast, from, from_size, to, to_size, non_finite, begin, end));
    // Nothing to write, only to look.
    if (non_finite == NonFinite::kKeep || in.dtype < kFloat16) return;
    alignas(64) uint8_t buffer[16384];
    const size_t piece = sizeof(buffer) / to_size;
    for (size_t i = begin; i < end; i += piece) {
      Found found = cast_piece(cast, from + i * from_size, from_size, buffer, to_size, non_finite, 0, std::min(piece, end - i));
      found.first += i;
      finds.add(found);
    }
  });
  return finds.all();
}

// --- moves --------------------------------------------------------------------------------------------------------------

static void run_gather(const ItemRun& item, const Unit& unit, const GatherWork& work) {
  split(item, work.rows, item.program.values()[unit.out].bytes, [&](size_t begin, size_t end) {
    item.kernels.gather(work.plan, item.data[unit.in], item.data[unit.out], begin, end);
  });
}

static void run_permute(const ItemRun& item, const Unit& unit, const PermuteWork& work) {
  split(item, work.planes, item.program.values()[unit.out].bytes, [&](size_t begin, size_t end) {
    item.kernels.permute(work.plan, item.data[unit.in], item.data[unit.out], begin, end);
  });
}

// --- resample -----------------------------------------------------------------------------------------------------------

// Casts the rows that no output uses, for the non-finite values in them.
static Found judge_unused_rows(const ItemRun& item, const ResamplePass& pass, CastRun cast, const uint8_t* in) {
  const ResamplePlan& plan = pass.plan;
  Finds finds;
  split(item, plan.batch * plan.z.extent, pass.elements_in * plan.source_size, [&](size_t begin, size_t end) {
    alignas(64) uint8_t buffer[4096];
    for (size_t slab = begin; slab < end; slab++) {
      for (size_t y = 0; y < plan.y.extent; y++) {
        if (pass.rows > 0 && pass.axes[0].used[slab % plan.z.extent] && pass.axes[1].used[y]) continue;
        const size_t row = (slab * plan.y.extent + y) * plan.x.extent;
        for (size_t i = 0; i < plan.x.extent; i += 1024) {
          Found found = cast_piece(cast, in + (row + i) * plan.source_size, plan.source_size, buffer, 4, NonFinite::kError, 0, std::min<size_t>(1024, plan.x.extent - i));
          found.first += row + i;
          finds.add(found);
        }
      }
    }
  });
  return finds.all();
}

static Found run_resample(const ItemRun& item, const Unit& unit, const ResampleWork& work, Found& cast_found) {
  const Value &from = item.program.values()[unit.in], &to = item.program.values()[unit.out];
  const uint8_t* in = item.data[unit.in];
  Finds cast_finds, finds;
  for (size_t p = 0; p < work.passes.size(); p++) {
    const ResamplePass& pass = *work.passes[p];
    const bool last = p + 1 == work.passes.size();
    float* out = reinterpret_cast<float*>(last ? item.data[unit.out] : item.scratch + unit.between[p % 2]);
    ResamplePlan plan = pass.plan;
    if (plan.cast != nullptr) {
      plan.cast = item.kernels.cast[from.dtype][kFloat32];
      if (!pass.covers_source && plan.cast_flush && unit.cast_non_finite == NonFinite::kError) cast_finds.add(judge_unused_rows(item, pass, plan.cast, in));
    }
    split(item, pass.rows, (pass.elements_in + pass.elements_out) * sizeof(float), [&](size_t begin, size_t end) {
      const Scratch scratch(pass.scratch_bytes);
      Found found = {0, 0};
      const bool bad = item.kernels.resample(plan, in, out, begin, end, scratch.data(), &found);
      if (unit.cast_non_finite == NonFinite::kError) cast_finds.add(found);
      if (last) finds.note(bad);
    });
    in = reinterpret_cast<const uint8_t*>(out);
  }
  cast_found = cast_finds.all();
  return finds.any() ? item.kernels.non_finite(reinterpret_cast<const float*>(item.data[unit.out]), to.elements) : Found{0, 0};
}

// --- affine -------------------------------------------------------------------------------------------------------------

static Found run_affine(const ItemRun& item, const Unit& unit, const AffineWork& work) {
  const Value& out = item.program.values()[unit.out];
  const uint8_t* in = item.data[unit.in];
  uint8_t* to = item.data[unit.out];
  Finds finds;
  split(item, work.units, out.bytes, [&](size_t begin, size_t end) {
    if (work.linear) finds.note(item.kernels.affine_linear(work.plan, reinterpret_cast<const float*>(in), reinterpret_cast<float*>(to), begin, end));
    else item.kernels.affine_nearest(work.plan, in, to, begin, end);
  });
  return finds.any() ? item.kernels.non_finite(reinterpret_cast<const float*>(to), out.elements) : Found{0, 0};
}

// --- the box of what is above a threshold ---------------------------------------------------------------------------------

namespace {
// Along x, y and z; empty where every stop is 0.
struct Box {
  size_t start[3] = {SIZE_MAX, SIZE_MAX, SIZE_MAX}, stop[3] = {0, 0, 0};

  bool has(size_t axis, size_t position) const { return start[axis] <= position && position < stop[axis]; }
  void add(size_t axis, size_t first, size_t end) {
    start[axis] = std::min(start[axis], first);
    stop[axis] = std::max(stop[axis], end);
  }
};
}  // namespace

static void search_row(const ForegroundWork& work, const ForegroundKernels& kernels, const uint8_t* x, size_t row, Box& box) {
  const size_t along = work.along, a = work.across[0], b = work.across[1];
  const size_t at_a = row / work.stride[0] % work.extent[0], at_b = row / work.stride[1] % work.extent[1];
  // Of rows that meet the box only what lies beyond it on both sides is of interest.
  const bool meets = box.has(a, at_a) && box.has(b, at_b);
  const size_t head = meets ? box.start[along] * work.inner : work.length;
  const size_t first = kernels.first(x, head, work.from, work.to);
  if (!meets && first == head) return;
  const size_t tail = meets ? box.stop[along] * work.inner : first;
  const size_t stop = kernels.stop(x + tail * work.size, work.length - tail, work.from, work.to);
  if (first < head) box.add(along, first / work.inner, first / work.inner + 1);
  if (stop > 0) box.add(along, (tail + stop - 1) / work.inner, (tail + stop - 1) / work.inner + 1);
  box.add(a, at_a, at_a + 1);
  box.add(b, at_b, at_b + 1);
}

static void run_foreground_box(const ItemRun& item, const Unit& unit, const ForegroundWork& work) {
  const Value& in = item.program.values()[unit.in];
  const ForegroundKernels& kernels = item.kernels.foreground[in.dtype];
  std::mutex mutex;
  Box all;
  split(item, work.rows, in.bytes, [&](size_t begin, size_t end) {
    Box box;
    for (size_t row = begin; row < end; row++) search_row(work, kernels, item.data[unit.in] + row * work.length * work.size, row, box);
    const std::lock_guard lock(mutex);
    for (size_t k = 0; k < 3; k++) all.add(k, box.start[k], box.stop[k]);
  });
  int32_t found[6] = {};
  if (all.stop[0] > 0) {
    for (size_t k = 0; k < 3; k++) found[k] = static_cast<int32_t>(all.start[k]), found[3 + k] = static_cast<int32_t>(all.stop[k]);
  }
  std::memcpy(item.data[unit.out], found, sizeof found);
}

// --- normalize ----------------------------------------------------------------------------------------------------------

namespace {
// One group, seen by one or more threads.
struct Group {
  const ItemRun& item;
  const NormalizeDescription& step;
  const NormalizeKernels& kernels;
  int dtype;
  size_t size;
  const uint8_t* x;

  size_t blocks() const { return (step.members + kBlock - 1) / kBlock; }
  // Deals blocks of members.
  void deal(const std::function<void(size_t, size_t)>& body) const {
    split(item, blocks(), step.members * sizeof(float), [&](size_t begin, size_t end) { body(begin * kBlock, std::min(end * kBlock, step.members)); });
  }

  Moments integers(size_t& n) const {
    struct Total {
      int64_t s1 = 0;
      unsigned __int128 s2 = 0;
      uint64_t nonzero = 0;
    } total;
    std::mutex mutex;
    deal([&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; i += size_t{1} << 24) {
        IntegerSums sums = {0, 0, 0};
        kernels.integer_sums(x + i * size, std::min(end - i, size_t{1} << 24), &sums);
        const std::lock_guard lock(mutex);
        total.s1 += sums.s1;
        total.s2 += sums.s2;
        total.nonzero += sums.nonzero;
      }
    });
    n = step.nonzero ? total.nonzero : step.members;
    return n == 0 ? Moments{0, 0} : integer_moments(n, total.s1, total.s2);
  }

  Moments floats(size_t& n, std::vector<float>& d, std::vector<float>& dd) const {
    const float* values = reinterpret_cast<const float*>(x);
    d.resize(blocks());
    dd.resize(blocks());
    std::atomic<size_t> nonzero{0};
    deal([&](size_t begin, size_t end) {
      item.kernels.block_sums(values + begin, end - begin, d.data() + begin / kBlock);
      if (step.nonzero) nonzero += item.kernels.count_nonzero(values + begin, end - begin);
    });
    n = step.nonzero ? nonzero.load() : step.members;
    if (n == 0) return {0, 0};
    const double count = static_cast<double>(n);
    const auto total = [](const std::vector<float>& sums) {
      double sum = 0;
      for (const float block : sums) sum += static_cast<double>(block);
      return sum;
    };
    const double m0 = total(d) / count;
    const float high = flushed(m0), low = flushed(m0 - static_cast<double>(high));
    deal([&](size_t begin, size_t end) {
      item.kernels.block_deviations(values + begin, end - begin, high, low, step.nonzero, d.data() + begin / kBlock, dd.data() + begin / kBlock);
    });
    const double mean = total(d) / count, square = total(dd) / count;
    const double variance = square - mean * mean;
    return {(static_cast<double>(high) + static_cast<double>(low)) + mean, variance < 0 ? 0 : variance};
  }

  // The member of this rank and the next, as the values they are.
  void order(size_t rank, float& value, float& next) const {
    uint32_t prefix = 0, mask = 0;
    size_t below = 0, equal = 0;
    for (const int shift : {21, 10, 0}) {
      uint64_t counts[2048] = {};
      kernels.histogram(x, step.members, prefix, mask, shift, counts);
      // The last digit has ten bits; the one above it is settled by then.
      const uint32_t digits = shift == 0 ? 1024 : 2048;
      const uint32_t settled = shift == 0 ? (prefix >> 0) & 1024u : 0;
      uint32_t digit = 0;
      while (below + counts[settled + digit] <= rank && digit + 1 < digits) below += counts[settled + digit++];
      equal = counts[settled + digit];
      prefix |= digit << shift;
      mask |= (digits - 1) << shift;
    }
    const uint32_t after = rank + 1 < below + equal ? prefix : kernels.next_key(x, step.members, prefix);
    value = from_key(prefix);
    next = from_key(rank + 1 < step.members ? after : prefix);
  }
  static float from_key(uint32_t key) {
    const uint32_t bits = key ^ ((key >> 31) != 0 ? 0x80000000u : 0xffffffffu);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  double quantile(double q) const {
    const double position = q * static_cast<double>(step.members - 1);
    const size_t rank = static_cast<size_t>(position);
    float a, b;
    order(rank, a, b);
    return between(a, b, position - static_cast<double>(rank));
  }

  Affine parameters(std::vector<float>& d, std::vector<float>& dd) const {
    Affine affine = {};
    if (step.statistics == Statistics::kMoments) {
      size_t n = 0;
      const Moments moments = dtype == kFloat32 ? floats(n, d, dd) : integers(n);
      if (n == 0) affine.mul = 1.0f;
      else affine = from_moments(moments, step.eps);
    } else if (step.statistics == Statistics::kExtrema) {
      float low = 0, high = 0;
      std::mutex mutex;
      bool any = false;
      deal([&](size_t begin, size_t end) {
        float l, h;
        kernels.extrema(x + begin * size, end - begin, &l, &h);
        const std::lock_guard lock(mutex);
        low = any ? std::min(low, l) : l;
        high = any ? std::max(high, h) : h;
        any = true;
      });
      affine = from_range(low, high, step.to_low, step.to_high);
    } else {
      affine = from_range(quantile(step.quantile_low), quantile(step.quantile_high), step.to_low, step.to_high);
    }
    affine.clip_low = flushed(step.to_low);
    affine.clip_high = flushed(step.to_high);
    return affine;
  }
};
}  // namespace

static Found run_normalize(const ItemRun& item, const Unit& unit, const NormalizeDescription& step) {
  const Value &in = item.program.values()[unit.in], &out = item.program.values()[unit.out];
  if (in.elements == 0) return {0, 0};
  const NormalizeKernels& kernels = item.kernels.normalize[in.dtype];
  const size_t size = in.bytes / in.elements;
  float* y = reinterpret_cast<float*>(item.data[unit.out]);
  Finds finds;
  const auto groups = [&](const ItemRun& by, size_t begin, size_t end) {
    std::vector<float> d, dd;
    for (size_t g = begin; g < end; g++) {
      const Group group = {by, step, kernels, in.dtype, size, item.data[unit.in] + g * step.members * size};
      Affine affine;
      if (step.statistics == Statistics::kNone) std::memcpy(&affine, &step.affine[g * 6], sizeof affine);
      else affine = group.parameters(d, dd);
      group.deal([&](size_t from, size_t to) {
        finds.note(kernels.apply(group.x + from * size, to - from, affine, step.nonzero, step.clip, y + g * step.members + from));
      });
    }
  };
  if (step.groups >= item.threads) {
    ItemRun alone = item;
    alone.threads = 1;
    split(item, step.groups, in.elements * sizeof(float), [&](size_t begin, size_t end) { groups(alone, begin, end); });
  } else {
    groups(item, 0, step.groups);
  }
  return finds.any() ? item.kernels.non_finite(y, out.elements) : Found{0, 0};
}

// --- items --------------------------------------------------------------------------------------------------------------

// True when the item has a fault: that of the earliest step.
bool Program::run_item(const ItemRun& item, ProgramFault& fault) const {
  bool faulty = false;
  const auto note = [&](size_t step, Found found) {
    if (found.count == 0 || (faulty && fault.step < step)) return;
    faulty = true;
    fault.step = step;
    fault.count = found.count;
    fault.index = found.first;
  };
  for (const Unit& unit : units_) {
    // Units come in the order of their first steps; a resampling with a cast in it may have found the fault of a later step.
    if (faulty && fault.step < (unit.cast_step >= 0 ? size_t(unit.cast_step) : unit.step)) break;
    const Watch watch(item.spent == nullptr ? nullptr : std::holds_alternative<CastDescription>(unit.work) ? &item.spent->cast_ns : &item.spent->other_ns);
    if (const auto* cast = std::get_if<CastDescription>(&unit.work)) {
      note(unit.step, run_cast(item, unit, cast->non_finite));
    } else if (const auto* gather = std::get_if<GatherWork>(&unit.work)) {
      run_gather(item, unit, *gather);
    } else if (const auto* permute = std::get_if<PermuteWork>(&unit.work)) {
      run_permute(item, unit, *permute);
    } else if (const auto* resample = std::get_if<ResampleWork>(&unit.work)) {
      Found cast_found = {0, 0};
      note(unit.step, run_resample(item, unit, *resample, cast_found));
      if (unit.cast_step >= 0) note(size_t(unit.cast_step), cast_found);
    } else if (const auto* affine = std::get_if<AffineWork>(&unit.work)) {
      note(unit.step, run_affine(item, unit, *affine));
    } else if (const auto* box = std::get_if<ForegroundWork>(&unit.work)) {
      run_foreground_box(item, unit, *box);
    } else {
      note(unit.step, run_normalize(item, unit, std::get<NormalizeDescription>(unit.work)));
    }
  }
  return faulty;
}

std::vector<ProgramFault> Program::run(size_t count, const std::vector<const uint8_t*>& inputs, const std::vector<uint8_t*>& outputs, unsigned threads, Spent* spent) const {
  const Kernels& kernels = selected_kernels();
  const bool together = large_ || count == 1;
  std::mutex mutex;
  std::vector<ProgramFault> faults;
  parallel_for(count, together ? 1 : threads, [&](size_t begin, size_t end) {
    const Scratch scratch(scratch_bytes_);
    ItemRun item = {*this, kernels, std::vector<uint8_t*>(values_.size()), scratch.data(), together ? threads : 1, spent};
    for (size_t i = begin; i < end; i++) {
      for (size_t v = 0; v < values_.size(); v++) {
        const Value& value = values_[v];
        switch (value.place) {
          case Value::Place::kInput: item.data[v] = const_cast<uint8_t*>(inputs[value.port]) + i * value.bytes; break;
          case Value::Place::kOutput: item.data[v] = outputs[value.port] + i * value.bytes; break;
          case Value::Place::kScratch: item.data[v] = scratch.data() + value.offset; break;
          case Value::Place::kNowhere: item.data[v] = nullptr; break;
        }
      }
      ProgramFault fault = {0, i, 0, 0};
      if (run_item(item, fault)) {
        const std::lock_guard lock(mutex);
        faults.push_back(fault);
        continue;
      }
      for (size_t k = 0; k < outputs_.size(); k++) {
        // An input that is handed through, or a value that is handed out twice.
        const Value& value = values_[outputs_[k]];
        uint8_t* to = outputs[k] + i * value.bytes;
        if (item.data[outputs_[k]] != to && value.bytes > 0) std::memcpy(to, item.data[outputs_[k]], value.bytes);
      }
    }
  });
  std::sort(faults.begin(), faults.end(), [](const ProgramFault& a, const ProgramFault& b) { return a.item < b.item; });
  return faults;
}

}  // namespace tc
