import type { NormalizeStep } from '../../ops/program.js'

/**
 * The f64 half of normalize: from what the statistics kernels leave per block, to the parameters of each group. Formulas at NormalizeStep in
 * src/ops/program.ts; the CPU's twin is native/src/program/finish.cc. Groups are numbered through the batch, and every array holds whole groups.
 */

/** Members that one workgroup sums. */
export const BLOCK_MEMBERS = 4096
/** Members that one workgroup of the order statistics looks at. */
export const PIECE_MEMBERS = 16_384
/** Numbers per group of an affine array: subHigh, subLow, mul, add, clipLow, clipHigh. */
export const AFFINE_SIZE = 6
/** Lowest bits of the three digits of a key. */
export const DIGIT_SHIFTS: readonly number[] = [21, 10, 0]

/** What a first pass over float32 members leaves for the second and for the end. */
export interface Centres {
  /** [groups, 2]: m0High, m0Low. Zero for a group that counts no member. */
  readonly centres: Float32Array
  /** [groups]: members that count. */
  readonly counts: Float64Array
}

/** From normalize-sums: `sums` is [blocks, 2], a float32 and a count. */
export function centresFromSums(step: NormalizeStep, groups: number, sums: Uint32Array): Centres {
  const values = new Float32Array(sums.buffer, sums.byteOffset, sums.length)
  const blocks = blocksPerGroup(step.members)
  const centres = new Float32Array(groups * 2)
  const counts = new Float64Array(groups)
  for (let g = 0; g < groups; g++) {
    const n = step.nonzero ? total(sums, 2, 1, g * blocks, blocks) : step.members
    counts[g] = n
    if (n === 0) continue
    const m0 = total(values, 2, 0, g * blocks, blocks) / n
    const high = flushed(m0)
    centres[g * 2] = high
    centres[g * 2 + 1] = flushed(m0 - high)
  }
  return { centres, counts }
}

/** From normalize-deviations: `deviations` is [blocks, 2], D and DD. */
export function affineFromDeviations(step: NormalizeStep, groups: number, { centres, counts }: Centres, deviations: Float32Array): Float32Array {
  const blocks = blocksPerGroup(step.members)
  return eachGroup(step, groups, (g) => {
    const n = counts[g]!
    if (n === 0) return NOTHING_COUNTED
    const mean = total(deviations, 2, 0, g * blocks, blocks) / n
    const variance = total(deviations, 2, 1, g * blocks, blocks) / n - mean * mean
    return fromMoments((centres[g * 2]! + centres[g * 2 + 1]!) + mean, variance < 0 ? 0 : variance, step.eps)
  })
}

/** From normalize-integers: `sums` is [blocks, 4]: Σ x as an int32, Σ of the lower and of the upper 16 bits of x², and a count. */
export function affineFromIntegers(step: NormalizeStep, groups: number, sums: Uint32Array): Float32Array {
  const signed = new Int32Array(sums.buffer, sums.byteOffset, sums.length)
  const blocks = blocksPerGroup(step.members)
  return eachGroup(step, groups, (g) => {
    const n = step.nonzero ? total(sums, 4, 3, g * blocks, blocks) : step.members
    if (n === 0) return NOTHING_COUNTED
    // Each total is an exact integer; their combination is not in f64.
    const s1 = total(signed, 4, 0, g * blocks, blocks)
    const s2 = BigInt(total(sums, 4, 1, g * blocks, blocks)) + (BigInt(total(sums, 4, 2, g * blocks, blocks)) << 16n)
    const numerator = BigInt(n) * s2 - BigInt(s1) * BigInt(s1)
    return fromMoments(s1 / n, Number(numerator) / (n * n), step.eps)
  })
}

/** From normalize-extrema: `extrema` is [blocks, 2], min and max. */
export function affineFromExtrema(step: NormalizeStep, groups: number, extrema: Float32Array): Float32Array {
  const blocks = blocksPerGroup(step.members)
  return eachGroup(step, groups, (g) => {
    let low = Infinity
    let high = -Infinity
    for (let b = g * blocks; b < (g + 1) * blocks; b++) {
      if (extrema[b * 2]! < low) low = extrema[b * 2]!
      if (extrema[b * 2 + 1]! > high) high = extrema[b * 2 + 1]!
    }
    return fromRange(low, high, step)
  })
}

/** Ranks that normalize-select looks for: below the low quantile and below the high one. */
export function quantileRanks(step: NormalizeStep): readonly [number, number] {
  return [Math.floor(step.quantileLow * (step.members - 1)), Math.floor(step.quantileHigh * (step.members - 1))]
}

/** From normalize-select and normalize-next-key: `state` is [groups, 2, 3]: key, rank among its equals, key of the next rank. */
export function affineFromOrder(step: NormalizeStep, groups: number, state: Uint32Array): Float32Array {
  const quantile = (at: number, q: number): number => {
    const position = q * (step.members - 1)
    const rank = Math.floor(position)
    const a = fromKey(state[at]!)
    const b = rank + 1 < step.members ? fromKey(state[at + 2]!) : a
    return between(a, b, position - rank)
  }
  return eachGroup(step, groups, (g) => fromRange(quantile(g * 6, step.quantileLow), quantile(g * 6 + 3, step.quantileHigh), step))
}

export function blocksPerGroup(members: number): number {
  return Math.ceil(members / BLOCK_MEMBERS)
}

export function piecesPerGroup(members: number): number {
  return Math.ceil(members / PIECE_MEMBERS)
}

/** subHigh, subLow, mul, add */
type Parameters = readonly [number, number, number, number]

const NOTHING_COUNTED: Parameters = [0, 0, 1, 0]

function eachGroup(step: NormalizeStep, groups: number, parameters: (group: number) => Parameters): Float32Array {
  const affine = new Float32Array(groups * AFFINE_SIZE)
  const clipLow = flushed(step.toLow)
  const clipHigh = flushed(step.toHigh)
  for (let g = 0; g < groups; g++) affine.set([...parameters(g), clipLow, clipHigh], g * AFFINE_SIZE)
  return affine
}

function fromMoments(mean: number, variance: number, eps: number): Parameters {
  const subHigh = flushed(mean)
  return [subHigh, flushed(mean - subHigh), flushed(1 / (Math.sqrt(variance) + eps)), 0]
}

/** `low` maps to `toLow`, `high` to `toHigh`; a group without extent maps to `toLow`. */
function fromRange(low: number, high: number, { toLow, toHigh }: NormalizeStep): Parameters {
  const subHigh = flushed(low)
  return [subHigh, flushed(low - subHigh), high === low ? 0 : flushed((toHigh - toLow) / (high - low)), flushed(toLow)]
}

/** Between the order statistics a and b, t of the way. */
function between(a: number, b: number, t: number): number {
  return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t)
}

/** float32, and +0 where devices may differ on tininess. */
function flushed(value: number): number {
  const rounded = Math.fround(value)
  return Math.abs(rounded) <= 2 ** -126 ? 0 : rounded
}

const keyBits = new Uint32Array(1)
const keyValue = new Float32Array(keyBits.buffer)
function fromKey(key: number): number {
  keyBits[0] = key ^ (key >>> 31 !== 0 ? 0x80000000 : 0xffffffff)
  return keyValue[0]!
}

/** Column `column` of rows [first, first + count), added in order from 0. */
function total(rows: ArrayLike<number>, columns: number, column: number, first: number, count: number): number {
  let sum = 0
  for (let row = first; row < first + count; row++) sum += rows[row * columns + column]!
  return sum
}
