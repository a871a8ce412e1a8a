#include "program/plans.h"

#include <algorithm>
#include <cmath>

namespace tc {

static size_t product(const std::vector<size_t>& shape, size_t from, size_t to) {
  size_t result = 1;
  for (size_t k = from; k < to; k++) result *= shape[k];
  return result;
}

// --- gather -------------------------------------------------------------------------------------------------------------

// Runs pay when copying one costs less than copying its elements.
constexpr size_t kRunBytes = 32;

static std::vector<int32_t> find_runs(const std::vector<int32_t>& index) {
  std::vector<int32_t> runs;
  for (size_t i = 0; i < index.size();) {
    size_t end = i + 1;
    while (end < index.size() && (index[i] < 0 ? index[end] < 0 : index[end] == index[end - 1] + 1)) end++;
    runs.insert(runs.end(), {static_cast<int32_t>(i), index[i], static_cast<int32_t>(end - i)});
    i = end;
  }
  return runs;
}

GatherWork plan_gather(const GatherDescription& step, const ValueDescription& in, const ValueDescription& out, size_t size) {
  GatherWork work;
  size_t rank = in.shape.size();
  while (rank > 1 && step.axes[rank - 1].identity) size *= out.shape[--rank];
  bool fills = false;
  for (size_t k = 0; k < rank; k++) {
    work.index.push_back(step.axes[k].index);
    fills = fills || std::find(step.axes[k].index.begin(), step.axes[k].index.end(), -1) != step.axes[k].index.end();
  }
  for (size_t k = 0; k < rank; k++) {
    work.axes.push_back({out.shape[k], size * product(in.shape, k + 1, rank), step.axes[k].identity ? nullptr : work.index[k].data()});
  }
  if (rank == 0) {
    work.axes.push_back({1, size, nullptr});
    rank = 1;
  } else if (!step.axes[rank - 1].identity) {
    work.runs = find_runs(work.index[rank - 1]);
    if (work.runs.size() / 3 * kRunBytes > work.index[rank - 1].size() * size) work.runs.clear();
  }
  // At least as long as any element type that a kernel loads.
  work.fill.resize(std::max<size_t>(fills ? size : 0, 16));
  for (size_t i = 0; i < work.fill.size(); i++) work.fill[i] = step.fill[i % step.fill.size()];
  work.rows = product(out.shape, 0, out.shape.size()) == 0 ? 0 : product(out.shape, 0, rank - 1);
  work.plan = {rank, work.axes.data(), size, work.runs.data(), work.runs.size() / 3, work.fill.data()};
  return work;
}

// --- permute ------------------------------------------------------------------------------------------------------------

PermuteWork plan_permute(const PermuteDescription& step, const ValueDescription& in, size_t size) {
  const size_t rank = in.shape.size();
  const size_t elements = product(in.shape, 0, rank);
  std::vector<PermuteAxis> axes;
  size_t out_stride = size;
  // From the innermost output axis outwards; an axis that continues the one inside it, on both sides, is one axis with it.
  for (size_t k = rank; k-- > 0;) {
    const size_t axis = step.order[k];
    const PermuteAxis next = {in.shape[axis], size * product(in.shape, axis + 1, rank), out_stride};
    out_stride *= next.length;
    if (next.length == 1) continue;
    if (!axes.empty() && next.in_stride == axes.back().in_stride * axes.back().length) axes.back().length *= next.length;
    else axes.push_back(next);
  }
  PermuteWork work;
  work.plan.size = size;
  work.plan.columns = axes.empty() ? PermuteAxis{1, size, size} : axes.front();
  work.plan.rows = {1, 0, 0};
  const bool runs = work.plan.columns.in_stride == size;
  const auto rows = runs ? axes.begin() + (axes.size() > 1 ? 1 : 0)
                         : std::find_if(axes.begin(), axes.end(), [&](const PermuteAxis& axis) { return axis.in_stride == size; });
  const bool has_rows = axes.size() > 1;
  if (has_rows) work.plan.rows = *rows;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    const auto forward = axis.base() - 1;
    if (forward == axes.begin() || (has_rows && forward == rows)) continue;
    work.outer.push_back(*axis);
  }
  work.plan.outer_rank = work.outer.size();
  work.plan.outer = work.outer.data();
  work.planes = elements == 0 ? 0 : (work.plan.rows.length + kPermuteRows - 1) / kPermuteRows;
  for (const PermuteAxis& axis : work.outer) work.planes *= axis.length;
  return work;
}

