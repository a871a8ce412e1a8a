import type { DType } from '../core/dtype.js'
import type { NonFinite, Tensor } from '../core/tensor.js'

/**
 * What a device executes: straight-line steps over numbered values, one tensor each per item, in C order. Ops lower to it (compile.ts), devices
 * run it, test/reference interprets it slowly. Every table is computed once on the host in float64 and rounded once to float32, so
 * devices only move bits and do guarded float32 `+ - *`, comparisons and selects (docs/determinism.md).
 *
 * guard(x) is +0 where |x| <= 2^-126 and x otherwise. To flush a value is to guard it. An item has at most one fault: that of the first step,
 * in order, which finds any; what later steps would find is not reported.
 */
export interface Program {
  readonly values: readonly ProgramValue[]
  readonly inputs: readonly ProgramPort[]
  readonly outputs: readonly ProgramPort[]
  readonly steps: readonly Step[]
}

export interface ProgramValue {
  readonly dtype: DType
  readonly shape: readonly number[]
}

/** Binds a field of the item to a value. */
export interface ProgramPort {
  readonly field: string
  readonly value: number
}

/** Which op of the recipe a step comes from, and on which field, for messages. */
export interface StepOrigin {
  readonly op: number
  readonly opName: string
  readonly field: string
}

interface StepBase {
  readonly in: number
  readonly out: number
  readonly origin: StepOrigin
}

/**
 * Converts elements by NumPy's `astype` rules, rounding once to nearest even from the source value itself; subnormals are kept. Same shape.
 * Between real dtypes, or between complex64 and complex128.
 *   integer to integer wraps; anything to bool is `x != 0` (NaN is true); a bool source counts as 1 when its byte is not 0
 *   floating to integer truncates toward zero and saturates, NaN becomes 0
 *   NaN to another floating dtype becomes quiet and keeps its sign and the top bits of its payload; to the same dtype bits are copied
 */
export interface CastStep extends StepBase {
  readonly kernel: 'cast'
  /**
   * Judged on the result when it is floating (a float64 beyond float32 counts as infinite), on the source otherwise. `zero` writes +0.
   * A complex element is judged as one: it counts once when either part is not finite, and `zero` replaces both parts.
   */
  readonly nonFinite: NonFinite
}

/**
 * Moves elements, bits untouched: out[i0, i1, …] = in[index0[i0], index1[i1], …]. `null` is the identity; -1 takes `fill`.
 * Crop, pad, flip and nearest-neighbour resampling are this step.
 */
export interface GatherStep extends StepBase {
  readonly kernel: 'gather'
  readonly index: readonly (Int32Array | null)[]
  /** One element's bytes. */
  readonly fill: Uint8Array
}

/** out axis k is in axis `order[k]`; bits untouched. */
export interface PermuteStep extends StepBase {
  readonly kernel: 'permute'
  readonly order: readonly number[]
}

/**
 * Weighted sums along axes, float32 to float32, one axis after the other in the order of `tables` (ascending axis). For each output position o
 * and with taps t = 0, 1, …: acc = guard(w0·a0); acc = guard(acc + guard(wt·at)), in that order, over every tap. Inputs and weights
 * are flushed on load. A result that is not finite is a fault; results of all axes but the last are not judged.
 */
export interface ResampleStep extends StepBase {
  readonly kernel: 'resample'
  readonly tables: readonly AxisTable[]
}

export interface AxisTable {
  readonly axis: number
  /** Taps per output position; unused taps have weight 0 and repeat a valid index. */
  readonly taps: number
  /** [length, taps] source positions along the axis, all in range. */
  readonly index: Int32Array
  /** [length, taps] */
  readonly weight: Float32Array
}

/**
 * Reads three axes that follow one another through a matrix: the element (i, j, k) of the result at c = matrix · (i, j, k, 1) of the input, all other axes being batch. `matrix` is [3, 4] in C order, in steps of
 * 2^-40 elements; c is an exact integer of such steps, rounded to the next multiple of 2^-24 elements, halves up, and then the whole part p = floor(c) and the fraction f of each coordinate are exact float32.
 *   edges    An element's cell reaches half an element to each side, its lower end included. `constant` is +0 (zero bytes) where c lies in no cell. Elsewhere, and with `clamp` everywhere, positions below 0
 *            are 0, those beyond the end the last.
 *   linear   float32 to float32, flushed on load: mix(a, b, f) = guard(a + guard(guard(b - a)·f)) along the last axis at p and p + 1, then along the second, then along the first. A result that is not
 *            finite is a fault.
 *   nearest  Any dtype to itself, bits untouched: the element at floor(c + 1/2).
 * Every c of the result lies between -2^23 and 2^23; the three axes have 1 to 2^23 elements in the input, fewer than 2^31 in the result.
 */
export interface AffineStep extends StepBase {
  readonly kernel: 'affine'
  /** The first of the three. */
  readonly axis: number
  readonly matrix: BigInt64Array
  readonly method: AffineMethod
  readonly edges: AffineEdges
}

/** Between voxels: trilinear, or the nearest one. */
export type AffineMethod = 'linear' | 'nearest'
/** Outside the image: the edge again, or zero. */
export type AffineEdges = 'clamp' | 'constant'

