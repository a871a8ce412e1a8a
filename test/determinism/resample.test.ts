import { describe, test } from 'vitest'
import type { DType } from '../../src/core/dtype.js'
import { LONG, expectExact } from './compare.js'
import { castTo, chain, linearTable, resampled, wildTable } from './programs.js'
import { Random, anyBits, floats, type Flavour } from './values.js'

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

describe('resampling is exact', () => {
  test.each(['plain', 'edges', 'cancel'] as const)('rows of every length up to twice a register, %s', async (flavour: Flavour) => {
    const random = new Random(41)
    for (let length = 0; length <= 34; length++) {
      for (const extent of [1, 2, length + 1, 2 * length + 1, 5 * length + 3]) {
        const shape = [3, extent]
        await expectExact(`${extent} to ${length}`, chain({ dtype: 'float32', shape }, resampled(shape, [linearTable(1, extent, length)])), 1, [floats(3 * extent, random, flavour)])
      }
    }
  })

  test.each(['plain', 'edges', 'cancel'] as const)(`any axes, any tables, %s${LONG ? '' : '; on GPUs every third'}`, async (flavour: Flavour) => {
    const random = new Random(43)
    for (let round = 0; round < (LONG ? 600 : 150); round++) {
      const shape = Array.from({ length: 1 + random.below(5) }, () => random.pick([1, 2, 3, 5, 9, 19]))
      const axes = shape.map((_, k) => k).filter(() => random.below(2) === 0)
      if (axes.length === 0) axes.push(random.below(shape.length))
      const tables = axes.map((axis) => random.below(2) === 0
        ? linearTable(axis, shape[axis]!, random.below(20))
        : wildTable(axis, shape[axis]!, random.below(12), 1 + random.below(6), random))
      const onGpu = LONG || round % 3 === 0
      await expectExact(`[${shape}] along [${axes}]`, chain({ dtype: 'float32', shape }, resampled(shape, tables)), 2, [floats(2 * product(shape), random, flavour)], () => onGpu)
    }
  })

  test('an empty batch axis, and no output', async () => {
    await expectExact('empty', chain({ dtype: 'float32', shape: [0, 4] }, resampled([0, 4], [linearTable(1, 4, 3)])), 2, [new Float32Array(0)])
    await expectExact('to nothing', chain({ dtype: 'float32', shape: [4, 4] }, resampled([4, 4], [linearTable(0, 4, 0)])), 2, [new Float32Array(32)])
  })

  test('long rows that are not resampled, and long ones that are', async () => {
    const random = new Random(47)
    for (const shape of [[3, 5000], [2, 3, 1025], [4, 1024], [3, 2, 17]]) {
      const tables = shape.length === 2 ? [linearTable(0, shape[0]!, 4)] : [linearTable(0, shape[0]!, 3), linearTable(1, shape[1]!, 5)]
      await expectExact(`[${shape}]`, chain({ dtype: 'float32', shape }, resampled(shape, tables)), 1, [floats(product(shape), random, 'edges')])
      await expectExact(`[${shape}] last`, chain({ dtype: 'float32', shape }, resampled(shape, [linearTable(shape.length - 1, shape.at(-1)!, 777)])), 1, [floats(product(shape), random, 'edges')])
    }
  })

  test('split over threads', async () => {
    const random = new Random(53)
    for (const [shape, to] of [[[40, 41, 42], 31], [[1, 300, 302], 150], [[48, 48, 48], 70]] as const) {
      const tables = [1, 2].map((axis) => linearTable(axis, shape[axis]!, to))
      await expectExact(`[${shape}]`, chain({ dtype: 'float32', shape }, resampled(shape, [linearTable(0, shape[0], LONG ? 60 : 20), ...tables])), 1, [floats(product(shape), random, 'edges')])
    }
  })

  test('a result beyond float32 is a fault, and where it is', async () => {
    const values = new Float32Array(60).fill(3e38)
    const table = { axis: 1, taps: 2, index: new Int32Array(14).map((_, i) => i % 3), weight: new Float32Array(14).fill(0.5).fill(1, 6, 8) }
    await expectExact('overflow', chain({ dtype: 'float32', shape: [10, 3] }, resampled([10, 3], [table])), 2, [values])
  })
})

describe('a cast done inside the resampling changes nothing', () => {
  const sources: readonly DType[] = ['bool', 'int8', 'uint16', 'int16', 'int32', 'uint64', 'float16', 'bfloat16', 'float32', 'float64']
  // Inside on the CPU only; GPUs do one step after the other.
  test.each(sources)(`from %s${LONG ? '' : '; on GPUs every fifth'}`, async (dtype) => {
    const random = new Random(59)
    for (let round = 0; round < (LONG ? 75 : 25); round++) {
      const shape = Array.from({ length: 1 + random.below(4) }, () => random.pick([1, 2, 3, 8, 21]))
      const axes = shape.map((_, k) => k).filter(() => random.below(2) === 0)
      if (axes.length === 0) axes.push(shape.length - 1)
      // Strong reduction leaves rows out; their non-finite values are counted nevertheless.
      const tables = axes.map((axis) => linearTable(axis, shape[axis]!, 1 + random.below(random.pick([3, 30]))))
      for (const nonFinite of ['error', 'zero'] as const) {
        const values = anyBits(dtype, 2 * product(shape), random)
        await expectExact(`${dtype} [${shape}] along [${axes}], ${nonFinite}`, chain({ dtype, shape }, castTo('float32', shape, nonFinite), resampled(shape, tables)), 2, [values], () => LONG || round % 5 === 0)
      }
    }
  })

  test('split over threads, with non-finite values in rows that are left out', async () => {
    const shape = [30, 50, 60]
    const values = new Float64Array(product(shape)).map((_, i) => Math.sin(i))
    for (const at of [3, 40_000, 40_001, 89_999]) values[at] = NaN
    const tables = [0, 1, 2].map((axis) => linearTable(axis, shape[axis]!, 11))
    for (const nonFinite of ['error', 'zero'] as const) {
      await expectExact(nonFinite, chain({ dtype: 'float64', shape }, castTo('float32', shape, nonFinite), resampled(shape, tables)), 1, [values])
    }
  })
})
