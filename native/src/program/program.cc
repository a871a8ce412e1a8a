// Checks a program, fuses what may be fused, and lays out its memory. Running it is in run.cc.
#include "program/program.h"

#include <algorithm>
#include <cmath>

#include "program/finish.h"

namespace tc {

static constexpr size_t kSizes[kDTypes] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 8, 16};
static constexpr size_t kMaxBytes = size_t{1} << 53;
// Items above this are split over the threads one by one; smaller ones are dealt out.
static constexpr size_t kLargeItem = size_t{1} << 20;

static std::string where(size_t step, const char* kernel) { return "step " + std::to_string(step) + " (" + kernel + "): "; }
static void require(bool condition, const std::string& where, const char* what) {
  if (!condition) throw InvalidProgram(where + what);
}

Program::Program(ProgramDescription description) {
  validate(description);
  plan(description);
  place();
}

// --- checks -------------------------------------------------------------------------------------------------------------

static void check(const CastDescription&, const Value& in, const Value& out, const std::string& at) {
  require(in.shape == out.shape, at, "input and output differ in shape");
  require(kernels_baseline.cast[in.dtype][out.dtype] != nullptr, at, "there is no cast between these dtypes");
}

static void check(const GatherDescription& step, const Value& in, const Value& out, const std::string& at) {
  require(in.dtype == out.dtype, at, "input and output differ in dtype");
  require(step.axes.size() == in.shape.size() && out.shape.size() == in.shape.size(), at, "expected one index per axis");
  require(step.fill.size() == kSizes[in.dtype], at, "fill is not one element");
  for (size_t k = 0; k < step.axes.size(); k++) {
    if (step.axes[k].identity) {
      require(in.shape[k] == out.shape[k], at, "an axis without index changes its length");
      continue;
    }
    require(step.axes[k].index.size() == out.shape[k], at, "an index is not as long as the output's axis");
    for (const int32_t i : step.axes[k].index) require(i >= -1 && (i < 0 || size_t(i) < in.shape[k]), at, "an index lies outside its axis");
  }
}

static void check(const PermuteDescription& step, const Value& in, const Value& out, const std::string& at) {
  require(in.dtype == out.dtype, at, "input and output differ in dtype");
  require(step.order.size() == in.shape.size() && out.shape.size() == in.shape.size(), at, "expected one entry per axis");
  std::vector<bool> seen(step.order.size());
  for (size_t k = 0; k < step.order.size(); k++) {
    require(step.order[k] < seen.size() && !seen[step.order[k]], at, "order is not a permutation");
    seen[step.order[k]] = true;
    require(out.shape[k] == in.shape[step.order[k]], at, "the output's shape is not the input's in this order");
  }
}

static void check(const ResampleDescription& step, const Value& in, const Value& out, const std::string& at) {
  require(in.dtype == kFloat32 && out.dtype == kFloat32, at, "expected float32");
  require(!step.tables.empty(), at, "expected a table");
  std::vector<size_t> shape = in.shape;
  for (size_t k = 0; k < step.tables.size(); k++) {
    const auto& table = step.tables[k];
    require(table.axis < shape.size() && (k == 0 || table.axis > step.tables[k - 1].axis), at, "axes are not ascending and in range");
    require(table.taps >= 1 && table.index.size() % table.taps == 0 && table.index.size() == table.weight.size(), at, "index and weight are not [length, taps]");
    for (const int32_t i : table.index) require(i >= 0 && size_t(i) < shape[table.axis], at, "an index lies outside its axis");
    shape[table.axis] = table.index.size() / table.taps;
  }
  require(out.shape == shape, at, "the output's shape is not what the tables give");
}

