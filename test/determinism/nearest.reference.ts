import type { Nearest, PlanePoints } from '../../src/ops/points.js'
import type { Random } from './values.js'

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

/** Points whose coordinates are made one after the other, x before y. */
export function pointsOf(count: number, coordinates: (k: number) => readonly [number, number]): PlanePoints {
  const made = Array.from({ length: count }, (_, k) => coordinates(k))
  return { x: Float64Array.from(made, ([x]) => x), y: Float64Array.from(made, ([, y]) => y) }
}

/** Points that make it hard to say which are near: ties, distances that differ in the last bit, coordinates far from zero. */
export function hardPoints(random: Random): Readonly<Record<string, PlanePoints>> {
  const unit = (): number => random.unit()
  const fine = (): number => (random.bits() + random.bits() * 2 ** -32) * 2 ** -32
  const even = (scale: number, from = 0, count = 1500): PlanePoints => pointsOf(count, () => [from + scale * fine(), from + scale * fine()])
  return {
    'random': even(1),
    'on a lattice, with ties': pointsOf(1600, (k) => [k % 40, Math.floor(k / 40)]),
    'on a lattice, all twice': pointsOf(1600, (k) => [(k >> 1) % 40, Math.floor(k / 80)]),
    'almost on a lattice': pointsOf(1600, (k) => [k % 40 + 1e-9 * unit(), Math.floor(k / 40) + 1e-12 * unit()]),
    'almost on a circle': pointsOf(60, (k) => k === 0 ? [0, 0] : [Math.cos(k) * (1 + 1e-14 * unit()), Math.sin(k)]),
    'far from zero': even(1, 1e9),
    'so far from zero that few doubles are left': even(1, 2 ** 46),
    'below zero, and above': even(2, -1),
    'huge': even(2 ** 499),
    'tiny': even(2 ** -399),
    'tiny, and far from zero': even(2 ** -20, 1),
    'on a level line': pointsOf(1500, () => [unit(), 3]),
    'on a plumb line': pointsOf(1500, () => [-1e5, unit()]),
    'on an oblique line': pointsOf(1500, () => { const along = unit(); return [along, 0.1 * along] }),
    'dense in places': pointsOf(1500, (k) => [(k % 5) / 5 + fine() ** 4 * 0.02, fine() ** 2]),
  }
}
