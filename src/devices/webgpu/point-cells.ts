import { setImmediate } from 'node:timers/promises'
import type { PlanePoints } from '../../ops/points.js'

/**
 * Points as kernels/nearest-points.wgsl reads them. WGSL has no float64, and promises nothing of float32, so the device only sees integers: coordinates in units of
 * 1/32,767 of the longer side of the box around all points, from its corner. They choose candidates; float64 decides among these, on the host.
 *
 * Why the candidates suffice. Let σ be the double `perUnit`. A coordinate's v = (x − least) · σ is rounded three times on its way to the integer (difference, product, + ½), each time by at most 2⁻⁵³ of
 * itself, however far from zero x is, and v is at most 32,768: the integer is within ½ + 2⁻³⁶ of the true v. So the distance r of two points as integers and their true distance in units, σd, are less than
 * √2 (1 + 2⁻³⁵) < 1.4143 apart. Squared distances in doubles are off by at most 2⁻⁵⁰ of themselves: in boxes of the sides allowed here none overflows, and what underflows is less than 2⁻²⁰⁰ of a unit's square. If k points have r ≤ R, then k points have
 * σd < R + 1.4143, and so has, but for 2⁻⁵⁰ of it, every point that is among the k nearest in doubles: it has r < R + 2.83.
 */
export interface PointCells {
  /** Of points in the order of the cells: their numbers. Coordinates as they were given stay where they are: to sort them, too, takes longer than to look up those of some candidates. */
  readonly order: Int32Array
  /** And their integers, x << 16 | y. */
  readonly packed: Uint32Array
  /** [rows * columns + 1]: where each cell begins, row by row. */
  readonly starts: Uint32Array
  readonly columns: number
  readonly rows: number
  /** A cell has 2^shift units along each side. */
  readonly shift: number
  readonly lattice: Lattice
}

/** Where a box's integers lie. */
export class Lattice {
  readonly #left: number
  readonly #bottom: number
  readonly #perUnit: number

  constructor(left: number, bottom: number, perUnit: number) {
    this.#left = left
    this.#bottom = bottom
    this.#perUnit = perUnit
  }

  /** The integers of a point, x << 16 | y. */
  packed(x: number, y: number): number {
    return ((((x - this.#left) * this.#perUnit + 0.5) << 16) | ((y - this.#bottom) * this.#perUnit + 0.5)) >>> 0
  }
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
  const [horizontal, vertical] = [await extentOf(x), await extentOf(y)]
  const side = Math.max(horizontal.greatest - horizontal.least, vertical.greatest - vertical.least)
  if (!horizontal.finite || !vertical.finite || !(side >= SIDE_MIN && side <= SIDE_MAX)) return undefined
  const lattice = new Lattice(horizontal.least, vertical.least, UNITS / side)
  const corner = lattice.packed(horizontal.greatest, vertical.greatest)
  const along = (units: number): number => (units >> shift) + 1
  let shift = 0
  while (along(corner >>> 16) * along(corner & 0xffff) > Math.max(1, count / POINTS_PER_CELL)) shift++
  const [columns, rows] = [along(corner >>> 16), along(corner & 0xffff)]

  const given = new Uint32Array(count)
  const starts = new Uint32Array(rows * columns + 1)
  for (const [first, stop] of parts(count)) {
    countInto({ starts, lattice, columns, shift }, { x, y }, given, first, stop)
    await setImmediate()
  }
  // Counts become ends, and ends, as the points come in from behind, starts.
  for (let cell = 0, end = 0; cell < starts.length; cell++) starts[cell] = end += starts[cell]!
  const cells: PointCells = { order: new Int32Array(count), packed: new Uint32Array(count), starts, columns, rows, shift, lattice }
  for (const [first, stop] of parts(count).reverse()) {
    sortInto(cells, given, first, stop)
    await setImmediate()
  }
  return cells
}

function parts(count: number): [first: number, stop: number][] {
  return Array.from({ length: Math.ceil(count / PART) }, (_, k) => [k * PART, Math.min(count, (k + 1) * PART)])
}

async function extentOf(values: Float64Array): Promise<{ least: number; greatest: number; finite: boolean }> {
  const extent = { least: Infinity, greatest: -Infinity, finite: true }
  for (const [first, stop] of parts(values.length)) {
    let { least, greatest, finite } = extent
    for (let k = first; k < stop; k++) {
      const value = values[k]!
      finite &&= Number.isFinite(value)
      least = value < least ? value : least
      greatest = value > greatest ? value : greatest
    }
    Object.assign(extent, { least, greatest, finite })
    await setImmediate()
  }
  return extent
}

function countInto({ starts, lattice, columns, shift }: Pick<PointCells, 'starts' | 'lattice' | 'columns' | 'shift'>, { x, y }: PlanePoints, given: Uint32Array, first: number, stop: number): void {
  for (let k = first; k < stop; k++) {
    const word = lattice.packed(x[k]!, y[k]!)
    given[k] = word
    starts[cellOf(word, columns, shift)]!++
  }
}

function sortInto({ order, packed, starts, columns, shift }: PointCells, given: Uint32Array, first: number, stop: number): void {
  for (let point = stop - 1; point >= first; point--) {
    const word = given[point]!
    const at = --starts[cellOf(word, columns, shift)]!
    order[at] = point
    packed[at] = word
  }
}

function cellOf(word: number, columns: number, shift: number): number {
  return ((word & 0xffff) >> shift) * columns + (word >>> (16 + shift))
}
