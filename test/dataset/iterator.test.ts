import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { concat, npz, type Batch, type BatchOptions, type BatchState, type Cache, type Dataset, type ItemList, type Tensor } from '../../src/index.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const ITEMS = 203
let cache: Cache
let dataset: Dataset
let other: Dataset

beforeAll(async () => {
  const dir = tempDir()
  writeRows(join(dir, 'a.npz'), range(0, ITEMS), 64)
  writeRows(join(dir, 'b.npz'), range(1, ITEMS + 1), 64)
  cache = await smallCache(join(dir, 'cache'))
  dataset = await cache.dataset(await npz(join(dir, 'a.npz')), steps)
  other = await cache.dataset(await npz(join(dir, 'b.npz')), steps)
})
afterAll(() => cache.close())
afterEach(() => vi.unstubAllEnvs())

const labelsOf = (batch: Batch): number[] => [...(batch.y as Tensor<'int32'>).data]
/** What a state is in a checkpoint. */
const kept = (state: BatchState): BatchState => JSON.parse(JSON.stringify(state)) as BatchState

async function rest(list: ItemList, options: BatchOptions, state?: BatchState): Promise<number[][]> {
  const batches = list.batches(options)
  if (state !== undefined) batches.restore(state)
  const seen: number[][] = []
  for await (const batch of batches) seen.push(labelsOf(batch))
  return seen
}

/** The first batches, and where the iterator is then. */
async function some(list: ItemList, options: BatchOptions, count: number, from?: BatchState): Promise<{ seen: number[][]; state: BatchState }> {
  const batches = list.batches(options)
  if (from !== undefined) batches.restore(from)
  const seen: number[][] = []
  for (let k = 0; k < count; k++) {
    const { value, done } = await batches.next()
    if (done === true) break
    seen.push(labelsOf(value))
  }
  const state = kept(batches.state())
  await batches.return()
  return { seen, state }
}

const kinds: [string, BatchOptions][] = [
  ['in order', { size: 16 }],
  ['shuffled', { size: 16, shuffle: true, seed: 7, epoch: 3 }],
  ['recycled', { size: 16, shuffle: true, seed: 7, reuse: true }],
  ['by weights', { size: 16, weights: range(0, ITEMS), seed: 5, draws: 300 }],
  ['without a last one', { size: 16, shuffle: true, seed: 7, dropLast: true }],
]

