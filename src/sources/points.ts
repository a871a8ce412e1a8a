/** Up to this many points, looking at all of them is faster than a grid. */
const LINEAR_MAX = 32
const CELLS_MAX = 1024

/** Fractional coordinates in a periodic cell, found again within a tolerance on each axis. */
export class Points {
  readonly #tolerance: number
  readonly #cells: number
  readonly #at: number[] = []
  #grid: Map<number, number[]> | undefined

  /** `tolerance` at most 0.01. */
  constructor(tolerance: number) {
    this.#tolerance = tolerance
    // A cell of the grid is at least twice as wide as the tolerance, so that a neighbourhood touches two of them per axis.
    this.#cells = Math.min(CELLS_MAX, Math.floor(0.5 / tolerance))
  }

  get length(): number {
    return this.#at.length / 3
  }

  add(x: number, y: number, z: number): void {
    const index = this.length
    this.#at.push(x, y, z)
    if (this.#grid !== undefined) return this.#enter(index)
    if (index < LINEAR_MAX) return
    this.#grid = new Map()
    for (let k = 0; k <= index; k++) this.#enter(k)
  }

  /** The first point that was added less than the tolerance away on every axis, or -1. */
  find(x: number, y: number, z: number): number {
    if (this.#grid === undefined) {
      for (let k = 0; k < this.#at.length; k += 3) if (this.#isNear(k, x, y, z)) return k / 3
      return -1
    }
    let first = Infinity
    const [xs, ys, zs] = [this.#around(x), this.#around(y), this.#around(z)]
    for (const i of xs) for (const j of ys) for (const k of zs) {
      for (const index of this.#grid.get((i * this.#cells + j) * this.#cells + k) ?? []) if (index < first && this.#isNear(3 * index, x, y, z)) first = index
    }
    return first === Infinity ? -1 : first
  }

  #isNear(at: number, x: number, y: number, z: number): boolean {
    return this.#isClose(this.#at[at]! - x) && this.#isClose(this.#at[at + 1]! - y) && this.#isClose(this.#at[at + 2]! - z)
  }

  #isClose(difference: number): boolean {
    return Math.abs(difference - Math.round(difference)) < this.#tolerance
  }

  #enter(index: number): void {
    const key = [0, 1, 2].reduce((sum, axis) => sum * this.#cells + this.#cellOf(this.#at[3 * index + axis]!), 0)
    const cell = this.#grid!.get(key)
    if (cell === undefined) this.#grid!.set(key, [index])
    else cell.push(index)
  }

  #cellOf(x: number): number {
    return Math.min(this.#cells - 1, Math.floor((x - Math.floor(x)) * this.#cells))
  }

  #around(x: number): readonly number[] {
    const [below, above] = [this.#cellOf(x - this.#tolerance), this.#cellOf(x + this.#tolerance)]
    return below === above ? [below] : [below, above]
  }
}
