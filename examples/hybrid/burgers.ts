// Burgers' equation u_t + (u²/2)_x = ν u_xx on a ring of length 1: waves steepen into fronts that viscosity keeps from breaking. Two ways to follow it.

export const CELLS = 64
export const FRAMES = 11
/** Time between two frames, viscosity. */
export const [STEP, NU] = [0.02, 0.005]
/** The solver's cells to one of a field. */
const FINER = 4
/** Steps that are stable are below 1. */
export const COURANT = 0.4
/** Neighbours on either side that the fitted model looks at: a wave passes 1.3 cells in a step. */
const REACH = 3

/** A few waves of random height and place; `seed` decides. */
export function initial(seed: number): Float64Array {
  let state = (seed + 1) * 2654435761 >>> 0
  const random = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  const waves = [1, 2, 3].map((count) => ({ count, height: (random() - 0.5) / count, phase: 2 * Math.PI * random() }))
  return Float64Array.from({ length: CELLS * FINER }, (_, i) => waves.reduce((sum, { count, height, phase }) => sum + height * Math.sin(2 * Math.PI * count * (i + 0.5) / (CELLS * FINER) + phase), 0.3))
}

/** The physical model: finite volumes with the local Lax-Friedrichs flux, two-stage Runge-Kutta. Frames [count, CELLS]. Throws when it diverges. */
export function solve(start: Float64Array, courant: number, { count = FRAMES, nu = NU } = {}): Float32Array {
  let u = start.slice()
  const dx = 1 / u.length
  const frames = new Float32Array(count * CELLS)
  frames.set(coarse(u))
  for (let frame = 1; frame < count; frame++) {
    for (let left = STEP; left > 1e-12;) {
      const fastest = u.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6)
      if (!(fastest < 1e3)) throw new Error(`the solver diverged: time steps of ${courant} of the stable ones are too long`)
      const dt = Math.min(left, courant * Math.min(dx / fastest, dx * dx / (2 * nu)))
      const once = advance(u, dx, dt, nu)
      const twice = advance(once, dx, dt, nu)
      u = u.map((value, i) => (value + twice[i]!) / 2)
      left -= dt
    }
    frames.set(coarse(u), frame * CELLS)
  }
  return frames
}

function advance(u: Float64Array, dx: number, dt: number, nu: number): Float64Array {
  const n = u.length
  // Through the right side of each cell.
  const flux = u.map((a, i) => {
    const b = u[(i + 1) % n]!
    return (a * a + b * b) / 4 - Math.max(Math.abs(a), Math.abs(b)) * (b - a) / 2 - nu * (b - a) / dx
  })
  return u.map((value, i) => value - dt / dx * (flux[i]! - flux[(i + n - 1) % n]!))
}

function coarse(u: Float64Array): Float32Array {
  return Float32Array.from({ length: CELLS }, (_, i) => u.subarray(i * FINER, (i + 1) * FINER).reduce((sum, value) => sum + value, 0) / FINER)
}

/** The synthetic model: what a cell becomes in a step is a sum over powers and products of its neighbours, with weights fitted to what the solver did. */
export type Weights = Float64Array

function features(u: ArrayLike<number>, at: number, i: number): number[] {
  const near = Array.from({ length: 2 * REACH + 1 }, (_, k) => u[at + (i + k - REACH + CELLS) % CELLS]!)
  return near.flatMap((value, k) => [value, value * value, value * near[(k + 1) % near.length]!, value ** 3])
}

/** Least squares with a little ridge, over all steps of these frames. */
export function fit(fields: readonly Float32Array[]): Weights {
  const n = 4 * (2 * REACH + 1)
  const matrix = Array.from({ length: n }, (_, i) => Float64Array.from({ length: n + 1 }, (_, j) => i === j ? 1e-6 : 0))
  for (const field of fields) {
    for (let frame = 0; frame + 1 < FRAMES; frame++) {
      for (let i = 0; i < CELLS; i++) {
        const x = features(field, frame * CELLS, i)
        const change = field[(frame + 1) * CELLS + i]! - field[frame * CELLS + i]!
        for (let a = 0; a < n; a++) {
          for (let b = 0; b < n; b++) matrix[a]![b]! += x[a]! * x[b]!
          matrix[a]![n]! += x[a]! * change
        }
      }
    }
  }
  for (let a = 0; a < n; a++) {
    for (let row = 0; row < n; row++) {
      if (row === a) continue
      const factor = matrix[row]![a]! / matrix[a]![a]!
      for (let b = a; b <= n; b++) matrix[row]![b]! -= factor * matrix[a]![b]!
    }
  }
  return Float64Array.from(matrix, (row, a) => row[n]! / row[a]!)
}

/** Frames [FRAMES, CELLS] from the first of them. */
export function predict(weights: Weights, first: Float32Array): Float32Array {
  const frames = new Float32Array(FRAMES * CELLS)
  frames.set(first.subarray(0, CELLS))
  for (let frame = 1; frame < FRAMES; frame++) {
    const at = (frame - 1) * CELLS
    for (let i = 0; i < CELLS; i++) frames[at + CELLS + i] = frames[at + i]! + features(frames, at, i).reduce((sum, value, k) => sum + value * weights[k]!, 0)
  }
  return frames
}

/** The first frame of a solution, without solving. */
export function firstFrame(start: Float64Array): Float32Array {
  return coarse(start)
}

/** How much steeper the steepest slope became: a front that the synthetic model has to get right. */
export function steepening(field: Float32Array): number {
  const steepest = (at: number): number => Array.from({ length: CELLS }, (_, i) => Math.abs(field[at + (i + 1) % CELLS]! - field[at + i]!)).reduce((a, b) => Math.max(a, b))
  return steepest((FRAMES - 1) * CELLS) / steepest(0)
}

/** ‖a - b‖ / ‖b‖ of the last frames. */
export function deviation(a: Float32Array, b: Float32Array): number {
  const [last, true_] = [a, b].map((field) => field.subarray((FRAMES - 1) * CELLS)) as [Float32Array, Float32Array]
  return Math.sqrt(last.reduce((sum, value, i) => sum + (value - true_[i]!) ** 2, 0) / true_.reduce((sum, value) => sum + value * value, 0))
}
