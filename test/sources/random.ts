/** Integers 0 … n-1 from a seed, the same on every run (xorshift32 behind a multiplication). */
export function random(seed: number): (n: number) => number {
  let state = (seed * 2654435761) >>> 0 || 1
  return (n) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return Math.floor((Math.imul(state, 0x9e3779b1) >>> 0) / 2 ** 32 * n)
  }
}
