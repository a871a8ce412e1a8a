import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SHUFFLE_MAX, shuffledIndex } from '../../src/core/shuffle.js'
import { native } from '../../src/native/load.js'

function order(n: number, seed: bigint, epoch: number): number[] {
  return Array.from({ length: n }, (_, position) => shuffledIndex(n, seed, epoch, position))
}

function nativeOrder(n: number, seed: bigint, epoch: number, start: number, count: number): number[] {
  const out = new Float64Array(count)
  native().shuffleIndices(n, seed, epoch, start, out)
  return Array.from(out)
}

const nearPowersOfTwo = [16, 64, 256, 1024, 4096].flatMap((power) => [power - 1, power, power + 1])

test('the order of n = 1000, seed 42, epoch 0 is pinned', () => {
  const pinned = '567 676 829 304 846 81 79 475 555 799'
  const message = 'If this fails, the order of every shuffled epoch changes: runs cannot be continued or repeated. Make a new order under a new name instead.'
  expect(order(1000, 42n, 0).slice(0, 10).join(' '), message).toBe(pinned)
  expect(nativeOrder(1000, 42n, 0, 0, 10).join(' '), message).toBe(pinned)
})

describe('a permutation', () => {
  test.each([...Array.from({ length: 40 }, (_, k) => k + 1), 97, 101, 251, 257, 1009, ...nearPowersOfTwo])('of %i', (n) => {
    for (const [seed, epoch] of [[0n, 0], [42n, 1], [2n ** 64n - 1n, 0xffffffff]] as const) {
      expect(new Set(order(n, seed, epoch))).toEqual(new Set(Array.from({ length: n }, (_, k) => k)))
    }
  })

  test('of millions (native)', () => {
    const n = 3_000_017
    const seen = new Uint8Array(n)
    const out = new Float64Array(n)
    native().shuffleIndices(n, 5n, 2, 0, out)
    for (const index of out) seen[index]!++
    expect(seen.every((count) => count === 1)).toBe(true)
  })
})

describe('the native form', () => {
  test('gives the same numbers, wherever it starts and however many it is asked for', () => {
    fc.assert(fc.property(
      fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: SHUFFLE_MAX }), fc.constantFrom(1, 2, 3, 255, 256, 257, 2 ** 32, 2 ** 39 + 1, SHUFFLE_MAX - 1, SHUFFLE_MAX)),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.integer({ min: 0, max: 0xffffffff }), fc.nat(), fc.integer({ min: 0, max: 20 }),
      (n, seed, epoch, from, most) => {
        const start = from % n
        const count = Math.min(most, n - start)
        expect(nativeOrder(n, seed, epoch, start, count)).toEqual(Array.from({ length: count }, (_, k) => shuffledIndex(n, seed, epoch, start + k)))
      },
    ), { numRuns: 500, seed: 1 })
  })

  test('refuses what lies outside', () => {
    expect(() => nativeOrder(10, 0n, 0, 5, 6)).toThrow(RangeError)
    expect(() => nativeOrder(0, 0n, 0, 0, 0)).toThrow(RangeError)
    expect(() => nativeOrder(SHUFFLE_MAX + 1, 0n, 0, 0, 1)).toThrow(RangeError)
    expect(() => nativeOrder(10, 0n, 2 ** 32, 0, 1)).toThrow(RangeError)
    expect(() => native().shuffleIndices(10, 0 as never, 0, 0, new Float64Array(1))).toThrow(TypeError)
    expect(() => native().shuffleIndices(10, 0n, 0, 0, new Float32Array(1) as never)).toThrow(TypeError)
  })
})

