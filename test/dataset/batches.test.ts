import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { npz, recipe, cast, type Batch, type Cache, type Dataset, type Tensor } from '../../src/index.js'
import { shuffledIndex } from '../../src/core/shuffle.js'
import { checkBatchOptions } from '../../src/dataset/batch-options.js'
import { batches, type Batched } from '../../src/dataset/batches.js'
import { orderOf } from '../../src/dataset/order.js'
import { items as itemsSource } from '../../src/sources/items.js'
import { noise, range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

let cache: Cache
let dataset: Dataset
const ITEMS = 203

beforeAll(async () => {
  const dir = tempDir()
  writeRows(join(dir, 'a.npz'), range(0, ITEMS), 4096)
  cache = await smallCache(join(dir, 'cache'))
  dataset = await cache.dataset(await npz(join(dir, 'a.npz')), steps)
})
afterAll(() => cache.close())

async function collect(options: Parameters<Dataset['batches']>[0], use: (batch: Batch) => void): Promise<void> {
  for await (const batch of dataset.batches(options)) use(batch)
}

const labels = async (options: Parameters<Dataset['batches']>[0]): Promise<number[]> => {
  const seen: number[] = []
  await collect(options, (batch) => seen.push(...(batch.y as Tensor<'int32'>).data))
  return seen
}

describe('batches', () => {
  test('in order, with a short last batch', async () => {
    const sizes: number[] = []
    await collect({ size: 32 }, (batch) => {
      sizes.push(batch.indices.length)
      expect(batch.x.shape).toEqual([batch.indices.length, 4096])
      expect(batch.ids).toHaveLength(batch.indices.length)
    })
    expect(sizes).toEqual([32, 32, 32, 32, 32, 32, 11])
    expect(await labels({ size: 32 })).toEqual(range(0, ITEMS))
    expect(await labels({ size: 32, dropLast: true })).toEqual(range(0, 192))
    expect(await labels({ size: 500 })).toEqual(range(0, ITEMS))
  })

  test('what fails at once, ahead of the loop, is an error of its turn', async () => {
    // Made between two turns of a loop that waits, where nobody could catch it.
    const items: Batched = {
      length: 40, fields: { x: { dtype: 'float32', shape: [] } }, id: String,
      maker: () => ({ make: (indices) => { if (indices[0] === 30) throw new RangeError('broken'); return Promise.resolve([{ first: indices[0] }]) } }),
    }
    const plan = checkBatchOptions({ size: 10, prefetch: 2 }, items.fields, 40)
    const seen: unknown[] = []
    await expect((async () => {
      for await (const batch of batches(items, plan, { number: 0, order: orderOf(plan, 0, 40), next: undefined }, 4)) {
        seen.push(batch.first)
        await new Promise((done) => setTimeout(done, 5))
      }
    })()).rejects.toThrow('broken')
    expect(seen).toEqual([0, 10, 20])
  })

  test('shuffled batches hold each item once, in the order of the seed and the epoch', async () => {
    const order = await labels({ size: 16, shuffle: true, seed: 42 })
    expect([...order].sort((a, b) => a - b)).toEqual(range(0, ITEMS))
    expect(order).toEqual(range(0, ITEMS).map((position) => shuffledIndex(ITEMS, 42n, 0, position)))
    expect(await labels({ size: 7, shuffle: true, seed: 42, prefetch: 0 })).toEqual(order)
    expect(await labels({ size: 16, shuffle: true, seed: 42, epoch: 1 })).not.toEqual(order)
    expect(await labels({ size: 16, shuffle: true, seed: 43 })).not.toEqual(order)
  })

  test('the bytes of a batch are those of its items, whatever the way they are put together', async () => {
    for (const options of [{ size: 10 }, { size: 10, shuffle: true, seed: 1 }, { size: 10, shuffle: true, seed: 1, reuse: true }, { size: 10, collate: 'list' as const }, { size: 10, collate: 'pad' as const }]) {
      for await (const batch of dataset.batches(options)) {
        for (const [k, index] of [...batch.indices].entries()) {
          const item = await dataset.get(index)
          const rows = Array.isArray(batch.x) ? (batch.x[k] as Tensor<'float32'>).data : (batch.x as Tensor<'float32'>).data.subarray(k * 4096, (k + 1) * 4096)
          expect(Buffer.from(rows.buffer, rows.byteOffset, rows.byteLength).equals(Buffer.from((item.x as Tensor).data.buffer, (item.x as Tensor).data.byteOffset, 16384))).toBe(true)
          expect(batch.ids[k]).toBe(item.id)
        }
      }
    }
  })

  test('rows that follow one another in a shard are views of it', async () => {
    const seen = new Set<unknown>()
    await collect({ size: 4, fields: ['x'] }, (batch) => seen.add((batch.x as Tensor).data.buffer))
    // A buffer per shard, and a copy only where a batch crosses from one shard into the next.
    expect(seen.size).toBeLessThan(15)
  })

  test.each([[1, 2], [2, 1], [1, 0], [3, 40]])('a recycled batch keeps its bytes until the next one is asked for: size %i, prefetch %i', async (size, prefetch) => {
    const expected = new Map<number, Float32Array>()
    for await (const batch of dataset.batches({ size: 1 })) expected.set(batch.indices[0]!, (batch.x as Tensor<'float32'>).data.slice())
    const memory = new Set<unknown>()
    for await (const batch of dataset.batches({ size, prefetch, shuffle: true, seed: 5, reuse: true })) {
      const x = (batch.x as Tensor<'float32'>).data
      memory.add(x.buffer)
      // Whatever is under way would have come to its end.
      await sleep(1)
      for (const [k, index] of batch.indices.entries()) expect(Buffer.from(x.buffer, x.byteOffset + k * 16384, 16384).compare(Buffer.from(expected.get(index)!.buffer))).toBe(0)
    }
    expect(memory.size).toBeLessThan(ITEMS / size / 2)
  })

  test('without reuse a batch keeps its bytes', async () => {
    const kept: Batch[] = []
    await collect({ size: 8, shuffle: true, seed: 3 }, (batch) => kept.push(batch))
    for (const batch of kept) {
      const item = await dataset.get(batch.indices[0]!)
      expect((batch.x as Tensor<'float32'>).data.slice(0, 4096)).toEqual((item.x as Tensor<'float32'>).data)
    }
  })

  test('a consumer may stop at any time, and an abort is thrown', async () => {
    for await (const _ of dataset.batches({ size: 4, shuffle: true, seed: 1, prefetch: 8 })) break
    const abort = new AbortController()
    let count = 0
    await expect((async () => {
      for await (const _ of dataset.batches({ size: 4, signal: abort.signal })) if (++count === 3) abort.abort(new Error('stop'))
    })()).rejects.toThrow('stop')
    expect(count).toBe(3)
  })

  test('wrong use is a TypeError before any work', () => {
    const bad = (options: object, message: RegExp): void => expect(() => dataset.batches(options as { size: number })).toThrow(message)
    bad({ size: 0 }, /size must be an integer/)
    bad({ size: 4, shufle: true }, /misspelled option "shufle" should be "shuffle"/)
    bad({ size: 4, shuffle: true }, /shuffle needs a seed/)
    bad({ size: 4, fields: ['z'] }, /no field "z"/)
    bad({ size: 4, collate: 'stak' }, /collate must be/)
    bad({ size: 4, shuffle: true, seed: -1 }, /seed/)
  })

  test('ragged items: stack says which field, pad fills with zeros, a function gets the items', async () => {
    const rows = range(0, 6).map((i) => ({ id: `r${i}`, fields: { v: { dtype: 'float32' as const, shape: [i + 1, 2], data: Float32Array.from(noise((i + 1) * 2, i + 1)) } } }))
    const ragged = await cache.dataset(await itemsSource(rows), recipe([cast({ dtype: 'float64' })]))
    expect(() => ragged.batches({ size: 3 })).toThrow(/field v has shapes that differ/)
    for await (const batch of ragged.batches({ size: 6, collate: 'pad' })) {
      expect(batch.v.shape).toEqual([6, 6, 2])
      expect([...batch.v_shape.data]).toEqual([1n, 2n, 2n, 2n, 3n, 2n, 4n, 2n, 5n, 2n, 6n, 2n])
      for (let i = 0; i < 6; i++) {
        expect([...batch.v.data.subarray(i * 12, i * 12 + (i + 1) * 2)]).toEqual(Array.from(rows[i]!.fields.v.data))
        expect([...batch.v.data.subarray(i * 12 + (i + 1) * 2, (i + 1) * 12)].every((value) => value === 0)).toBe(true)
      }
    }
    for await (const batch of ragged.batches({ size: 6, collate: (list) => ({ total: list.reduce((sum, item) => sum + (item.v as Tensor).shape[0]!, 0) }) })) expect(batch.total).toBe(21)
    for await (const batch of ragged.batches({ size: 6, collate: async (list) => ({ total: await Promise.resolve(list.length) }) })) expect(batch.total).toBe(6)
  })

  test('only the named fields are read, and padding does not overwrite one', async () => {
    const rows = range(0, 4).map((i) => ({ id: `r${i}`, fields: { v: Float32Array.of(i), v_shape: Int32Array.of(7) } }))
    const set = await cache.dataset(await itemsSource(rows), recipe([cast({ dtype: 'float64', fields: ['v'] })]))
    expect(() => set.batches({ size: 2, collate: 'pad' })).toThrow(/puts the true shapes of v into v_shape, but the dataset has a field of that name/)
    for await (const batch of set.batches({ size: 4, collate: 'pad', fields: ['v'] })) expect([batch.v.shape, batch.v_shape.shape]).toEqual([[4, 1], [4, 1]])
    const seen: string[][] = []
    for await (const _ of set.batches({ size: 4, fields: ['v_shape'], collate: (list) => { seen.push(Object.keys(list[0]!)); return {} } })) continue
    expect(seen).toEqual([['id', 'v_shape']])
  })
})
