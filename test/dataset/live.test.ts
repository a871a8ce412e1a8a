import { utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cast, defineOp, items, normalize, npz, recipe, resample, select, type BatchOptions, type Cache, type Dataset, type ItemInput, type LiveDataset, type Recipe, type Source, type Tensor } from '../../src/index.js'
import { bytesOf } from '../../src/core/tensor.js'
import { noise, range, smallCache, steps, writeRows } from '../support/data.js'
import { npzBytes } from '../support/npy.js'
import { tempDir } from '../support/temp.js'

let cache: Cache
beforeAll(async () => { cache = await smallCache(join(tempDir(), 'cache')) })
afterAll(() => cache.close())

const plain = (value: unknown): unknown => Array.isArray(value) ? value.map(plain)
  : ArrayBuffer.isView(value) ? Array.from(value as Float64Array)
  : typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).sort().map(([name, part]) => [name, plain(part)])) : value

async function batchesOf(dataset: Dataset | LiveDataset, options: BatchOptions): Promise<unknown[]> {
  const all = []
  // Written down before the next one is asked for: with `reuse` its memory is used again.
  for await (const batch of dataset.batches(options)) all.push(plain(batch))
  return all
}

/** Every way to read gives what the cached dataset has. */
async function expectSame(source: Source, steps: Recipe, ways: readonly BatchOptions[]): Promise<void> {
  const [cached, live] = [await cache.dataset(source, steps), await cache.dataset(source, steps, { cache: false })]
  expect(live.length).toBe(cached.length)
  expect(plain(live.fields)).toEqual(plain(cached.fields))
  expect(plain(live.constants)).toEqual(plain(cached.constants))
  for (let k = 0; k < live.length; k += Math.ceil(live.length / 7)) {
    expect(live.id(k)).toBe(cached.id(k))
    expect(plain(await live.get(k))).toEqual(plain(await cached.get(k)))
  }
  for (const way of ways) expect(await batchesOf(live, way), String(Object.entries(way))).toEqual(await batchesOf(cached, way))
  await live.close()
}

const ORDERS: BatchOptions[] = [{ size: 5 }, { size: 7, dropLast: true }, { size: 1, prefetch: 0 }, { size: 6, shuffle: true, seed: 3 }, { size: 6, shuffle: true, seed: 3, epoch: 4, prefetch: 9 }, { size: 8, shuffle: true, seed: 2n ** 63n, reuse: true }]

describe('a dataset that is computed when it is read is that of the cache', () => {
  test('rows of arrays', async () => {
    const path = join(tempDir(), 'rows.npz')
    writeRows(path, range(1, 60), 12)
    const source = await npz(path)
    await expectSame(source, steps, [...ORDERS, { size: 4, fields: ['y'] }, { size: 9, collate: 'list' }, { size: 9, collate: 'pad', shuffle: true, seed: 1 }, { size: 9, collate: (all) => ({ ids_again: all.map(({ id }) => id), x: all[0]!.x }) }])
    await expectSame(source, recipe([]), ORDERS)
    source.close()
  })

  test('several files, arrays in Fortran order, in other byte order, deflated: whatever way their rows are read', async () => {
    const dir = tempDir()
    for (const [name, first, count] of [['a', 0, 30], ['b', 30, 11]] as const) {
      writeFileSync(join(dir, `${name}.npz`), npzBytes({ x: { dtype: 'float32', shape: [count, 3, 2], data: Float32Array.from(noise(count * 6, first + 1)) }, n: { dtype: 'int16', shape: [count], data: Int16Array.from(range(first, first + count)) } }))
    }
    const source = await npz([join(dir, 'a.npz'), join(dir, 'b.npz')])
    await expectSame(source, recipe([cast({ dtype: 'float64', fields: ['x'] })]), ORDERS)
    source.close()
  })

  test('items that differ in axis 0, stacked, listed, and as graphs', async () => {
    const given: ItemInput[] = range(0, 33).map((k) => {
      const nodes = 1 + k % 5
      const edges = (k * 7) % 6
      return {
        id: `graph ${k}`,
        fields: {
          numbers: Int32Array.from({ length: nodes }, (_, n) => n + k), value: k / 3,
          edge_source: Int32Array.from({ length: edges }, (_, e) => e % nodes), edge_target: Int32Array.from({ length: edges }, (_, e) => (e + 1) % nodes),
          edge_vector: { dtype: 'float32', shape: [edges, 3], data: Float32Array.from(noise(3 * edges, k + 1)) },
        },
      }
    })
    const source = await items(given)
    const steps = recipe([cast({ dtype: 'float32', fields: ['value'] })])
    await expectSame(source, steps, ORDERS.map((way) => ({ ...way, collate: 'graph' as const })))
    await expectSame(source, steps, [{ size: 6, collate: 'list' }, { size: 6, collate: 'pad', shuffle: true, seed: 4 }, { size: 6, fields: ['value'] }])
  })

  test('items of any shape', async () => {
    const source = await items(range(1, 12).map((k) => ({ id: `${k}`, fields: { image: { dtype: 'float32', shape: [1 + k % 3, 2 + k % 4], data: Float32Array.from(noise((1 + k % 3) * (2 + k % 4), k)) } } })))
    await expectSame(source, recipe([normalize({ mode: 'zscore' })]), [{ size: 3, collate: 'list' }, { size: 3, collate: 'pad', shuffle: true, seed: 4 }])
  })

  test('items of any shape that an op gives one shape', async () => {
    const source = await items(range(0, 17).map((k) => ({ id: `${k}`, fields: { image: { dtype: 'float32', shape: [4 + k % 2, 7 - k % 3], data: Float32Array.from(noise((4 + k % 2) * (7 - k % 3), k + 1)) } } })))
    await expectSame(source, recipe([resample({ shape: [6, 6] })]), ORDERS)
  })

  test('functions of the user, on items and on datasets', async () => {
    const source = await items(range(0, 20).map((k) => ({ id: `${k}`, fields: { x: k } })))
    const double = defineOp({ name: 'test.double', infer: (fields) => fields, run: ({ x }) => ({ x: { ...x!, data: (x!.data as Float64Array).map((value) => 2 * value) } as Tensor }) })
    const backwards = defineOp({
      name: 'test.backwards', scope: 'dataset', infer: (fields) => fields,
      arrange: async (sequence) => ({ length: sequence.length, fields: sequence.fields, id: (k) => sequence.id(sequence.length - 1 - k), read: (k, names, signal) => sequence.read(sequence.length - 1 - k, names, signal) }),
    })
    await expectSame(source, recipe([double(), backwards(), double()]), ORDERS)
  })

  test('batches that are more than the budget allows at once are put together of parts', async () => {
    const path = join(tempDir(), 'large.npz')
    writeRows(path, range(1, 40), 40_000)
    const source = await npz(path)
    await expectSame(source, steps, [{ size: 39 }, { size: 13, shuffle: true, seed: 6 }])
    source.close()
  })
})