// --- resample -----------------------------------------------------------------------------------------------------------

// Inner axes shorter than this are folded into the table of the last axis; longer ones are rows by themselves.
constexpr size_t kFoldInner = 16;
// Rows that are not resampled are cut into tiles, so that the row buffers of a long row stay in the first cache.
constexpr size_t kTileColumns = 1024;

// Whether the axes inside the last table of a pass are folded into it; positions must stay int32.
static bool folds(const std::vector<size_t>& shape, size_t axis) {
  const size_t inner = product(shape, axis + 1, shape.size());
  return inner > 0 && inner < kFoldInner && shape[axis] <= (size_t{1} << 27);
}

static ResamplePass::Axis identity_axis(size_t extent) {
  if (extent > INT32_MAX) throw InvalidProgram("resample: an axis of " + std::to_string(extent) + " positions is too long");
  ResamplePass::Axis axis;
  for (size_t i = 0; i < extent; i++) axis.index.push_back(static_cast<int32_t>(i));
  axis.weight.assign(extent, 1.0f);
  return axis;
}

static ResamplePass::Axis table_axis(const ResampleDescription::Table& table, size_t inner) {
  ResamplePass::Axis axis;
  const size_t length = table.index.size() / table.taps;
  for (size_t o = 0; o < length; o++) {
    for (size_t c = 0; c < inner; c++) {
      for (size_t t = 0; t < table.taps; t++) {
        const float weight = table.weight[o * table.taps + t];
        axis.index.push_back(static_cast<int32_t>(static_cast<size_t>(table.index[o * table.taps + t]) * inner + c));
        axis.weight.push_back(std::fabs(weight) <= 0x1p-126f ? 0.0f : weight);
      }
    }
  }
  return axis;
}

// Which tap is the first to use its source position, in output order, and which positions are used at all.
static void mark_first(ResamplePass::Axis& axis, size_t extent) {
  axis.used.assign(extent, false);
  for (const int32_t at : axis.index) {
    axis.first.push_back(!axis.used[at]);
    axis.used[at] = true;
  }
}

// Gives each tap a row buffer such that the taps of one output lie in different ones, and rows that the next output needs stay. Returns the
// number of buffers.
static size_t assign_slots(ResamplePass::Axis& axis, size_t extent, size_t taps) {
  const size_t slots = std::max<size_t>(1, std::min(extent, 2 * taps));
  std::vector<int32_t> held(slots, -1);
  std::vector<size_t> used(slots, 0);
  std::vector<int32_t> slot_of(extent, -1);
  axis.slot.resize(axis.index.size());
  for (size_t o = 0; o < axis.index.size() / taps; o++) {
    const size_t now = o + 1;
    for (size_t t = 0; t < taps; t++) {
      const int32_t slot = slot_of[axis.index[o * taps + t]];
      if (slot >= 0) used[slot] = now;
    }
    for (size_t t = 0; t < taps; t++) {
      const int32_t at = axis.index[o * taps + t];
      if (slot_of[at] < 0) {
        const size_t oldest = std::min_element(used.begin(), used.end()) - used.begin();
        if (held[oldest] >= 0) slot_of[held[oldest]] = -1;
        held[oldest] = at;
        slot_of[at] = static_cast<int32_t>(oldest);
        used[oldest] = now;
      }
      axis.slot[o * taps + t] = static_cast<uint32_t>(slot_of[at]);
    }
  }
  return slots;
}