static void check(const AffineDescription& step, const Value& in, const Value& out, const std::string& at) {
  // 2^23 elements in steps of 2^-40, less one that rounding may add.
  static constexpr __int128 kFarthest = (__int128{1} << 63) - (1 << 16);
  require(in.dtype == out.dtype && (!step.linear || in.dtype == kFloat32), at, "expected float32, or nearest and no other dtype");
  require(in.shape.size() >= 3 && step.axis <= in.shape.size() - 3 && out.shape.size() == in.shape.size(), at, "expected three axes from the one that is named");
  require(step.matrix.size() == 12, at, "matrix is not [3, 4]");
  for (size_t k = 0; k < in.shape.size(); k++) {
    if (k < step.axis || k >= step.axis + 3) require(in.shape[k] == out.shape[k], at, "an axis that is not read through the matrix changes its length");
    else require(in.shape[k] >= 1 && in.shape[k] <= size_t{1} << 23 && out.shape[k] < size_t{1} << 31, at, "an axis is empty or too long");
  }
  if (out.elements == 0) return;
  for (size_t row = 0; row < 3; row++) {
    __int128 low = step.matrix[4 * row + 3], high = low;
    for (size_t k = 0; k < 3; k++) {
      const __int128 reach = __int128{step.matrix[4 * row + k]} * static_cast<__int128>(out.shape[step.axis + k] - 1);
      (reach < 0 ? low : high) += reach;
    }
    require(low >= -kFarthest && high <= kFarthest, at, "coordinates are too far out");
  }
}

static void check(const ForegroundBoxDescription& step, const Value& in, const Value& out, const std::string& at) {
  require(kernels_baseline.foreground[in.dtype].first != nullptr, at, "expected a real dtype");
  require(out.dtype == kInt32 && out.shape == std::vector<size_t>{2, 3}, at, "the output is not int32 [2, 3]");
  require(step.axes.size() == 3 && step.keys.size() == 2, at, "expected three axes and two keys");
  for (size_t k = 0; k < 3; k++) {
    require(step.axes[k] < in.shape.size() && step.axes[k] != step.axes[(k + 1) % 3], at, "axes are not three of the input's");
    require(in.shape[step.axes[k]] < size_t{1} << 31, at, "an axis is too long");
  }
}

static void check(const NormalizeDescription& step, const Value& in, const Value& out, const std::string& at) {
  require(out.dtype == kFloat32 && kernels_baseline.normalize[in.dtype].apply != nullptr, at, "expected float32, bool or an integer dtype of up to 16 bits, to float32");
  require(in.shape == out.shape, at, "input and output differ in shape");
  require((step.members == 0 || step.groups <= kMaxBytes / step.members) && step.groups * step.members == in.elements, at, "groups and members do not make up the shape");
  require(step.affine.size() == (step.statistics == Statistics::kNone ? step.groups * 6 : 0), at, "affine must be [groups, 6] without statistics, and absent with them");
  require(!step.nonzero || step.statistics == Statistics::kMoments, at, "nonzero needs moments");
  if (step.statistics == Statistics::kQuantiles) {
    require(step.quantile_low >= 0 && step.quantile_low <= 1 && step.quantile_high >= 0 && step.quantile_high <= 1, at, "quantiles lie between 0 and 1");
  }
}

void Program::validate(const ProgramDescription& description) {
  for (const ValueDescription& value : description.values) {
    require(value.dtype >= 0 && value.dtype < kDTypes, "values: ", "unknown dtype");
    size_t elements = 1, nonzero = 1;
    for (const size_t extent : value.shape) {
      // An empty array must have a sane shape too: strides are products of the other extents.
      require(extent <= kMaxBytes && nonzero <= kMaxBytes / std::max<size_t>(extent, 1), "values: ", "a shape is too large");
      nonzero *= std::max<size_t>(extent, 1);
      elements *= extent;
    }
    require(nonzero <= kMaxBytes / kSizes[value.dtype], "values: ", "a shape is too large");
    values_.push_back({value.dtype, value.shape, elements, elements * kSizes[value.dtype]});
  }
  std::vector<bool> defined(values_.size());
  for (const size_t input : description.inputs) {
    require(input < values_.size() && !defined[input], "inputs: ", "expected different values");
    defined[input] = true;
  }
  for (size_t k = 0; k < description.steps.size(); k++) {
    const StepDescription& step = description.steps[k];
    static constexpr const char* kNames[] = {"cast", "gather", "permute", "resample", "affine", "foreground-box", "normalize"};
    const std::string at = where(k, kNames[step.kernel.index()]);
    require(step.in < values_.size() && defined[step.in], at, "its input is not computed before it");
    require(step.out < values_.size() && !defined[step.out], at, "its output is not a value of its own");
    std::visit([&](const auto& kernel) { check(kernel, values_[step.in], values_[step.out], at); }, step.kernel);
    defined[step.out] = true;
  }
  for (const size_t output : description.outputs) require(output < values_.size() && defined[output], "outputs: ", "a value is never computed");
  inputs_ = description.inputs;
  outputs_ = description.outputs;
}

