import type { Nearest, PlanePoints } from '../../src/ops/points.js'

/** The nearest points as ops/points.ts says: all squared distances, sorted. */
export function referenceNearest({ x, y }: PlanePoints, at: Int32Array, k: number): Nearest {
  const found = { index: new Int32Array(at.length * k), squared: new Float64Array(at.length * k) }
  at.forEach((point, place) => {
    const squares = x.map((value, other) => (value - x[point]!) * (value - x[point]!) + (y[other]! - y[point]!) * (y[other]! - y[point]!))
    const sorted = Int32Array.from(squares.keys()).sort((a, b) => squares[a]! - squares[b]! || a - b).subarray(0, k)
    found.index.set(sorted, place * k)
    found.squared.set(Float64Array.from(sorted, (other) => squares[other]!), place * k)
  })
  return found
}