static ResampleLanes plan_lanes(const ResamplePass::Axis& axis, size_t length, size_t taps, size_t lanes, ResamplePass::Lanes& into) {
  const size_t groups = (length + lanes - 1) / lanes;
  for (size_t g = 0; g < groups; g++) {
    const size_t some = std::min(lanes, length - g * lanes);
    for (size_t t = 0; t < taps; t++) {
      const auto index = [&](size_t l) { return axis.index[(g * lanes + l) * taps + t]; };
      int32_t low = index(0), high = index(0);
      for (size_t l = 1; l < some; l++) {
        low = std::min(low, index(l));
        high = std::max(high, index(l));
      }
      const size_t span = static_cast<size_t>(high - low) + 1;
      const uint8_t kind = span <= lanes ? 0 : span <= 2 * lanes ? 1 : span <= 4 * lanes ? 2 : 3;
      into.kind.push_back(kind);
      into.base.push_back(kind == 3 ? 0 : low);
      for (size_t l = 0; l < lanes; l++) {
        into.lane.push_back(l < some ? index(l) - into.base.back() : 0);
        into.weight.push_back(l < some ? axis.weight[(g * lanes + l) * taps + t] : 0.0f);
      }
    }
  }
  return {into.kind.data(), into.base.data(), into.lane.data(), into.weight.data()};
}

// Tables `begin … end` of the step, as one pass over `shape`.
static std::unique_ptr<ResamplePass> plan_pass(const ResampleDescription& step, size_t begin, size_t end, const std::vector<size_t>& shape) {
  auto pass = std::make_unique<ResamplePass>();
  struct Block {
    ResamplePass::Axis axis;
    size_t extent, length, taps;
    bool identity;
  };
  std::vector<Block> blocks;
  const auto add_identity = [&](size_t extent, bool last) { blocks.push_back({last ? ResamplePass::Axis{} : identity_axis(extent), extent, extent, 1, true}); };
  for (size_t k = begin; k < end; k++) {
    const auto& table = step.tables[k];
    const size_t next = k + 1 < end ? step.tables[k + 1].axis : shape.size();
    const size_t inner = product(shape, table.axis + 1, next);
    const bool fold = k + 1 == end && folds(shape, table.axis);
    const size_t folded = fold ? inner : 1;
    const size_t length = table.index.size() / table.taps;
    blocks.push_back({table_axis(table, folded), shape[table.axis] * folded, length * folded, table.taps, false});
    if (!fold && (inner != 1 || k + 1 == end)) add_identity(inner, k + 1 == end);
  }
  while (blocks.size() < 3) {
    blocks.insert(blocks.begin(), {identity_axis(1), 1, 1, 1, true});
  }
  ResamplePlan& plan = pass->plan;
  plan = {};
  plan.batch = product(shape, 0, step.tables[begin].axis);
  plan.tiles = 1;
  plan.tile = blocks[2].extent;
  if (blocks[2].identity && blocks[2].extent > kTileColumns) {
    plan.tile = kTileColumns;
    plan.tiles = (blocks[2].extent + kTileColumns - 1) / kTileColumns;
  }
  plan.row_bytes = (plan.tile + kWindow + 15) / 16 * 16 * sizeof(float);
  ResampleAxis* axes[3] = {&plan.z, &plan.y, &plan.x};
  for (size_t k = 0; k < 3; k++) {
    Block& block = blocks[k];
    pass->axes[k] = std::move(block.axis);
    ResamplePass::Axis& axis = pass->axes[k];
    if (k < 2) mark_first(axis, block.extent);
    if (k == 1) plan.slots = assign_slots(axis, block.extent, block.taps);
    *axes[k] = {block.extent, block.length, block.taps, block.identity, axis.index.data(), axis.weight.data(), axis.first.data(), axis.slot.data()};
  }
  if (!plan.x.identity) {
    plan.lanes8 = plan_lanes(pass->axes[2], plan.x.length, plan.x.taps, 8, pass->lanes8);
    plan.lanes16 = plan_lanes(pass->axes[2], plan.x.length, plan.x.taps, 16, pass->lanes16);
  }
  const auto all = [](const std::vector<bool>& used) { return std::find(used.begin(), used.end(), false) == used.end(); };
  pass->elements_in = plan.batch * plan.z.extent * plan.y.extent * plan.x.extent;
  pass->elements_out = plan.batch * plan.z.length * plan.y.length * plan.x.length;
  pass->rows = plan.x.length == 0 ? 0 : plan.batch * plan.z.length * plan.tiles * plan.y.length;
  pass->covers_source = pass->rows > 0 && all(pass->axes[0].used) && all(pass->axes[1].used);
  pass->scratch_bytes = (plan.slots * 8 + 63) / 64 * 64 + (plan.slots + kExtraRows) * plan.row_bytes;
  return pass;
}

