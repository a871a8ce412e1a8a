import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cast } from '../../src/ops/cast.js'
import { crop } from '../../src/ops/crop.js'
import { normalize } from '../../src/ops/normalize.js'
import { pad } from '../../src/ops/pad.js'
import { resample } from '../../src/ops/resample.js'
import { rename, select } from '../../src/ops/select.js'
import { noise } from '../support/data.js'
import { float32, runOps, worst } from './support.js'

interface Golden { shape: number[]; to: number[]; before: number[]; after: number[]; method: 'linear' | 'nearest' | 'area'; mode: 'constant' | 'edge' | 'reflect'; alignCorners: boolean; x: number[]; y: number[]; low: number; high: number; a: number; b: number }
const goldens = JSON.parse(readFileSync(resolve(import.meta.dirname, '../fixtures/ops/goldens.json'), 'utf8')) as { resample: Golden[]; pad: Golden[]; quantiles: Golden[] }

describe('resample', () => {
  test.each(goldens.resample.map((golden, i) => [i, golden.method, golden.shape.join('×'), golden.to.join('×'), golden.alignCorners, golden] as const))('%i: %s %s → %s, corners %s, as torch', async (_i, method, _from, _to, alignCorners, { shape, to, x, y }) => {
    const { fields } = await runOps([resample({ shape: to, method, alignCorners })], { x: float32(shape, x) })
    expect(worst(fields.x!.data, y)).toBeLessThan(5e-7)
    // A result with two values swapped must not pass.
    const wrong = [...y]
    const other = wrong.findIndex((value) => value !== wrong[0])
    if (other > 0) {
      ;[wrong[0], wrong[other]] = [wrong[other]!, wrong[0]!]
      expect(worst(fields.x!.data, wrong)).toBeGreaterThan(1e-4)
    }
  })

  test('cubic is the Catmull-Rom spline', async () => {
    const x = Array.from(noise(9, 3))
    const { fields } = await runOps([resample({ shape: [14], method: 'cubic' })], { x: float32([9], x) })
    const at = (i: number): number => Math.fround(x[Math.max(0, Math.min(8, i))]!)
    const expected = Array.from({ length: 14 }, (_, i) => {
      const centre = (i + 0.5) * 9 / 14 - 0.5
      const k = Math.floor(centre)
      const t = centre - k
      const [a, b, c, d] = [at(k - 1), at(k), at(k + 1), at(k + 2)]
      return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    })
    expect(worst(fields.x!.data, expected)).toBeLessThan(5e-7)
  })

  test('leading axes are batch, and axes may be named', async () => {
    const x = Array.from(noise(2 * 3 * 4 * 5, 9))
    const whole = (await runOps([resample({ shape: [7, 3] })], { x: float32([2, 3, 4, 5], x) })).fields.x!
    expect(whole.shape).toEqual([2, 3, 7, 3])
    for (let i = 0; i < 6; i++) {
      const one = (await runOps([resample({ shape: [7, 3] })], { x: float32([4, 5], x.slice(i * 20, i * 20 + 20)) })).fields.x!
      expect([...(whole.data as Float32Array).subarray(i * 21, i * 21 + 21)]).toEqual([...one.data as Float32Array])
    }
    expect((await runOps([resample({ shape: [9], axes: [-3] })], { x: float32([2, 3, 4, 5], x) })).fields.x!.shape).toEqual([2, 9, 4, 5])
  })

  test('a constant stays exactly what it is, but for a last bit', async () => {
    for (const method of ['linear', 'cubic', 'area'] as const) {
      const { fields } = await runOps([resample({ shape: [5, 3], method })], { x: float32([8, 7], Array.from<number>({ length: 56 }).fill(1000.25)) })
      for (const value of fields.x!.data as Float32Array) expect(Math.abs(value - 1000.25)).toBeLessThan(2e-4)
    }
  })

  test('constant edges fade to zero outside', async () => {
    const { fields } = await runOps([resample({ shape: [4], edges: 'constant' })], { x: float32([2], [4, 4]) })
    expect([...fields.x!.data as Float32Array]).toEqual([3, 4, 4, 3])
  })
})

