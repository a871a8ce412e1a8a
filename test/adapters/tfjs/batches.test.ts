import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs'
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, expectTypeOf, test } from 'vitest'
import { tfBatches } from '../../../src/adapters/tfjs.js'
import { items, npz, recipe, select, type Cache, type Dataset, type LiveDataset, type Tensor } from '../../../src/index.js'
import { range, smallCache, steps, writeRows } from '../../support/data.js'
import { tempDir } from '../../support/temp.js'
import { float32, Ready } from './source.js'

let cache: Cache
let dataset: Dataset
let live: LiveDataset
beforeAll(async () => {
  const dir = tempDir()
  writeRows(join(dir, 'rows.npz'), range(0, 50), 6)
  cache = await smallCache(join(dir, 'cache'))
  dataset = await cache.dataset(await npz(join(dir, 'rows.npz')), steps)
  live = await cache.dataset(await npz(join(dir, 'rows.npz')), steps, { cache: false })
})
afterAll(() => cache.close())

const count = (): number => tf.memory().numTensors
let before: number
beforeEach(() => { before = count() })
afterEach(() => expect(count(), 'tensors left behind').toBe(before))

const two = (): Ready => new Ready([{ x: float32(1, 2), y: float32(3) }, { x: float32(4, 5), y: float32(6) }])

