// What the kernels need to know about a step, worked out once. The plans own the arrays that the kernels' plain structs point into.
#pragma once

#include <array>
#include <memory>
#include <variant>
#include <vector>

#include "kernels/kernels.h"
#include "program/description.h"

namespace tc {

struct GatherWork {
  std::vector<GatherAxis> axes;
  std::vector<std::vector<int32_t>> index;
  std::vector<int32_t> runs;
  std::vector<uint8_t> fill;
  GatherPlan plan;
  size_t rows;
};

struct PermuteWork {
  std::vector<PermuteAxis> outer;
  PermutePlan plan;
  size_t planes;
};

// One pass of up to three adjacent axes. Most steps are one pass.
struct ResamplePass {
  struct Axis {
    std::vector<int32_t> index;
    std::vector<float> weight;
    std::vector<uint8_t> first;
    std::vector<uint32_t> slot;
    std::vector<bool> used;  // [extent]
  };
  struct Lanes {
    std::vector<uint8_t> kind;
    std::vector<int32_t> base, lane;
    std::vector<float> weight;
  };
  std::array<Axis, 3> axes;
  Lanes lanes8, lanes16;
  ResamplePlan plan;
  size_t rows;           // units of work
  size_t elements_in;
  size_t elements_out;
  size_t scratch_bytes;  // per thread
  // False when outputs leave out source rows, whose non-finite values must be counted all the same.
  bool covers_source;
};
struct ResampleWork {
  // Plans point into their passes, which therefore must not move.
  std::vector<std::unique_ptr<ResamplePass>> passes;
};

struct AffineWork {
  AffinePlan plan;
  size_t units;
  bool linear;
};

// Rows run along the last of the three axes and what lies inside it.
struct ForegroundWork {
  size_t rows, length;
  size_t inner;           // elements at one position of the rows' axis
  size_t along;           // which of x, y and z the rows run along
  size_t across[2];       // the other two
  size_t stride[2];       // rows from one position of theirs to the next
  size_t extent[2];
  size_t size;            // bytes of an element
  uint64_t from, to;      // keys
};

GatherWork plan_gather(const GatherDescription& step, const ValueDescription& in, const ValueDescription& out, size_t size);
PermuteWork plan_permute(const PermuteDescription& step, const ValueDescription& in, size_t size);
ResampleWork plan_resample(const ResampleDescription& step, const ValueDescription& in, const ValueDescription& out);
AffineWork plan_affine(const AffineDescription& step, const ValueDescription& in, const ValueDescription& out, size_t size);
ForegroundWork plan_foreground_box(const ForegroundBoxDescription& step, const ValueDescription& in, size_t size);

// A step, or a cast together with the resampling that alone reads it; then the cast's result never exists as a whole.
struct Unit {
  size_t step;                 // position in the description
  size_t in, out;              // values
  ptrdiff_t cast_step = -1;    // the cast that is done on the fly
  NonFinite cast_non_finite = NonFinite::kKeep;
  std::variant<CastDescription, GatherWork, PermuteWork, ResampleWork, AffineWork, ForegroundWork, NormalizeDescription> work = CastDescription{};
  // Offsets in the scratch memory of what lies between the passes of a resampling.
  size_t between_bytes = 0;
  size_t between[2] = {0, 0};
};

}  // namespace tc
