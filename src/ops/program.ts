import type { DType } from '../core/dtype.js'
import type { NonFinite } from '../core/tensor.js'

/**
 * What a device executes: straight-line steps over numbered values, one tensor each per item, in C order. Ops lower to it (compile.ts), devices
 * run it, test/reference interprets it slowly. Every table is computed once on the host in float64 and rounded once to float32, so
 * devices only move bits and do guarded float32 `+ - *`, comparisons and selects (docs/determinism.md).
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

/** Converts elements by NumPy's `astype` rules; float to integer truncates and saturates, NaN becomes 0. Same shape. */
export interface CastStep extends StepBase {
  readonly kernel: 'cast'
  /** Judged on the result when it is floating (a float64 beyond float32 counts as infinite), on the source otherwise. */
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
 * and with taps t = 0, 1, …: acc = guard(w0·a0); acc = guard(acc + guard(wt·at)), in that order. Inputs are flushed on load.
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
 * float32 (or bool, int8, uint8, int16, uint16) seen as [groups, members] to float32, each group by its own parameters:
 *   y = guard(guard(guard(guard(x - subHigh) - subLow) · mul) + add), then clipped to [clipLow, clipHigh] when `clip`.
 * Parameters come from `affine` (given) or from the group's statistics, by ops/normalize.ts `finish`:
 *   moments   corrected two-pass mean and variance, sums in blocks of 4,096 (halving tree), blocks added on the host in f64 in order;
 *             integers of up to 16 bits sum exactly in integers
 *   extrema   smallest and largest member
 *   quantiles order statistics at quantileLow and quantileHigh (0 to 1), interpolated linearly on the host in f64
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

export type Step = CastStep | GatherStep | PermuteStep | ResampleStep | NormalizeStep
