import { readdirSync, chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bytesOf } from '../../src/core/tensor.js'
import { isRagged } from '../../src/core/rows.js'
import { cast, concat, fromDataset, items, normalize, recipe, type Cache, type Dataset, type Source, type Tensor } from '../../src/index.js'
import { collect, sourceContract, type ContractItem } from '../contracts/source.js'
import { pattern } from '../sources/write.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

let cache: Cache
beforeAll(async () => { cache = await smallCache(join(tempDir(), 'cache')) })
afterAll(() => cache.close())

const none = recipe([])
const made = (count: number, fields: (k: number) => Record<string, Tensor>): ContractItem[] => Array.from({ length: count }, (_, k) => ({ id: `item ${k}`, fields: fields(k) }))
const fixed = made(40, (k) => ({ x: pattern('float32', [3], k + 1) as Tensor, y: pattern('float64', [], k + 1) as Tensor }))
const ragged = made(40, (k) => ({ x: pattern('float32', [k % 4, 3], k + 1) as Tensor, edges: pattern('int16', [k % 3], k + 1) as Tensor, y: pattern('float64', [], k + 1) as Tensor }))
const varied = made(15, (k) => ({ x: pattern('complex64', [k % 4, 1 + k % 2], k + 1) as Tensor, y: pattern('float64', [], k + 1) as Tensor }))
/** Several shards: a MiB of an item. */
const large = made(7, (k) => ({ x: pattern('uint8', [k % 2 === 0 ? 2 ** 19 : 2 ** 20], k + 1) as Tensor, y: pattern('float64', [2], k + 1) as Tensor }))

const cached = async (list: readonly ContractItem[]): Promise<Dataset> => cache.dataset(await items(list), none)
for (const [name, list] of Object.entries({ fixed, ragged, varied, large, none: [] })) {
  sourceContract(`fromDataset, ${name}`, async () => {
    const dataset = await cached(list)
    return { open: async () => fromDataset(dataset), items: list }
  })
}
for (const [name, list] of Object.entries({ fixed, ragged, varied })) {
  sourceContract(`fromDataset of views, ${name}`, async () => {
    const dataset = await cached(list)
    const view = concat(dataset.select({ start: 5 }), dataset.select([3, 0]))
    return { open: async () => fromDataset(view), items: [...list.slice(5), list[3]!, list[0]!] }
  })
}
sourceContract('fromDataset, some fields', async () => {
  const dataset = await cached(ragged)
  return { open: async () => fromDataset(dataset, { fields: ['edges', 'y'] }), items: ragged.map(({ id, fields: { edges, y } }) => ({ id, fields: { edges: edges!, y: y! } })) }
})

describe('fromDataset of a view', () => {
  test('items are those of the dataset, and computed once; what is asked is found without reading', async () => {
    const numbers = made(40, (k) => ({ x: { dtype: 'float64', shape: [3], data: Float64Array.of(k, k * k, 2) } }))
    const dataset = await cached(numbers)
    const steps = recipe([normalize({ mode: 'zscore', fields: ['x'] })])
    const { a, b } = await dataset.split({ a: 0.5, b: 0.5 }, { seed: 1 })
    const first = await cache.dataset(fromDataset(a), steps)
    expect(first.report).toMatchObject({ items: a.length, computed: a.length })
    const whole = await cache.dataset(fromDataset(dataset), steps)
    expect(whole.report).toMatchObject({ hits: a.length, computed: b.length })
    const again = await cache.dataset(fromDataset((await dataset.split({ a: 0.5, b: 0.5 }, { seed: 1 })).a), steps)
    expect([again.key, again.report.computed]).toEqual([first.key, 0])
    expect(again.provenance.source).toMatchObject({ type: 'view', digest: a.binding })
  })

  test('of a dataset without a cache there is nothing to be found by', async () => {
    const live = await cache.dataset(await items(fixed), none, { cache: false })
    expect(() => fromDataset(live)).toThrow(/not in a cache/)
    expect(() => fromDataset(live.select([0]))).toThrow(/not in a cache/)
  })
})

