// A program as it comes from JavaScript (src/ops/program.ts), before anything is believed about it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace tc {

// A description that contradicts itself; becomes a TypeError.
struct InvalidProgram : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ValueDescription {
  int dtype;
  std::vector<size_t> shape;
};

enum class NonFinite { kError = 0, kZero = 1, kKeep = 2 };

struct CastDescription {
  NonFinite non_finite;
};
struct GatherDescription {
  struct Axis {
    bool identity;
    std::vector<int32_t> index;
  };
  std::vector<Axis> axes;
  std::vector<uint8_t> fill;
};
struct PermuteDescription {
  std::vector<size_t> order;
};
struct ResampleDescription {
  struct Table {
    size_t axis;
    size_t taps;
    std::vector<int32_t> index;
    std::vector<float> weight;
  };
  std::vector<Table> tables;
};
struct AffineDescription {
  size_t axis;
  std::vector<int64_t> matrix;  // [3, 4]
  bool linear, clamp;
};
struct ForegroundBoxDescription {
  std::vector<size_t> axes;    // of x, y and z
  std::vector<uint64_t> keys;  // the first and the last that are in the box
};
enum class Statistics { kNone, kMoments, kExtrema, kQuantiles };
struct NormalizeDescription {
  size_t groups, members;
  Statistics statistics;
  bool nonzero;
  double eps, to_low, to_high, quantile_low, quantile_high;
  bool clip;
  std::vector<float> affine;  // [groups, 6], empty unless statistics is kNone
};

struct StepDescription {
  size_t in, out;
  std::variant<CastDescription, GatherDescription, PermuteDescription, ResampleDescription, AffineDescription, ForegroundBoxDescription, NormalizeDescription> kernel;
};

struct ProgramDescription {
  std::vector<ValueDescription> values;
  std::vector<size_t> inputs, outputs;
  std::vector<StepDescription> steps;
};

}  // namespace tc
