import { describe, expect, test } from 'vitest'
import { native } from '../../src/native/load.js'
import { addNormal, normalOf } from '../../src/ops/random/normal.js'

const bits = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

describe('normal noise', () => {
  test.each([0, 1, 3, 4, 5, 31, 32, 33, 127, 4096, 100_003])('of %i elements is the same in TypeScript and C++, to the bit, and nothing is written beyond', (count) => {
    for (const [seed, numbers] of [[1, [1, 0]], [77, [0.013, -5]], [0xffffffff, [3e-39, 1e-40]], [5, [1e30, 0]]] as const) {
      const words = Uint32Array.of(seed, seed ^ 0x9e3779b9, 3, 2 ** 32 - 1, 0x61756733)
      const input = Float32Array.from({ length: count }, (_, k) => Math.sin(k * seed) * 10)
      const [plain, fast] = [new Float32Array(count + 8).fill(7), new Float32Array(count + 8).fill(7)]
      addNormal(input, plain.subarray(4, 4 + count), words, Float32Array.from(numbers))
      native().addNormal(input, fast.subarray(4, 4 + count), words, Float32Array.from(numbers))
      expect(Buffer.compare(bits(plain), bits(fast))).toBe(0)
      expect([...fast.subarray(0, 4), ...fast.subarray(-4)]).toEqual(Array(8).fill(7))
    }
  })

  test('mean, deviation, order and tails', () => {
    const values = Float64Array.from({ length: 2 ** 16 }, (_, k) => normalOf(k * 2 ** 16 + 2 ** 15))
    expect(Math.abs(values.reduce((sum, value) => sum + value, 0) / values.length)).toBeLessThan(1e-6)
    expect(values.reduce((sum, value) => sum + value * value, 0) / values.length).toBeCloseTo(1, 3)
    expect(values.subarray(1).every((value, k) => value > values[k]!)).toBe(true)
    // Quantiles of the standard normal distribution.
    for (const [p, z] of [[0.5, 0], [0.8413447460685429, 1], [0.9772498680518208, 2], [0.9986501019683699, 3], [0.9999683287581669, 4], [0.00003167124183311986, -4], [0.025, -1.959963984540054]] as const) expect(normalOf(Math.floor(p * 2 ** 32))).toBeCloseTo(z, 4)
    expect(normalOf(0)).toBeCloseTo(-6.33796, 4)
    expect(normalOf(2 ** 32 - 1)).toBe(-normalOf(0))
  })

  test('arrays that do not fit are refused', () => {
    const words = new Uint32Array(5)
    expect(() => native().addNormal(new Float32Array(4), new Float32Array(5), words, new Float32Array(2))).toThrow(/differ in length/)
    expect(() => native().addNormal(new Float32Array(4), new Float32Array(4), new Uint32Array(4), new Float32Array(2))).toThrow(/three of the counter/)
    expect(() => native().addNormal(new Float32Array(4), new Float32Array(4), words, new Float32Array(1))).toThrow(/scale and shift/)
    expect(() => native().addNormal(new Float64Array(4) as never, new Float32Array(4), words, new Float32Array(2))).toThrow(/Float32Array/)
  })
})
