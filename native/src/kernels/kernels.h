// The CPU kernels: plain functions over pointers, compiled once per instruction set into a table (isa/*.cc). This header is seen by files that are
// compiled with AVX flags and by files that are not, so it holds declarations and plain data only: an inline function, or a template of the
// standard library, compiled with AVX flags could be the copy that the linker keeps for everybody, and crash an older processor.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tc {

// Codes of src/core/dtype.ts.
enum DTypeCode : int {
  kBool, kInt8, kUint8, kInt16, kUint16, kInt32, kUint32, kInt64, kUint64, kFloat16, kBFloat16, kFloat32, kFloat64, kComplex64, kComplex128, kDTypes
};

// Non-finite values: how many, and the smallest index of one.
struct Found {
  size_t count;
  size_t first;
};

// Converts `n` elements. True when a judged value is not finite (the result when it is floating, otherwise the source).
using CastRun = bool (*)(const void* from, void* to, size_t n);

// out[i0, i1, …] = in[index0[i0], …] as nested loops over axes; what lies inside the last indexed axis is one element of `size` bytes.
struct GatherAxis {
  size_t length;         // output positions
  size_t stride;         // bytes of one input position
  const int32_t* index;  // -1 takes the fill; null is the identity
};
struct GatherPlan {
  size_t rank;  // at least 1; the last axis is the inner loop
  const GatherAxis* axes;
  size_t size;  // bytes of an element
  // Maximal runs of the last axis that are consecutive in the input, when they are long enough to pay: [out position, in position or -1, length]
  const int32_t* runs;
  size_t run_count;
  const uint8_t* fill;  // `size` bytes
};

// A transpose: for each position of the outer axes a [rows, columns] plane, whose columns are contiguous in the output. Either they are in the
// input too, and move as runs, or the rows are there. A unit of work is kPermuteRows rows of a plane.
struct PermuteAxis {
  size_t length;
  size_t in_stride;   // bytes
  size_t out_stride;  // bytes
};
struct PermutePlan {
  size_t outer_rank;
  const PermuteAxis* outer;
  PermuteAxis rows;
  PermuteAxis columns;
  size_t size;  // bytes of an element
};
constexpr size_t kPermuteRows = 128;

struct ResampleAxis {
  size_t extent;
  size_t length;
  size_t taps;
  bool identity;          // out = in
  const int32_t* index;   // [length, taps]
  const float* weight;    // [length, taps], flushed
  const uint8_t* first;   // [length, taps]: 1 at the first use of a source position, in this order
  const uint32_t* slot;   // [length, taps]: which row buffer holds the tap's row
};
// The last axis once more, in groups of `lanes` outputs: for each group and tap either a window of the row, from `base`, into which `lane` points, or
// (kind 3) `lane` holds positions in the row itself.
struct ResampleLanes {
  const uint8_t* kind;   // [groups, taps]: the window has 1, 2 or 4 registers (0, 1, 2), or 3
  const int32_t* base;   // [groups, taps]
  const int32_t* lane;   // [groups, taps, lanes]
  const float* weight;   // [groups, taps, lanes], 0 past the end
};
// float32 [batch, Z, Y, X] to [batch, Z', Y', X']; a source of another dtype is cast row by row.
struct ResamplePlan {
  size_t batch;
  ResampleAxis z, y, x;
  ResampleLanes lanes8, lanes16;
  size_t tiles;      // the row is cut into this many tiles of `tile` columns (x is the identity then)
  size_t tile;
  size_t slots;      // row buffers
  size_t row_bytes;  // bytes of one row buffer, a multiple of 64, with kWindow floats past the row's end
  CastRun cast;      // null when there is no cast
  bool cast_copies;  // from float32: there is only to look
  size_t source_size;
  bool cast_flush;   // the cast's result may be tiny
  bool zero_non_finite;
};
// Scratch memory of one thread: the row held by each slot (slots · 8 bytes, rounded up to 64), then slots + kExtraRows row buffers.
constexpr size_t kExtraRows = 5;
// Floats that may be read past a row's end.
constexpr size_t kWindow = 64;

