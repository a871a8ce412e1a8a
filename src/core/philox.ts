/**
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a function from a counter of four words and a
 * key of two to four random words. Nothing is remembered, so any number of a sequence is computed without those before it, and the
 * same numbers come out in TypeScript, C++ (native/src/rows/philox.h) and WGSL. 32-bit arithmetic only.
 */

const MULTIPLIER_0 = 0xd2511f53
const MULTIPLIER_1 = 0xcd9e8d57
const WEYL_0 = 0x9e3779b9
const WEYL_1 = 0xbb67ae85
const ROUNDS = 10

/** Writes the four words of counter (c0 … c3) under key (k0, k1) to `out`. Words are unsigned 32-bit integers. */
export function philox4x32(c0: number, c1: number, c2: number, c3: number, k0: number, k1: number, out: Uint32Array): void {
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0)
    const high1 = multiplyHigh(MULTIPLIER_1, c2)
    const low0 = Math.imul(MULTIPLIER_0, c0)
    const low1 = Math.imul(MULTIPLIER_1, c2)
    c0 = high1 ^ c1 ^ k0
    c1 = low1
    c2 = high0 ^ c3 ^ k1
    c3 = low0
    k0 = (k0 + WEYL_0) | 0
    k1 = (k1 + WEYL_1) | 0
  }
  out[0] = c0
  out[1] = c1
  out[2] = c2
  out[3] = c3
}

/** The upper 32 bits of the 64-bit product. Every sum stays below 2^32. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16]
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16)
  const carry = aLow * bHigh + (middle & 0xffff)
  return aHigh * bHigh + (middle >>> 16) + (carry >>> 16)
}

/** The two words of a 64-bit seed, low word first. */
export function seedWords(seed: bigint): [low: number, high: number] {
  return [Number(BigInt.asUintN(32, seed)), Number(BigInt.asUintN(32, seed >> 32n))]
}

/**
 * Random numbers one after the other under one key. The counter's last three words say what they are for (an item, an op, a domain);
 * the first counts blocks of four words.
 */
export class Philox {
  readonly #key: readonly [number, number]
  readonly #purpose: readonly [number, number, number]
  readonly #words = new Uint32Array(4)
  #block = 0
  #next = 4

  constructor(key: readonly [number, number], purpose: readonly [number, number, number]) {
    this.#key = key
    this.#purpose = purpose
  }

  /** An integer from 0 to 2^32 - 1. */
  uint32(): number {
    if (this.#next === 4) {
      if (this.#block > 0xffffffff) throw new RangeError('a Philox counter of 2^34 numbers is used up')
      philox4x32(this.#block++, ...this.#purpose, ...this.#key, this.#words)
      this.#next = 0
    }
    return this.#words[this.#next++]!
  }

  /** One of the 2^24 multiples of 2^-24 in [0, 1), each exact in float32. */
  float32(): number {
    return (this.uint32() >>> 8) * 2 ** -24
  }

  /** One of the 2^53 multiples of 2^-53 in [0, 1), of two words. */
  float64(): number {
    const high = this.uint32() >>> 5
    return (high * 2 ** 26 + (this.uint32() >>> 6)) * 2 ** -53
  }

  /** An integer from 0 to n - 1, all equally likely; n from 1 to 2^32. */
  below(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) throw new RangeError(`n must be an integer from 1 to 2^32, not ${n}`)
    // The words above the last full multiple of n would favour small numbers.
    const limit = 2 ** 32 - 2 ** 32 % n
    for (;;) {
      const word = this.uint32()
      if (word < limit) return word % n
    }
  }
}