describe('tfBatches', () => {
  test.each(['cached', 'live'] as const)('%s: the batches of the dataset, as tensors', async (which) => {
    const of = which === 'cached' ? dataset : live
    for (const options of [{ size: 16 }, { size: 16, shuffle: true, seed: 5, epoch: 3 }, { size: 16, shuffle: true, seed: 5, reuse: true, dropLast: true }]) {
      const expected: unknown[] = []
      for await (const { x, y, ids, indices } of of.batches(options)) expected.push([[...x.data], x.shape, [...y.data], [...ids], [...indices]])
      const found: unknown[] = []
      for await (const batch of tfBatches(tf, of, options)) {
        expectTypeOf(batch.x!).toEqualTypeOf<tf.Tensor>()
        expect(count()).toBe(before + 2)
        expect([batch.x!.dtype, batch.y!.dtype]).toEqual(['float32', 'int32'])
        expect(Object.keys(batch).sort()).toEqual(['x', 'y'])
        found.push([[...batch.x!.dataSync()], batch.x!.shape, [...batch.y!.dataSync()], [...batch.ids], [...batch.indices]])
      }
      expect(found).toEqual(expected)
      expect(count()).toBe(before)
    }
  })

  test('tensors live for one turn', async () => {
    const turns: tf.Tensor[] = []
    for await (const { x } of tfBatches(tf, two(), { size: 1 })) {
      turns.push(x!)
      expect(turns.map(({ isDisposed }) => isDisposed)).toEqual(turns.map((_, k) => k < turns.length - 1))
    }
    expect(turns).toHaveLength(2)
    expect(turns.every(({ isDisposed }) => isDisposed)).toBe(true)
  })

  test('a loop is left by break, by an error, by return and by its end', async () => {
    const ways: (() => Promise<Ready>)[] = [
      async () => { const source = two(); for await (const _ of tfBatches(tf, source, { size: 1 })) break; return source },
      async () => { const source = two(); for await (const _ of tfBatches(tf, source, { size: 1 })); return source },
      async () => {
        const source = two()
        await expect((async () => { for await (const _ of tfBatches(tf, source, { size: 1 })) throw new Error('mine') })()).rejects.toThrow('mine')
        return source
      },
      async () => {
        const source = two()
        const loop = tfBatches(tf, source, { size: 1 })
        await loop.next()
        expect(count()).toBe(before + 2)
        await loop.return!()
        return source
      },
      async () => {
        const source = new Ready([{ x: float32(1) }], new Error('while reading'))
        await expect((async () => { for await (const _ of tfBatches(tf, source, { size: 1 })); })()).rejects.toThrow('while reading')
        return source
      },
    ]
    for (const way of ways) {
      const source = await way()
      expect([source.begun, source.ended]).toEqual([1, 1])
      expect(count()).toBe(before)
    }
  })

  test('an error in the middle of a batch leaves none of its tensors, and ends the dataset\'s loop', async () => {
    const source = new Ready([{ x: float32(1), y: float32(2), z: { dtype: 'int64', shape: [1, 1], data: BigInt64Array.of(2n ** 40n) } }, { x: float32(1), y: float32(2), z: float32(3) }])
    const loop = tfBatches(tf, source, { size: 1 })
    await expect(loop.next()).rejects.toThrow('tfBatches: field z: int64 value 1099511627776 at [0, 0] is no int32')
    expect([source.begun, source.ended]).toEqual([1, 1])
    expect(await loop.next()).toEqual({ done: true, value: undefined })
    expect(count()).toBe(before)
  })

  test('what is kept stays: by tf.keep, or all of it', async () => {
    const one: tf.Tensor[] = []
    const all: tf.Tensor[] = []
    for await (const { x } of tfBatches(tf, two(), { size: 1 })) one.push(tf.keep(x!))
    expect(one.map((x) => [...x.dataSync()])).toEqual([[1, 2], [4, 5]])
    for await (const { x, y } of tfBatches(tf, two(), { size: 1, keep: true })) all.push(x!, y!)
    expect(count()).toBe(before + 6)
    tf.dispose([...one, ...all])
  })

  test('disposed by the loop itself, or in a scope that ended: no harm', async () => {
    for await (const batch of tfBatches(tf, two(), { size: 1 })) tf.dispose(batch as never)
    expect(count()).toBe(before)
    tf.engine().startScope()
    for await (const _ of tfBatches(tf, two(), { size: 1 })) {
      tf.engine().endScope()
      tf.engine().startScope()
    }
    tf.engine().endScope()
  })

  test('whose memory it is: the batch\'s, a copy with reuse, a copy where asked for', async () => {
    const first = async (options: { reuse?: boolean; copy?: boolean }): Promise<boolean> => {
      const x = float32(1, 2)
      for await (const batch of tfBatches(tf, new Ready([{ x }]), { size: 1, ...options })) return batch.x!.dataSync() === x.data as unknown
      throw new Error('no batch')
    }
    expect(await first({})).toBe(true)
    expect(await first({ copy: false })).toBe(true)
    expect(await first({ copy: true })).toBe(false)
    expect(await first({ reuse: true })).toBe(false)
    expect(await first({ reuse: true, copy: false })).toBe(true)
    expect(() => tfBatches(tf, two(), { size: 1, reuse: true, copy: false, keep: true })).toThrow('with reuse the memory of a batch is written over')
  })

  test('rows in order are views of the mapped shard, with no copy at all', async () => {
    const buffers = new Set<ArrayBufferLike>()
    for (let k = 0; k < 50; k++) buffers.add(((await dataset.get(k)).x as Tensor).data.buffer)
    let batches = 0
    for await (const { x, y } of tfBatches(tf, dataset, { size: 10 })) {
      batches++
      expect(buffers.has(x!.dataSync().buffer)).toBe(true)
      expect(buffers.has(y!.dataSync().buffer)).toBe(true)
    }
    expect(batches).toBe(5)
  })

  test('with reuse what was kept does not change', async () => {
    const kept: tf.Tensor[] = []
    const expected: number[][] = []
    for await (const { x } of tfBatches(tf, dataset, { size: 4, shuffle: true, seed: 1, reuse: true, prefetch: 0 })) {
      kept.push(tf.keep(x!.reshape([-1])))
      expected.push([...x!.dataSync()])
    }
    expect(kept.map((x) => [...x.dataSync()])).toEqual(expected)
    tf.dispose(kept)
  })

  test('xs and ys: one field, several, by name; only those are read', async () => {
    const source = new Ready([{ a: float32(1), b: float32(2), c: float32(3) }])
    for await (const { xs, ys } of tfBatches(tf, source, { size: 1, xs: 'a', ys: 'c' })) {
      expectTypeOf(xs).toEqualTypeOf<tf.Tensor>()
      expect([...xs.dataSync(), ...ys.dataSync()]).toEqual([1, 3])
      expect(count()).toBe(before + 2)
    }
    expect(source.asked.at(-1)).toEqual({ size: 1, fields: ['a', 'c'] })
    for await (const { xs, ys } of tfBatches(tf, source, { size: 1, xs: ['b', 'a'], ys: { out: 'c', again: 'a' } })) {
      expectTypeOf(xs).toEqualTypeOf<tf.Tensor[]>()
      expectTypeOf(ys).toEqualTypeOf<{ readonly out: tf.Tensor; readonly again: tf.Tensor }>()
      expect(xs.map((x) => x.dataSync()[0])).toEqual([2, 1])
      expect(ys.out.dataSync()[0]).toBe(3)
      // One field, one tensor, wherever it is named.
      expect(ys.again).toBe(xs[1])
    }
    for await (const { xs, ys } of tfBatches(tf, source, { size: 1, xs: 'a' })) {
      expect(xs.dataSync()[0]).toBe(1)
      expect(ys).toBeUndefined()
    }
  })

  test('dtypes by field', async () => {
    const source = new Ready([{ x: { dtype: 'uint8', shape: [1, 2], data: Uint8Array.of(0, 255) }, y: { dtype: 'uint8', shape: [1], data: Uint8Array.of(1) } }])
    for await (const { x, y } of tfBatches(tf, source, { size: 1, dtypes: { x: 'float32', y: 'bool' } })) expect([x!.dtype, y!.dtype]).toEqual(['float32', 'bool'])
  })

  test('other ways to collate', async () => {
    const ragged = await cache.dataset(await items(range(1, 6).map((length) => ({ id: `${length}`, fields: { v: Float32Array.from({ length }, (_, k) => k) } }))), recipe([select({ fields: ['v'] })]))
    for await (const batch of tfBatches(tf, ragged, { size: 5, collate: 'list' })) {
      expectTypeOf(batch.v!).toEqualTypeOf<readonly tf.Tensor[]>()
      expect(batch.v!.map(({ shape }) => shape[0])).toEqual([1, 2, 3, 4, 5])
    }
    for await (const batch of tfBatches(tf, ragged, { size: 5, collate: 'pad', xs: 'v', ys: 'v_shape' })) {
      expect([batch.xs.shape, batch.ys.dtype, [...batch.ys.dataSync()]]).toEqual([[5, 5], 'int32', [1, 2, 3, 4, 5]])
    }
    for await (const batch of tfBatches(tf, ragged, { size: 5, collate: (all) => ({ first: all[0]!.v, how: 'own' }) })) {
      expect(batch.first).toBeInstanceOf(tf.Tensor)
      expect(batch.how).toBe('own')
    }
    await expect(tfBatches(tf, ragged, { size: 5, collate: 'pad', xs: 'w' }).next()).rejects.toThrow('batches have no field "w"; they have v, v_shape')
    await ragged.close()
  })

  test('two asked for at once, and one that nobody waits for', async () => {
    const loop = tfBatches(tf, two(), { size: 1 })
    const [one, other] = await Promise.all([loop.next(), loop.next()])
    expect([one.value.x.isDisposed, other.value.x.isDisposed]).toEqual([true, false])
    await loop.return!()
    const left = tfBatches(tf, two(), { size: 1 })
    const asked = left.next()
    await left.return!()
    await asked
    expect(count()).toBe(before)
    expect(await left.next()).toEqual({ done: true, value: undefined })
  })

  test('misuse is a TypeError at once', () => {
    const wrong = (options: unknown, message: string): void => {
      expect(() => tfBatches(tf, dataset, options as never)).toThrow(message)
      expect(() => tfBatches(tf, dataset, options as never)).toThrow(TypeError)
    }
    wrong(undefined, 'options must be an object')
    wrong({}, 'batches: size must be an integer')
    wrong({ size: 2, shuffle: true }, 'shuffle needs a seed')
    wrong({ size: 2, shufle: true }, 'misspelled option "shufle" should be "shuffle"')
    wrong({ size: 2, ys: 'y' }, 'tfBatches: ys needs xs')
    wrong({ size: 2, xs: 'z' }, 'has no field "z"')
    wrong({ size: 2, xs: 'x', fields: ['y'] }, 'tfBatches: batches have no field "x"; they have y')
    wrong({ size: 2, xs: [] }, 'xs must be a field, a list of fields, or fields by name')
    wrong({ size: 2, xs: { a: 1 } }, 'xs must be a field')
    wrong({ size: 2, dtypes: { xx: 'int32' } }, 'tfBatches: dtypes: misspelled option "xx" should be "x"')
    wrong({ size: 2, dtypes: { x: 'float64' } }, 'x must be one of float32, int32, bool, not "float64"')
    wrong({ size: 2, copy: 1 }, 'copy must be true or false')
    wrong({ size: 2, keep: 'yes' }, 'keep must be true or false')
    expect(() => tfBatches(tf, {} as never, { size: 2 })).toThrow('tfBatches: expected a dataset')
    expect(() => tfBatches({} as never, dataset, { size: 2 })).toThrow('tf must be the namespace')
  })

  test('an abort rejects with its reason', async () => {
    const stop = new AbortController()
    const seen: number[] = []
    await expect((async () => {
      for await (const { x } of tfBatches(tf, dataset, { size: 5, signal: stop.signal })) {
        seen.push(x!.shape[0]!)
        if (seen.length === 2) stop.abort(new Error('enough'))
      }
    })()).rejects.toThrow('enough')
    expect(seen).toEqual([5, 5])
  })

  test('says where it is, and goes on from there', async () => {
    const options = { size: 8, shuffle: true, seed: 5 }
    const begun = tfBatches(tf, dataset, options)
    const rest: number[][] = []
    let state: ReturnType<typeof begun.state> | undefined
    for await (const { indices } of begun) {
      if (state !== undefined) rest.push([...indices])
      else state = JSON.parse(JSON.stringify(begun.state())) as typeof state
    }
    expect(state).toMatchObject({ step: 1, position: 8, digest: dataset.digest })
    const again: number[][] = []
    for await (const { indices } of tfBatches(tf, dataset, { ...options, epoch: 9 }).restore(state!)) again.push([...indices])
    expect(again).toEqual(rest)
    expect(() => tfBatches(tf, dataset, { ...options, seed: 6 }).restore(state!)).toThrow(/another order/)
    expect(() => tfBatches(tf, two(), { size: 1 }).state()).toThrow(/has no state\(\)/)
  })
})
