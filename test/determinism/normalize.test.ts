import { describe, test } from 'vitest'
import type { DType } from '../../src/core/dtype.js'
import type { NormalizeStep } from '../../src/ops/program.js'
import { LONG, expectExact } from './compare.js'
import { chain, normalized } from './programs.js'
import { Random, anyBits, floats, type Flavour } from './values.js'

const SIZES = [0, 1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 511, 512, 513, 2047, 2048, 2049, 4095, 4096, 4097, 8192, 8193, 12_289]
const MODES: readonly Partial<NormalizeStep>[] = [
  { statistics: 'moments' },
  { statistics: 'moments', nonzero: true, eps: 0.5 },
  { statistics: 'moments', clip: true, toLow: -1, toHigh: 1 },
  { statistics: 'extrema', toLow: -1, toHigh: 1 },
  { statistics: 'quantiles', quantileLow: 0.005, quantileHigh: 0.995, clip: true },
  { statistics: 'quantiles', quantileLow: 0.5, quantileHigh: 1, toLow: 3, toHigh: 2 ** -130 },
]
const name = (mode: Partial<NormalizeStep>): string => JSON.stringify(mode)

describe('normalisation is exact', () => {
  test.each(['plain', 'edges', 'cancel'] as const)('float32, every block edge, %s', async (flavour: Flavour) => {
    const random = new Random(61)
    for (const n of SIZES) {
      const values = floats(n, random, flavour)
      for (const mode of MODES) await expectExact(`${n} ${name(mode)}`, chain({ dtype: 'float32', shape: [n] }, normalized([n], mode)), 1, [values])
    }
  })

  test.each(['bool', 'int8', 'uint8', 'int16', 'uint16'] as const)('%s sums in integers', async (dtype: DType) => {
    const random = new Random(67)
    for (const n of [0, 1, 2, 31, 65, 4095, 4097, 10_000]) {
      for (const mode of MODES) await expectExact(`${n} ${name(mode)}`, chain({ dtype, shape: [n] }, normalized([n], mode)), 1, [anyBits(dtype, n, random)])
    }
  })

  test(`groups, items, and members of length 0 to 35${LONG ? '' : '; on GPUs some of them'}`, async () => {
    const random = new Random(71)
    for (let members = 0; members <= 35; members++) {
      for (const mode of MODES) {
        const shape = [3, members]
        // A kernel knows no registers; what matters to it is a block.
        const onGpu = LONG || members % 7 < 2
        await expectExact(`3 × ${members} ${name(mode)}`, chain({ dtype: 'float32', shape }, normalized(shape, { groups: 3, members, ...mode })), 2, [floats(6 * members, random, 'edges')], () => onGpu)
      }
    }
  })

  test('constants, zeros, ties and huge offsets', async () => {
    const groups: Record<string, Float32Array> = {
      constant: new Float32Array(5000).fill(0.1),
      zeros: new Float32Array(5000),
      ties: Float32Array.from({ length: 5000 }, (_, i) => i % 3),
      offset: Float32Array.from({ length: 5000 }, (_, i) => 1e7 + i % 5),
      ramp: Float32Array.from({ length: 5000 }, (_, i) => i * 1e-3),
      tiny: new Float32Array(5000).fill(2 ** -126),
      sparse: Float32Array.from({ length: 5000 }, (_, i) => i % 97 === 0 ? i : 0),
    }
    for (const [kind, values] of Object.entries(groups)) {
      for (const mode of MODES) await expectExact(`${kind} ${name(mode)}`, chain({ dtype: 'float32', shape: [5000] }, normalized([5000], mode)), 1, [values])
    }
  })

  test('given parameters, tiny ones among them, and faults', async () => {
    const random = new Random(73)
    const each = Float32Array.from({ length: 6 * 300 }, (_, i) => (i % 6 === 2 ? 1 : i % 6 === 1 ? 2 ** -30 : 1) * (i % 97 - 48) / 7)
    await expectExact('one per element', chain({ dtype: 'float32', shape: [300] }, normalized([300], { groups: 300, members: 1, statistics: 'none', affine: each })), 3, [floats(900, random, 'plain')])
    const affine = Float32Array.of(0.5, 2 ** -130, 2, 2 ** -127, -1, 1, 1e8, -3, 2 ** -126, 5, -2, 2)
    for (const clip of [false, true]) {
      for (const dtype of ['float32', 'int16'] as const) {
        const values = dtype === 'float32' ? floats(400, random, 'edges') : anyBits(dtype, 400, random)
        await expectExact(`clip ${clip} ${dtype}`, chain({ dtype, shape: [2, 100] }, normalized([2, 100], { groups: 2, statistics: 'none', affine, clip })), 2, [values])
      }
    }
    const values = floats(200, random, 'plain')
    values[57] = values[150] = values[151] = 3e38
    const scale = Float32Array.of(0, 0, 4, 0, 0, 0)
    await expectExact('overflow', chain({ dtype: 'float32', shape: [100] }, normalized([100], { statistics: 'none', affine: scale })), 2, [values])
  })

  test('split over threads', async () => {
    const random = new Random(79)
    const n = LONG ? 1_000_001 : 150_001
    for (const dtype of ['float32', 'uint16', 'int16', 'uint8'] as const) {
      const values = dtype === 'float32' ? floats(n, random, 'cancel') : anyBits(dtype, n, random)
      for (const mode of MODES) await expectExact(`${dtype} ${name(mode)}`, chain({ dtype, shape: [n] }, normalized([n], mode)), 1, [values])
    }
  })

  test('sums that leave 53 bits', async () => {
    const n = LONG ? 5_000_000 : 300_000
    await expectExact('uint16', chain({ dtype: 'uint16', shape: [n] }, normalized([n], {})), 1, [new Uint16Array(n).map((_, i) => 65_535 - i % 2)])
  })
})
