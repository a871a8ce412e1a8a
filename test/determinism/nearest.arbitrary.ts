import fc from 'fast-check'
import type { PlanePoints } from '../../src/ops/points.js'

export interface Asked {
  readonly points: PlanePoints
  readonly at: Int32Array
  readonly k: number
}

/** Coordinates of one kind each: few values, so that points coincide; doubles of any size, whose squares over- and underflow; a cluster, with points beside it; a lattice of some scale, far from zero or not. */
const coordinate: fc.Arbitrary<fc.Arbitrary<number>> = fc.oneof(
  fc.constant(fc.integer({ min: -3, max: 3 })),
  fc.constant(fc.double({ noNaN: true, noDefaultInfinity: true })),
  fc.constant(fc.constant(0.1)),
  fc.double({ min: -1e3, max: 1e3, noNaN: true }).map((center) => fc.oneof({ weight: 9, arbitrary: fc.double({ min: -1e-9, max: 1e-9, noNaN: true }).map((apart) => center + apart) }, { weight: 1, arbitrary: fc.double({ min: -1e3, max: 1e3, noNaN: true }) })),
  fc.tuple(fc.integer({ min: -500, max: 500 }), fc.integer({ min: -60, max: 60 })).map(([exponent, offset]) => fc.integer({ min: 0, max: 40 }).map((step) => (offset + step) * 2 ** exponent)),
)

/** Points, and what is asked of them. */
export const asked: fc.Arbitrary<Asked> = fc.tuple(coordinate, coordinate, fc.integer({ min: 1, max: 300 })).chain(([x, y, count]) => fc.record({
  points: fc.record({ x: column(x, count), y: column(y, count) }),
  at: fc.array(fc.integer({ min: 0, max: count - 1 }), { maxLength: 20 }).map((all) => Int32Array.from(all)),
  k: fc.oneof(fc.integer({ min: 1, max: Math.min(count, 12) }), fc.integer({ min: 1, max: count })),
}))

function column(of: fc.Arbitrary<number>, count: number): fc.Arbitrary<Float64Array> {
  return fc.array(of, { minLength: count, maxLength: count }).map((values) => Float64Array.from(values))
}
