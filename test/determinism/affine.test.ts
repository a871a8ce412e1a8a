import { describe, expect, test } from 'vitest'
import type { DType } from '../../src/core/dtype.js'
import { LONG, expectExact } from './compare.js'
import { affined, chain, fixedMatrix } from './programs.js'
import { Random, anyBits, floats, type Flavour } from './values.js'

const EDGES = ['constant', 'clamp'] as const
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** Anything from a turn to a collapse, in elements; the middles of both sides near one another, so that much is inside. */
function anyMatrix(from: readonly number[], to: readonly number[], random: Random): BigInt64Array {
  // Multiples of 1/4 meet elements, cells' ends and middles.
  const entry = (): number => random.pick([0, 1, -1, 0.5, 0.25 * (random.below(17) - 8), (random.unit() - 0.5) * 3, (random.unit() - 0.5) * 2 ** -20])
  const numbers: number[] = []
  for (let row = 0; row < 3; row++) {
    const m = [entry(), entry(), entry()]
    const middle = m.reduce((sum, value, k) => sum + value * (to[k]! - 1) / 2, 0)
    numbers.push(...m, random.pick([0, (from[row]! - 1) / 2 - middle, Math.round((from[row]! - 1) / 2 - middle), (random.unit() - 0.5) * 4]))
  }
  return fixedMatrix(numbers)
}

interface Case { readonly shape: number[]; readonly axis: number; readonly lengths: number[]; readonly matrix: BigInt64Array }

function anyCase(random: Random): Case {
  const extents = () => Array.from({ length: 3 }, () => random.pick([1, 2, 3, 5, 8, 17]))
  const [from, lengths] = [extents(), extents()]
  const axis = random.below(3)
  const outer = Array.from({ length: axis }, () => random.pick([1, 2, 3]))
  const inner = Array.from({ length: random.below(3) }, () => random.pick([1, 2, 5]))
  return { shape: [...outer, ...from, ...inner], axis, lengths, matrix: anyMatrix(from, lengths, random) }
}

