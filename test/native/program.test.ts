import { describe, expect, test } from 'vitest'
import type { ProgramDescription, StepDescription } from '../../src/native/addon.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import { native } from '../../src/native/load.js'
import { castTo, chain, linearTable, normalized, resampled } from '../determinism/programs.js'

const addon = native()
const FLOAT = 11, INT16 = 3, INT32 = 5
const NORMALIZE = {
  kernel: 'normalize', in: 0, out: 1, groups: 1, members: 6, statistics: 'moments', nonzero: false, eps: 1e-8, toLow: 0, toHigh: 1, quantileLow: 0, quantileHigh: 1, clip: false, affine: null,
} as const
const table = { axis: 1, taps: 1, index: Int32Array.of(0, 2, 1), weight: Float32Array.of(1, 1, 1) }

function program(step: unknown, change: Partial<ProgramDescription> = {}): ProgramDescription {
  return { values: [{ dtype: FLOAT, shape: [2, 3] }, { dtype: FLOAT, shape: [2, 3] }], inputs: [0], outputs: [1], steps: [step as StepDescription], ...change }
}
const cast = { kernel: 'cast', in: 0, out: 1, nonFinite: 0 } as const

describe('a description is checked once, whole', () => {
  const gather = { kernel: 'gather', in: 0, out: 1, index: [null, null], fill: new Uint8Array(4) } as const
  const resample = { kernel: 'resample', in: 0, out: 1, tables: [table] } as const
  const affine = { kernel: 'affine', in: 0, out: 1, axis: 0, matrix: BigInt64Array.from([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (m) => BigInt(m) << 40n), linear: true, clamp: false } as const
  const CUBES = { values: [{ dtype: FLOAT, shape: [2, 3, 4] }, { dtype: FLOAT, shape: [2, 3, 4] }] }
  const box = { kernel: 'foreground-box', in: 0, out: 1, axes: [0, 1, 2], keys: BigUint64Array.of(1n, 2n) } as const
  const BOX = { values: [{ dtype: FLOAT, shape: [2, 3, 4] }, { dtype: INT32, shape: [2, 3] }] }
  test.each<[string, unknown, Partial<ProgramDescription>?]>([
    ['gather beyond the end', { ...gather, index: [null, Int32Array.of(0, 1, 3)] }],
    ['gather below -1', { ...gather, index: [null, Int32Array.of(0, 1, -2)] }],
    ['gather with an index too short', { ...gather, index: [null, Int32Array.of(0, 1)] }],
    ['gather with an axis too few', { ...gather, index: [null] }],
    ['gather with the wrong array', { ...gather, index: [null, Uint8Array.of(0, 1, 2)] }],
    ['gather with a fill of another size', { ...gather, fill: new Uint8Array(2) }],
    ['permute with an axis twice', { kernel: 'permute', in: 0, out: 1, order: [0, 0] }],
    ['permute with an axis that is not there', { kernel: 'permute', in: 0, out: 1, order: [0, 2] }],
    ['permute to another shape', { kernel: 'permute', in: 0, out: 1, order: [1, 0] }],
    ['resample beyond the end', { ...resample, tables: [{ ...table, index: Int32Array.of(0, 1, 3) }] }],
    ['resample below 0', { ...resample, tables: [{ ...table, index: Int32Array.of(0, 1, -1) }] }],
    ['resample with too few weights', { ...resample, tables: [{ ...table, weight: new Float32Array(2) }] }],
    ['resample with no taps', { ...resample, tables: [{ ...table, taps: 0 }] }],
    ['resample along an axis that is not there', { ...resample, tables: [{ ...table, axis: 2 }] }],
    ['resample with axes not ascending', { ...resample, tables: [table, table] }],
    ['resample without tables', { ...resample, tables: [] }],
    ['resample to another shape', { ...resample, tables: [{ ...table, index: Int32Array.of(0, 1), weight: Float32Array.of(1, 1) }] }],
    ['resample of integers', resample, { values: [{ dtype: INT16, shape: [2, 3] }, { dtype: INT16, shape: [2, 3] }] }],
    ['affine from an axis too far in', { ...affine, axis: 1 }, CUBES],
    ['affine of two axes', affine],
    ['affine with half a matrix', { ...affine, matrix: affine.matrix.subarray(6) }, CUBES],
    ['affine with the wrong array', { ...affine, matrix: Float64Array.from(affine.matrix, Number) }, CUBES],
    ['affine with no method', { ...affine, linear: undefined }, CUBES],
    ['affine, linear, of integers', affine, { values: CUBES.values.map(({ shape }) => ({ dtype: INT16, shape })) }],
    ['affine to another dtype', { ...affine, linear: false }, { values: [CUBES.values[0]!, { dtype: INT16, shape: [2, 3, 4] }] }],
    ['affine that changes a batch axis', affine, { values: [{ dtype: FLOAT, shape: [2, 3, 4, 5] }, { dtype: FLOAT, shape: [2, 3, 4, 6] }] }],
    ['affine of nothing', affine, { values: [{ dtype: FLOAT, shape: [2, 0, 4] }, { dtype: FLOAT, shape: [2, 3, 4] }] }],
    ['affine of 2^23 + 1 elements along an axis', affine, { values: [{ dtype: FLOAT, shape: [1, 1, 2 ** 23 + 1] }, { dtype: FLOAT, shape: [1, 1, 1] }] }],
    ['affine to 2^31 elements along an axis', { ...affine, matrix: new BigInt64Array(12) }, { values: [{ dtype: FLOAT, shape: [1, 1, 1] }, { dtype: FLOAT, shape: [1, 1, 2 ** 31] }] }],
    ['affine that begins too far out', { ...affine, matrix: BigInt64Array.from(affine.matrix, (m, k) => k === 7 ? 2n ** 63n - 2n ** 16n + 1n : m) }, CUBES],
    ['affine that ends too far out', { ...affine, matrix: BigInt64Array.from(affine.matrix, (m, k) => k === 10 ? -(2n ** 62n) : m) }, CUBES],
    ['a box of two axes', { ...box, axes: [0, 1] }, BOX],
    ['a box with an axis twice', { ...box, axes: [0, 1, 0] }, BOX],
    ['a box along an axis that is not there', { ...box, axes: [0, 1, 3] }, BOX],
    ['a box with one key', { ...box, keys: BigUint64Array.of(0n) }, BOX],
    ['a box with keys of the wrong array', { ...box, keys: BigInt64Array.of(0n, 1n) }, BOX],
    ['a box of complex numbers', box, { values: [{ dtype: 13, shape: [2, 3, 4] }, BOX.values[1]!] }],
    ['a box of 2^31 elements along an axis', box, { values: [{ dtype: FLOAT, shape: [1, 2 ** 31, 1] }, BOX.values[1]!] }],
    ['a box that is not int32', box, { values: [BOX.values[0]!, { dtype: FLOAT, shape: [2, 3] }] }],
    ['a box of another shape', box, { values: [BOX.values[0]!, { dtype: INT32, shape: [3, 2] }] }],
    ['normalize with other groups', { ...NORMALIZE, groups: 2 }],
    ['normalize with absurd groups', { ...NORMALIZE, groups: 2 ** 52, members: 2 ** 52 }],
    ['normalize with too few parameters', { ...NORMALIZE, statistics: 'none', affine: new Float32Array(5) }],
    ['normalize with parameters and statistics', { ...NORMALIZE, affine: new Float32Array(6) }],
    ['normalize by an unknown statistic', { ...NORMALIZE, statistics: 'median' }],
    ['normalize with a quantile beyond 1', { ...NORMALIZE, statistics: 'quantiles', quantileHigh: 1.5 }],
    ['normalize with a quantile that is NaN', { ...NORMALIZE, statistics: 'quantiles', quantileLow: NaN }],
    ['normalize of int32', NORMALIZE, { values: [{ dtype: 5, shape: [2, 3] }, { dtype: FLOAT, shape: [2, 3] }] }],
    ['cast to another shape', cast, { values: [{ dtype: FLOAT, shape: [2, 3] }, { dtype: FLOAT, shape: [3, 2] }] }],
    ['cast of real to complex', cast, { values: [{ dtype: FLOAT, shape: [6] }, { dtype: 13, shape: [6] }] }],
    ['cast with an unknown rule', { ...cast, nonFinite: 3 }],
    ['an unknown kernel', { kernel: 'eval', in: 0, out: 1 }],
    ['an unknown dtype', cast, { values: [{ dtype: 15, shape: [] }, { dtype: FLOAT, shape: [] }] }],
    ['a negative extent', cast, { values: [{ dtype: FLOAT, shape: [-1] }, { dtype: FLOAT, shape: [-1] }] }],
    ['an extent that is no integer', cast, { values: [{ dtype: FLOAT, shape: [1.5] }, { dtype: FLOAT, shape: [1.5] }] }],
    ['a shape whose product overflows', cast, { values: [{ dtype: FLOAT, shape: [2 ** 32, 2 ** 32] }, { dtype: FLOAT, shape: [2 ** 32, 2 ** 32] }] }],
    ['an empty shape whose other extents overflow', cast, { values: [{ dtype: FLOAT, shape: [0, 2 ** 52, 2 ** 52] }, { dtype: FLOAT, shape: [0, 2 ** 52, 2 ** 52] }] }],
    ['a step that reads what it makes', { ...cast, in: 1 }],
    ['a step that reads what comes later', cast, { values: Array.from({ length: 3 }, () => ({ dtype: FLOAT, shape: [2] })), steps: [{ ...cast, in: 2, out: 1 }, { ...cast, out: 2 }] }],
    ['a step that writes into an input', { ...cast, out: 0 }],
    ['a value made twice', cast, { steps: [cast, cast] }],
    ['a value out of range', { ...cast, out: 7 }],
    ['an output that nobody makes', cast, { steps: [] }],
    ['an input twice', cast, { inputs: [0, 0] }],
  ])('%s', (_, step, change) => {
    expect(() => new addon.Program(program(step, change))).toThrow(TypeError)
  })

  test.each([undefined, null, 1, 'x', {}, { values: 1 }, { values: [1] }, { values: [], inputs: [], outputs: [], steps: [null] }])('%j is not a program', (value) => {
    expect(() => new addon.Program(value as never)).toThrow(TypeError)
  })
})

describe('arrays are checked before any work', () => {
  const compiled = new addon.Program(program(cast, { values: [{ dtype: INT16, shape: [2, 3] }, { dtype: FLOAT, shape: [2, 3] }] }))
  test.each<[string, unknown[]]>([
    ['an input too short', [2, [new Int16Array(11)], [new Float32Array(12)], 1]],
    ['an input too long', [1, [new Int16Array(12)], [new Float32Array(6)], 1]],
    ['an output too short', [2, [new Int16Array(12)], [new Float32Array(11)], 1]],
    ['an input of another kind', [1, [new Uint16Array(6)], [new Float32Array(6)], 1]],
    ['an output of another kind', [1, [new Int16Array(6)], [new Int32Array(6)], 1]],
    ['no array', [1, [[1, 2, 3, 4, 5, 6]], [new Float32Array(6)], 1]],
    ['too few inputs', [1, [], [new Float32Array(6)], 1]],
    ['too many outputs', [1, [new Int16Array(6)], [new Float32Array(6), new Float32Array(6)], 1]],
    ['a count that is none', [-1, [new Int16Array(6)], [new Float32Array(6)], 1]],
    ['an absurd count', [2 ** 52, [new Int16Array(6)], [new Float32Array(6)], 1]],
    ['a thread count that is none', [1, [new Int16Array(6)], [new Float32Array(6)], NaN]],
  ])('%s', (_, args) => {
    expect(() => (compiled.run as (...args: unknown[]) => unknown)(...args)).toThrow(TypeError)
  })
})

test('runs of one program overlap', async () => {
  const shape = [20, 30, 40], small = [11, 12, 13]
  const tables = shape.map((extent, axis) => linearTable(axis, extent, small[axis]!))
  const steps = chain({ dtype: 'float64', shape }, castTo('float32', shape), resampled(shape, tables), normalized(small, {}), castTo('float64', small), castTo('float32', small))
  const device = createCpuDevice({ threads: 3 })
  const prepared = await device.prepare(steps)
  const n = 24_000, m = 11 * 12 * 13
  const inputs = Array.from({ length: 12 }, (_, k) => new Float64Array(2 * n).map((_, i) => Math.sin(i * (k + 1))))
  const run = async (input: Float64Array): Promise<Buffer> => {
    const output = new Float32Array(2 * m)
    expect(await prepared.run({ count: 2, inputs: [input], outputs: [output] })).toEqual([])
    return Buffer.from(output.buffer)
  }
  const alone: Buffer[] = []
  for (const input of inputs) alone.push(await run(input))
  const together = await Promise.all(inputs.map(run))
  together.forEach((bytes, k) => expect(Buffer.compare(bytes, alone[k]!)).toBe(0))
  await device.close()
  await expect(device.prepare(steps)).rejects.toThrow(TypeError)
})

test('instruction sets can be forced, and unknown ones not', async () => {
  const best = addon.isaSelected()
  expect(addon.isaAvailable()[0]).toBe('baseline')
  const device = createCpuDevice({ isa: 'baseline' })
  expect(device.identity).toEqual({ kind: 'cpu', name: 'baseline' })
  expect(addon.isaSelected()).toBe('baseline')
  await device.close()
  expect(addon.isaSelected()).toBe(best)
  expect(() => addon.isaForce('altivec')).toThrow(TypeError)
  expect(() => createCpuDevice({ threads: 0 })).toThrow(TypeError)
})