describe('state and restore', () => {
  test.each(kinds)('%s: goes on where it was, from every batch on', async (_, options) => {
    const whole = await rest(dataset, options)
    for (const count of [0, 1, 5, whole.length - 1, whole.length]) {
      const { seen, state } = await some(dataset, options, count)
      expect(seen).toEqual(whole.slice(0, count))
      expect(state).toMatchObject({ format: 1, digest: dataset.digest, epoch: options.epoch ?? 0, step: count })
      // The epoch is that of the state.
      expect(await rest(dataset, { ...options, epoch: 99 }, state)).toEqual(whole.slice(count))
    }
  })

  test('the whole of an epoch is over, also what dropLast left out', async () => {
    const options = { size: 16, dropLast: true }
    const { state } = await some(dataset, options, Infinity)
    expect(state.position).toBe(ITEMS)
    expect(await rest(dataset, { size: 1 }, state)).toEqual([])
  })

  test('a state that was taken before what was prepared ahead is used does not count that', async () => {
    const batches = dataset.batches({ size: 10, prefetch: 8 })
    expect(batches.state()).toMatchObject({ step: 0, position: 0 })
    await batches.next()
    expect(batches.state()).toMatchObject({ step: 1, position: 10 })
    await batches.return()
  })

  test('an iterator that has begun can be told to go on elsewhere', async () => {
    const whole = await rest(dataset, { size: 16, shuffle: true, seed: 7 })
    const batches = dataset.batches({ size: 16, shuffle: true, seed: 7 })
    await batches.next()
    const state = batches.state()
    await batches.next()
    await batches.next()
    batches.restore(state)
    expect(batches.length).toBe(whole.length - 1)
    const seen: number[][] = []
    for await (const batch of batches) seen.push(labelsOf(batch))
    expect(seen).toEqual(whole.slice(1))
  })

  test('another batch size goes on with the same items', async () => {
    const options = { size: 16, shuffle: true, seed: 7 }
    const whole = (await rest(dataset, options)).flat()
    const { state } = await some(dataset, options, 4)
    expect((await rest(dataset, { ...options, size: 9 }, state)).flat()).toEqual(whole.slice(64))
  })

  test('a state of other data, of another order, or no state is refused', async () => {
    const options = { size: 16, shuffle: true, seed: 7 }
    const { state } = await some(dataset, options, 4)
    expect(() => other.batches(options).restore(state)).toThrow(/of other data: it says "[0-9a-f]{64}", this is [0-9a-f]{64}/)
    expect(() => dataset.select({ stop: 100 }).batches(options).restore(state)).toThrow(/of other data/)
    expect(() => dataset.batches({ ...options, seed: 8 }).restore(state)).toThrow(/another order: it says .*"seed":7.*, this is .*"seed":8/)
    expect(() => dataset.batches({ size: 16 }).restore(state)).toThrow(/another order/)
    const weights = range(0, ITEMS)
    const drawn = (await some(dataset, { size: 16, seed: 7, weights }, 1)).state
    expect(() => dataset.batches({ size: 16, seed: 7, weights: weights.map((w) => w + 1) }).restore(drawn)).toThrow(/another order/)
    for (const wrong of [undefined, {}, { ...state, format: 2 }, { ...state, position: ITEMS + 1 }, { ...state, position: 1.5 }, { ...state, epoch: -1 }, { ...state, steps: 3 }]) expect(() => dataset.batches(options).restore(wrong as never)).toThrow(TypeError)
  })

  test('restoring in the middle of ten million items reads and computes nothing before', async () => {
    // One item, ten million times: what is looked at is the order.
    const many = dataset.select(new Float64Array(10 ** 7).fill(5))
    const options = { size: 32, shuffle: true, seed: 3 }
    const first = many.batches(options)
    await first.next()
    const state = { ...kept(first.state()), step: 100_000, position: 3_200_000 }
    await first.return()
    const batches = many.batches(options).restore(state)
    const { value } = await batches.next()
    const { shuffledIndex } = await import('../../src/core/shuffle.js')
    expect([...(value as Batch).indices]).toEqual(range(3_200_000, 3_200_032).map((position) => shuffledIndex(10 ** 7, 3n, 0, position)))
    await batches.return()
  })
})