describe('normalize', () => {
  const moments = (x: ArrayLike<number>): { mean: number; std: number } => {
    const list = Array.from(x)
    const mean = list.reduce((sum, value) => sum + value, 0) / list.length
    return { mean, std: Math.sqrt(list.reduce((sum, value) => sum + (value - mean) ** 2, 0) / list.length) }
  }

  test.each([[1, 0, 1], [5000, 0, 1], [5000, 1e6, 1], [4097, -3e4, 1e-2], [4096, 1e-3, 1e-9]])('zscore of %i values around %d with width %d', async (n, centre, width) => {
    const x = Float32Array.from(noise(n, 11), (value) => centre + width * value)
    const { fields } = await runOps([normalize({ mode: 'zscore' })], { x: { dtype: 'float32', shape: [n], data: x } })
    const { mean, std } = moments(x)
    expect(worst(fields.x!.data, Array.from(x, (value) => (value - mean) / (std + 1e-8)))).toBeLessThan(2e-6)
  })

  test('integers, and float64, as well', async () => {
    const counts = Uint16Array.from(noise(10_000, 5), (value) => 30_000 + 60_000 * value)
    const { mean, std } = moments(counts)
    const expected = Array.from(counts, (value) => (value - mean) / (std + 1e-8))
    expect(worst((await runOps([normalize({ mode: 'zscore' })], { x: { dtype: 'uint16', shape: [10_000], data: counts } })).fields.x!.data, expected)).toBeLessThan(1e-6)
    expect(worst((await runOps([normalize({ mode: 'zscore' })], { x: { dtype: 'float64', shape: [10_000], data: Float64Array.from(counts) } })).fields.x!.data, expected)).toBeLessThan(1e-6)
  })

  test.each([[[0]], [[1]], [[2]], [[-1]], [[0, 2]], [[1, 2]], [[0, 1, 2]]])('axes %j: every group by itself', async (axes) => {
    const shape = [3, 4, 5]
    const x = Array.from(noise(60, 8))
    const { fields } = await runOps([normalize({ mode: 'zscore', axes })], { x: float32(shape, x) })
    const resolved = axes.map((axis) => axis < 0 ? axis + 3 : axis)
    const groups = new Map<string, number[]>()
    const place = (i: number): string => [Math.floor(i / 20), Math.floor(i / 5) % 4, i % 5].map((at, axis) => resolved.includes(axis) ? '*' : at).join()
    x.forEach((value, i) => groups.set(place(i), [...groups.get(place(i)) ?? [], Math.fround(value)]))
    expect(worst(fields.x!.data, x.map((value, i) => {
      const { mean, std } = moments(groups.get(place(i))!)
      return (Math.fround(value) - mean) / (std + 1e-8)
    }))).toBeLessThan(2e-6)
  })

  test('nonzero leaves zeros alone', async () => {
    const { fields } = await runOps([normalize({ mode: 'zscore', nonzero: true })], { x: float32([6], [0, 1, 0, 3, 5, 0]) })
    const std = Math.sqrt(8 / 3)
    expect(worst(fields.x!.data, [0, -2 / std, 0, 0, 2 / std, 0])).toBeLessThan(1e-6)
    expect([...(await runOps([normalize({ mode: 'zscore', nonzero: true })], { x: float32([3], [0, 0, 0]) })).fields.x!.data as Float32Array]).toEqual([0, 0, 0])
  })

  test('given mean and std, minmax, range, scale', async () => {
    const x = float32([2, 3], [1, 2, 3, 4, 6, 8])
    const run = async (options: Parameters<typeof normalize>[0]): Promise<number[]> => [...(await runOps([normalize(options)], { x })).fields.x!.data as Float32Array]
    expect(await run({ mode: 'zscore', mean: [2, 6], std: [1, 2], axes: [1] })).toEqual([-1, 0, 1, -1, 0, 1])
    expect(await run({ mode: 'zscore', mean: 4, std: 2 })).toEqual([-1.5, -1, -0.5, 0, 1, 2])
    expect(await run({ mode: 'zscore', mean: [1, 1, 1, 2, 2, 2], std: [1, 2, 4, 1, 2, 4], axes: [] })).toEqual([0, 0.5, 0.5, 2, 2, 1.5])
    expect(() => normalize({ mode: 'zscore', axes: [] })).toThrow(/axes must be a list of different integers/)
    expect(await run({ mode: 'minmax', to: [-1, 1], axes: [1] })).toEqual([-1, 0, 1, -1, 0, 1])
    expect(await run({ mode: 'range', aMin: 2, aMax: 6, bMin: 0, bMax: 1 })).toEqual([-0.25, 0, 0.25, 0.5, 1, 1.5])
    expect(await run({ mode: 'range', aMin: 2, aMax: 6, clip: true })).toEqual([0, 0, 0.25, 0.5, 1, 1])
    expect(await run({ mode: 'scale', factor: 2, offset: -1 })).toEqual([1, 3, 5, 7, 11, 15])
    expect([...(await runOps([normalize({ mode: 'minmax', to: [3, 4] })], { x: float32([2], [7, 7]) })).fields.x!.data as Float32Array]).toEqual([3, 3])
  })

  test.each(goldens.quantiles.map((golden, i) => [i, golden] as const))('percentiles %i as numpy', async (_i, { x, low, high, a, b }) => {
    const { fields } = await runOps([normalize({ mode: 'range', pLow: low, pHigh: high })], { x: float32([x.length], x) })
    expect(worst(fields.x!.data, x.map((value) => a === b ? 0 : (value - a) / (b - a)))).toBeLessThan(1e-6)
  })
})

