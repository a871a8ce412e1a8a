import { createHash } from 'node:crypto'
import { chmodSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  cast, defineOp, fromDataset, items, ItemError, NonFiniteError, recipe, RecipeError, scalerOf, standardScaler, type Cache, type Dataset, type ItemInput, type Scaler, type Source, type StandardScalerOptions, type Tensor,
} from '../../src/index.js'
import { bytesOf } from '../../src/core/tensor.js'
import { Moments } from '../../src/ops/moments.js'
import { noise, smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

let cache: Cache
beforeAll(async () => { cache = await smallCache(join(tempDir(), 'cache')) })
afterAll(() => cache.close())

const tensor = (data: Tensor['data'], ...shape: number[]): Tensor => ({ dtype: data instanceof Float32Array ? 'float32' : 'float64', shape, data } as Tensor)
const list = (count: number, fields: (k: number) => ItemInput['fields']): ItemInput[] => Array.from({ length: count }, (_, k) => ({ id: `item ${k}`, fields: fields(k) }))
const scalar = (values: readonly number[]): ItemInput[] => list(values.length, (k) => ({ x: values[k]! }))
const none = recipe([])

async function fitted(given: readonly ItemInput[], options: StandardScalerOptions = {}): Promise<Dataset> {
  return cache.dataset(fromDataset(await cache.dataset(await items(given), none)), recipe([standardScaler(options)]))
}
const scaler = async (given: readonly ItemInput[], options?: StandardScalerOptions): Promise<Scaler> => scalerOf(await fitted(given, options))

/** Two passes, as it is written in books. */
function plain(values: readonly number[], ddof = 0): { mean: number; std: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length
  return { mean, std: Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - ddof)) }
}
const near = (found: number, expected: number, within = 1e-12): void => expect(Math.abs(found - expected)).toBeLessThanOrEqual(within * Math.abs(expected))

describe('Moments', () => {
  test('mean and deviation of whole numbers, however large their mean, are right to some units in the last place', () => {
    const number = fc.integer({ min: -(2 ** 30), max: 2 ** 30 })
    fc.assert(fc.property(fc.array(number, { minLength: 2, maxLength: 40 }), fc.integer({ min: -(2 ** 52), max: 2 ** 52 }), fc.constantFrom(0, 1), fc.constantFrom(1, 2 ** -70, 2 ** 200), (values, offset, ddof, unit) => {
      const moments = new Moments(1)
      expect(moments.add(Float64Array.from(values, (x) => (x + offset) * unit))).toBe(-1)
      const { mean, std } = moments.finish(values.length, ddof)
      // Exact: n² · variance · (n - ddof) / n is a whole number.
      const whole = values.map((x) => BigInt(x + offset))
      const [sum, squares] = [whole.reduce((all, x) => all + x, 0n), whole.reduce((all, x) => all + x * x, 0n)]
      const n = BigInt(values.length)
      near(mean[0]! / unit, Number(sum) / values.length, 2 ** -51)
      near(std[0]! / unit, Math.sqrt(Number(n * squares - sum * sum) / (values.length * (values.length - ddof))), 2 ** -49)
    }), { numRuns: 500 })
  })

  test('parts may end anywhere, and equal numbers have none', () => {
    const numbers = noise(3000, 5)
    const finish = (cuts: readonly number[]): unknown => {
      const moments = new Moments(7)
      for (let k = 1; k < cuts.length; k++) moments.add(numbers.subarray(cuts[k - 1], cuts[k]))
      return moments.finish(3000 / 7, 0)
    }
    expect(finish([0, 1, 6, 7, 100, 1999, 3000])).toEqual(finish([0, 3000]))
    const moments = new Moments(2)
    moments.add(Float64Array.from({ length: 2000 }, (_, k) => k % 2 === 0 ? 0.1 : -1e300))
    const { mean, std } = moments.finish(1000, 1)
    expect([...mean, ...std]).toEqual([0.1, -1e300, 0, 0])
    expect(new Moments(2).add(Float64Array.of(1, 2, NaN))).toBe(2)
    expect(new Moments(2).add(Float64Array.of(1, -Infinity))).toBe(1)
  })
})

