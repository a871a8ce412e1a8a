import { describe, test } from 'vitest'
import type { Program, Step } from '../../src/ops/program.js'
import { compilesSlowly } from '../support/gpu.js'
import { LONG, expectExact } from './compare.js'
import { castTo, chain, gathered, linearTable, normalized, permuted, resampled } from './programs.js'
import { Random, anyBits, floats } from './values.js'

const origin = { op: 0, opName: 'test', field: 'x' }
const tables = (shape: readonly number[], to: number) => shape.map((extent, axis) => linearTable(axis, extent, to))

describe('steps together give what they give one by one', () => {
  test('the common recipe: cast, resample, normalize, on volumes of integers', async () => {
    const random = new Random(101)
    for (const shape of [[7, 8, 9], [1, 1, 1], LONG ? [100, 110, 120] : [40, 50, 60]]) {
      const small = [5, 5, 5]
      const program = chain({ dtype: 'int16', shape }, castTo('float32', shape), resampled(shape, tables(shape, 5)), normalized(small, {}), gathered('float32', small, [null, Int32Array.of(-1, 4, 3, 2), null]), permuted('float32', [5, 4, 5], [2, 0, 1]))
      const count = 3
      await expectExact(`[${shape}]`, program, count, [anyBits('int16', count * shape.reduce((a, b) => a * b, 1), random)])
    }
  })

  test('normalize in place, after which nothing else reads its input', async () => {
    const random = new Random(103)
    const shape = [2, 4099]
    const program = chain({ dtype: 'float32', shape }, castTo('float32', shape), normalized(shape, { groups: 2 }), normalized(shape, { statistics: 'extrema' }), castTo('float16', shape, 'keep'), castTo('float32', shape), normalized(shape, { groups: 2, nonzero: true }))
    await expectExact('chain', program, 2, [floats(4 * 4099, random, 'plain')])
  })

  test('values that several steps read, outputs of values in the middle, an input handed through, an output twice', async () => {
    const random = new Random(107)
    const shape = [6, 10]
    const r = resampled(shape, tables(shape, 4)), n = normalized([4, 4], {})
    const program: Program = {
      values: [{ dtype: 'float64', shape }, { dtype: 'float32', shape }, r.value, n.value, { dtype: 'float32', shape }, { dtype: 'float32', shape }],
      inputs: [{ field: 'x', value: 0 }],
      outputs: [{ field: 'a', value: 3 }, { field: 'b', value: 0 }, { field: 'c', value: 2 }, { field: 'd', value: 4 }, { field: 'e', value: 3 }, { field: 'f', value: 5 }],
      steps: [
        { ...castTo('float32', shape).step, in: 0, out: 1, origin },
        { ...r.step, in: 1, out: 2, origin },
        { ...n.step, in: 2, out: 3, origin },
        { ...normalized(shape, {}).step, in: 1, out: 4, origin },
        { ...castTo('float32', shape).step, in: 1, out: 5, origin },
      ] as Step[],
    }
    await expectExact('graph', program, 3, [new Float64Array(180).map(() => random.unit() * 100)])
  })

  test('the earliest step with a fault is reported, whatever order the work is done in', async () => {
    const shape = [8]
    const r = resampled(shape, [linearTable(0, 8, 4)])
    // Steps of two fields interleave; the cast of the first is done inside a resampling that comes after the cast of the second.
    const program: Program = {
      values: [{ dtype: 'float64', shape }, { dtype: 'float64', shape }, { dtype: 'float32', shape }, { dtype: 'float32', shape }, r.value, r.value],
      inputs: [{ field: 'x', value: 0 }, { field: 'y', value: 1 }],
      outputs: [{ field: 'x', value: 4 }, { field: 'y', value: 5 }],
      steps: [
        { ...castTo('float32', shape).step, in: 0, out: 2, origin },
        { ...castTo('float32', shape).step, in: 1, out: 3, origin },
        { ...r.step, in: 2, out: 4, origin },
        { ...r.step, in: 3, out: 5, origin },
      ] as Step[],
    }
    const fine = [1, 2, 3, 4, 5, 6, 7, 8], bad = [1, 2, NaN, 4, 5, Infinity, 7, 8], large = fine.map(() => 3.4e38)
    const cases = [[fine, bad], [bad, fine], [bad, bad], [large, bad], [bad, large], [large, large], [fine, large], [fine, fine]]
    const x = Float64Array.from(cases.flatMap(([first]) => first!)), y = Float64Array.from(cases.flatMap(([, second]) => second!))
    await expectExact('interleaved', program, cases.length, [x, y])
  })

  test(`checks of the same dtype: error, zero, keep${LONG ? '' : '; not where compiling is slow'}`, async () => {
    const random = new Random(109)
    for (const dtype of ['float32', 'float16', 'float64', 'complex64', 'bool', 'int32'] as const) {
      for (const nonFinite of ['error', 'zero', 'keep'] as const) {
        const program = chain({ dtype, shape: [50] }, castTo(dtype, [50], nonFinite), permuted(dtype, [50], [0]))
        await expectExact(`${dtype} ${nonFinite}`, program, 3, [anyBits(dtype, 150, random)], (one) => LONG || !compilesSlowly(one))
      }
    }
  })

  test('no items, no steps', async () => {
    const program = chain({ dtype: 'int16', shape: [4] })
    await expectExact('no steps', program, 2, [Int16Array.from({ length: 8 }, (_, i) => i)])
    await expectExact('no items', chain({ dtype: 'int16', shape: [4] }, castTo('float32', [4])), 0, [new Int16Array(0)])
    await expectExact('0-d', chain({ dtype: 'int16', shape: [] }, castTo('float32', []), normalized([], { statistics: 'extrema' })), 3, [Int16Array.of(1, 2, 3)])
  })
})
