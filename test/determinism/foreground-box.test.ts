import { describe, expect, test } from 'vitest'
import { DTYPES, type DType, type TypedArray } from '../../src/core/dtype.js'
import { keysAbove } from '../../src/devices/keys.js'
import { decode, isGreater } from '../reference/numbers.js'
import { LONG, expectExact } from './compare.js'
import { boxed, chain } from './programs.js'
import { Random, anyBits } from './values.js'

const DTYPES_OF_NUMBERS = (Object.keys(DTYPES) as DType[]).filter((dtype) => DTYPES[dtype].kind !== 'complex')
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
const ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]

const THRESHOLDS: readonly number[] = [
  0, -0, 0.5, -0.5, 1, -1, 126.5, 127, 128, -128, -128.5, 254.5, 255, 32_767, -32_768, 65_503.9, 65_504, 65_519, 65_535, 2 ** 31 - 1, -(2 ** 31), 2 ** 32 - 1, 2 ** 53, 2 ** 53 + 2, 2 ** 63, -(2 ** 63), 2 ** 63 - 1024, 2 ** 64,
  2 ** 64 - 2048, 2 ** -24, 2 ** -25, 2 ** -126, 2 ** -133, 2 ** -149, 2 ** -150, -(2 ** -149), 2 ** -1074, -(2 ** -1074), 1 + 2 ** -23, 1 + 2 ** -24, 3.4028234663852886e38, 3.4028234663852886e38 * (1 + 2 ** -52), 1e39, -1e39, 1.7976931348623157e308,
  -1.7976931348623157e308, Infinity, -Infinity, NaN,
]

/** Any numbers, few of which are among `threshold` and what lies next to it. */
function sparse(dtype: DType, n: number, random: Random): TypedArray {
  const { array, size } = DTYPES[dtype]
  const out = new array(new ArrayBuffer(n * size), 0, n)
  const any = anyBits(dtype, n, random)
  // One in so many is not zero.
  const rare = random.pick([1, 3, 20, n])
  for (let i = 0; i < n; i++) if (random.below(rare) === 0) out[i] = any[i]!
  return out
}

describe('a threshold is a range of keys', () => {
  const bits = new DataView(new ArrayBuffer(8))
  const exact = (value: number) => {
    bits.setFloat64(0, value)
    return decode('float64', bits.getBigUint64(0))
  }

  test.each(DTYPES_OF_NUMBERS)('%s: what is in it is greater, and nothing else', (dtype) => {
    const { size, kind } = DTYPES[dtype]
    const all = (1n << BigInt(8 * size)) - 1n, sign = 1n << BigInt(8 * size - 1)
    const keyOf = (element: bigint): bigint => kind === 'bool' || kind === 'uint' ? element : kind === 'float' && (element & sign) !== 0n ? element ^ all : element ^ sign
    const random = new Random(257)
    const some = size <= 2 && dtype !== 'bool'
      ? Array.from({ length: 2 ** (8 * size) }, (_, i) => BigInt(i))
      : Array.from({ length: 3000 }, () => ((BigInt(random.bits()) << 32n) | BigInt(random.bits())) & all)
    for (const threshold of THRESHOLDS) {
      const [first, last] = keysAbove(dtype, threshold)
      const limit = exact(threshold)
      // Both ends, and their neighbours outside: the elements that have these keys.
      const ends = [first - 1n, first, last, last + 1n].filter((key) => key >= 0n && key <= all).map((key) => kind === 'bool' || kind === 'uint' ? key : kind === 'float' && key < sign ? key ^ all : key ^ sign)
      const wrong = [...ends, ...size <= 2 && !LONG ? some.filter((_, i) => i % 7 === 0) : some].filter((element) => isGreater(decode(dtype, element), limit) !== (keyOf(element) >= first && keyOf(element) <= last))
      expect(wrong.map((element) => element.toString(16)), `above ${threshold}`).toEqual([])
    }
  })
})

describe('boxes are exact', () => {
  test.each(DTYPES_OF_NUMBERS)(`of %s, of every shape, order of axes and threshold${LONG ? '' : '; on GPUs every fourth'}`, async (dtype: DType) => {
    const random = new Random(263)
    for (let round = 0; round < (LONG ? 400 : 60); round++) {
      const inner = Array.from({ length: 3 }, () => random.pick([1, 2, 3, 5, 8, 17]))
      const at = random.below(4)
      const others = Array.from({ length: random.below(3) }, () => random.pick([1, 2, 3]))
      // The other axes lie before, among or after the three.
      const shape = [...inner.slice(0, at), ...others, ...inner.slice(at)]
      const places = inner.map((_, k) => k < at ? k : k + others.length)
      const axes = random.pick(ORDERS).map((k) => places[k]!)
      const threshold = random.pick([0, 0, 1, ...THRESHOLDS])
      const onGpu = round % 4 === 0
      await expectExact(`[${shape}] along [${axes}] above ${threshold}`, chain({ dtype, shape }, boxed(axes, threshold)), 3, [sparse(dtype, 3 * product(shape), random)], () => LONG || onGpu)
    }
  })

  test('with one element, at either end of rows of every length up to twice a register and over several blocks', async () => {
    for (const length of [...Array.from({ length: 70 }, (_, i) => i + 1), 127, 128, 129, 255, 256, 257, 511, 513]) {
      const shape = [2, 1, length]
      for (const at of [[0], [length - 1], [length], [2 * length - 1], [0, 2 * length - 1], []]) {
        const values = new Int16Array(2 * length)
        for (const i of at) values[i] = 7
        const { outputs: [box] } = await expectExact(`${length}, ${at}`, chain({ dtype: 'int16', shape }, boxed([0, 1, 2], 6.5)), 1, [values], () => length % 16 <= 1)
        const rows = at.map((i) => Math.floor(i / length)), columns = at.map((i) => i % length)
        expect([...box!]).toEqual(at.length === 0 ? [0, 0, 0, 0, 0, 0] : [Math.min(...rows), 0, Math.min(...columns), Math.max(...rows) + 1, 1, Math.max(...columns) + 1])
      }
    }
  })

  test('of items worth more than one thread, each with a box of its own', async () => {
    const random = new Random(269)
    const shape = [61, 67, 71, 2]
    const n = product(shape)
    for (const lit of [1, 2, 40]) {
      const values = new Float32Array(2 * n).fill(-1)
      for (let k = 0; k < 2 * lit; k++) values[(k % 2) * n + random.below(n)] = 2 ** -149
      values[random.below(2 * n)] = NaN
      await expectExact(`${lit} elements`, chain({ dtype: 'float32', shape }, boxed([1, 2, 0], 0)), 2, [values])
    }
  })

  test('of nothing', async () => {
    for (const shape of [[0, 2, 3], [2, 0, 3], [2, 3, 0], [2, 3, 4, 0], [0, 2, 3, 4]]) {
      const { outputs: [box] } = await expectExact(`[${shape}]`, chain({ dtype: 'uint8', shape }, boxed([0, 1, 2], -1)), 2, [new Uint8Array(0)])
      expect([...box!]).toEqual(Array.from({ length: 12 }, () => 0))
    }
  })
})