describe('reading through a matrix is exact', () => {
  test.each(['plain', 'edges', 'cancel'] as const)(`linear, %s${LONG ? '' : '; on GPUs every third'}`, async (flavour: Flavour) => {
    const random = new Random(229)
    for (let round = 0; round < (LONG ? 400 : 100); round++) {
      const { shape, axis, lengths, matrix } = anyCase(random)
      const onGpu = LONG || round % 3 === 0
      await expectExact(`[${shape}] at ${axis} to [${lengths}] by [${matrix}]`, chain({ dtype: 'float32', shape }, affined('float32', shape, axis, lengths, matrix, 'linear', EDGES[round % 2])), 2, [floats(2 * product(shape), random, flavour)], () => onGpu)
    }
  })

  test.each(['bool', 'float16', 'float32', 'complex64', 'complex128'] as const)(`nearest of %s${LONG ? '' : '; on GPUs every third'}`, async (dtype: DType) => {
    const random = new Random(233)
    for (let round = 0; round < (LONG ? 250 : 60); round++) {
      const { shape, axis, lengths, matrix } = anyCase(random)
      const onGpu = LONG || round % 3 === 0
      await expectExact(`[${shape}] at ${axis} to [${lengths}] by [${matrix}]`, chain({ dtype, shape }, affined(dtype, shape, axis, lengths, matrix, 'nearest', EDGES[round % 2])), 2, [anyBits(dtype, 2 * product(shape), random)], () => onGpu)
    }
  })

  test('rows of every length up to twice a register, and over several blocks', async () => {
    const random = new Random(239)
    for (const length of [...Array.from({ length: 35 }, (_, i) => i), 63, 64, 65, 127, 129, 200]) {
      const shape = [2, 3, 40]
      const matrix = fixedMatrix([0.3, 0.1, 0.01, 0.2, 0.2, 0.9, 0.011, 0, -0.3, 0.2, 40 / Math.max(length, 1), 0.3])
      for (const method of ['linear', 'nearest'] as const) {
        await expectExact(`${length}, ${method}`, chain({ dtype: 'float32', shape }, affined('float32', shape, 0, [2, 3, length], matrix, method)), 1, [floats(product(shape), random, 'edges')])
      }
    }
  })

  test('coordinates with every bit in use: far out, and with steps that carry from word to word', async () => {
    const random = new Random(241)
    const word = (): bigint => BigInt(random.bits())
    for (let round = 0; round < 40; round++) {
      const shape = [5, 6, 7], lengths = [3, 4, 5]
      const matrix = BigInt64Array.from({ length: 12 }, (_, k) => {
        const any = BigInt.asIntN(58, (word() << 32n) | word()) >> BigInt(random.below(24))
        // What is added brings one element of the result back to the middle; the others are anywhere.
        return k % 4 === 3 ? 0n : any
      })
      const at = lengths.map((length) => BigInt(random.below(length)))
      for (let row = 0; row < 3; row++) matrix[4 * row + 3] = (BigInt(shape[row]! - 1) << 39n) - at.reduce((sum, position, k) => sum + position * matrix[4 * row + k]!, 0n) + BigInt.asIntN(20, word())
      for (const edges of EDGES) {
        await expectExact(`[${matrix}], ${edges}`, chain({ dtype: 'float32', shape }, affined('float32', shape, 0, lengths, matrix, 'linear', edges)), 1, [floats(210, random, 'plain')])
        await expectExact(`[${matrix}], ${edges}`, chain({ dtype: 'int16', shape }, affined('int16', shape, 0, lengths, matrix, 'nearest', edges)), 1, [anyBits('int16', 210, random)])
      }
    }
  })

  test('the ends of cells, to a step of 2^-24 and to one of 2^-40', async () => {
    const random = new Random(251)
    const shape = [1, 1, 4]
    const program = (start: bigint, method: 'linear' | 'nearest') => chain({ dtype: 'float32', shape }, affined('float32', shape, 0, [1, 1, 5], BigInt64Array.of(0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 1n << 40n, start), method))
    const cell = -(1n << 39n)
    for (const near of [-(1n << 16n), -(1n << 15n) - 1n, -(1n << 15n), -1n, 0n, 1n, (1n << 15n) - 1n, 1n << 15n, 1n << 16n]) {
      for (const method of ['linear', 'nearest'] as const) await expectExact(`${near}, ${method}`, program(cell + near, method), 1, [floats(4, random, 'plain')])
    }
    const inside = async (start: bigint): Promise<boolean[]> => {
      const { outputs } = await expectExact('inside', program(start, 'linear'), 1, [Float32Array.of(1, 2, 3, 4)])
      return Array.from(outputs[0] as Float32Array, (value) => value !== 0)
    }
    // The lower end belongs to the cell, after rounding halves up.
    expect(await inside(cell)).toEqual([true, true, true, true, false])
    expect(await inside(cell - (1n << 15n))).toEqual([true, true, true, true, false])
    expect(await inside(cell - (1n << 15n) - 1n)).toEqual([false, true, true, true, true])
  })

  test('a constant stays what it is to the bit, and so does everything where elements are met', async () => {
    const random = new Random(257)
    const shape = [6, 7, 8]
    const turn = fixedMatrix([0.8, -0.6, 0, 1.1, 0.6, 0.8, 0, 0.2, 0, 0, 0.7, 0.1])
    const { outputs } = await expectExact('constant', chain({ dtype: 'float32', shape }, affined('float32', shape, 0, shape, turn, 'linear', 'clamp')), 1, [new Float32Array(336).fill(Math.fround(-1000.1))])
    expect(new Set(outputs[0] as Float32Array)).toEqual(new Set([Math.fround(-1000.1)]))
    const values = floats(336, random, 'plain')
    const identity = fixedMatrix([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
    const same = await expectExact('identity', chain({ dtype: 'float32', shape }, affined('float32', shape, 0, shape, identity, 'linear')), 1, [values])
    expect(same.outputs[0]).toEqual(values)
    // A third of an element three times is one, although a third is rounded.
    const thirds = fixedMatrix([1 / 3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
    const all = await expectExact('thirds', chain({ dtype: 'float32', shape }, affined('float32', shape, 0, [16, 7, 8], thirds, 'linear')), 1, [values])
    for (let x = 0; x < 6; x++) expect((all.outputs[0] as Float32Array).subarray(3 * x * 56, (3 * x + 1) * 56)).toEqual(values.subarray(x * 56, (x + 1) * 56))
  })

  test('split over threads', async () => {
    const random = new Random(263)
    const [shape, to] = LONG ? [[60, 70, 80], [64, 72, 66]] : [[20, 30, 40], [24, 32, 26]]
    const matrix = fixedMatrix([0.8, -0.6, 0.1, 3, 0.55, 0.75, -0.2, -1, 0.1, 0.2, 1.4, -3])
    await expectExact('linear', chain({ dtype: 'float32', shape: shape! }, affined('float32', shape!, 0, to!, matrix, 'linear')), 1, [floats(product(shape!), random, 'edges')])
    await expectExact('nearest', chain({ dtype: 'uint16', shape: shape! }, affined('uint16', shape!, 0, to!, matrix, 'nearest')), 1, [anyBits('uint16', product(shape!), random)])
  })

  test('empty batch axes, and no output', async () => {
    const matrix = fixedMatrix([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
    await expectExact('empty', chain({ dtype: 'float32', shape: [0, 2, 2, 2] }, affined('float32', [0, 2, 2, 2], 1, [3, 3, 3], matrix, 'linear')), 2, [new Float32Array(0)])
    await expectExact('empty inside', chain({ dtype: 'float32', shape: [2, 2, 2, 0] }, affined('float32', [2, 2, 2, 0], 0, [3, 3, 3], matrix, 'nearest')), 2, [new Float32Array(0)])
    await expectExact('to nothing', chain({ dtype: 'float32', shape: [2, 2, 2] }, affined('float32', [2, 2, 2], 0, [3, 0, 3], matrix, 'linear')), 2, [new Float32Array(16)])
  })

  test('a difference beyond float32 is a fault, and where it is', async () => {
    const values = Float32Array.from({ length: 2 * 48 }, (_, i) => (i % 7 === 3 ? 3e38 : i % 11 === 4 ? -3e38 : 1))
    const matrix = fixedMatrix([1, 0, 0, 0.25, 0, 1, 0, 0, 0, 0, 0.5, 0])
    await expectExact('overflow', chain({ dtype: 'float32', shape: [4, 3, 4] }, affined('float32', [4, 3, 4], 0, [4, 3, 8], matrix, 'linear')), 2, [values])
  })
})