// --- plans --------------------------------------------------------------------------------------------------------------

void Program::plan(ProgramDescription& description) {
  std::vector<size_t> readers(values_.size());
  for (const StepDescription& step : description.steps) readers[step.in]++;
  for (const size_t output : outputs_) readers[output]++;
  const auto described = [&](size_t value) -> const ValueDescription& { return description.values[value]; };
  std::vector<bool> done(description.steps.size());
  for (size_t k = 0; k < description.steps.size(); k++) {
    if (done[k]) continue;
    StepDescription& step = description.steps[k];
    Unit unit = {k, step.in, step.out};
    if (auto* cast = std::get_if<CastDescription>(&step.kernel)) {
      unit.work = *cast;
      // A cast whose only reader is a resampling is done there, row by row.
      for (size_t next = k + 1; next < description.steps.size() && readers[step.out] == 1; next++) {
        const StepDescription& reader = description.steps[next];
        if (reader.in != step.out) continue;
        if (const auto* resample = std::get_if<ResampleDescription>(&reader.kernel)) {
          unit.step = next;
          unit.out = reader.out;
          unit.cast_step = ptrdiff_t(k);
          unit.cast_non_finite = cast->non_finite;
          unit.work = plan_resample(*resample, described(reader.in), described(reader.out));
          ResamplePlan& pass = std::get<ResampleWork>(unit.work).passes.front()->plan;
          const int from = values_[step.in].dtype;
          pass.cast = kernels_baseline.cast[from][kFloat32];  // stands for "there is one"; a run puts in its instruction set's
          pass.cast_copies = from == kFloat32;
          pass.source_size = kSizes[from];
          pass.cast_flush = from >= kFloat16;
          pass.zero_non_finite = cast->non_finite == NonFinite::kZero;
          done[next] = true;
        }
        break;
      }
    } else if (const auto* gather = std::get_if<GatherDescription>(&step.kernel)) {
      unit.work = plan_gather(*gather, described(step.in), described(step.out), kSizes[values_[step.in].dtype]);
    } else if (const auto* permute = std::get_if<PermuteDescription>(&step.kernel)) {
      unit.work = plan_permute(*permute, described(step.in), kSizes[values_[step.in].dtype]);
    } else if (const auto* resample = std::get_if<ResampleDescription>(&step.kernel)) {
      unit.work = plan_resample(*resample, described(step.in), described(step.out));
    } else if (const auto* affine = std::get_if<AffineDescription>(&step.kernel)) {
      unit.work = plan_affine(*affine, described(step.in), described(step.out), kSizes[values_[step.in].dtype]);
    } else if (const auto* box = std::get_if<ForegroundBoxDescription>(&step.kernel)) {
      unit.work = plan_foreground_box(*box, described(step.in), kSizes[values_[step.in].dtype]);
    } else {
      auto& normalize = std::get<NormalizeDescription>(step.kernel);
      for (float& parameter : normalize.affine) parameter = flushed(parameter);
      unit.work = std::move(normalize);
    }
    units_.push_back(std::move(unit));
  }
  for (const Value& value : values_) large_ = large_ || value.bytes >= kLargeItem;
}

// --- memory -------------------------------------------------------------------------------------------------------------