describe('standardScaler', () => {
  test('fits numbers, vectors and rows, of any real dtype, as two passes do', async () => {
    await fc.assert(fc.asyncProperty(fc.integer({ min: 3, max: 60 }), fc.integer({ min: 1, max: 1e6 }), fc.constantFrom(0, 1), async (count, seed, ddof) => {
      const values = noise(count * 20, seed)
      const rows = (k: number): number => (seed + 7 * k) % 4
      const given = list(count, (k) => ({
        x: tensor(Float32Array.of(values[20 * k]!)),
        v: tensor(values.slice(20 * k, 20 * k + 3).map((x, i) => x * 10 ** i + 5), 3),
        rows: tensor(values.slice(20 * k + 3, 20 * k + 3 + 2 * rows(k)), rows(k), 2),
        whole: BigInt(Math.round(values[20 * k + 10]! * 1e6)),
        short: Int16Array.of(Math.round(values[20 * k + 11]! * 1000), k),
      }))
      const dataset = await fitted(given, { ddof: ddof as 0 | 1 })
      expect([dataset.length, dataset.id(0)]).toEqual([1, 'scaler'])
      const found = await scalerOf(dataset)
      expect([found.count, [...found.fields].sort()]).toEqual([count, ['rows', 'short', 'v', 'whole', 'x']])
      const check = (field: string, k: number, numbers: readonly number[]): void => {
        const { mean, std } = plain(numbers, ddof)
        expect(Math.abs(found.mean[field]!.data[k]! - mean)).toBeLessThanOrEqual(1e-14 * Math.max(...numbers.map(Math.abs)))
        near(found.std[field]!.data[k]!, std, 1e-11)
      }
      const numbers = (field: string, k: number): number[] => given.map(({ fields }) => Number(ArrayBuffer.isView(fields[field]) ? fields[field][k] : (fields[field] as Tensor).data[k]))
      check('x', 0, numbers('x', 0))
      for (const k of [0, 1, 2]) check('v', k, numbers('v', k))
      check('whole', 0, given.map(({ fields }) => Number(fields.whole)))
      for (const k of [0, 1]) check('short', k, numbers('short', k))
      for (const k of [0, 1]) check('rows', k, given.flatMap(({ fields }) => [...(fields.rows as Tensor).data as Float64Array].filter((_, i) => i % 2 === k)))
      expect(dataset.fields).toMatchObject({ count: { dtype: 'int64', shape: [] }, x_mean: { dtype: 'float64', shape: [] }, v_std: { shape: [3] }, rows_mean: { shape: [1, 2] }, short_mean: { shape: [2] } })
    }), { numRuns: 20 })
  })

  test('the digest stands', async () => {
    // If this fails, scalers that were cached differ from those that are computed: raise the op's version instead.
    const values = noise(900, 3)
    const given = list(100, (k) => ({ x: values[k]!, v: tensor(values.slice(100 + 3 * k, 103 + 3 * k), 3), rows: tensor(values.slice(400, 400 + k % 5), k % 5) }))
    const { mean, std } = await scaler(given)
    const hash = createHash('sha256')
    for (const field of ['x', 'v', 'rows']) hash.update(bytesOf(mean[field]!.data)).update(bytesOf(std[field]!.data))
    expect(hash.digest('hex')).toBe('ee9d7512910e7b95aa0677f1afa9646835a0ad52072f5308567eeda36957b715')
  })

  test('the bytes do not depend on jobs, memory, or whether items come one by one', async () => {
    const values = noise(60_000, 9)
    const given = list(300, (k) => ({ x: tensor(values.slice(200 * k, 200 * k + 200), 200) }))
    const copy = defineOp({ name: 'test.copy', scope: 'dataset', infer: (fields) => fields, arrange: async (sequence) => ({ length: sequence.length, fields: sequence.fields, id: (k) => sequence.id(k), read: (k, names, signal) => sequence.read(k, names, signal) }) })
    const digests = new Set<string>()
    for (const [jobs, memoryBudget, ops] of [[1, 6 * 2 ** 20, []], [4, 2 ** 26, []], [2, 2 ** 26, [copy()]], [2, 2 ** 26, [cast({ dtype: 'float64', fields: ['x'] })]]] as const) {
      await using other = await smallCache(join(tempDir(), 'cache'), { memoryBudget })
      const source = fromDataset(await other.dataset(await items(given), none, { jobs }))
      digests.add((await other.dataset(source, recipe([...ops, standardScaler()]), { jobs })).digest)
      digests.add((await other.dataset(await items(given), recipe([...ops, standardScaler()]), { jobs })).digest)
    }
    expect(digests.size).toBe(1)
  })

  test('is fitted once, and again for a dataset with one item more', async () => {
    const given = scalar([3, 1, 4, 1, 5])
    const train = await cache.dataset(await items(given), none)
    const steps = recipe([standardScaler({ fields: ['x'] })])
    const cold = await cache.dataset(fromDataset(train), steps)
    expect(cold.report).toMatchObject({ items: 1, computed: 1 })
    const unread: Source = new Proxy(fromDataset(train), { get: (source, name) => name === 'read' ? () => { throw new Error('was read') } : Reflect.get(source, name, source) as unknown })
    const warm = await cache.dataset(unread, steps)
    expect([warm.report.computed, warm.key, warm.digest]).toEqual([0, cold.key, cold.digest])
    // Without a digest the items are identified, and nothing is fitted.
    const loose = await items(given)
    await cache.dataset(loose, steps)
    expect((await cache.dataset(await items(given), steps)).report.computed).toBe(0)
    const more = await cache.dataset(fromDataset(await cache.dataset(await items([...given, { id: 'new', fields: { x: 9 } }]), none)), steps)
    expect([more.report.computed, more.key === cold.key]).toEqual([1, false])
    const unbiased = await cache.dataset(fromDataset(train), recipe([standardScaler({ fields: ['x'], ddof: 1 })]))
    expect(unbiased.key).not.toBe(cold.key)
  })

  test('is fitted on the named dataset alone', async () => {
    const build = async (dir: string, val: readonly number[]): Promise<{ scaler: Dataset; val: Dataset }> => {
      const own = await smallCache(dir)
      const [train, held] = [await own.dataset(await items(scalar([1, 2, 3, 4])), none), await own.dataset(await items(scalar(val)), none)]
      const made = await own.dataset(fromDataset(train), recipe([standardScaler()]))
      const applied = await own.dataset(fromDataset(held), recipe([(await scalerOf(made)).op('x')]))
      return { scaler: made, val: applied }
    }
    const dir = join(tempDir(), 'cache')
    const [one, two] = [await build(dir, [10, 20]), await build(dir, [-5, 7, 100])]
    expect([two.scaler.key, two.scaler.digest, two.scaler.report.computed]).toEqual([one.scaler.key, one.scaler.digest, 0])
    const values = async ({ val }: { val: Dataset }): Promise<unknown[]> => Promise.all(Array.from({ length: val.length }, async (_, k) => ((await val.get(k)).x as Tensor).data[0]))
    const { mean, std } = plain([1, 2, 3, 4])
    for (const [made, given] of [[one, [10, 20]], [two, [-5, 7, 100]]] as const) (await values(made)).forEach((x, k) => near(x as number, (given[k]! - mean) / std, 1e-6))
  })

  test('one key is not shared by one shape and one that may differ, though the bytes are equal', async () => {
    const given = list(4, (k) => ({ v: tensor(Float64Array.of(k, 2 * k), 2) }))
    const loosen = defineOp({ name: 'test.loosen', infer: () => ({ v: { dtype: 'float64', shape: [null] } }), run: (fields) => fields })
    const fixed = await cache.dataset(await items(given), none)
    const loose = await cache.dataset(await items(given), recipe([loosen()]))
    expect(loose.digest).toBe(fixed.digest)
    const of = async (dataset: Dataset): Promise<Scaler> => scalerOf(await cache.dataset(fromDataset(dataset), recipe([standardScaler()])))
    expect([...(await of(fixed)).mean.v!.data]).toEqual([1.5, 3])
    expect([...(await of(loose)).mean.v!.data]).toEqual([2.25])
  })

  test('NaN and infinity are named with item and field, and leave nothing behind', async () => {
    for (const [field, bad] of [['x', NaN], ['v', -Infinity], ['rows', Infinity]] as const) {
      const given = list(50, (k) => ({
        x: field === 'x' && k === 33 ? bad : k, v: tensor(Float64Array.of(1, field === 'v' && k === 33 ? bad : 2, 3), 3), rows: tensor(Float32Array.from({ length: k % 3 + 1 }, () => field === 'rows' && k === 33 ? bad : k), k % 3 + 1),
      }))
      const failure = await fitted(given).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(NonFiniteError)
      expect(failure).toMatchObject({ item: 'item 33', field, count: 1, index: field === 'v' ? 1 : 0, message: expect.stringContaining('standardScaler') })
    }
  })

  test('what cannot be fitted is refused', async () => {
    await expect(fitted([])).rejects.toThrow(RecipeError)
    const empty: Source = { ...await items([]), fields: { x: { dtype: 'float64', shape: [] } }, length: 0, id: () => '', async * read() {}, release() {}, assertUnchanged() {}, close() {} }
    await expect(cache.dataset(empty, recipe([standardScaler()]))).rejects.toThrow(/nothing to fit on: needed are 1 items or more, there are 0/)
    await expect(fitted(scalar([1]), { ddof: 1 })).rejects.toThrow(/needed are 2 items or more, there are 1/)
    await expect(fitted(list(3, (k) => ({ x: tensor(new Float32Array(0), 0), y: tensor(new Float32Array(k), k) })).slice(0, 1), { fields: ['x'] })).resolves.toBeDefined()
    await expect(fitted([...list(3, (k) => ({ y: tensor(new Float32Array(k), k, 3 * k === 0 ? 0 : 1) }))], { fields: ['y'] })).rejects.toThrow(/one shape, or one but for axis 0, found float32 \[\?, \?\]/)
    await expect(fitted(list(3, () => ({ z: { dtype: 'complex64', shape: [], data: new Float32Array(2) } })))).rejects.toThrow(/it is complex/)
    await expect(fitted(list(3, () => ({ z: { dtype: 'float16', shape: [], data: new Uint16Array(1) } })), { fields: ['z'] })).rejects.toThrow(/cast it to float32 first/)
    await expect(fitted(scalar([1, 2]), { fields: ['y'] })).rejects.toThrow(/there is no field "y"/)
    await expect(fitted(scalar([1e200, -1e200]))).rejects.toThrow(ItemError)
    await expect(fitted(scalar([1e308, -1e308]))).rejects.toThrow(/too far apart/)
    expect(() => standardScaler({ ddof: 2 } as never)).toThrow(/ddof must be one of 0, 1/)
    expect(() => standardScaler({ field: ['x'] } as never)).toThrow(/should be "fields"/)
    await expect(scalerOf(await cache.dataset(await items(scalar([1])), none))).rejects.toThrow(/the dataset that standardScaler makes, one item called scaler, not 1 items with the fields x/)
    await expect(scalerOf({} as never)).rejects.toThrow(/expected a dataset/)
  })

  test('a damaged scaler is fitted again', async () => {
    const dir = join(tempDir(), 'cache')
    const open = async (): Promise<{ own: Cache; made: Dataset }> => {
      const own = await smallCache(dir)
      return { own, made: await own.dataset(fromDataset(await own.dataset(await items(scalar([1, 2, 4])), none)), recipe([standardScaler()])) }
    }
    const first = await open()
    const before = await scalerOf(first.made)
    await first.own.close()
    let damaged = 0
    for (const folder of readdirSync(join(dir, 'blobs'))) for (const name of readdirSync(join(dir, 'blobs', folder))) {
      const path = join(dir, 'blobs', folder, name)
      const bytes = readFileSync(path)
      if (!bytes.includes('x_mean') || bytes.includes('"manifest"')) continue
      expect(statSync(path).size).toBeGreaterThan(4096)
      bytes[4096 + 8]! ^= 1
      chmodSync(path, 0o644)
      writeFileSync(path, bytes)
      damaged++
    }
    expect(damaged).toBe(1)
    const second = await open()
    expect(await scalerOf(second.made)).toEqual(before)
    await second.own.close()
  })
})