// Blocks of axes from the first table on: tables, what lies between them, and what lies behind the last unless it is folded.
static size_t count_blocks(const ResampleDescription& step, size_t begin, size_t end, const std::vector<size_t>& shape) {
  size_t blocks = 0;
  for (size_t k = begin; k < end; k++) {
    const size_t next = k + 1 < end ? step.tables[k + 1].axis : shape.size();
    const size_t inner = product(shape, step.tables[k].axis + 1, next);
    blocks++;
    if (k + 1 < end ? inner != 1 : !folds(shape, step.tables[k].axis)) blocks++;
  }
  return blocks;
}

ResampleWork plan_resample(const ResampleDescription& step, const ValueDescription& in, const ValueDescription& out) {
  ResampleWork work;
  std::vector<size_t> shape = in.shape;
  for (size_t begin = 0; begin < step.tables.size();) {
    size_t end = std::min(begin + 3, step.tables.size());
    while (end > begin + 1 && count_blocks(step, begin, end, shape) > 3) end--;
    work.passes.push_back(plan_pass(step, begin, end, shape));
    for (; begin < end; begin++) shape[step.tables[begin].axis] = out.shape[step.tables[begin].axis];
  }
  return work;
}

// --- affine -------------------------------------------------------------------------------------------------------------

AffineWork plan_affine(const AffineDescription& step, const ValueDescription& in, const ValueDescription& out, size_t size) {
  AffineWork work = {};
  for (size_t k = 0; k < 3; k++) {
    work.plan.extent[k] = in.shape[step.axis + k];
    work.plan.length[k] = out.shape[step.axis + k];
  }
  work.plan.inner = product(in.shape, step.axis + 3, in.shape.size());
  work.plan.size = size;
  std::copy(step.matrix.begin(), step.matrix.end(), work.plan.matrix);
  work.plan.clamp = step.clamp;
  work.units = product(out.shape, 0, out.shape.size()) == 0 ? 0 : product(out.shape, 0, step.axis + 2);
  work.linear = step.linear;
  return work;
}

// --- the box of what is above a threshold ---------------------------------------------------------------------------------

ForegroundWork plan_foreground_box(const ForegroundBoxDescription& step, const ValueDescription& in, size_t size) {
  ForegroundWork work = {};
  work.along = std::max_element(step.axes.begin(), step.axes.end()) - step.axes.begin();
  const size_t last = step.axes[work.along], rank = in.shape.size();
  work.rows = product(in.shape, 0, last);
  work.length = product(in.shape, last, rank);
  work.inner = product(in.shape, last + 1, rank);
  for (size_t k = 0; k < 2; k++) {
    work.across[k] = (work.along + 1 + k) % 3;
    const size_t axis = step.axes[work.across[k]];
    work.stride[k] = product(in.shape, axis + 1, last);
    work.extent[k] = in.shape[axis];
  }
  work.size = size;
  work.from = step.keys[0];
  work.to = step.keys[1];
  if (work.length == 0 || work.from > work.to) work.rows = 0;
  return work;
}

}  // namespace tc