describe('ranks', () => {
  const options = { size: 8, shuffle: true, seed: 11 }

  test('four ranks see every item once, in the order that one rank sees', async () => {
    const alone = await rest(dataset, { ...options, size: 32 })
    const ranks = await Promise.all([0, 1, 2, 3].map((index) => rest(dataset, { ...options, shard: { index, count: 4 } })))
    expect(new Set(ranks.map(({ length }) => length))).toEqual(new Set([alone.length]))
    alone.forEach((batch, step) => expect(ranks.flatMap((rank) => rank[step]!)).toEqual(batch))
  })

  test('four ranks, then three, then one: every item once', async () => {
    const seen: number[] = []
    let state: BatchState | undefined
    for (const [count, steps] of [[4, 3], [3, 2], [1, Infinity]] as const) {
      const runs = await Promise.all(Array.from({ length: count }, (_, index) => some(dataset, { ...options, shard: { index, count } }, steps, state)))
      for (const { seen: batches } of runs) seen.push(...batches.flat())
      // All ranks are at the same place.
      for (const run of runs) expect(run.state).toEqual(runs[0]!.state)
      state = runs[0]!.state
    }
    expect(seen.sort((a, b) => a - b)).toEqual(range(0, ITEMS))
  })

  test('in order a rank has views of its part', async () => {
    const ranks = await Promise.all([0, 1].map((index) => rest(dataset, { size: 8, shard: { index, count: 2 } })))
    expect(ranks[0]![0]).toEqual(range(0, 8))
    expect(ranks[1]![0]).toEqual(range(8, 16))
    expect(ranks.flat(2).sort((a, b) => a - b)).toEqual(range(0, ITEMS))
  })

  test('the rank comes from the environment when it is asked for', async () => {
    vi.stubEnv('RANK', '1')
    vi.stubEnv('WORLD_SIZE', '2')
    expect((await rest(dataset, { size: 8, shard: 'env' }))[0]).toEqual(range(8, 16))
    vi.stubEnv('RANK', '2')
    expect(() => dataset.batches({ size: 8, shard: 'env' })).toThrow(/RANK is "2", WORLD_SIZE "2"/)
    vi.stubEnv('RANK', undefined)
    expect(() => dataset.batches({ size: 8, shard: 'env' })).toThrow(/RANK is undefined/)
    expect(() => dataset.batches({ size: 8, shard: { index: 2, count: 2 } })).toThrow(TypeError)
    expect(() => dataset.batches({ size: 8, shard: { rank: 2, count: 2 } as never })).toThrow(TypeError)
  })
})

describe('weights', () => {
  test('items come as often as they weigh, and others never', async () => {
    const weights = range(0, ITEMS).map((index) => index === 7 ? 3 : index === 9 ? 1 : 0)
    const seen = (await rest(dataset, { size: 100, weights, draws: 40_000, seed: 1 })).flat()
    expect(new Set(seen)).toEqual(new Set([7, 9]))
    // 4 standard deviations of a binomial with p = 3/4.
    expect(Math.abs(seen.filter((label) => label === 7).length - 30_000)).toBeLessThan(4 * Math.sqrt(40_000 * 0.75 * 0.25))
  })

  test('the first draws of a seed and an epoch are these', async () => {
    // If this fails, runs that are restored go on with other items.
    const weights = range(1, ITEMS + 1)
    const first = async (epoch: number): Promise<number[]> => (await some(dataset, { size: 10, weights, seed: 42, epoch }, 1)).seen[0]!
    expect(await first(0)).toMatchInlineSnapshot(`
      [
        201,
        82,
        112,
        61,
        91,
        160,
        66,
        170,
        188,
        124,
      ]
    `)
    expect(await first(1)).not.toEqual(await first(0))
  })

  test('datasets are mixed by the weights of their items', async () => {
    const mixed = concat(dataset, other.select({ stop: 20 }))
    const weights = Float64Array.from({ length: mixed.length }, (_, index) => index < ITEMS ? 0.25 / ITEMS : 0.75 / 20)
    let second = 0
    for await (const batch of mixed.batches({ size: 100, weights, draws: 10_000, seed: 4 })) second += [...batch.indices].filter((index) => index >= ITEMS).length
    expect(Math.abs(second - 7500)).toBeLessThan(4 * Math.sqrt(10_000 * 0.75 * 0.25))
  })

  test('what cannot be drawn from is refused', () => {
    for (const weights of [range(0, 5), range(0, ITEMS).fill(0), range(0, ITEMS).fill(-1), range(0, ITEMS).fill(NaN), 'all']) expect(() => dataset.batches({ size: 8, seed: 1, weights: weights as number[] })).toThrow(TypeError)
    expect(() => dataset.batches({ size: 8, weights: range(0, ITEMS) })).toThrow(/needs a seed/)
    expect(() => dataset.batches({ size: 8, shuffle: true, seed: 1, weights: range(0, ITEMS) })).toThrow(/leave out shuffle/)
    expect(() => dataset.batches({ size: 8, draws: 4 })).toThrow(/there are none/)
  })
})