/**
 * Finds the box along three axes that holds every element above a threshold, of any real dtype, as int32 [2, 3]: the first positions, and those after the last; all 0 where no element is above. An element is above
 * when its exact value is greater: NaN is not, and nothing is above NaN. A bool counts as 1 when its byte is not 0. Elements at every position of the other axes are looked at. The three axes have fewer than 2^31
 * elements each.
 */
export interface ForegroundBoxStep extends StepBase {
  readonly kernel: 'foreground-box'
  /** x, y and z: three different ones, counted from 0. */
  readonly axes: readonly number[]
  readonly threshold: number
}

/**
 * float32 (or bool, int8, uint8, int16, uint16) seen as [groups, members] to float32, each group by its own parameters:
 *   y = guard(guard(guard(guard(x - subHigh) - subLow) · mul) + add), then y < clipLow ? clipLow : y > clipHigh ? clipHigh : y when `clip`.
 * x is flushed on load; a result that is not finite is a fault. Parameters come from `affine` (given, flushed on load) or from the group's
 * statistics, in f64 and rounded at `fround`; flush(p) is +0 where |p| <= 2^-126. n is the number of members.
 *   moments   Integer dtypes: S1, S2 = exact sums of x and x²; mean = S1/n; variance = f64(n·S2 - S1²) / (n·n), numerator exact, rounded once.
 *             float32, twice corrected: sum = Σ x; m0 = sum/n; m0High = flush(fround(m0)); m0Low = flush(fround(m0 - m0High));
 *             d = guard(guard(x - m0High) - m0Low); D = Σ d; DD = Σ guard(d·d);
 *             mean = (m0High + m0Low) + D/n; variance = max(0, DD/n - (D/n)·(D/n)).
 *             Σ takes blocks of 4,096 members in C order, the last filled up with +0, each by a halving tree
 *             s[i] = guard(s[i] + s[i + half]), half = 2048, 1024, …, 1, and adds the blocks in f64 in order, from 0.
 *             subHigh = flush(fround(mean)); subLow = flush(fround(mean - subHigh)); mul = flush(fround(1 / (sqrt(variance) + eps))); add = 0.
 *             `nonzero`: members that are zero after the flush count neither in n nor in a sum (d = +0 for them) and come out as +0, not
 *             clipped. n = 0: mul = 1, the others 0.
 *   extrema   min and max of the members; subHigh = min; subLow = 0; mul = max == min ? 0 : flush(fround((toHigh - toLow) / (max - min)));
 *             add = flush(fround(toLow)).
 *   quantiles at q = quantileLow and quantileHigh: v = q·(n - 1), i = floor(v), t = v - i; a, b = the members of rank i and min(i + 1, n - 1);
 *             t < 0.5 ? a + (b - a)·t : b - (b - a)·(1 - t). subHigh = flush(fround(low)); subLow = flush(fround(low - subHigh)),
 *             mul = high == low ? 0 : flush(fround((toHigh - toLow) / (high - low))); add = flush(fround(toLow)).
 * With statistics, clipLow and clipHigh are flush(fround(toLow)) and flush(fround(toHigh)).
 */
export interface NormalizeStep extends StepBase {
  readonly kernel: 'normalize'
  readonly groups: number
  readonly members: number
  readonly statistics: 'none' | 'moments' | 'extrema' | 'quantiles'
  /** Statistics over members that are not zero; zeros stay zero. moments only. */
  readonly nonzero: boolean
  readonly eps: number
  readonly toLow: number
  readonly toHigh: number
  readonly quantileLow: number
  readonly quantileHigh: number
  readonly clip: boolean
  /** [groups, 6]: subHigh, subLow, mul, add, clipLow, clipHigh; present exactly when statistics is 'none'. */
  readonly affine: Float32Array | null
}

/** One of the kernels of the project: what every device has, and what has one input and one output. */
export type KernelStep = CastStep | GatherStep | PermuteStep | ResampleStep | AffineStep | ForegroundBoxStep | NormalizeStep

/** A kernel of the user's (define-op.ts): WGSL text for the GPU, and a twin for the CPU. */
export interface WgslStep {
  readonly kernel: 'wgsl'
  readonly code: string
  /** Which value each binding of the text is. */
  readonly reads: readonly { readonly binding: string; readonly field: string; readonly value: number }[]
  readonly writes: readonly { readonly binding: string; readonly field: string; readonly value: number }[]
  /** Members of the uniform, but for `items`. */
  readonly params: Readonly<Record<string, number>>
  readonly invocationsPerItem: number
  /** The fields of one item that are written, from those that are read; undefined when only a GPU can do it. A function, so it stays on the main thread. */
  readonly twin: ((item: Readonly<Record<string, Tensor>>) => Promise<Readonly<Record<string, Tensor>>>) | undefined
  readonly origin: StepOrigin
}

export type Step = KernelStep | WgslStep

/** The values that a step reads. */
export function readsOf(step: Step): readonly number[] {
  return step.kernel === 'wgsl' ? step.reads.map(({ value }) => value) : [step.in]
}

/** The values that a step makes. */
export function writesOf(step: Step): readonly number[] {
  return step.kernel === 'wgsl' ? step.writes.map(({ value }) => value) : [step.out]
}
