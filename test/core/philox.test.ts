import { describe, expect, test } from 'vitest'
import { Philox, philox4x32, seedWords } from '../../src/core/philox.js'

const words = (counter: readonly number[], key: readonly number[]): string[] => {
  const out = new Uint32Array(4)
  philox4x32(counter[0]!, counter[1]!, counter[2]!, counter[3]!, key[0]!, key[1]!, out)
  return Array.from(out, (word) => word.toString(16).padStart(8, '0'))
}

/** The same function with bigints, straight from the paper. */
function reference(counter: readonly number[], key: readonly number[]): string[] {
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint]
  let [k0, k1] = key.map(BigInt) as [bigint, bigint]
  const low = (x: bigint): bigint => x & 0xffffffffn
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2]
    ;[c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, low(p1), (p0 >> 32n) ^ c3 ^ k1, low(p0)]
    ;[k0, k1] = [low(k0 + 0x9e3779b9n), low(k1 + 0xbb67ae85n)]
  }
  return [c0, c1, c2, c3].map((word) => word.toString(16).padStart(8, '0'))
}

describe('philox4x32', () => {
  test.each([
    // kat_vectors of Random123 1.14, philox4x32 10.
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ])('known answer %#', (counter, key, expected) => {
    expect(words(counter, key).join(' ')).toBe(expected)
  })

  test('equals the bigint form on words with awkward bits', () => {
    const awkward = [0, 1, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffff0000, 0xffffffff, 0xd2511f53, 0x12345678]
    for (let k = 0; k < 2000; k++) {
      const pick = (salt: number): number => awkward[(k * salt + (k >> 3)) % awkward.length]! ^ (k % 5 === 0 ? Math.imul(k, salt) : 0)
      const unsigned = [3, 7, 11, 13, 17, 19].map((salt) => pick(salt) >>> 0)
      expect(words(unsigned.slice(0, 4), unsigned.slice(4))).toEqual(reference(unsigned.slice(0, 4), unsigned.slice(4)))
    }
  })
})

describe('Philox', () => {
  test('gives the words of counters 0, 1, 2, … in order', () => {
    const philox = new Philox([1, 2], [3, 4, 5])
    const got = Array.from({ length: 10 }, () => philox.uint32().toString(16).padStart(8, '0'))
    expect(got).toEqual([...words([0, 3, 4, 5], [1, 2]), ...words([1, 3, 4, 5], [1, 2]), ...words([2, 3, 4, 5], [1, 2])].slice(0, 10))
  })

  test('float32 lies in [0, 1), is exact in float32 and evenly spread', () => {
    const philox = new Philox([7, 0], [0, 0, 0])
    let sum = 0
    const bins = Array.from({ length: 64 }, () => 0)
    for (let k = 0; k < 64_000; k++) {
      const value = philox.float32()
      expect(value >= 0 && value < 1 && Math.fround(value) === value).toBe(true)
      sum += value
      bins[Math.floor(value * 64)]!++
    }
    expect(Math.abs(sum / 64_000 - 0.5)).toBeLessThan(0.005)
    // 63 degrees of freedom: 120 is beyond 1 in 100,000.
    expect(bins.reduce((total, count) => total + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(120)
  })

  test.each([1, 2, 3, 6, 7, 1000, 2 ** 31 + 1, 2 ** 32 - 1, 2 ** 32])('below(%i) stays below and is evenly spread', (n) => {
    const philox = new Philox([11, n % 1000], [0, 0, 0])
    const bins = Array.from({ length: Math.min(n, 8) }, () => 0)
    for (let k = 0; k < 16_000; k++) {
      const value = philox.below(n)
      if (!Number.isInteger(value) || value < 0 || value >= n) throw new Error(`${value} is not below ${n}`)
      bins[Math.floor(value * bins.length / n)]!++
    }
    const expected = bins.map((_, bin) => 16_000 * (Math.ceil(n * (bin + 1) / bins.length) - Math.ceil(n * bin / bins.length)) / n)
    // 7 degrees of freedom: 36 is beyond 1 in 100,000. With the bias of a plain remainder, n = 2^31 + 1 gives thousands.
    expect(bins.reduce((total, count, bin) => total + (count - expected[bin]!) ** 2 / expected[bin]!, 0)).toBeLessThan(36)
  })

  test.each([0, -1, 1.5, NaN, 2 ** 32 + 1])('below(%d) is refused', (n) => {
    expect(() => new Philox([0, 0], [0, 0, 0]).below(n)).toThrow(RangeError)
  })
})

test('seedWords splits 64 bits, low word first', () => {
  expect(seedWords(0x1_0000_0002n)).toEqual([2, 1])
  expect(seedWords(2n ** 64n - 1n)).toEqual([0xffffffff, 0xffffffff])
  expect(seedWords(-1n)).toEqual([0xffffffff, 0xffffffff])
})
