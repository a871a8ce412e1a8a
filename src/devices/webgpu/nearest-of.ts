import type { PlanePoints } from '../../ops/points.js'

/**
 * The nearest of some candidates, by what `Nearest` of ops/points.ts says: a heap with the farthest of the nearest on top. One for many queries, since it holds `k` of them.
 */
export class NearestOf {
  readonly #points: PlanePoints
  readonly #order: Int32Array
  readonly #squared: Float64Array
  readonly #index: Int32Array
  #count = 0

  /** `order` says which points the candidates are. */
  constructor(points: PlanePoints, order: Int32Array, k: number) {
    this.#points = points
    this.#order = order
    this.#squared = new Float64Array(k)
    this.#index = new Int32Array(k)
  }

  /** Puts the k nearest of at least k candidates, places in `order`, into `index` and `squared`, nearest first. */
  find(query: number, candidates: Uint32Array, index: Int32Array, squared: Float64Array): void {
    const { x, y } = this.#points
    const [x0, y0] = [x[query]!, y[query]!]
    const k = this.#index.length
    this.#count = 0
    for (const at of candidates) {
      const point = this.#order[at]!
      const [dx, dy] = [x[point]! - x0, y[point]! - y0]
      const square = dx * dx + dy * dy
      if (this.#count < k) this.#rise(square, point)
      else if (square < this.#squared[0]! || (square === this.#squared[0]! && point < this.#index[0]!)) this.#sink(square, point)
    }
    for (let last = k - 1; last >= 0; last--) {
      index[last] = this.#index[0]!
      squared[last] = this.#squared[0]!
      this.#count = last
      this.#sink(this.#squared[last]!, this.#index[last]!)
    }
  }

  /** Adds one. */
  #rise(square: number, point: number): void {
    let place = this.#count++
    while (place > 0) {
      const above = (place - 1) >> 1
      if (!this.#isFarther(square, point, above)) break
      this.#move(above, place)
      place = above
    }
    this.#put(square, point, place)
  }

  /** Replaces the top. */
  #sink(square: number, point: number): void {
    let place = 0
    for (;;) {
      let below = 2 * place + 1
      if (below >= this.#count) break
      if (below + 1 < this.#count && this.#isFarther(this.#squared[below + 1]!, this.#index[below + 1]!, below)) below++
      if (this.#isFarther(square, point, below)) break
      this.#move(below, place)
      place = below
    }
    this.#put(square, point, place)
  }

  #isFarther(square: number, point: number, than: number): boolean {
    const other = this.#squared[than]!
    return square > other || (square === other && point > this.#index[than]!)
  }

  #move(from: number, to: number): void {
    this.#squared[to] = this.#squared[from]!
    this.#index[to] = this.#index[from]!
  }

  #put(square: number, point: number, place: number): void {
    this.#squared[place] = square
    this.#index[place] = point
  }
}
