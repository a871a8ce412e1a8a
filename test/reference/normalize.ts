import type { DType } from '../../src/core/dtype.js'
import type { NormalizeStep } from '../../src/ops/program.js'
import { add, guard, multiply, subtract } from './numbers.js'

/** y = ((x - subHigh) - subLow) · mul + add, then clipped. */
interface Affine { subHigh: number; subLow: number; mul: number; add: number; clipLow: number; clipHigh: number }

const narrow = (x: number): number => guard(Math.fround(x))

/** One group: `raw` are its members in C order, already float32 or short integers. */
export function normalizeGroup(step: NormalizeStep, dtype: DType, raw: readonly number[], group: number): number[] {
  const x = raw.map(guard)
  const affine = parameters(step, dtype, x, group)
  return x.map((value) => {
    if (step.nonzero && value === 0) return 0
    const y = add(multiply(subtract(subtract(value, affine.subHigh), affine.subLow), affine.mul), affine.add)
    if (!step.clip) return y
    return y < affine.clipLow ? affine.clipLow : y > affine.clipHigh ? affine.clipHigh : y
  })
}

function parameters(step: NormalizeStep, dtype: DType, x: readonly number[], group: number): Affine {
  const clips = { clipLow: narrow(step.toLow), clipHigh: narrow(step.toHigh) }
  switch (step.statistics) {
    case 'none': {
      const [subHigh, subLow, mul, plus, clipLow, clipHigh] = Array.from(step.affine!.subarray(group * 6, group * 6 + 6), guard)
      return { subHigh: subHigh!, subLow: subLow!, mul: mul!, add: plus!, clipLow: clipLow!, clipHigh: clipHigh! }
    }
    case 'moments': {
      const counted = step.nonzero ? x.filter((value) => value !== 0).length : x.length
      if (counted === 0) return { subHigh: 0, subLow: 0, mul: 1, add: 0, ...clips }
      const { mean, variance } = dtype === 'float32' ? floatMoments(x, counted, step.nonzero) : integerMoments(x, counted)
      const subHigh = narrow(mean)
      return { subHigh, subLow: narrow(mean - subHigh), mul: narrow(1 / (Math.sqrt(variance) + step.eps)), add: 0, ...clips }
    }
    case 'extrema': {
      if (x.length === 0) return { subHigh: 0, subLow: 0, mul: 1, add: 0, ...clips }
      const min = x.reduce((a, b) => Math.min(a, b))
      const max = x.reduce((a, b) => Math.max(a, b))
      return { subHigh: min, subLow: 0, mul: max === min ? 0 : narrow((step.toHigh - step.toLow) / (max - min)), add: narrow(step.toLow), ...clips }
    }
    case 'quantiles': {
      if (x.length === 0) return { subHigh: 0, subLow: 0, mul: 1, add: 0, ...clips }
      const sorted = [...x].sort((a, b) => a - b)
      const [low, high] = [quantile(sorted, step.quantileLow), quantile(sorted, step.quantileHigh)]
      const subHigh = narrow(low)
      return { subHigh, subLow: narrow(low - subHigh), mul: high === low ? 0 : narrow((step.toHigh - step.toLow) / (high - low)), add: narrow(step.toLow), ...clips }
    }
  }
}

function quantile(sorted: readonly number[], q: number): number {
  const v = q * (sorted.length - 1)
  const i = Math.floor(v)
  const t = v - i
  const a = sorted[i]!
  const b = sorted[Math.min(i + 1, sorted.length - 1)]!
  return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t)
}

function integerMoments(x: readonly number[], n: number): { mean: number; variance: number } {
  let s1 = 0n
  let s2 = 0n
  for (const value of x) {
    s1 += BigInt(value)
    s2 += BigInt(value) * BigInt(value)
  }
  return { mean: Number(s1) / n, variance: Number(BigInt(n) * s2 - s1 * s1) / (n * n) }
}

function floatMoments(x: readonly number[], n: number, nonzero: boolean): { mean: number; variance: number } {
  const m0 = treeSum(x) / n
  const m0High = narrow(m0)
  const m0Low = narrow(m0 - m0High)
  const d = x.map((value) => nonzero && value === 0 ? 0 : subtract(subtract(value, m0High), m0Low))
  const first = treeSum(d)
  const second = treeSum(d.map((value) => multiply(value, value)))
  const drift = first / n
  return { mean: m0High + m0Low + drift, variance: Math.max(0, second / n - drift * drift) }
}

/** Blocks of 4,096, each by halves in float32; blocks added one after the other in float64. */
function treeSum(x: readonly number[]): number {
  let sum = 0
  for (let start = 0; start < x.length; start += 4096) {
    const block = Array.from({ length: 4096 }, (_, i) => x[start + i] ?? 0)
    for (let half = 2048; half >= 1; half /= 2) {
      for (let i = 0; i < half; i++) block[i] = add(block[i]!, block[i + half]!)
    }
    sum += block[0]!
  }
  return sum
}
