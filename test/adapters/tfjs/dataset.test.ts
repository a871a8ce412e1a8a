import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as tf from '@tensorflow/tfjs'
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, expectTypeOf, test, vi } from 'vitest'
import { toTfDataset } from '../../../src/adapters/tfjs.js'
import { cast, npz, recipe, type Cache, type Dataset, type LiveDataset } from '../../../src/index.js'
import { noise, range, smallCache, writeRows } from '../../support/data.js'
import { tempDir } from '../../support/temp.js'
import { float32, Ready } from './source.js'

const ITEMS = 50
let cache: Cache
let dataset: Dataset
let live: LiveDataset
beforeAll(async () => {
  const dir = tempDir()
  writeRows(join(dir, 'rows.npz'), range(0, ITEMS), 3)
  const steps = recipe([cast({ dtype: 'float32', fields: ['x'] })])
  cache = await smallCache(join(dir, 'cache'))
  dataset = await cache.dataset(await npz(join(dir, 'rows.npz')), steps)
  live = await cache.dataset(await npz(join(dir, 'rows.npz')), steps, { cache: false })
})
afterAll(() => cache.close())

const count = (): number => tf.memory().numTensors
let before: number
beforeEach(() => { before = count() })
afterEach(() => expect(count(), 'tensors left behind').toBe(before))

type Elements = AsyncIterator<Record<string, tf.Tensor>>
const iterator = async (of: { iterator(): Promise<unknown> }): Promise<Elements> => await of.iterator() as Elements

/** The labels of one iteration, in its order. */
async function labels(of: tf.data.Dataset<tf.TensorContainer>): Promise<number[]> {
  const seen: number[] = []
  await of.forEachAsync((element) => {
    seen.push(...(element as { y: tf.Tensor }).y.dataSync())
    tf.dispose(element)
  })
  return seen
}

async function expected(of: Dataset | LiveDataset, epoch: number): Promise<number[]> {
  const seen: number[] = []
  for await (const { y } of of.batches({ size: 8, shuffle: true, seed: 3, epoch })) seen.push(...y.data)
  return seen
}

/** 3 numbers to their weighted sum, which a dense layer can learn. */
function model(): tf.Sequential {
  const made = tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [3], kernelInitializer: 'zeros', useBias: false })] })
  made.compile({ optimizer: tf.train.sgd(0.5), loss: 'meanSquaredError' })
  return made
}

/** Items whose `t` is 2 a - 3 b + c of `x` [a, b, c], in batches of 4. */
class Sums extends Ready {
  constructor(batches: number) {
    super(range(0, batches).map((k) => {
      const x = Float32Array.from(noise(12, k + 1), (value) => 2 * value)
      const t = Float32Array.from({ length: 4 }, (_, i) => 2 * x[3 * i]! - 3 * x[3 * i + 1]! + x[3 * i + 2]!)
      return { x: { dtype: 'float32', shape: [4, 3], data: x }, t: { dtype: 'float32', shape: [4, 1], data: t } }
    }))
  }
}

