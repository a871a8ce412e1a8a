import { describe, expect, test } from 'vitest'
import type { DType } from '../../src/core/dtype.js'
import type { NormalizeStep } from '../../src/ops/program.js'
import { engines } from '../support/gpu.js'
import { plainSums, sumsOnDevice } from './blocks.js'
import { LONG, expectExact } from './compare.js'
import { affined, boxed, castTo, chain, fixedMatrix, gathered, linearTable, normalized, permuted, resampled, wildTable } from './programs.js'
import { bitsApart, tally } from './tally.js'
import { Random, anyBits, floats } from './values.js'

// A million values through every kernel, on every device. The other files are about awkward cases; this one is about many, and for the long form: the
// short one looks at sums only, which nothing else does.

const FLAVOURS = ['plain', 'edges', 'cancel'] as const
const MILLION = 1_000_003
/** Rows of 64 that make up as much. */
const ROWS = Math.ceil(MILLION / 64)
/** Groups of a block and one member more. */
const GROUPS = Math.ceil(MILLION / 4097)

describe.runIf(LONG)('a million values', () => {
  test.each(FLAVOURS)('resample, %s', async (flavour) => {
    const random = new Random(181)
    const shape = [ROWS, 64]
    for (const table of [linearTable(1, 64, 64), wildTable(1, 64, 64, 5, random)]) {
      await expectExact(`${table.taps} taps`, chain({ dtype: 'float32', shape }, resampled(shape, [table])), 1, [floats(ROWS * 64, random, flavour)])
    }
  })

  test.each(FLAVOURS)('affine, %s', async (flavour) => {
    const random = new Random(187)
    const shape = [100, 101, 102]
    const matrix = fixedMatrix([0.8, -0.6, 0.1, 30, 0.55, 0.75, -0.2, -10, 0.1, 0.2, 0.9, -3])
    for (const method of ['linear', 'nearest'] as const) {
      await expectExact(method, chain({ dtype: 'float32', shape }, affined('float32', shape, 0, shape, matrix, method, 'clamp')), 1, [floats(100 * 101 * 102, random, flavour)])
    }
  })

  // In many items, because one shows six numbers of itself. Nothing decides but bits, so they are any.
  test.each([['uint8', 254], ['int16', 32_750], ['uint32', 4.29e9], ['int64', 9.22e18], ['float16', 65_000], ['float32', 1e38], ['float64', 1e307]] as const)('boxes of %s', async (dtype: DType, threshold) => {
    const shape = [15, 17, 19]
    const items = Math.ceil(MILLION / (15 * 17 * 19))
    await expectExact('boxes', chain({ dtype, shape }, boxed([2, 0, 1], threshold)), items, [anyBits(dtype, items * 15 * 17 * 19, new Random(189))])
  })

  test.each(FLAVOURS)('normalize with given parameters, %s', async (flavour) => {
    const random = new Random(191)
    const affine = Float32Array.from({ length: 6 * ROWS }, (_, i) => i % 6 < 4 ? random.pick([0, 1, -1, 2 ** -126, 2 ** -130, random.unit() - 0.5, 1e3 * random.unit()]) : i % 6 === 4 ? -20 : 20)
    const program = chain({ dtype: 'float32', shape: [ROWS, 64] }, normalized([ROWS, 64], { groups: ROWS, statistics: 'none', affine, clip: true }))
    await expectExact('given', program, 1, [floats(ROWS * 64, random, flavour)])
  })

  // In many groups, because a group shows its statistics through a handful of float32.
  test.each(FLAVOURS)('statistics of float32, %s', async (flavour) => {
    const random = new Random(193)
    const shape = [GROUPS, 4097]
    const modes: Partial<NormalizeStep>[] = [{}, { nonzero: true, eps: 0 }, { statistics: 'extrema' }, { statistics: 'quantiles', quantileLow: 0.013, quantileHigh: 0.9 }]
    for (const mode of modes) await expectExact(JSON.stringify(mode), chain({ dtype: 'float32', shape }, normalized(shape, { groups: GROUPS, ...mode })), 1, [floats(GROUPS * 4097, random, flavour)])
  })

  test.each(['int16', 'uint8'] as const)('statistics of %s', async (dtype: DType) => {
    const random = new Random(197)
    const shape = [GROUPS, 4097]
    for (const statistics of ['moments', 'extrema', 'quantiles'] as const) {
      await expectExact(statistics, chain({ dtype, shape }, normalized(shape, { groups: GROUPS, statistics })), 1, [anyBits(dtype, GROUPS * 4097, random)])
    }
  })

  test.each(['bool', 'float16', 'float32', 'complex64', 'complex128'] as const)('gather and permute of %s', async (dtype: DType) => {
    const random = new Random(199)
    const shape = [ROWS, 64]
    const index = Int32Array.from({ length: 64 }, () => random.below(65) - 1)
    await expectExact(dtype, chain({ dtype, shape }, gathered(dtype, shape, [null, index]), permuted(dtype, shape, [1, 0])), 1, [anyBits(dtype, ROWS * 64, random)])
  })

  test.each([['float32', 'float16'], ['float64', 'float32'], ['float64', 'bfloat16'], ['float32', 'uint8'], ['int64', 'float32']] as const)('cast from %s to %s', async (from: DType, to: DType) => {
    await expectExact('cast', chain({ dtype: from, shape: [MILLION] }, castTo(to, [MILLION], 'keep')), 1, [anyBits(from, MILLION, new Random(211))])
  })
})

// Outputs hardly tell whether the first pass of moments was right: the second corrects it.
test(`the sums of blocks themselves, over ${LONG ? 'a million' : 'fifty thousand'} values`, async () => {
  for (const flavour of FLAVOURS) {
    const values = floats(LONG ? MILLION : 50_021, new Random(223), flavour)
    const expected = plainSums(values)
    for (const { name, engine } of await engines()) {
      const sums = await sumsOnDevice(engine, values)
      tally(name, ['normalize-sums'], values.length, bitsApart(new Uint8Array(sums.buffer), new Uint8Array(expected.buffer)))
      expect(sums, `${name}, ${flavour}`).toEqual(expected)
    }
  }
})