// Three axes read through a matrix (AffineStep of src/ops/program.ts): [batch, X, Y, Z, inner] to [batch, X', Y', Z', inner]. A unit of work is what lies at one x' and y'.
struct AffinePlan {
  size_t extent[3];
  size_t length[3];
  size_t inner;  // elements
  size_t size;   // bytes of an element
  int64_t matrix[12];
  bool clamp;
};

// Parameters of one group of normalize.
struct Affine {
  float sub_high, sub_low, mul, add, clip_low, clip_high;
};

// Sums of integers: S1, S2 and the number of members that are not zero.
struct IntegerSums {
  int64_t s1;
  uint64_t s2;
  uint64_t nonzero;
};

// What normalize reads: float32, bool, int8, uint8, int16 or uint16.
struct NormalizeKernels {
  void (*extrema)(const void* x, size_t n, float* low, float* high);
  // counts[(key >> shift) & 2047] for the members whose key agrees with `prefix` above those 11 bits. Keys order like the values.
  void (*histogram)(const void* x, size_t n, uint32_t prefix, uint32_t mask, int shift, uint64_t* counts);
  // Smallest key above `key`, or 0xffffffff.
  uint32_t (*next_key)(const void* x, size_t n, uint32_t key);
  bool (*apply)(const void* x, size_t n, const Affine& affine, bool nonzero, bool clip, float* y);
  void (*integer_sums)(const void* x, size_t n, IntegerSums* sums);  // null for float32; n up to 2^24
};

// Elements of a row whose keys lie between two, both included, the first being the smaller (src/devices/keys.ts).
struct ForegroundKernels {
  size_t (*first)(const void* x, size_t n, uint64_t from, uint64_t to);  // the first one's position, n where there is none
  size_t (*stop)(const void* x, size_t n, uint64_t from, uint64_t to);   // the position after the last one, 0 where there is none
};

constexpr size_t kBlock = 4096;  // members of one summation tree

struct Kernels {
  const char* name;
  CastRun cast[kDTypes][kDTypes];  // [from][to]; null where there is none
  void (*gather)(const GatherPlan& plan, const uint8_t* in, uint8_t* out, size_t row_begin, size_t row_end);
  void (*permute)(const PermutePlan& plan, const uint8_t* in, uint8_t* out, size_t begin, size_t end);
  // Output rows begin … end of batch · Z' · tiles · Y'. Returns whether a result is not finite; `found` counts those of the cast.
  bool (*resample)(const ResamplePlan& plan, const uint8_t* in, float* out, size_t begin, size_t end, uint8_t* scratch, Found* found);
  // Returns whether a result is not finite.
  bool (*affine_linear)(const AffinePlan& plan, const float* in, float* out, size_t begin, size_t end);
  void (*affine_nearest)(const AffinePlan& plan, const uint8_t* in, uint8_t* out, size_t begin, size_t end);
  ForegroundKernels foreground[kDTypes];  // null for complex dtypes
  // One float per block of 4,096 members, the last block may be short.
  void (*block_sums)(const float* x, size_t n, float* sums);
  void (*block_deviations)(const float* x, size_t n, float high, float low, bool nonzero, float* d, float* dd);
  size_t (*count_nonzero)(const float* x, size_t n);
  Found (*non_finite)(const float* y, size_t n);
  NormalizeKernels normalize[kDTypes];
  // Elements of 2, 4 or 8 bytes; out[b · n + i] is byte b of element i of n. Bytes after the last whole element keep their place. In and out are different memory.
  void (*shuffle)(const uint8_t* in, size_t bytes, unsigned element, uint8_t* out);
  void (*unshuffle)(const uint8_t* in, size_t bytes, unsigned element, uint8_t* out);
};

extern const Kernels kernels_baseline;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#elif defined(__aarch64__)
extern const Kernels kernels_neon;
#endif

}  // namespace tc