describe('toTfDataset', () => {
  test('is a tf.data.Dataset', async () => {
    const made = toTfDataset(tf, dataset, { size: 8 })
    expectTypeOf(made).toExtend<tf.data.Dataset<tf.TensorContainer>>()
    expect(made).toBeInstanceOf(tf.data.Dataset)
    expect(made.size).toBe(7)
    expect(toTfDataset(tf, dataset, { size: 8, dropLast: true }).size).toBe(6)
    expect(made.take(3).size).toBe(3)
    const sums: number[] = []
    await made.map((element) => (element as { y: tf.Tensor }).y.sum()).forEachAsync((sum) => {
      sums.push((sum as tf.Tensor).dataSync()[0]!)
      tf.dispose(sum)
    })
    expect(sums.reduce((a, b) => a + b)).toBe(range(0, ITEMS).reduce((a, b) => a + b))
  })

  test.each(['cached', 'live'] as const)('%s: each iteration is an epoch in an order of its own', async (which) => {
    const of = which === 'cached' ? dataset : live
    const made = toTfDataset(tf, of, { size: 8, shuffle: true, seed: 3, epoch: 5 })
    const epochs = [await expected(of, 5), await expected(of, 6), await expected(of, 7)]
    expect(epochs[0]).not.toEqual(epochs[1])
    // An iterator that nobody uses takes no epoch.
    await made.iterator()
    expect(await labels(made)).toEqual(epochs[0])
    expect(await labels(made.repeat(2))).toEqual([...epochs[1]!, ...epochs[2]!])
    await made.stop()
  })

  test('two iterations at the same time', async () => {
    const made = toTfDataset(tf, dataset, { size: 8, shuffle: true, seed: 3 })
    const both = await Promise.all([labels(made), labels(made)])
    expect(both.sort()).toEqual([await expected(dataset, 0), await expected(dataset, 1)].sort())
  })

  test('several elements are asked for at once', async () => {
    expect(await labels(toTfDataset(tf, dataset, { size: 8, shuffle: true, seed: 3 }).prefetch(4))).toEqual(await expected(dataset, 0))
  })

  test('fitDataset learns, in other orders, and leaves no tensors', async () => {
    const source = new Sums(8)
    const learner = model()
    const validation = toTfDataset(tf, new Sums(2), { size: 1, xs: 'x', ys: 't' })
    const { history } = await learner.fitDataset(toTfDataset(tf, source, { size: 1, xs: 'x', ys: 't', epoch: 2 }), { epochs: 6, verbose: 0, validationData: validation })
    const losses = history.loss as number[]
    expect(losses).toHaveLength(6)
    for (const [k, loss] of losses.entries()) if (k > 0) expect(loss).toBeLessThan(losses[k - 1]!)
    expect(losses[5]).toBeLessThan(losses[0]! / 50)
    expect((history.val_loss as number[])[5]).toBeLessThan(0.1)
    expect(source.asked.map(({ epoch }) => epoch)).toEqual([2, 3, 4, 5, 6, 7])
    expect([source.begun, source.ended]).toEqual([6, 6])
    const [found] = learner.getWeights()
    expect(Array.from(found!.dataSync(), Math.round)).toEqual([2, -3, 1])
    learner.dispose()
    learner.optimizer.dispose()
  })

  test('inputs by name and in order', async () => {
    const [a, b] = [tf.input({ shape: [3], name: 'a' }), tf.input({ shape: [3], name: 'b' })]
    const out = tf.layers.dense({ units: 1 }).apply(tf.layers.add().apply([a, b])) as tf.SymbolicTensor
    const learner = tf.model({ inputs: [a, b], outputs: out })
    learner.compile({ optimizer: 'sgd', loss: 'meanSquaredError' })
    for (const xs of [['x', 'x'], { b: 'x', a: 'x' }]) {
      const { history } = await learner.fitDataset(toTfDataset(tf, new Sums(3), { size: 1, xs, ys: 't' }), { epochs: 1, verbose: 0 })
      expect(Number.isFinite(history.loss![0])).toBe(true)
    }
    learner.dispose()
    learner.optimizer.dispose()
  })

  describe('left in the middle', () => {
    test('stop ends what is under way, and what begins later goes on', async () => {
      const source = new Ready([{ x: float32(1) }, { x: float32(2) }, { x: float32(3) }])
      const made = toTfDataset(tf, source, { size: 1 })
      const [one, other] = [await iterator(made), await iterator(made)]
      tf.dispose([(await one.next()).value, (await other.next()).value])
      expect([source.begun, source.ended]).toEqual([2, 0])
      await made.stop()
      expect([source.begun, source.ended]).toEqual([2, 2])
      expect((await one.next()).done).toBe(true)
      const next = await iterator(made)
      const values: number[] = []
      for (let step = await next.next(); step.done !== true; step = await next.next()) {
        values.push(step.value.x!.dataSync()[0]!)
        tf.dispose(step.value)
      }
      expect(values).toEqual([1, 2, 3])
      expect([source.begun, source.ended]).toEqual([3, 3])
    })

    test('batchesPerEpoch: the epochs share one iteration, which stop ends', async () => {
      const source = new Sums(8)
      const made = toTfDataset(tf, source, { size: 1, xs: 'x', ys: 't' })
      const learner = model()
      await learner.fitDataset(made.repeat(), { epochs: 3, batchesPerEpoch: 4, verbose: 0 })
      expect([source.begun, source.ended]).toEqual([2, 1])
      await made.stop()
      expect([source.begun, source.ended]).toEqual([2, 2])
      learner.dispose()
      learner.optimizer.dispose()
    })

    test('otherwise it ends when its iterator is collected', async () => {
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      const source = new Ready([{ x: float32(1) }, { x: float32(2) }, { x: float32(3) }])
      const made = toTfDataset(tf, source, { size: 1 })
      await (async () => made.take(1).forEachAsync((element) => { tf.dispose(element) }))()
      expect([source.begun, source.ended]).toEqual([1, 0])
      await vi.waitFor(() => {
        collect()
        expect(source.ended).toBe(1)
      }, { timeout: 20_000 })
    })
  })

  describe('errors reach who asks', () => {
    test('of reading', async () => {
      const source = new Ready([{ x: float32(1) }], new Error('the disk is gone'))
      const made = toTfDataset(tf, source, { size: 1 })
      await expect(made.forEachAsync((element) => { tf.dispose(element) })).rejects.toThrow('the disk is gone')
      expect([source.begun, source.ended]).toEqual([1, 1])
      await made.stop()
    })

    test('of converting: nothing of the batch is left, and the iteration has ended', async () => {
      const source = new Ready([{ x: float32(1), y: { dtype: 'uint32', shape: [1], data: Uint32Array.of(2 ** 31) } }])
      const elements = await iterator(toTfDataset(tf, source, { size: 1 }))
      await expect(elements.next()).rejects.toThrow('toTfDataset: field y: uint32 value 2147483648 at [0] is no int32')
      expect((await elements.next()).done).toBe(true)
      expect([source.begun, source.ended]).toEqual([1, 1])
    })

    test('in fitDataset, which leaves what it leaves of any dataset that fails', async () => {
      const left = async (of: tf.data.Dataset<tf.TensorContainer>, callbacks: tf.CustomCallbackArgs): Promise<number> => {
        const [learner, start] = [model(), count()]
        await expect(learner.fitDataset(of, { epochs: 9, verbose: 0, callbacks })).rejects.toThrow('enough')
        learner.optimizer.dispose()
        learner.dispose()
        return count() - start
      }
      const stop = new AbortController()
      const ours = await left(toTfDataset(tf, dataset, { size: 8, xs: 'x', ys: 'y', signal: stop.signal }), { onBatchEnd: async (batch) => { if (batch === 2) stop.abort(new Error('enough')) } })
      const theirs = await left(tf.data.generator(function * () {
        for (let k = 0; k < 3; k++) yield { xs: tf.ones([8, 3]), ys: tf.ones([8]) }
        throw new Error('enough')
      }), {})
      expect(ours).toBe(theirs)
      // Its running means of the losses.
      before = count()
    })
  })

  test('misuse is a TypeError at once', () => {
    expect(() => toTfDataset(tf, dataset, { size: 0 })).toThrow('batches: size must be an integer')
    expect(() => toTfDataset(tf, dataset, { size: 1, shuffle: true })).toThrow('shuffle needs a seed')
    expect(() => toTfDataset(tf, dataset, { size: 1, xs: 'x', ys: 'z' })).toThrow('has no field "z"')
    expect(() => toTfDataset(tf, dataset, { size: 1, reuse: true, copy: false })).toThrow('with reuse the memory of a batch is written over while tf.data may still have its tensors')
    expect(() => toTfDataset(tf, dataset, { size: 1, keep: true } as never)).toThrow('unknown option "keep"')
    expect(() => toTfDataset({ tensor: tf.tensor, complex: tf.complex } as never, dataset, { size: 1 })).toThrow('toTfDataset: tf has no tf.data')
  })
})
