import { setImmediate } from 'node:timers/promises'
import type { PlanePoints } from '../../ops/points.js'

/**
 * Points as kernels/nearest-points.wgsl reads them. WGSL has no float64, and promises nothing of float32, so the device only sees integers: coordinates in units of
 * 1/32,767 of the longer side of the box around all points, from its corner. They choose candidates; float64 decides among these, on the host.
 *
 * Why the candidates suffice. Let σ be the double `perUnit`. A coordinate's v = (x − least) · σ is rounded three times on its way to the integer (difference, product, + ½), each time by at most 2⁻⁵³ of
 * itself, however far from zero x is, and v is at most 32,768: the integer is within ½ + 2⁻³⁶ of the true v. So the distance r of two points as integers and their true distance in units, σd, are less than
 * √2 (1 + 2⁻³⁵) < 1.4143 apart. Squared distances in doubles are off by at most 2⁻⁵⁰ of themselves; nothing over- or underflows in boxes of the sides allowed here. If k points have r ≤ R, then k points have
 * σd < R + 1.4143, and so has, but for 2⁻⁵⁰ of it, every point that is among the k nearest in doubles: it has r < R + 2.83.
 */
export interface PointCells {
  /** Of points in the order of the cells: their numbers, and coordinates as they were given. */
  readonly order: Int32Array
  readonly x: Float64Array
  readonly y: Float64Array
  /** And their integers, x << 16 | y. */
  readonly packed: Uint32Array
  /** [rows * columns + 1]: where each cell begins, row by row. */
  readonly starts: Uint32Array
  readonly columns: number
  readonly rows: number
  /** A cell has 2^shift units along each side. */
  readonly shift: number
  /** The integers of a point. */
  packedOf(x: number, y: number): number
}

const UNITS = 32_767
/** Sides of a box: squares of a unit and of the whole side are ordinary doubles. */
const SIDE_MIN = 2 ** -400
const SIDE_MAX = 2 ** 500
/** Two to eight points a cell, where they lie evenly. */
const POINTS_PER_CELL = 2
/** Points between two turns of the event loop: some milliseconds. */
const PART = 2 ** 18

/** Sorts points into cells. Undefined where only the CPU can tell them apart, or shall refuse them: they all lie in one place, the box is too small or too large for squares, or a coordinate is not finite. */
export async function cellsOf({ x, y }: PlanePoints): Promise<PointCells | undefined> {
  const count = x.length
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity]
  let finite = true
  await inParts(count, (first, stop) => {
    for (let k = first; k < stop; k++) {
      const [a, b] = [x[k]!, y[k]!]
      finite &&= Number.isFinite(a) && Number.isFinite(b)
      if (a < left) left = a
      if (a > right) right = a
      if (b < bottom) bottom = b
      if (b > top) top = b
    }
  })
  const side = Math.max(right - left, top - bottom)
  if (!finite || !(side >= SIDE_MIN && side <= SIDE_MAX)) return undefined
  const perUnit = UNITS / side
  const unitOf = (value: number, least: number): number => ((value - least) * perUnit + 0.5) | 0
  const packedOf = (a: number, b: number): number => ((unitOf(a, left) << 16) | unitOf(b, bottom)) >>> 0
  const [width, height] = [unitOf(right, left), unitOf(top, bottom)]
  let shift = 0
  while (((width >> shift) + 1) * ((height >> shift) + 1) > Math.max(1, count / POINTS_PER_CELL)) shift++
  const [columns, rows] = [(width >> shift) + 1, (height >> shift) + 1]
  const cellOf = (word: number): number => ((word & 0xffff) >> shift) * columns + (word >>> (16 + shift))

  const given = new Uint32Array(count)
  const starts = new Uint32Array(rows * columns + 1)
  await inParts(count, (first, stop) => {
    for (let k = first; k < stop; k++) starts[cellOf(given[k] = packedOf(x[k]!, y[k]!))]!++
  })
  // Counts become ends, and ends, as the points come in from behind, starts.
  for (let cell = 0, end = 0; cell < starts.length; cell++) starts[cell] = end += starts[cell]!
  const sorted = { order: new Int32Array(count), x: new Float64Array(count), y: new Float64Array(count), packed: new Uint32Array(count) }
  await inParts(count, (first, stop) => {
    for (let k = first; k < stop; k++) {
      const point = count - 1 - k
      const word = given[point]!
      const at = --starts[cellOf(word)]!
      sorted.order[at] = point
      sorted.x[at] = x[point]!
      sorted.y[at] = y[point]!
      sorted.packed[at] = word
    }
  })
  return { ...sorted, starts, columns, rows, shift, packedOf }
}

async function inParts(count: number, work: (first: number, stop: number) => void): Promise<void> {
  for (let first = 0; first < count; first += PART) {
    if (first > 0) await setImmediate()
    work(first, Math.min(count, first + PART))
  }
}