describe('a scaler', () => {
  const values = noise(400, 11)
  const given = list(40, (k) => ({
    x: tensor(Float32Array.of(values[k]!)), v: tensor(values.slice(40 + 3 * k, 43 + 3 * k).map((x, i) => 10 ** i * (x + 3)), 3),
    m: tensor(values.slice(k, k + 4), 2, 2), rows: tensor(values.slice(200 + k, 200 + k + 2 * (k % 4)), k % 4, 2), constant: 5,
  }))

  test('transforms and comes back: items, batches, concatenations, arrays', async () => {
    const fit = await scaler(given)
    const [transform, inverse] = [fit.transform.bind(fit), fit.inverse.bind(fit)]
    const { mean, std } = fit
    const expected = (x: number, field: string, k: number): number => (x - mean[field]!.data[k]!) / std[field]!.data[k]!
    const v = given[7]!.fields.v as Tensor<'float64'>
    const made = transform('v', v)
    expect(made).toEqual({ dtype: 'float64', shape: [3], data: v.data.map((x, k) => expected(x, 'v', k)) })
    inverse('v', made).data.forEach((x, k) => near(x as number, v.data[k]!, 1e-14))
    const batch = tensor(values.slice(0, 60), 20, 3)
    expect(transform('v', batch)).toEqual({ dtype: 'float64', shape: [20, 3], data: (batch.data as Float64Array).map((x, k) => expected(x, 'v', k % 3)) })
    expect(transform('v', batch.data)).toEqual(transform('v', batch).data)
    expect(transform('rows', tensor(values.slice(0, 10), 5, 2)).data).toEqual(values.slice(0, 10).map((x, k) => expected(x, 'rows', k % 2)))
    const single = transform('x', tensor(Float32Array.of(0.5, 0.25), 2))
    expect([single.dtype, single.shape, ...single.data as Float32Array]).toEqual(['float32', [2], Math.fround(expected(0.5, 'x', 0)), Math.fround(expected(0.25, 'x', 0))])
    expect(transform('x', Float32Array.of(0.5))).toBeInstanceOf(Float32Array)
    expect(transform('x', BigInt64Array.of(2n))).toEqual(Float64Array.of(expected(2, 'x', 0)))
    // A constant is taken for one of deviation 1: it becomes 0, and comes back.
    expect([std.constant!.data[0], transform('constant', Float64Array.of(5, 7)), inverse('constant', Float64Array.of(0, 2))]).toEqual([0, Float64Array.of(0, 2), Float64Array.of(5, 7)])
    expect(() => transform('v', Float64Array.of(1, 2))).toThrow(/a multiple of 3 numbers of field v, found 2/)
    expect(() => transform('v', tensor(new Float64Array(8), 4, 2))).toThrow(/the last axes \[3\], found \[4, 2\]/)
    expect(() => transform('z', v)).toThrow(/no field "z"; it has/)
    expect(() => transform('x', { dtype: 'float16', shape: [1], data: new Uint16Array(1) })).toThrow(/cast it first/)
  })

  test('is an op of other recipes, with the same numbers in float32', async () => {
    const made = await scaler(given)
    const dataset = await cache.dataset(await items(given), recipe(made.fields.map((field) => made.op(field))))
    for (const index of [0, 7, 39]) {
      const item = await dataset.get(index)
      for (const field of made.fields) {
        const value = given[index]!.fields[field]!
        const input = typeof value === 'number' ? tensor(Float64Array.of(value)) : value as Tensor
        const expected = made.transform(field, input)
        const { dtype, shape, data } = item[field] as Tensor<'float32'>
        expect([dtype, shape]).toEqual(['float32', input.shape])
        data.forEach((x, k) => expect(Math.abs(x - (expected.data[k] as number))).toBeLessThan(2e-6 * Math.max(1, Math.abs(expected.data[k] as number))))
      }
    }
    expect(JSON.parse(JSON.stringify(made.op('v').params))).toMatchObject({ mode: 'zscore', axes: [], fields: ['v'], mean: [...made.mean.v!.data] })
  })
})
