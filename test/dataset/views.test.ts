import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cast, concat, items, npz, recipe, zip, type Batch, type BatchOptions, type BatchState, type Cache, type Dataset, type ItemList, type LiveDataset, type Tensor } from '../../src/index.js'
import { noise, range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const ITEMS = 203
let cache: Cache
let dataset: Dataset
let live: LiveDataset
let ragged: Dataset
/** Of items that differ in two axes. */
let varied: Dataset

beforeAll(async () => {
  const dir = tempDir()
  writeRows(join(dir, 'a.npz'), range(0, ITEMS), 512)
  cache = await smallCache(join(dir, 'cache'))
  dataset = await cache.dataset(await npz(join(dir, 'a.npz')), steps)
  live = await cache.dataset(await npz(join(dir, 'a.npz')), steps, { cache: false })
  const words = (k: number): Tensor => ({ dtype: 'int32', shape: [1 + k % 7], data: Int32Array.from({ length: 1 + k % 7 }, (_, i) => 100 * k + i) })
  ragged = await cache.dataset(await items(range(0, 50).map((k) => ({ id: `doc_${k}`, fields: { tokens: words(k), group: Int32Array.of(k % 5) } }))), recipe([cast({ dtype: 'int32' })]))
  varied = await cache.dataset(await items(range(0, 20).map((k) => ({ id: `im_${k}`, fields: { image: { dtype: 'float32' as const, shape: [1 + k % 3, 2 + k % 2], data: Float32Array.from(noise((1 + k % 3) * (2 + k % 2), k)) } } }))), recipe([cast({ dtype: 'float32' })]))
})
afterAll(() => cache.close())

async function all(batches: AsyncIterable<Batch>): Promise<Batch[]> {
  const list: Batch[] = []
  for await (const batch of batches) list.push(batch)
  return list
}

/** Everything that an item holds, as plain values. */
const plain = (fields: Record<string, unknown>): unknown => Object.fromEntries(Object.entries(fields).map(([name, value]) => {
  const show = (tensor: Tensor): unknown => ({ dtype: tensor.dtype, shape: [...tensor.shape], data: Array.from(tensor.data as Float32Array) })
  return [name, typeof value === 'string' ? value : Array.isArray(value) ? value.map((entry: Tensor) => typeof entry === 'string' ? entry : show(entry)) : value instanceof Float64Array ? [...value] : show(value as Tensor)]
}))

/** Every item by itself, and every batch in every way, are those of the items `expected` of `of`. */
async function expectItems(list: ItemList, of: ItemList, expected: readonly number[], more: Partial<BatchOptions> = {}): Promise<void> {
  expect(list.length).toBe(expected.length)
  for (const place of [0, expected.length - 1]) expect(plain(await list.get(place))).toEqual(plain(await of.get(expected[place]!)))
  const isFixed = Object.values(list.fields).every(({ shape }) => !shape.includes(null))
  for (const options of [{}, { shuffle: true, seed: 3 }, { shuffle: true, seed: 3, reuse: true }, { collate: 'pad' as const }] as const) {
    if (!isFixed && !('collate' in options)) continue
    const places: number[] = []
    for await (const batch of list.batches({ size: 16, ...options, ...more })) {
      places.push(...batch.indices)
      for (const [k, place] of [...batch.indices].entries()) {
        const { id, ...fields } = await of.get(expected[place]!)
        expect(batch.ids[k]).toBe(id)
        for (const [name, field] of Object.entries(fields)) {
          const whole = batch[name] as Tensor
          const tensor = field as Tensor
          if (!isFixed) continue
          expect(Buffer.compare(Buffer.from(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength), Buffer.from(whole.data.buffer, whole.data.byteOffset + k * tensor.data.byteLength, tensor.data.byteLength)), `${name} of item ${id}`).toBe(0)
        }
      }
    }
    expect(places.sort((a, b) => a - b)).toEqual(range(0, expected.length))
  }
  // One by one, whatever their shapes.
  let at = 0
  for await (const batch of list.batches({ size: 7, collate: 'list', ...more })) {
    for (let k = 0; k < batch.indices.length; k++, at++) {
      const { id, ...fields } = await of.get(expected[at]!)
      expect(plain(Object.fromEntries(Object.keys(fields).map((name) => [name, (batch[name] as Tensor[])[k]!])))).toEqual(plain(fields))
      expect(batch.ids[k]).toBe(id)
    }
  }
}

describe('select', () => {
  test('indices in any order, with repetitions', async () => {
    const chosen = [5, 200, 5, 17, 0]
    for (const of of [dataset, live]) await expectItems(of.select(chosen), of, chosen)
    await expectItems(dataset.select(new Set([3, 1])), dataset, [3, 1])
    await expectItems(ragged.select([3, 1, 49]), ragged, [3, 1, 49])
    await expectItems(varied.select([3, 1, 19]), varied, [3, 1, 19])
  })

  test('ranges, and selections of selections', async () => {
    await expectItems(dataset.select({ start: 10, stop: 110, step: 3 }), dataset, range(0, 34).map((k) => 10 + 3 * k))
    await expectItems(dataset.select({ start: 10 }).select({ step: 100 }).select([1]), dataset, [110])
    expect(dataset.select({ start: 0, stop: 0 }).length).toBe(0)
    for await (const _ of dataset.select([]).batches({ size: 4 })) throw new Error('there is no batch')
  })

  test('batches in order of items that follow one another are views', async () => {
    const [batch] = await all(dataset.select({ start: 40, stop: 56 }).batches({ size: 16, fields: ['x'] }))
    const item = await dataset.get(40)
    expect((batch!.x as Tensor).data.buffer).toBe((item.x as Tensor).data.buffer)
  })

  test('what is outside is refused', () => {
    for (const wrong of [[ITEMS], [-1], [0.5], { start: 5, stop: 4 }, { stop: ITEMS + 1 }, { step: 0 }, { begin: 3 }, 7, null]) expect(() => dataset.select(wrong as never)).toThrow(TypeError)
  })
})

describe('filter', () => {
  test('by what is in the items, reading only what is asked for', async () => {
    const even = await dataset.filter((item) => (item.y as Tensor<'int32'>).data[0]! % 2 === 0, { fields: ['y'] })
    await expectItems(even, dataset, range(0, 102).map((k) => 2 * k))
    let fields: string[] = []
    expect((await dataset.filter((item, index) => { fields = Object.keys(item); return index > 200 }, { fields: [] })).length).toBe(2)
    expect(fields).toEqual(['id'])
    expect((await varied.filter(async (item) => (item.image as Tensor).shape[0] === 3)).length).toBe(6)
  })

  test('answers that are none, and fields that are not there, are refused', async () => {
    await expect(dataset.filter(() => 1 as never)).rejects.toThrow(/true or false, not 1/)
    await expect(dataset.filter(() => true, { fields: ['z'] })).rejects.toThrow(/no field "z"/)
    await expect(dataset.filter(() => { throw new RangeError('mine') })).rejects.toThrow(/mine/)
  })
})

describe('split', () => {
  const fractions = { train: 0.8, val: 0.1, test: 0.1 }

  test('every item is in one part, in order, and the sizes are near the fractions', async () => {
    const parts = await dataset.split(fractions, { seed: 1 })
    const ids = Object.values(parts).map((part) => range(0, part.length).map((k) => part.id(k)))
    expect(ids.flat().sort()).toEqual(range(0, ITEMS).map((k) => dataset.id(k)).sort())
    // 5 standard deviations of a binomial.
    expect(Math.abs(parts.train.length - 0.8 * ITEMS)).toBeLessThan(5 * Math.sqrt(ITEMS * 0.16))
    expect(parts.val.length).toBeGreaterThan(5)
    const trained = range(0, parts.train.length).map((k) => parts.train.id(k))
    await expectItems(parts.train, dataset, range(0, ITEMS).filter((k) => trained.includes(dataset.id(k))))
  })

  test('items that are added, removed or moved change no other item', async () => {
    const of = async (keys: readonly number[]): Promise<Record<string, string>> => {
      const list = await cache.dataset(await items(keys.map((k) => ({ id: `item_${k}`, fields: { x: Float32Array.of(k) } }))), recipe([cast({ dtype: 'float32' })]))
      const parts = await list.split(fractions, { seed: 9 })
      return Object.fromEntries(Object.entries(parts).flatMap(([name, part]) => range(0, part.length).map((k) => [part.id(k), name])))
    }
    const [few, many] = [await of(range(0, 60)), await of(range(0, 100).reverse())]
    expect(Object.keys(few)).toHaveLength(60)
    for (const [id, part] of Object.entries(few)) expect(many[id]).toBe(part)
    expect(Object.entries(await of(range(0, 60))).toSorted()).toEqual(Object.entries(few).toSorted())
    // If this fails, the parts of everybody's datasets have changed.
    expect(range(0, 12).map((k) => few[`item_${k}`])).toMatchInlineSnapshot(`
      [
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "test",
        "train",
        "val",
        "train",
      ]
    `)
  })

  test('items with the same value stay together', async () => {
    const parts = await ragged.split({ a: 0.5, b: 0.5 }, { seed: 3, by: 'group' })
    const groups = await Promise.all(Object.values(parts).map(async (part) => {
      const seen = new Set<number>()
      for (let k = 0; k < part.length; k++) seen.add(((await part.get(k)).group as Tensor<'int32'>).data[0]!)
      return seen
    }))
    expect([...groups[0]!].filter((group) => groups[1]!.has(group))).toEqual([])
    expect(groups[0]!.size + groups[1]!.size).toBe(5)
    const byName = await ragged.split({ a: 0.5, b: 0.5 }, { seed: 3, by: (id) => Number(id.slice(4)) % 5 })
    expect(byName.a.length % 10).toBe(0)
  })

  test('other seeds give other parts; fractions that are none are refused', async () => {
    const ids = async (seed: number): Promise<string[]> => { const { val } = await dataset.split(fractions, { seed }); return range(0, val.length).map((k) => val.id(k)) }
    expect(await ids(1)).not.toEqual(await ids(2))
    for (const wrong of [{ a: 0.5, b: 0.4 }, { a: 1.5, b: -0.5 }, {}, { a: NaN }, null]) await expect(dataset.split(wrong as never, { seed: 1 })).rejects.toThrow(TypeError)
    await expect(dataset.split({ a: 1 }, {} as never)).rejects.toThrow(/seed must be/)
    await expect(dataset.split({ a: 1 }, { seed: 1, by: 'z' })).rejects.toThrow(/no field "z"/)
    await expect(dataset.split({ a: 1 }, { seed: 1, by: () => undefined as never })).rejects.toThrow(/a text or a number/)
    expect((await dataset.split({ a: 1 }, { seed: 1 })).a.length).toBe(ITEMS)
  })
})

describe('concat', () => {
  test('lists one after the other, cached, live and views', async () => {
    const joined = concat(dataset.select({ stop: 30 }), live.select([100, 3]), dataset)
    await expectItems(joined, dataset, [...range(0, 30), 100, 3, ...range(0, ITEMS)])
  })

  test('items of different lengths', async () => {
    const joined = concat(ragged.select([1, 2]), ragged)
    await expectItems(joined, ragged, [1, 2, ...range(0, 50)])
    expect([...await joined.lengths('tokens')]).toEqual([2, 3, ...range(0, 50).map((k) => 1 + k % 7)])
    await expectItems(concat(varied, varied), varied, [...range(0, 20), ...range(0, 20)])
  })

  test('extents that differ become unknown; other differences are refused', async () => {
    const of = async (width: number, dtype: 'float32' | 'float64' = 'float32'): Promise<Dataset> => cache.dataset(await items([{ id: 'a', fields: { x: { dtype: 'float32', shape: [width], data: new Float32Array(width) } } }]), recipe([cast({ dtype })]))
    const joined = concat(await of(2), await of(3))
    expect(joined.fields).toEqual({ x: { dtype: 'float32', shape: [null] } })
    const [batch] = await all(joined.batches({ size: 2, collate: 'pad' }))
    expect((batch!.x as Tensor).shape).toEqual([2, 3])
    expect(() => concat(dataset, ragged)).toThrow(/dataset 1 has the fields group, tokens, dataset 0 has x, y/)
    const narrow = await of(2)
    const wide = await of(2, 'float64')
    expect(() => concat(narrow, wide)).toThrow(/field x is float64 \[2\] in dataset 1 and float32 \[2\] in dataset 0/)
    expect(() => concat()).toThrow(TypeError)
    expect(() => concat(dataset, {} as never)).toThrow(/argument 1/)
  })

  test('constants that are the same stay', () => {
    expect(Object.keys(concat(dataset, live).constants)).toEqual(Object.keys(dataset.constants))
  })
})

describe('zip', () => {
  test('items side by side, by position', async () => {
    const names = await cache.dataset(await items(range(0, ITEMS).map((k) => ({ id: `n_${k}`, fields: { z: Float32Array.of(k, -k) } }))), recipe([cast({ dtype: 'float32' })]))
    const both = zip([dataset, names])
    expect(Object.keys(both.fields)).toEqual(['x', 'y', 'z'])
    for (const options of [{ size: 16 }, { size: 16, shuffle: true, seed: 2 }]) {
      for await (const batch of both.batches(options)) {
        for (const [k, index] of [...batch.indices].entries()) {
          expect((batch.y as Tensor<'int32'>).data[k]).toBe(index)
          expect([...(batch.z as Tensor<'float32'>).data.subarray(2 * k, 2 * k + 2)]).toEqual([index, -index])
          expect(batch.ids[k]).toBe(dataset.id(index))
        }
      }
    }
    expect(plain(await both.get(4))).toEqual({ ...plain(await names.get(4)) as object, ...plain(await dataset.get(4)) as object })
  })

  test('by name, in any order', async () => {
    const turned = await cache.dataset(await items(range(0, ITEMS).reverse().map((k) => ({ id: dataset.id(k), fields: { z: Float32Array.of(k) } }))), recipe([cast({ dtype: 'float32' })]))
    for await (const batch of zip([dataset, turned], { match: 'id' }).batches({ size: 50 })) expect([...(batch.z as Tensor<'float32'>).data]).toEqual([...(batch.y as Tensor<'int32'>).data])
    expect(() => zip([dataset, turned.select({ stop: 100 })], { match: 'id' })).toThrow(/dataset 1 has no item called/)
    expect(() => zip([dataset, concat(turned, turned)], { match: 'id' })).toThrow(/two items called/)
  })

  test('lengths and names that do not go together are refused', () => {
    expect(() => zip([dataset, dataset])).toThrow(/two of the datasets have fields called x; rename one/)
    expect(() => zip([dataset, ragged])).toThrow(/dataset 1 has 50 items, dataset 0 has 203/)
    expect(() => zip([])).toThrow(TypeError)
    expect(() => zip([dataset, 7 as never])).toThrow(TypeError)
  })
})

describe('buckets', () => {
  const options: BatchOptions = { size: 5, collate: 'pad', fields: ['tokens'], bucket: { field: 'tokens', window: 25 }, shuffle: true, seed: 8 }
  const lengthsOf = (batch: Batch): number[] => Array.from((batch.tokens_shape as Tensor<'int64'>).data, Number)

  test('batches hold items of about one length, every item once, and come in another order each epoch', async () => {
    const orders: number[][] = []
    for (const epoch of [0, 1]) {
      const seen: number[] = []
      let padded = 0
      for await (const batch of ragged.batches({ ...options, epoch })) {
        seen.push(...batch.indices)
        padded += (batch.tokens as Tensor).data.length
        expect(lengthsOf(batch)).toEqual(lengthsOf(batch).toSorted((a, b) => a - b))
      }
      expect(seen.toSorted((a, b) => a - b)).toEqual(range(0, 50))
      let loose = 0
      const { bucket: _, ...without } = options
      for await (const batch of ragged.batches({ ...without, epoch })) loose += (batch.tokens as Tensor).data.length
      expect(padded).toBeLessThan(0.9 * loose)
      orders.push(seen)
    }
    expect(orders[0]).not.toEqual(orders[1])
  })

  test('two ranks go on as three: every item once, in the blocks there were', async () => {
    const seen: number[] = []
    let state: BatchState | undefined
    for (const [count, steps] of [[2, 2], [3, Infinity]] as const) {
      const states = await Promise.all(range(0, count).map(async (index) => {
        const { bucket: _, ...rest } = options
        const batches = ragged.batches({ ...rest, bucket: { field: 'tokens', window: count === 2 ? 30 : 15 }, shard: { index, count } })
        if (state !== undefined) batches.restore(state)
        for (let k = 0; k < steps; k++) {
          const { value, done } = await batches.next()
          if (done === true) break
          seen.push(...(value as Batch).indices)
        }
        return batches.state()
      }))
      state = states[0]!
      expect(state.order.bucket).toEqual({ field: 'tokens', window: 30, block: 10 })
    }
    expect(seen.toSorted((a, b) => a - b)).toEqual(range(0, 50))
  })

  test('buckets that cannot be are refused', () => {
    for (const bucket of [{ field: 'z' }, { field: 'group' }, { field: 'tokens', window: 7 }, { field: 'tokens', window: 3 }, { field: 'tokens', size: 5 }]) expect(() => ragged.batches({ ...options, bucket: bucket as never })).toThrow(TypeError)
  })
})
