import { philox4x32, seedWords } from './philox.js'

/**
 * The order of a shuffled epoch, computed index by index: a permutation of 0 … n-1 chosen by (seed, epoch) that needs no memory and no
 * earlier positions. native/src/rows/shuffle.cc computes the same numbers; tests compare the two.
 *
 * A position is a pair (left, right) of a rectangle a × b that has at least n places. Each round adds a Philox word that depends on one half to the
 * other half, which can be undone, so all rounds together are a permutation of the rectangle. Where it leaves 0 … n-1 it is applied
 * again until it is back inside: that is a permutation of 0 … n-1.
 */

/** Larger n would not fit the 32-bit words of the halves' arithmetic. */
export const SHUFFLE_MAX = 2 ** 40

// 8 rounds where each half has 16 values or more; small rectangles mix slowly (measured at n = 6: 12 rounds are visibly uneven over the 720 orders).
const ROUNDS = 8
const ROUNDS_SMALL = 32
const SMALL = 256
/** "shuf": keeps these counters apart from all others under the same seed. */
const DOMAIN = 0x73687566

const words = new Uint32Array(4)

/** The index that comes at `position` of the epoch; 0 ≤ position < n ≤ 2^40, epoch < 2^32. */
export function shuffledIndex(n: number, seed: bigint, epoch: number, position: number): number {
  if (!Number.isInteger(n) || n < 1 || n > SHUFFLE_MAX) throw new RangeError(`n must be an integer from 1 to 2^40, not ${n}`)
  if (!Number.isInteger(epoch) || epoch < 0 || epoch > 0xffffffff) throw new RangeError(`epoch must be an integer from 0 to 2^32 - 1, not ${epoch}`)
  if (!Number.isInteger(position) || position < 0 || position >= n) throw new RangeError(`position must be an integer from 0 to ${n - 1}, not ${position}`)
  const [k0, k1] = seedWords(seed)
  const { a, b } = rectangle(n)
  const rounds = n < SMALL ? ROUNDS_SMALL : ROUNDS
  let place = position
  do {
    let left = Math.floor(place / b)
    let right = place - left * b
    for (let round = 0; round < rounds; round += 2) {
      left = (left + draw(right, epoch, round, k0, k1, a)) % a
      right = (right + draw(left, epoch, round + 1, k0, k1, b)) % b
    }
    place = left * b + right
  } while (place >= n)
  return place
}

/** A nearly square rectangle. b is even because with two odd sides only half of all orders (the even permutations) would be reached. */
function rectangle(n: number): { a: number; b: number } {
  const a = Math.ceil(Math.sqrt(n))
  const b = Math.ceil(n / a)
  return { a, b: b + b % 2 }
}

/** An integer below `limit` ≤ 2^21: the upper part of word × limit, which is exact in a double. */
function draw(half: number, epoch: number, round: number, k0: number, k1: number, limit: number): number {
  philox4x32(half, epoch, round, DOMAIN, k0, k1, words)
  return Math.floor(words[0]! * limit / 2 ** 32)
}