test('what was handed out stays as it was, whatever is computed after it, in several loops at the same time', async () => {
  const path = join(tempDir(), 'large.npz')
  writeRows(path, range(1, 40), 40_000)
  const source = await npz(path)
  const double = defineOp({ name: 'test.twice', infer: (fields) => fields, run: ({ x, ...rest }) => ({ ...rest, x: { ...x!, data: (x!.data as Float32Array).map((value) => 2 * value) } as Tensor }) })
  for (const ops of [steps, recipe([...steps.ops, cast({ dtype: 'float64', fields: ['x'] })]), recipe([...steps.ops, double()]), recipe([])]) {
    const [cached, live] = [await cache.dataset(source, ops), await cache.dataset(source, ops, { cache: false })]
    const loop = async (dataset: Dataset | LiveDataset, seed: number): Promise<{ indices: Float64Array; x: Tensor }[]> => {
      const all = []
      for await (const { indices, x } of dataset.batches({ size: 5, shuffle: true, seed, prefetch: 3 })) all.push({ indices, x: x as Tensor })
      return all
    }
    const [first, second, expected] = [loop(live, 1), loop(live, 2), await loop(cached, 1)]
    const found = await first
    await second
    await loop(live, 3)
    found.forEach(({ indices, x }, k) => {
      expect(Array.from(indices)).toEqual(Array.from(expected[k]!.indices))
      expect(Buffer.compare(Buffer.from(bytesOf(x.data)), Buffer.from(bytesOf(expected[k]!.x.data)))).toBe(0)
    })
  }
  source.close()
})

describe('what goes wrong', () => {
  test('an item that cannot be made is an error that names it, and the others are had', async () => {
    const path = join(tempDir(), 'bad.npz')
    const x = noise(20, 1)
    x[13] = Infinity
    writeFileSync(path, npzBytes({ x: { dtype: 'float64', shape: [10, 2], data: x } }))
    const source = await npz(path)
    const live = await cache.dataset(source, recipe([cast({ dtype: 'float32' })]), { cache: false })
    await expect(live.get(6)).rejects.toMatchObject({ code: 'E_NON_FINITE', item: 'bad/6' })
    expect((await live.get(5)).id).toBe('bad/5')
    await expect(batchesOf(live, { size: 4 })).rejects.toMatchObject({ code: 'E_NON_FINITE', item: 'bad/6' })
    source.close()
  })

  test('a file that is written meanwhile', async () => {
    const path = join(tempDir(), 'rows.npz')
    writeRows(path, range(1, 9), 4)
    const source = await npz(path)
    const live = await cache.dataset(source, steps, { cache: false })
    await live.get(0)
    utimesSync(path, 1, 1)
    await expect(live.get(1)).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED' })
    source.close()
  })

  test('recipes that do not fit, indices, options, and what is closed', async () => {
    const source = await items([{ id: 'a', fields: { x: 1 } }])
    await expect(cache.dataset(source, recipe([select({ fields: ['y'] })]), { cache: false })).rejects.toMatchObject({ code: 'E_RECIPE' })
    await expect(cache.dataset(source, recipe([]), { cache: false, compression: 'lz4' } as never)).rejects.toThrow(/compression/)
    await expect(cache.dataset(source, recipe([]), { cache: 0 } as never)).rejects.toThrow(/cache must be/)
    const live = await cache.dataset(source, recipe([]), { cache: false, name: 'mine' })
    expect(live.name).toBe('mine')
    await expect(live.get(1)).rejects.toThrow(RangeError)
    await live.close()
    await expect(live.get(0)).rejects.toThrow('The dataset is closed')
    expect(() => live.batches({ size: 1 })).toThrow('The dataset is closed')
  })

  test('a signal ends an epoch', async () => {
    const path = join(tempDir(), 'rows.npz')
    writeRows(path, range(1, 50), 4)
    const source = await npz(path)
    const live = await cache.dataset(source, steps, { cache: false })
    const controller = new AbortController()
    let seen = 0
    await expect((async () => {
      for await (const _ of live.batches({ size: 5, signal: controller.signal })) if (++seen === 3) controller.abort(new Error('enough'))
    })()).rejects.toThrow('enough')
    expect(seen).toBe(3)
    source.close()
  })
})
