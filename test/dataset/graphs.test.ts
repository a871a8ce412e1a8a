import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { recipe, select, type Batch, type Cache, type Dataset, type Tensor } from '../../src/index.js'
import { items as itemsSource } from '../../src/sources/items.js'
import { noise, range, smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

/** Graphs of 0 to 6 nodes, with edges, and one number each. */
const graphs = range(0, 61).map((i) => {
  const nodes = i * 5 % 7
  const edges = nodes === 0 ? 0 : i * 3 % 11
  return {
    id: `g${i}`,
    fields: {
      numbers: Int32Array.from({ length: nodes }, (_, k) => i + k),
      pos: { dtype: 'float32' as const, shape: [nodes, 3], data: Float32Array.from(noise(nodes * 3, i + 1)) },
      edge_source: Int32Array.from({ length: edges }, (_, k) => k % nodes),
      edge_target: Int32Array.from({ length: edges }, (_, k) => (k * 2 + 1) % nodes),
      edge_image: { dtype: 'int16' as const, shape: [edges, 3], data: Int16Array.from({ length: edges * 3 }, (_, k) => k - i) },
      lattice: { dtype: 'float64' as const, shape: [3, 3], data: noise(9, i) },
      energy: { dtype: 'float32' as const, shape: [], data: Float32Array.of(i) },
    },
  }
})

let cache: Cache
let dataset: Dataset
beforeAll(async () => {
  cache = await smallCache(join(tempDir(), 'cache'))
  dataset = await cache.dataset(await itemsSource(graphs), recipe([select({ fields: ['numbers', 'pos', 'edge_source', 'edge_target', 'edge_image', 'lattice', 'energy'] })]))
})
afterAll(() => cache.close())

/** What a batch of these graphs is, in the plainest way. */
function expected(indices: readonly number[]): Record<string, unknown> {
  const chosen = indices.map((index) => graphs[index]!.fields)
  const ptr = [0]
  for (const { numbers } of chosen) ptr.push(ptr.at(-1)! + numbers.length)
  const ends = (name: 'edge_source' | 'edge_target'): number[] => chosen.flatMap((fields, graph) => Array.from(fields[name], (node) => node + ptr[graph]!))
  return {
    ptr, batch: chosen.flatMap(({ numbers }, graph) => Array.from(numbers, () => graph)), edge_index: [...ends('edge_source'), ...ends('edge_target')],
    numbers: chosen.flatMap(({ numbers }) => [...numbers]), pos: chosen.flatMap(({ pos }) => [...pos.data]), edge_image: chosen.flatMap(({ edge_image: { data } }) => [...data]),
    lattice: chosen.flatMap(({ lattice }) => [...lattice.data]), energy: chosen.flatMap(({ energy }) => [...energy.data]),
  }
}

const values = (batch: Batch): Record<string, unknown> => Object.fromEntries(Object.entries(batch).filter(([name]) => name !== 'ids' && name !== 'indices').map(([name, tensor]) => [name, [...(tensor as Tensor).data as Float32Array]]))

describe('batches of graphs', () => {
  test.each([[{ size: 8 }], [{ size: 1 }], [{ size: 61 }], [{ size: 16, shuffle: true, seed: 3 }], [{ size: 9, dropLast: true, shuffle: true, seed: 4, prefetch: 0 }]])('%o', async (options) => {
    let seen = 0
    for await (const batch of dataset.batches({ ...options, collate: 'graph' })) {
      expect(values(batch)).toEqual(expected([...batch.indices]))
      const [nodes, edges] = [batch.numbers.shape[0], batch.edge_image.shape[0]]
      expect([batch.pos.shape, batch.edge_index.shape, batch.batch.shape, batch.ptr.shape, batch.lattice.shape, batch.energy.shape]).toEqual([[nodes, 3], [2, edges], [nodes], [batch.indices.length + 1], [batch.indices.length, 3, 3], [batch.indices.length]])
      seen += batch.indices.length
    }
    expect(seen).toBe('dropLast' in options ? 54 : 61)
  })

  test('graphs in order are views of their shard', async () => {
    for await (const batch of dataset.batches({ size: 8, collate: 'graph' })) {
      expect(new Set(['numbers', 'pos', 'edge_image', 'lattice'].map((field) => (batch[field] as Tensor).data.buffer)).size).toBe(1)
      break
    }
  })

  test('the same whichever way they lie in shards: one after the other, in a few, in many', async () => {
    const ops = recipe([select({ fields: ['numbers', 'pos', 'edge_source', 'edge_target', 'edge_image', 'lattice', 'energy'] })])
    for (const [name, parts] of [['two', [[0, 30], [30, 61]]], ['many', range(0, 12).map((k) => [5 * k, Math.min(61, 5 * k + 5)])], ['turned', [[40, 61], [0, 40]]]] as const) {
      const own = await smallCache(join(tempDir(), name))
      // Each build adds a shard.
      for (const [start, stop] of parts) await own.dataset(await itemsSource(graphs.slice(start, stop)), ops)
      const whole = await own.dataset(await itemsSource(graphs), ops)
      for (const options of [{ size: 13 }, { size: 61 }, { size: 17, shuffle: true, seed: 1 }]) {
        for await (const batch of whole.batches({ ...options, collate: 'graph' })) expect(values(batch)).toEqual(expected([...batch.indices]))
      }
      await own.close()
    }
  })

  test('a field that happens to be of one length in a shard', async () => {
    const rows = range(0, 40).map((i) => ({ id: `${i}`, fields: { numbers: new Int32Array(i < 39 ? 5 : 6).fill(i), y: Float32Array.of(i) } }))
    // One shard of graphs with 5 nodes, a later build adds one with 6.
    await cache.dataset(await itemsSource(rows.slice(0, 39)), recipe([select({ fields: ['numbers', 'y'] })]))
    const all = await cache.dataset(await itemsSource(rows), recipe([select({ fields: ['numbers', 'y'] })]))
    expect(all.report.computed).toBe(1)
    for await (const batch of all.batches({ size: 13, collate: 'graph' })) {
      expect(batch.numbers.shape).toEqual([batch.indices.length * 5 + ([...batch.indices].includes(39) ? 1 : 0)])
      expect(batch.ptr.data[1]).toBe(batch.indices[0] === 39 ? 6 : 5)
      expect(batch.y.shape).toEqual([batch.indices.length, 1])
    }
  })

  test('wrong use is said before any work', () => {
    expect(() => dataset.batches({ size: 2, collate: 'graph', fields: ['pos', 'lattice'] })).toThrow(/by the field numbers, which must be among the fields/)
    expect(() => dataset.batches({ size: 2, collate: 'graph', nodeField: 'lattice' })).toThrow(/by the field lattice/)
    expect(() => dataset.batches({ size: 2, collate: 'graph', fields: ['numbers', 'edge_source'] })).toThrow(/needs both edge_source and edge_target/)
    expect(Object.keys(dataset.fields)).toContain('edge_image')
  })

  test('nodes alone make a batch', async () => {
    for await (const batch of dataset.batches({ size: 61, collate: 'graph', fields: ['pos'], nodeField: 'pos' })) expect(Object.keys(batch).sort()).toEqual(['batch', 'ids', 'indices', 'pos', 'ptr'])
  })
})
