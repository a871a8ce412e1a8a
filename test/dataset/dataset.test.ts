import { appendFileSync, chmodSync, copyFileSync, readFileSync, readdirSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { cast, crop, defineOp, normalize, npz, recipe, select, type Dataset, type Tensor } from '../../src/index.js'
import { fieldFrame } from '../../src/core/keys.js'
import { items as itemsSource } from '../../src/sources/items.js'
import { items, range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const WIDTH = 4096

async function withDataset<T>(dir: string, file: string, use: (dataset: Dataset) => Promise<T> | T, options: object = {}): Promise<T> {
  const cache = await smallCache(join(dir, 'cache'), options)
  const source = await npz(file)
  try {
    return await use(await cache.dataset(source, steps, { name: 'test' }))
  } finally {
    source.close()
    await cache.close()
  }
}

function blobs(dir: string): string[] {
  const root = join(dir, 'cache/blobs')
  return readdirSync(root).flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(root, folder, name))).sort()
}

describe('a dataset', () => {
  test('is computed once, and read back the same', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 100), WIDTH)
    const cold = await withDataset(dir, file, async (dataset) => {
      expect(dataset.report).toMatchObject({ items: 100, hits: 0, computed: 100 })
      expect(dataset.fields).toEqual({ x: { dtype: 'float32', shape: [WIDTH] }, y: { dtype: 'int32', shape: [] } })
      return { digest: dataset.digest, key: dataset.key, items: await items(dataset) }
    })
    const warm = await withDataset(dir, file, async (dataset) => {
      expect(dataset.report).toMatchObject({ items: 100, hits: 100, computed: 0 })
      return { digest: dataset.digest, key: dataset.key, items: await items(dataset) }
    })
    expect(warm).toEqual(cold)
    // zero mean and unit variance, and the label passed through
    const { x, y } = cold.items[41] as unknown as { x: { data: number[] }; y: { data: number[] } }
    expect(y.data).toEqual([41])
    const mean = x.data.reduce((sum, value) => sum + value, 0) / WIDTH
    const variance = x.data.reduce((sum, value) => sum + (value - mean) ** 2, 0) / WIDTH
    expect(Math.abs(mean)).toBeLessThan(1e-6)
    expect(Math.abs(variance - 1)).toBeLessThan(1e-5)
  })

  test('has the digest that its items say', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 20), 33)
    await withDataset(dir, file, async (dataset) => {
      const all = createHash('sha256')
      for (let i = 0; i < dataset.length; i++) {
        const item = await dataset.get(i)
        const hash = createHash('sha256')
        for (const name of ['x', 'y']) {
          const { dtype, shape, data } = item[name] as Tensor
          hash.update(fieldFrame(name, dtype, shape)).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
        }
        all.update(hash.digest())
      }
      expect(dataset.digest).toBe(all.digest('hex'))
    })
  })

  test('blobs are named by their SHA-256, read-only, and begin their data at 4,096', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 100), WIDTH)
    await withDataset(dir, file, () => undefined)
    expect(blobs(dir).length).toBeGreaterThan(2)
    for (const path of blobs(dir)) {
      expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(path.split('/').at(-1))
      expect(statSync(path).mode & 0o777).toBe(0o444)
      expect((Number(readFileSync(path).readBigUInt64LE(0)) + 8) % 4096).toBe(0)
    }
  })

  test('does not depend on memory budget, jobs or shard boundaries', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 150), WIDTH)
    const digests = new Set<string>()
    for (const [memoryBudget, jobs] of [[6 * 2 ** 20, 1], [6 * 2 ** 20, 5], [2 ** 29, 2], [2 ** 30, 3]] as const) {
      const cache = await smallCache(join(tempDir(), 'cache'), { memoryBudget })
      const source = await npz(file)
      digests.add((await cache.dataset(source, steps, { jobs })).digest)
      await cache.close()
      source.close()
    }
    expect(digests.size).toBe(1)
  })

  test('a moved, copied or touched file still hits', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 10), 64)
    const key = await withDataset(dir, file, (dataset) => dataset.key)
    utimesSync(file, new Date(2000, 1, 1), new Date(2000, 1, 1))
    await withDataset(dir, file, (dataset) => expect(dataset.report.computed).toBe(0))
    renameSync(file, join(dir, 'b.npz'))
    await withDataset(dir, join(dir, 'b.npz'), (dataset) => expect(dataset.report.computed).toBe(0))
    copyFileSync(join(dir, 'b.npz'), join(dir, 'c.npz'))
    await withDataset(dir, join(dir, 'c.npz'), (dataset) => expect([dataset.report.computed, dataset.key]).toEqual([0, key]))
  })

  test('adding, removing and reordering items computes only what is new', async () => {
    const dir = tempDir()
    const write = (name: string, seeds: number[]): string => {
      writeRows(join(dir, name), seeds, WIDTH)
      return join(dir, name)
    }
    await withDataset(dir, write('a.npz', range(0, 100)), (dataset) => expect(dataset.report.computed).toBe(100))
    await withDataset(dir, write('b.npz', [...range(0, 60), 777, ...range(60, 100), 778]), async (dataset) => {
      expect(dataset.report).toMatchObject({ items: 102, computed: 2, hits: 100 })
      expect((await items(dataset)).map(({ y }) => (y as { data: number[] }).data[0])).toEqual([...range(0, 60), 777, ...range(60, 100), 778])
    })
    await withDataset(dir, write('c.npz', range(0, 100).reverse()), async (dataset) => {
      expect(dataset.report.computed).toBe(0)
      expect(((await dataset.get(0)).y as Tensor).data[0]).toBe(99)
    })
    await withDataset(dir, write('d.npz', range(50, 60)), (dataset) => expect(dataset.report.computed).toBe(0))
  })

  test('a change of one parameter or one byte is another dataset', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 10), 64)
    const cache = await smallCache(join(dir, 'cache'))
    const source = await npz(file)
    const keys = new Set<string>()
    for (const eps of [1e-8, 1e-7]) keys.add((await cache.dataset(source, recipe([normalize({ mode: 'zscore', eps, fields: ['x'] })]))).key)
    // An option that only repeats the default asks for the same thing.
    keys.add((await cache.dataset(source, recipe([normalize({ mode: 'zscore', nonzero: false, fields: ['x'] })], { seed: 5 }))).key)
    expect(keys.size).toBe(2)
    source.close()
    const bytes = readFileSync(file)
    bytes[bytes.indexOf('\x93NUMPY', 0, 'latin1') + 128 + 3]! ^= 1
    writeFileSync(join(dir, 'b.npz'), bytes)
    await cache.close()
  })

  test('another constant is another dataset, with the same items', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const rows = range(0, 3).map((i) => ({ id: `${i}`, fields: { x: Float32Array.of(i, 1) } }))
    const open = async (probe: number): Promise<Dataset> => cache.dataset(await itemsSource(rows, { constants: { probe: Float32Array.of(probe) } }), recipe([cast({ dtype: 'float64' })]))
    const [one, two] = [await open(1), await open(2)]
    expect([[...one.constants.probe!.data], [...two.constants.probe!.data], two.report.computed]).toEqual([[1], [2], 0])
    expect(two.digest).not.toBe(one.digest)
    expect((await open(1)).key).toBe(one.key)
    await cache.close()
  })

  test('NaN in an item of another shape, after a host op, is noticed', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const host = defineOp({ name: 'test.ragged', infer: () => ({ x: { dtype: 'float32', shape: [null] } }), run: ({ n }) => ({ x: { dtype: 'float32', shape: [(n!.data as Int32Array)[0]!], data: new Float32Array((n!.data as Int32Array)[0]!).fill((n!.data as Int32Array)[0] === 2 ? NaN : 1) } }) })
    const rows = [1, 2].map((n) => ({ id: `n${n}`, fields: { n: { dtype: 'int32' as const, shape: [1], data: Int32Array.of(n) } } }))
    await expect(cache.dataset(await itemsSource(rows), recipe([host(), cast({ dtype: 'float32' })]))).rejects.toMatchObject({ code: 'E_NON_FINITE', item: 'n2' })
    await cache.close()
  })

  test('what a recipe does not read is in no key', async () => {
    const dir = tempDir()
    writeRows(join(dir, 'a.npz'), range(0, 10), 64)
    const cache = await smallCache(join(dir, 'cache'))
    const only = recipe([select({ fields: ['x'] }), cast({ dtype: 'float32' })])
    const source = await npz(join(dir, 'a.npz'))
    const dataset = await cache.dataset(source, only)
    expect(Object.keys(await dataset.get(0))).toEqual(['id', 'x'])
    const narrow = await npz(join(dir, 'a.npz'), { fields: { x: 'x' } })
    expect((await cache.dataset(narrow, only)).report.computed).toBe(0)
    await cache.close()
  })

  test('a file that is rewritten while it is open is an error, and nothing of it is stored', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 10), 64)
    const cache = await smallCache(join(dir, 'cache'))
    const source = await npz(file)
    appendFileSync(file, 'more')
    await expect(cache.dataset(source, steps)).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED', file })
    expect([...cache.store.datasets()]).toEqual([])
    expect([...cache.store.blobs()]).toEqual([])
    await cache.close()
  })

  test('NaN stops the build and names op, item and field', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const rows = range(0, 5).map((i) => ({ id: `row-${i}`, fields: { x: { dtype: 'float64' as const, shape: [3], data: Float64Array.of(1, i === 3 ? NaN : 2, 3) } } }))
    const failing = cache.dataset(await itemsSource(rows), recipe([cast({ dtype: 'float32' })]))
    await expect(failing).rejects.toMatchObject({ code: 'E_NON_FINITE', item: 'row-3', field: 'x', count: 1, index: 1 })
    expect([...cache.store.datasets()]).toEqual([])
    await cache.close()
  })

  test('an aborted build stops, and the next one goes on from there', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 200), WIDTH)
    const cache = await smallCache(join(dir, 'cache'))
    const source = await npz(file)
    const abort = new AbortController()
    const reason = new Error('enough')
    const aborted = cache.dataset(source, steps, { jobs: 1, signal: abort.signal, onProgress: ({ done }) => { if (done > 100) abort.abort(reason) } })
    await expect(aborted).rejects.toBe(reason)
    const { report } = await cache.dataset(source, steps)
    expect(report.computed).toBeGreaterThan(0)
    expect(report.computed).toBeLessThan(200)
    await cache.close()
  })

  test('closing the cache ends a build that is under way', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 200), WIDTH)
    const cache = await smallCache(join(dir, 'cache'))
    const source = await npz(file)
    let closing: Promise<void> | undefined
    const building = cache.dataset(source, steps, { jobs: 1, onProgress: ({ done }) => { if (done > 100) closing ??= cache.close() } })
    await expect(building).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringContaining('is closed') })
    await closing
    expect(readdirSync(join(dir, 'cache/tmp'))).toEqual([])
    const again = await smallCache(join(dir, 'cache'))
    const { report } = await again.dataset(source, steps)
    expect(report.computed).toBeLessThan(200)
    await again.close()
  })

  test('items of different shapes are stored and read back', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const rows = range(0, 30).map((i) => ({
      id: `item ${i}`,
      fields: {
        ragged: { dtype: 'float32' as const, shape: [i % 4, 3], data: Float32Array.from({ length: (i % 4) * 3 }, (_, k) => i + k / 8) },
        varied: { dtype: 'int16' as const, shape: [1 + i % 3, 1 + i % 2], data: Int16Array.from({ length: (1 + i % 3) * (1 + i % 2) }, (_, k) => i * 10 + k) },
      },
    }))
    const dataset = await cache.dataset(await itemsSource(rows), recipe([cast({ dtype: 'float64', fields: ['ragged'] })]))
    const read = await items(dataset)
    expect(read).toEqual(rows.map(({ id, fields }) => ({
      id, ragged: { dtype: 'float64', shape: fields.ragged.shape, data: Array.from(fields.ragged.data) }, varied: { dtype: 'int16', shape: fields.varied.shape, data: Array.from(fields.varied.data) },
    })))
    await cache.close()
  })

  test('an item has one key and one digest, alone or among others of other lengths', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const rows = range(0, 40).map((i) => ({ id: `${i}`, fields: { v: Float64Array.from({ length: i * 7 % 11 }, (_, k) => i + k / 8), w: Int32Array.of(i) } }))
    const recipeOf = recipe([cast({ dtype: 'float32', fields: ['v'] })])
    const some = await cache.dataset(await itemsSource(rows.filter((_, i) => i % 3 === 1)), recipeOf)
    expect(some.report.computed).toBe(13)
    const all = await cache.dataset(await itemsSource(rows.toReversed()), recipeOf)
    expect(all.report).toMatchObject({ hits: 13, computed: 27 })
    const fresh = await smallCache(join(tempDir(), 'cache'))
    expect((await fresh.dataset(await itemsSource(rows.toReversed()), recipeOf)).digest).toBe(all.digest)
    const one = await cache.dataset(await itemsSource([rows[5]!]), recipeOf)
    expect(one.report.computed).toBe(0)
    await fresh.close()
    await cache.close()
  })

  test('an item of a shape that an op cannot take is named', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const source = await itemsSource([4, 9, 2].map((extent, i) => ({ id: `item ${i}`, fields: { x: new Float32Array(extent) } })))
    await expect(cache.dataset(source, recipe([crop({ shape: [3] })]))).rejects.toMatchObject({ code: 'E_ITEM', item: 'item 2', message: expect.stringContaining('which has 2') })
    await cache.close()
  })

  test('a host op runs in a recipe, and its failure names the item', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const twice = defineOp({
      name: 'test.twice',
      infer: (fields) => fields,
      run: ({ x }, _params, { id }) => {
        if (id === 'bad') throw new Error('no')
        return { x: { ...x!, data: Float32Array.from(x!.data as Float32Array, (value) => 2 * value) } }
      },
    })
    const source = (ids: string[]) => itemsSource(ids.map((id, i) => ({ id, fields: { x: { dtype: 'float32' as const, shape: [2], data: Float32Array.of(i, 1) } } })))
    const dataset = await cache.dataset(await source(['a', 'b']), recipe([twice(), cast({ dtype: 'int32' })]))
    expect(((await dataset.get(1)).x as Tensor).data).toEqual(Int32Array.of(2, 2))
    await expect(cache.dataset(await source(['c', 'bad']), recipe([twice(), cast({ dtype: 'int16' })]))).rejects.toMatchObject({ code: 'E_ITEM', item: 'bad' })
    await cache.close()
  })

  test('an op of dataset scope turns one sequence of items into another, between item ops', async () => {
    const pairs = defineOp<{ stride: number }>({
      name: 'test.pairs', scope: 'dataset',
      params: ({ stride = 2 }) => ({ stride: stride as number }),
      infer: ({ x }) => ({ sum: { dtype: 'float32', shape: x!.shape } }),
      arrange: async (list, { stride }) => ({
        length: Math.floor(list.length / stride),
        fields: { sum: { ...list.fields.x!, finiteness: 'unchecked' } },
        id: (index) => `${list.id(index * stride)}+`,
        read: async (index, _fields, signal) => {
          const [a, b] = await Promise.all([0, 1].map(async (k) => (await list.read(index * stride + k, ['x'], signal)).x!.data as Float32Array))
          return { sum: { dtype: 'float32', shape: [a!.length], data: a!.map((value, i) => value + b![i]!) } }
        },
      }),
    })
    const dir = tempDir()
    writeRows(join(dir, 'a.npz'), range(0, 9), 16)
    const cache = await smallCache(join(dir, 'cache'))
    const source = await npz(join(dir, 'a.npz'))
    const full = recipe([cast({ dtype: 'float32', fields: ['x'] }), pairs({}), cast({ dtype: 'float64' })])
    const dataset = await cache.dataset(source, full)
    expect([dataset.length, dataset.report.computed, dataset.fields]).toEqual([4, 4, { sum: { dtype: 'float64', shape: [16] } }])
    const [plain] = await items(await cache.dataset(source, recipe([cast({ dtype: 'float32', fields: ['x'] })])))
    const first = await dataset.get(0)
    expect(first.id).toBe(`${plain!.id}+`)
    const rows = await items(await cache.dataset(source, recipe([cast({ dtype: 'float32', fields: ['x'] }), select({ fields: ['x'] })])))
    const row = (i: number): number[] => (rows[i]!.x as { data: number[] }).data
    expect([...(first.sum as Tensor<'float64'>).data]).toEqual(row(0).map((value, i) => Math.fround(value + row(1)[i]!)))
    expect((await cache.dataset(source, full)).report.computed).toBe(0)
    // Any source item may have decided what an item is: one more, and all are others.
    writeRows(join(dir, 'b.npz'), range(0, 10), 16)
    expect((await cache.dataset(await npz(join(dir, 'b.npz')), full)).report.computed).toBe(5)
    await cache.close()
  })

  test('an empty dataset and an index outside are answered plainly', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const dir = tempDir()
    writeRows(join(dir, 'empty.npz'), [], 4)
    const source = await npz(join(dir, 'empty.npz'))
    const dataset = await cache.dataset(source, steps)
    expect(dataset.length).toBe(0)
    await expect(dataset.get(0)).rejects.toThrow(RangeError)
    for await (const _ of dataset.batches({ size: 4 })) expect.unreachable()
    await cache.close()
  })

  test('damage heals itself while the source is there, and is an error otherwise', async () => {
    const dir = tempDir()
    const file = join(dir, 'a.npz')
    writeRows(file, range(0, 100), WIDTH)
    const good = await withDataset(dir, file, items)
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const victim = blobs(dir).map((path) => ({ path, size: statSync(path).size })).sort((a, b) => b.size - a.size)[0]!.path
    const flip = (): void => {
      const bytes = readFileSync(victim)
      bytes[9000]! ^= 4
      chmodSync(victim, 0o644)
      writeFileSync(victim, bytes)
    }
    flip()
    const healed = await withDataset(dir, file, async (dataset) => {
      expect(dataset.report.computed).toBe(0)
      return items(dataset)
    })
    expect(healed).toEqual(good)
    expect(warn).toHaveBeenCalledTimes(1)
    expect(readdirSync(join(dir, 'cache/quarantine'))).toHaveLength(1)
    // Several damaged shards in one batch are mended one after the other.
    const shards = blobs(dir).filter((path) => statSync(path).size > 500_000)
    expect(shards.length).toBeGreaterThan(1)
    for (const path of shards) {
      const bytes = readFileSync(path)
      bytes[200_000]! ^= 1
      chmodSync(path, 0o644)
      writeFileSync(path, bytes)
    }
    await withDataset(dir, file, async (dataset) => {
      for await (const batch of dataset.batches({ size: 100, shuffle: true, seed: 1 })) expect(batch.indices.length).toBe(100)
    })
    // A process that only reads cannot mend; it says what is wrong after a second look.
    flip()
    const reader = await smallCache(join(dir, 'cache'), { readonly: true })
    const seen = await reader.dataset(await npz(file), steps)
    await expect(items(seen)).rejects.toMatchObject({ code: 'E_INTEGRITY' })
    await reader.close()
    flip()
    // Published anew under the same name, the same bytes.
    flip()
    const cache = await smallCache(join(dir, 'cache'))
    const { key } = [...cache.store.datasets()][0]!
    const orphan = (await cache.openDataset(key))!
    await expect(items(orphan)).rejects.toMatchObject({ code: 'E_INTEGRITY' })
    await cache.close()
    warn.mockRestore()
  })
})