describe('chance', () => {
  // Upper limits of chi-square by Wilson and Hilferty, 4.3 standard deviations: passed by chance once in 100,000.
  const limit = (freedom: number): number => freedom * (1 - 2 / (9 * freedom) + 4.3 * Math.sqrt(2 / (9 * freedom))) ** 3

  test.each([[2, 20_000], [3, 20_000], [4, 40_000], [5, 40_000], [6, 100_000]])('all orders of %i come equally often', (n, seeds) => {
    const counts = new Map<string, number>()
    for (let seed = 0; seed < seeds; seed++) {
      const name = nativeOrder(n, BigInt(seed), 0, 0, n).join()
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    let orders = 1
    for (let k = 2; k <= n; k++) orders *= k
    const expected = seeds / orders
    let square = (orders - counts.size) * expected
    for (const count of counts.values()) square += (count - expected) ** 2 / expected
    expect(square).toBeLessThan(limit(orders - 1))
  })

  // 9 and 25 are squares of odd numbers: without an even side of the rectangle only even permutations would come.
  test.each([7, 8, 9, 10, 25, 49, 300])('odd and even permutations of %i come equally often', (n) => {
    const rounds = 4000
    let odd = 0
    for (let seed = 0; seed < rounds; seed++) odd += parity(nativeOrder(n, BigInt(seed), 3, 0, n))
    expect(Math.abs(odd - rounds / 2)).toBeLessThan(4.3 * Math.sqrt(rounds) / 2)
  })

  test.each([7, 10, 16, 100, 256, 1000])('every index of %i comes at every position, over epochs', (n) => {
    const epochs = 100 * Math.min(n, 100)
    const bins = Math.min(n, 100)
    const counts = new Float64Array(bins * bins)
    const expected = new Float64Array(bins * bins)
    for (let epoch = 0; epoch < epochs; epoch++) {
      nativeOrder(n, 9n, epoch, 0, n).forEach((index, position) => { counts[Math.floor(index * bins / n) * bins + Math.floor(position * bins / n)]!++ })
    }
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) expected[Math.floor(i * bins / n) * bins + Math.floor(j * bins / n)]! += epochs / n
    const square = counts.reduce((sum, count, bin) => sum + (count - expected[bin]!) ** 2 / expected[bin]!, 0)
    expect(square).toBeLessThan(limit((bins - 1) ** 2))
  })

  test('the distance between neighbours is that of independent draws', () => {
    const n = 100_003
    const indices = nativeOrder(n, 123n, 7, 0, n)
    const steps = new Float64Array(50)
    for (let k = 1; k < n; k++) steps[Math.floor(((indices[k]! - indices[k - 1]! + n) % n) * 50 / n)]!++
    const square = steps.reduce((sum, count) => sum + (count - (n - 1) / 50) ** 2 / ((n - 1) / 50), 0)
    expect(square).toBeLessThan(limit(49))
  })

  test('seeds and epochs that differ in one bit give unrelated orders', () => {
    const n = 10_000
    const base = nativeOrder(n, 77n, 4, 0, n)
    for (const [seed, epoch] of [[76n, 4], [77n, 5], [77n, 4 + 2 ** 31], [77n + 2n ** 32n, 4], [77n + 2n ** 63n, 4]] as const) {
      const equal = nativeOrder(n, seed, epoch, 0, n).filter((index, position) => index === base[position]).length
      // One agreement is expected; twelve come once in a billion.
      expect(equal).toBeLessThan(12)
    }
  })

  /** 1 for a permutation of an odd number of exchanges. */
  function parity(permutation: number[]): number {
    const seen = new Set<number>()
    let cycles = 0
    for (let start = 0; start < permutation.length; start++) {
      if (seen.has(start)) continue
      cycles++
      for (let at = start; !seen.has(at); at = permutation[at]!) seen.add(at)
    }
    return (permutation.length - cycles) % 2
  }
})

test.each([[0, 0, 0], [-1, 0, 0], [1.5, 0, 0], [SHUFFLE_MAX + 1, 0, 0], [10, -1, 0], [10, 0.5, 0], [10, 2 ** 32, 0], [10, 0, 10], [10, 0, -1], [10, 0, 0.5]])('n %d, epoch %d, position %d is refused', (n, epoch, position) => {
  expect(() => shuffledIndex(n, 0n, epoch, position)).toThrow(RangeError)
})
