import { describe, expect, test } from 'vitest'
import type { TypedArray } from '../../src/core/dtype.js'
import { native } from '../../src/native/load.js'
import type { Program } from '../../src/ops/program.js'
import { interpret } from '../reference/interpret.js'
import { difference, runNative, type Result } from './compare.js'
import { affined, boxed, castTo, chain, fixedMatrix, gathered, linearTable, normalized, permuted, resampled } from './programs.js'
import { Random, floats } from './values.js'

// A comparison that cannot fail proves nothing. Each kernel is compared once with a result that is wrong in the way that a slip in the kernel
// would make it wrong; the comparison must take the right one and refuse the wrong one.

async function expectRefused(program: Program, input: TypedArray, wrong: Result): Promise<void> {
  const isa = native().isaAvailable().at(-1)!
  const right = await runNative(program, 1, [input], isa, 1, 1)
  const expected = interpret(program, 1, [input])
  expect(difference(program, 1, right, expected)).toBeUndefined()
  expect(difference(program, 1, wrong, expected)).toMatch(/^output 0, item 0, element \d+: 0x/)
}
const run = (program: Program, input: TypedArray): Promise<Result> => runNative(program, 1, [input], native().isaAvailable().at(-1)!, 1, 0)
const result = (...values: TypedArray[]): Result => ({ outputs: values, faults: [] })

const random = new Random(97)
const shape = [6, 9]
const values = floats(54, random, 'edges')