namespace {
// First fit over the life of an item: blocks that are taken, by offset.
class Layout {
 public:
  size_t take(size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    size_t offset = 0;
    auto at = taken_.begin();
    for (; at != taken_.end() && at->first - offset < bytes; ++at) offset = at->second;
    taken_.insert(at, {offset, offset + bytes});
    end_ = std::max(end_, offset + bytes);
    return offset;
  }
  void release(size_t offset) {
    const auto at = std::find_if(taken_.begin(), taken_.end(), [&](const auto& block) { return block.first == offset; });
    if (at != taken_.end()) taken_.erase(at);
  }
  size_t end() const { return end_; }

 private:
  std::vector<std::pair<size_t, size_t>> taken_;
  size_t end_ = 0;
};
}  // namespace

void Program::place() {
  std::vector<size_t> readers(values_.size());
  for (const Unit& unit : units_) readers[unit.in]++;
  std::vector<bool> is_output(values_.size());
  for (size_t k = outputs_.size(); k-- > 0;) {
    Value& value = values_[outputs_[k]];
    is_output[outputs_[k]] = true;
    value.place = Value::Place::kOutput;
    value.port = k;
  }
  for (size_t k = 0; k < inputs_.size(); k++) {
    values_[inputs_[k]].place = Value::Place::kInput;
    values_[inputs_[k]].port = k;
  }
  // `shares[v]` is the value in whose memory v lies.
  std::vector<size_t> shares(values_.size());
  for (size_t v = 0; v < shares.size(); v++) shares[v] = v;
  std::vector<bool> shared(values_.size());
  for (const Unit& unit : units_) {
    const Value &in = values_[unit.in], &out = values_[unit.out];
    if (const auto* cast = std::get_if<CastDescription>(&unit.work)) {
      // A cast to the same dtype only looks, unless it must write.
      if (in.dtype == out.dtype && in.dtype != kBool && cast->non_finite != NonFinite::kZero && !is_output[unit.out]) {
        shares[unit.out] = shares[unit.in];
        shared[unit.in] = shared[unit.out] = shared[shares[unit.in]] = true;
      }
    }
  }
  for (auto unit = units_.rbegin(); unit != units_.rend(); ++unit) {
    // Normalisation works in place on what nobody else reads.
    if (!std::holds_alternative<NormalizeDescription>(unit->work)) continue;
    const Value& in = values_[unit->in];
    if (in.dtype != kFloat32 || in.place != Value::Place::kNowhere || readers[unit->in] != 1 || shared[unit->in]) continue;
    shares[unit->in] = shares[unit->out];
  }
  std::vector<size_t> last(values_.size());
  for (size_t k = 0; k < units_.size(); k++) {
    last[shares[units_[k].in]] = k;
    last[shares[units_[k].out]] = k;
  }
  Layout layout;
  for (size_t k = 0; k < units_.size(); k++) {
    Unit& unit = units_[k];
    Value& root = values_[shares[unit.out]];
    if (root.place == Value::Place::kNowhere) {
      root.place = Value::Place::kScratch;
      root.offset = layout.take(root.bytes);
    }
    if (const auto* resample = std::get_if<ResampleWork>(&unit.work)) {
      size_t between = 0;
      for (size_t p = 0; p + 1 < resample->passes.size(); p++) between = std::max(between, resample->passes[p]->elements_out * sizeof(float));
      unit.between_bytes = between;
      if (between > 0) {
        unit.between[0] = layout.take(between);
        unit.between[1] = resample->passes.size() > 2 ? layout.take(between) : unit.between[0];
        layout.release(unit.between[0]);
        layout.release(unit.between[1]);
      }
    }
    for (const size_t value : {unit.in, unit.out}) {
      const size_t of = shares[value];
      if (values_[of].place == Value::Place::kScratch && last[of] == k) layout.release(values_[of].offset);
    }
  }
  for (size_t v = 0; v < values_.size(); v++) {
    if (shares[v] == v) continue;
    const Value& root = values_[shares[v]];
    values_[v].place = root.place;
    values_[v].port = root.port;
    values_[v].offset = root.offset;
  }
  scratch_bytes_ = layout.end();
}

}  // namespace tc
