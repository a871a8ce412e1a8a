import { describe, test } from 'vitest'
import { DTYPES, type DType } from '../../src/core/dtype.js'
import { LONG, expectExact } from './compare.js'
import { chain, gathered, permuted } from './programs.js'
import { Random, anyBits } from './values.js'

const BY_SIZE: readonly DType[] = ['bool', 'float16', 'float32', 'complex64', 'complex128']
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

function axisTable(extent: number, random: Random): Int32Array | null {
  const run = (start: number, length: number, step: number): Int32Array => Int32Array.from({ length }, (_, i) => start + i * step)
  if (extent === 0) return random.pick([null, run(-1, 3, 0), new Int32Array(0)])
  switch (random.below(6)) {
    case 0: return null
    case 1: return run(extent - 1, extent, -1)
    case 2: return run(0, random.below(extent) + 1, 1)
    case 3: return Int32Array.from([-1, -1, ...run(0, extent, 1), -1])
    case 4: return new Int32Array(0)
    default: return Int32Array.from({ length: random.below(2 * extent + 2) }, () => random.below(extent + 1) - 1)
  }
}

describe('moves leave bits untouched', () => {
  test.each(BY_SIZE)('gather %s: rank 0 to 5, crops, pads, flips, any index', async (dtype) => {
    const random = new Random(23)
    for (let round = 0; round < (LONG ? 250 : 60); round++) {
      const shape = Array.from({ length: round % 6 }, () => random.pick([0, 1, 2, 3, 5, 8, 17]))
      if (random.below(3) > 0) for (let k = 0; k < shape.length; k++) shape[k] = Math.max(shape[k]!, 1)
      const index = shape.map((extent) => axisTable(extent, random))
      const fill = new Uint8Array(DTYPES[dtype].size).map(() => random.bits())
      await expectExact(`shape [${shape}] by [${index.map((axis) => axis === null ? 'all' : `(${axis})`)}]`, chain({ dtype, shape }, gathered(dtype, shape, index, fill)), 2, [anyBits(dtype, 2 * product(shape), random)])
    }
  })

  test('gather, split over threads', async () => {
    const random = new Random(3)
    const shape = LONG ? [40, 160, 160] : [20, 80, 160]
    const index = [Int32Array.from({ length: shape[0]! + 2 }, (_, i) => i === 0 ? -1 : Math.min(i - 1, shape[0]! - 1)), null, Int32Array.from({ length: 150 }, (_, i) => 155 - i)]
    await expectExact('gather', chain({ dtype: 'int32', shape }, gathered('int32', shape, index, Uint8Array.of(1, 2, 3, 4))), 1, [anyBits('int32', product(shape), random)])
  })

  test.each(BY_SIZE)('permute %s: rank 0 to 5', async (dtype) => {
    const random = new Random(29)
    for (let round = 0; round < (LONG ? 250 : 60); round++) {
      const rank = round % 6
      const shape = Array.from({ length: rank }, () => random.pick(rank <= 3 ? [1, 2, 7, 31, 33] : [1, 2, 3, 7]))
      if (rank > 0 && random.below(8) === 0) shape[random.below(rank)] = 0
      const order = shape.map((_, k) => k)
      for (let k = rank - 1; k > 0; k--) {
        const other = random.below(k + 1)
        ;[order[k], order[other]] = [order[other]!, order[k]!]
      }
      await expectExact(`shape [${shape}] in order [${order}]`, chain({ dtype, shape }, permuted(dtype, shape, order)), 2, [anyBits(dtype, 2 * product(shape), random)])
    }
  })

  test('permute, split over threads', async () => {
    const random = new Random(31)
    const shape = LONG ? [90, 110, 130] : [50, 60, 70]
    for (const order of [[2, 1, 0], [1, 0, 2], [0, 2, 1], [2, 0, 1]]) {
      await expectExact(`order [${order}]`, chain({ dtype: 'uint16', shape }, permuted('uint16', shape, order)), 1, [anyBits('uint16', product(shape), random)])
      await expectExact(`order [${order}]`, chain({ dtype: 'float32', shape }, permuted('float32', shape, order)), 1, [anyBits('float32', product(shape), random)])
    }
  })
})