describe('fromDataset', () => {
  test('gives views of the shards, in runs as long as items follow one another', async () => {
    const dataset = await cached(ragged)
    const runs = await collect(fromDataset(dataset).read(0, 40, { fields: ['x', 'y'] }))
    expect(runs.map(({ count }) => count)).toEqual([40])
    expect(isRagged(runs[0]!.fields.x!)).toBe(true)
    expect(bytesOf((await dataset.get(0)).y!['data' as never]).buffer).toBe(runs[0]!.fields.y!.data.buffer)
    // The same shard in another order, without its first item.
    const turned = await cached([...ragged.slice(1, 20), ...ragged.slice(30), ...ragged.slice(20, 30)])
    expect((await collect(fromDataset(turned).read(0, 39, { fields: ['x'] }))).map(({ start, count }) => [start, count])).toEqual([[0, 19], [19, 10], [29, 10]])
  })

  test('what is asked of it is found by its digest, and nothing is read', async () => {
    const numbers = made(40, (k) => ({ x: { dtype: 'float64', shape: [3], data: Float64Array.of(k, k * k, 1) } }))
    const dataset = await cached(numbers)
    const steps = recipe([normalize({ mode: 'zscore', fields: ['x'] })])
    const cold = await cache.dataset(fromDataset(dataset), steps)
    expect(cold.report).toMatchObject({ computed: 40 })
    const blind = (source: Source): Source => ({
      ...source, id: (index) => source.id(index), release: () => undefined, assertUnchanged: () => undefined, close: () => undefined,
      read() { throw new Error('was read') },
    })
    const warm = await cache.dataset(blind(fromDataset(dataset)), steps)
    expect([warm.key, warm.digest, warm.report.computed]).toEqual([cold.key, cold.digest, 0])
    expect(warm.provenance.source).toMatchObject({ type: 'dataset', key: dataset.key, digest: dataset.digest })
    // Another way to the same bytes is the same content.
    const other = await cache.dataset(fromDataset(dataset), recipe([cast({ dtype: 'float64', fields: ['x'] })]))
    expect([other.key === dataset.key, other.digest]).toEqual([false, dataset.digest])
    expect((await cache.dataset(blind(fromDataset(other)), steps)).key).toBe(cold.key)
    // One item more is another dataset, of which one item is computed.
    const more = await cached([...numbers, { id: 'new', fields: { x: { dtype: 'float64', shape: [3], data: Float64Array.of(1, 2, 3) } } }])
    await expect(cache.dataset(blind(fromDataset(more)), steps)).rejects.toThrow('was read')
    const grown = await cache.dataset(fromDataset(more), steps)
    expect(grown.report).toMatchObject({ items: 41, computed: 1 })
  })

  test('constants come along, and are part of the key', async () => {
    const probe = (x: number): Promise<Source> => items(fixed, { constants: { probe: Float32Array.of(x) } })
    const [one, two] = [fromDataset(await cache.dataset(await probe(1), none)), fromDataset(await cache.dataset(await probe(2), none))]
    const [first, second] = [await cache.dataset(one, none), await cache.dataset(two, none)]
    expect(first.constants.probe!.data).toEqual(Float32Array.of(1))
    expect(first.key).not.toBe(second.key)
  })

  test('damage of its shards heals while it is read', async () => {
    const dir = join(tempDir(), 'cache')
    const list = made(9, (k) => ({ x: pattern('int32', [100_000], 1000 + k) as Tensor }))
    const before = await smallCache(dir)
    await before.dataset(await items(list), none)
    await before.close()
    const root = join(dir, 'blobs')
    for (const folder of readdirSync(root)) for (const name of readdirSync(join(root, folder))) {
      const path = join(root, folder, name)
      const bytes = readFileSync(path)
      if (bytes.includes('manifest')) continue
      bytes[bytes.length >> 1]! ^= 1
      chmodSync(path, 0o644)
      writeFileSync(path, bytes)
    }
    await using again = await smallCache(dir)
    const dataset = await again.dataset(await items(list), none)
    const runs = await collect(fromDataset(dataset).read(0, 9, { fields: ['x'] }))
    const data = runs.flatMap(({ fields }) => [...fields.x!.data as Int32Array])
    expect(data).toEqual(list.flatMap(({ fields }) => [...fields.x!.data as Int32Array]))
    expect(readdirSync(join(dir, 'quarantine')).length).toBeGreaterThan(0)
  })

  test('misuse is said', async () => {
    const dataset = await cached(fixed)
    expect(() => fromDataset({} as never)).toThrow(/expected a dataset/)
    expect(() => fromDataset(dataset, { fields: ['z'] })).toThrow(/no field "z"; it has x, y/)
    expect(() => fromDataset(dataset, { fields: [] })).toThrow(/list of different names/)
    expect(() => fromDataset(dataset, { field: ['x'] } as never)).toThrow(/should be "fields"/)
  })
})
