import type { AxisTable } from './program.js'

/** How values between samples are made: see `resample`. */
export type ResampleMethod = 'nearest' | 'linear' | 'cubic' | 'area'
/** What is beyond the edge: the edge again, or zero. */
export type ResampleEdges = 'clamp' | 'constant'

export interface AxisPlan {
  readonly from: number
  readonly to: number
  readonly alignCorners: boolean
  /** `empty`: zero where a position is beyond the outer samples' centres, however little; `constant` fades over one sample. */
  readonly edges: ResampleEdges | 'empty'
  /** Sample i is taken at i · step, whatever `to` is: for spacings. */
  readonly step?: number
}

/** Samples. Products of spacings are off by less than this, and what is nearer to a sample is on it. */
const ROUNDING = 1e-9

/**
 * Position of output sample i on the input axis, in input samples, in f64: half-pixel centres (i + 0.5) · from / to - 0.5, or with aligned corners
 * i · (from - 1) / (to - 1). The products are exact integers, so one division rounds once.
 */
function position(i: number, { from, to, alignCorners, step }: AxisPlan): number {
  if (step !== undefined) {
    const at = i * step
    const nearest = Math.round(at)
    return Math.abs(at - nearest) < ROUNDING ? nearest : at
  }
  if (alignCorners) return to === 1 ? 0 : (i * (from - 1)) / (to - 1)
  return ((2 * i + 1) * from - to) / (2 * to)
}

/** Where the new samples of an axis lie among the old ones. */
export function moveOf({ from, to, alignCorners }: AxisPlan): { readonly scale: number; readonly shift: number } {
  if (!alignCorners) return { scale: from / to, shift: (from - to) / (2 * to) }
  // A single sample has no neighbour to tell its size by: it keeps what it had.
  return { scale: from === 1 || to === 1 ? 1 : (from - 1) / (to - 1), shift: 0 }
}

/** Source position of each output position: the sample whose cell holds the position; at a tie the higher one. -1 where there is none. */
export function nearestTable(plan: AxisPlan): Int32Array {
  return Int32Array.from({ length: plan.to }, (_, i) => {
    const at = Math.floor(position(i, plan) + 0.5)
    return isEmpty(i, plan) || (plan.edges === 'constant' && at >= plan.from) ? -1 : clamp(at, plan.from)
  })
}

function isEmpty(i: number, plan: AxisPlan): boolean {
  return plan.edges === 'empty' && position(i, plan) > plan.from - 1
}

/** Weighted taps along one axis. Weights are computed in f64, merged where the edge folds taps together, and rounded once to float32. */
export function axisTable(axis: number, method: Exclude<ResampleMethod, 'nearest'>, plan: AxisPlan): AxisTable {
  const rows = Array.from({ length: plan.to }, (_, i) => (isEmpty(i, plan) ? [{ at: 0, weight: 0 }] : merge(TAPS[method](i, plan), plan)))
  const taps = Math.max(1, ...rows.map((row) => row.length))
  const index = new Int32Array(plan.to * taps)
  const weight = new Float32Array(plan.to * taps)
  rows.forEach((row, i) => {
    for (let t = 0; t < taps; t++) {
      const tap = row[Math.min(t, row.length - 1)]!
      index[i * taps + t] = tap.at
      weight[i * taps + t] = t < row.length ? tap.weight : 0
    }
  })
  return { axis, taps, index, weight }
}

interface Tap { at: number; weight: number }

const TAPS: Readonly<Record<'linear' | 'cubic' | 'area', (i: number, plan: AxisPlan) => Tap[]>> = {
  linear(i, plan) {
    const centre = position(i, plan)
    const left = Math.floor(centre)
    const t = centre - left
    return [{ at: left, weight: 1 - t }, { at: left + 1, weight: t }]
  },
  // Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -0.5: the Catmull-Rom spline.
  cubic(i, plan) {
    const centre = position(i, plan)
    const left = Math.floor(centre)
    return [-1, 0, 1, 2].map((k) => ({ at: left + k, weight: keys(Math.abs(centre - left - k)) }))
  },
  // The mean over the output cell [i, i + 1) · from / to, partly covered samples by their share.
  area(i, { from, to }) {
    const low = (i * from) / to
    const high = ((i + 1) * from) / to
    const taps: Tap[] = []
    for (let at = Math.floor(low); at < Math.min(from, Math.ceil(high)); at++) {
      const share = (Math.min(high, at + 1) - Math.max(low, at)) * (to / from)
      if (share > 0) taps.push({ at, weight: share })
    }
    return taps
  },
}

function keys(x: number): number {
  const a = -0.5
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  return 0
}

// Taps beyond the edge repeat the edge sample or, with constant edges, count as zero. Taps on one sample become one, so that a constant stays exact.
function merge(taps: readonly Tap[], { from, edges }: AxisPlan): Tap[] {
  const merged: Tap[] = []
  for (const tap of taps) {
    const at = clamp(tap.at, from)
    const weight = edges === 'constant' && at !== tap.at ? 0 : tap.weight
    if (weight === 0) continue
    const same = merged.find((other) => other.at === at)
    if (same === undefined) merged.push({ at, weight })
    else same.weight += weight
  }
  return merged.length > 0 ? merged : [{ at: clamp(taps[0]?.at ?? 0, from), weight: 0 }]
}

function clamp(at: number, extent: number): number {
  return Math.max(0, Math.min(extent - 1, at))
}