describe('crop and pad', () => {
  test.each(goldens.pad.map((golden, i) => [i, golden.mode, golden] as const))('pad %i: %s as numpy', async (_i, mode, { shape, before, after, x, y }) => {
    const field = { dtype: 'int16' as const, shape, data: Int16Array.from(x) }
    const { fields } = await runOps([pad({ before, after, mode, ...(mode === 'constant' ? { value: -7 } : {}) })], { x: field })
    expect([...fields.x!.data as Int16Array]).toEqual(y)
    // What was padded can be cropped away again.
    expect([...(await runOps([pad({ before, after, mode }), crop({ start: before, shape })], { x: field })).fields.x!.data as Int16Array]).toEqual(x)
  })

  test('pad to a shape puts the odd element at the end; crop without a start takes the centre', async () => {
    const x = float32([3], [1, 2, 3])
    expect([...(await runOps([pad({ shape: [6] })], { x })).fields.x!.data as Float32Array]).toEqual([0, 1, 2, 3, 0, 0])
    expect([...(await runOps([pad({ shape: [2] })], { x })).fields.x!.data as Float32Array]).toEqual([1, 2, 3])
    expect([...(await runOps([crop({ shape: [1] })], { x })).fields.x!.data as Float32Array]).toEqual([2])
  })

  test.each([
    ['bool', 1, [1]], ['int8', -1, [255]], ['uint8', 200, [200]], ['int16', -2, [254, 255]], ['uint32', 7, [7, 0, 0, 0]], ['int64', -1, [255, 255, 255, 255, 255, 255, 255, 255]],
    ['float16', 1.5, [0, 0x3e]], ['float16', 2 ** -24, [1, 0]], ['bfloat16', -2, [0, 0xc0]], ['float32', 0.5, [0, 0, 0, 0x3f]], ['float64', 0.1, [154, 153, 153, 153, 153, 153, 185, 63]],
  ] as const)('pad value of %s %d', async (dtype, value, expected) => {
    const { DTYPES } = await import('../../src/core/dtype.js')
    const { fields } = await runOps([pad({ before: [1], value })], { x: { dtype, shape: [0], data: new DTYPES[dtype].array(new ArrayBuffer(0)) } })
    const { data } = fields.x!
    expect([...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]).toEqual([...expected])
  })
})

test('whatever the shape, infer promises what lower makes', async () => {
  const extents = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 0, maxLength: 4 })
  const dtypes = fc.constantFrom('float32', 'int16', 'float64', 'uint8', 'float16', 'bool')
  await fc.assert(fc.asyncProperty(extents, dtypes, fc.integer({ min: 0, max: 5 }), async (shape, dtype, which) => {
    const { DTYPES } = await import('../../src/core/dtype.js')
    const count = shape.reduce((a, b) => a * b, 1)
    const field = { dtype, shape, data: new DTYPES[dtype].array(new ArrayBuffer(count * DTYPES[dtype].size)) }
    const op = [
      () => cast({ dtype: 'float32' }), () => normalize({ mode: 'minmax', axes: [-1] }), () => resample({ shape: [3, 2] }),
      () => pad({ shape: [4, 4] }), () => crop({ shape: [1] }), () => resample({ shape: [5], method: 'nearest' }),
    ][which]!()
    try {
      await runOps([op, rename({ x: 'z' }), select({ fields: ['z'] })], { x: field })
    } catch (error) {
      expect((error as { code?: string }).code, String(error)).toBe('E_RECIPE')
    }
  }), { numRuns: 200 })
})
