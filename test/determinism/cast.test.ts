import { describe, test } from 'vitest'
import { DTYPES, isReal, type DType, type TypedArray } from '../../src/core/dtype.js'
import { compilesSlowly } from '../support/gpu.js'
import { LONG, expectExact } from './compare.js'
import { castTo, chain } from './programs.js'
import { Random, anyBits } from './values.js'

const all = Object.keys(DTYPES) as DType[]
const pairs = all.flatMap((from) => all.filter((to) => isReal(from) === isReal(to)).map((to) => [from, to] as const))

const MODES = ['keep', 'zero', 'error'] as const
const GPU_FORM = LONG ? 'on GPUs too' : 'on GPUs in one mode per pair, where compiling is slow every third pair'

describe('casts are exact', () => {
  test.each(all)(`from %s to every dtype, any bits, in every mode; ${GPU_FORM}`, async (dtype) => {
    const random = new Random(11 + DTYPES[dtype].code)
    const n = LONG ? 20_000 : 1_500
    const values = anyBits(dtype, n, random)
    for (const [from, to] of pairs) {
      if (from !== dtype) continue
      for (const [m, nonFinite] of MODES.entries()) {
        // Modes take turns from one target to the next, and each source begins with another one.
        const turn = (DTYPES[from].code + DTYPES[to].code) % 3
        // Has pairs of all modes.
        const third = (DTYPES[from].code - DTYPES[to].code) % 3 === 0
        await expectExact(`${from} to ${to}, ${nonFinite}`, chain({ dtype: from, shape: [n] }, castTo(to, [n], nonFinite)), 1, [values],
          (one) => LONG || (turn === m && (third || !compilesSlowly(one))))
      }
    }
  })

  test(`at every length up to twice a register, several items${LONG ? '' : '; on GPUs at some'}`, async () => {
    const random = new Random(5)
    for (const [from, to] of [['float64', 'float32'], ['float32', 'float16'], ['float16', 'float32'], ['int16', 'float32'], ['float32', 'uint8'], ['int64', 'bfloat16'], ['float64', 'float16']] as const) {
      for (let n = 0; n <= 65; n++) {
        await expectExact(`${from} to ${to}, ${n}`, chain({ dtype: from, shape: [n] }, castTo(to, [n], 'zero')), 2, [anyBits(from, 2 * n, random)], () => LONG || n < 10 || n % 16 < 2)
      }
    }
  })

  test('split over threads, with faults in both halves', async () => {
    const n = 400_000
    const values = new Float64Array(n).map((_, i) => i / 7)
    values[399_999] = NaN
    values[70_001] = Infinity
    values[200_000] = 1e300
    await expectExact('float64 to float32', chain({ dtype: 'float64', shape: [n] }, castTo('float32', [n])), 1, [values])
    await expectExact('float64 to float32, zero', chain({ dtype: 'float64', shape: [n] }, castTo('float32', [n], 'zero')), 1, [values])
  })
})

describe('halves, all of them', () => {
  const bits = Uint16Array.from({ length: 65_536 }, (_, i) => i)
  test.each([['float16', 'float32'], ['float16', 'float64'], ['bfloat16', 'float32'], ['bfloat16', 'float64'], ['float16', 'bfloat16'], ['bfloat16', 'float16'], ['float16', 'int16'], ['bfloat16', 'uint64']] as const)('%s to %s', async (from, to) => {
    await expectExact(`${from} to ${to}`, chain({ dtype: from, shape: [65_536] }, castTo(to, [65_536], 'keep')), 1, [bits])
  })

  // Each half, the points half-way to its neighbour, and what lies next to them.
  test.each(['float16', 'bfloat16'] as const)('float32 and float64 around every %s', async (to) => {
    const shift = to === 'float16' ? 13 : 16
    const step = LONG ? 1 : 11
    const words: number[] = []
    for (let high = 0; high < 2 ** (32 - shift); high += step) {
      for (const low of [0, 1, 2 ** (shift - 1) - 1, 2 ** (shift - 1), 2 ** (shift - 1) + 1, 2 ** shift - 1]) words.push(high * 2 ** shift + low)
    }
    const single = new Float32Array(Uint32Array.from(words).buffer)
    await expectExact(`float32 to ${to}`, chain({ dtype: 'float32', shape: [single.length] }, castTo(to, [single.length], 'keep')), 1, [single])
    const exact = Float64Array.from(single)
    const double = new Float64Array(3 * exact.length)
    const patterns = new BigInt64Array(exact.buffer), out = new BigInt64Array(double.buffer)
    patterns.forEach((pattern, i) => { for (const d of [0, 1, 2]) out[3 * i + d] = pattern + BigInt(d - 1) })
    await expectExact(`float64 to ${to}`, chain({ dtype: 'float64', shape: [double.length] }, castTo(to, [double.length], 'keep')), 1, [double as TypedArray])
  })
})