describe('a wrong kernel is noticed', () => {
  test('cast: the last element dropped, a tie rounded away, a subnormal flushed', async () => {
    const input = Float64Array.of(1, 2 ** -140, 1 + 2 ** -24, 0.1)
    const program = chain({ dtype: 'float64', shape: [4] }, castTo('float32', [4]))
    for (const wrong of [[1, 2 ** -140, 1, 0], [1, 2 ** -140, 1 + 2 ** -23, 0.1], [1, 0, 1, 0.1]]) await expectRefused(program, input, result(Float32Array.from(wrong)))
  })

  test('cast: float64 to float16 by way of float32', async () => {
    const input = Float64Array.of(1 + 2 ** -11 + 2 ** -40)
    const once = chain({ dtype: 'float64', shape: [1] }, castTo('float16', [1]))
    const twice = chain({ dtype: 'float64', shape: [1] }, castTo('float32', [1]), castTo('float16', [1]))
    await expectRefused(once, input, await run(twice, input))
  })

  test('gather and permute: two indices swapped', async () => {
    const index = Int32Array.of(0, 1, 2, 3, 4, 5), swapped = Int32Array.of(0, 1, 3, 2, 4, 5)
    const gather = (by: Int32Array): Program => chain({ dtype: 'float32', shape }, gathered('float32', shape, [by, null]))
    await expectRefused(gather(index), values, await run(gather(swapped), values))
    const square = [9, 6]
    await expectRefused(chain({ dtype: 'float32', shape: square }, permuted('float32', square, [1, 0])), values, result(values))
  })

  test('resample: two taps swapped, axes in the other order, no guard', async () => {
    const tables = [linearTable(0, 6, 4), linearTable(1, 9, 5)]
    const program = chain({ dtype: 'float32', shape }, resampled(shape, tables))
    const slip = { ...tables[1]!, index: tables[1]!.index.slice() }
    slip.index.set([tables[1]!.index[3]!, tables[1]!.index[2]!], 2)
    const plain = floats(54, random, 'plain')
    await expectRefused(program, plain, await run(chain({ dtype: 'float32', shape }, resampled(shape, [tables[0]!, slip])), plain))

    const first = chain({ dtype: 'float32', shape }, resampled(shape, [tables[1]!]), resampled([6, 5], [tables[0]!]))
    await expectRefused(program, plain, await run(first, plain))

    const line = Float32Array.of(1.5 * 2 ** -126, 1.25 * 2 ** -126)
    const half = { axis: 0, taps: 2, index: Int32Array.of(0, 1), weight: Float32Array.of(1, -1) }
    const subtract = chain({ dtype: 'float32', shape: [2] }, resampled([2], [half]))
    await expectRefused(subtract, line, result(Float32Array.of(line[0]! - line[1]!)))
  })

  test('affine: rows and columns swapped, axes mixed in the other order, weights from both ends, a cell short, a step of 2^-24 off', async () => {
    const extents = [4, 3, 5]
    const cube = floats(60, random, 'plain')
    const numbers = [0.8, -0.6, 0.1, 1.1, 0.55, 0.75, -0.2, 0.4, 0.1, 0.2, 0.9, 0.3]
    const read = (by: readonly number[], method: 'linear' | 'nearest' = 'linear', edges: 'constant' | 'clamp' = 'constant'): Program => chain({ dtype: 'float32', shape: extents }, affined('float32', extents, 0, extents, fixedMatrix(by), method, edges))
    const transposed = numbers.map((_, i) => (i % 4 === 3 ? numbers[i]! : numbers[4 * (i % 4) + Math.floor(i / 4)]!))
    for (const method of ['linear', 'nearest'] as const) {
      await expectRefused(read(numbers, method), cube, await run(read(transposed, method), cube))
      await expectRefused(read(numbers, method), cube, await run(read(numbers, method, 'clamp'), cube))
    }
    await expectRefused(read(numbers), cube, await run(read(numbers.map((value, i) => i === 11 ? value + 2 ** -24 : value)), cube))

    // The first axis first: the axes turned round, and the matrix with them.
    const flat = (from: readonly number[], order: readonly number[]) => permuted('float32', from, order)
    const turned = fixedMatrix([2, 1, 0].flatMap((row) => [2, 1, 0, 3].map((k) => numbers[4 * row + k]!)))
    const other = chain({ dtype: 'float32', shape: extents }, flat(extents, [2, 1, 0]), affined('float32', [5, 3, 4], 0, [5, 3, 4], turned, 'linear'), flat([5, 3, 4], [2, 1, 0]))
    await expectRefused(read(numbers), cube, await run(other, cube))

    // One axis alone, by a formula that rounds elsewhere.
    const line = floats(60, random, 'plain')
    const shifted = chain({ dtype: 'float32', shape: [1, 1, 60] }, affined('float32', [1, 1, 60], 0, [1, 1, 59], fixedMatrix([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0.3]), 'linear'))
    const f = Math.fround(Math.round(0.3 * 2 ** 24) / 2 ** 24)
    await expectRefused(shifted, line, result(Float32Array.from({ length: 59 }, (_, i) => Math.fround(Math.fround(line[i]! * (1 - f)) + Math.fround(line[i + 1]! * f)))))
    const tiny = Float32Array.of(1.5 * 2 ** -126, 1.75 * 2 ** -126)
    const half = chain({ dtype: 'float32', shape: [1, 1, 2] }, affined('float32', [1, 1, 2], 0, [1, 1, 1], fixedMatrix([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0.5]), 'linear'))
    await expectRefused(half, tiny, result(Float32Array.of(1.625 * 2 ** -126)))
  })

  test('foreground-box: a stop one short and one too far, what equals the threshold taken, axes swapped, NaN taken, the first and the last element not seen', async () => {
    const extents = [3, 4, 5]
    const program = (axes: readonly number[], threshold: number): Program => chain({ dtype: 'float32', shape: extents }, boxed(axes, threshold))
    const lit = (values: Readonly<Record<number, number>>): Float32Array => {
      const cube = new Float32Array(60)
      for (const [at, value] of Object.entries(values)) cube[Number(at)] = value
      return cube
    }
    const two = lit({ 27: 2, 33: 3 })
    const [right] = (await run(program([0, 1, 2], 1), two)).outputs as [Int32Array]
    expect([...right]).toEqual([1, 1, 2, 2, 3, 4])
    for (const change of [-1, 1]) await expectRefused(program([0, 1, 2], 1), two, result(right.map((value, k) => k === 5 ? value + change : value)))
    await expectRefused(program([0, 1, 2], 1), two, await run(program([0, 2, 1], 1), two))
    await expectRefused(program([0, 1, 2], 2), two, await run(program([0, 1, 2], 2 - 2 ** -52), two))
    const nan = two.slice()
    nan[59] = NaN
    await expectRefused(program([0, 1, 2], 1), nan, await run(program([0, 1, 2], 1), lit({ 27: 2, 33: 3, 59: Infinity })))
    const ends = lit({ 0: 2, 27: 2, 59: 2 })
    for (const missed of [0, 59]) await expectRefused(program([0, 1, 2], 1), ends, await run(program([0, 1, 2], 1), ends.map((value, i) => i === missed ? 0 : value)))
  })

  test('normalize: a running sum instead of the tree, one member too few', async () => {
    const n = 5000
    const cancelling = floats(n, random, 'cancel').map((x, i) => Math.fround(x + i * 1e6))
    const program = chain({ dtype: 'float32', shape: [n] }, normalized([n], {}))
    const apply = (mean: number, variance: number): Result => {
      const high = Math.fround(mean), low = Math.fround(mean - high), mul = Math.fround(1 / (Math.sqrt(variance) + 1e-8))
      return result(cancelling.map((x) => Math.fround(Math.fround(Math.fround(x - high) - low) * mul)))
    }
    let sum = 0, squares = 0
    for (const x of cancelling) sum = Math.fround(sum + x)
    for (const x of cancelling) squares = Math.fround(squares + Math.fround(Math.fround(x - sum / n) ** 2))
    await expectRefused(program, cancelling, apply(sum / n, squares / n))
    const short = cancelling.subarray(0, n - 1)
    const dropped = (await run(chain({ dtype: 'float32', shape: [n - 1] }, normalized([n - 1], {})), short)).outputs[0] as Float32Array
    await expectRefused(program, cancelling, result(Float32Array.of(...dropped, 0)))
  })

  test('a fault that is missed, invented or misplaced', async () => {
    const program = chain({ dtype: 'float64', shape: [3] }, castTo('float32', [3]))
    const input = Float64Array.of(1, NaN, 3)
    const expected = interpret(program, 1, [input])
    const fault = { step: 0, item: 0, count: 1, index: 1 }
    expect(difference(program, 1, { ...expected, faults: [fault] }, expected)).toBeUndefined()
    for (const faults of [[], [{ ...fault, index: 2 }], [{ ...fault, count: 2 }], [fault, { ...fault, item: 1 }]]) {
      expect(difference(program, 1, { ...expected, faults }, expected)).toMatch(/^faults/)
    }
  })
})
