// Datasets without a cache over items whose files are elsewhere: fetched in the order of the epoch, a window ahead, within a disk budget.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { defineOp, group, recipe, select, type Batch, type BatchOptions, type Cache, type LiveDataset, type Source, type Tensor } from '../../src/index.js'
import { status, type Remote } from '../sources/remote.js'
import { rawFiles } from '../sources/staged-folder.js'
import { loopStaged, openFiles, world } from '../sources/staged-loops.js'
import { range, smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const FILES = 40
const ELEMENTS = 1000

let remote: Remote
let names: string[]
let fileBytes: number
let cache: Cache
let dir: string
let source: Source | undefined
beforeEach(async () => {
  ({ remote, names, fileBytes } = await world(FILES, ELEMENTS))
  dir = join(tempDir(), 'staging')
  cache = await smallCache(join(tempDir(), 'cache'))
})
afterEach(async () => {
  await cache.close()
  source?.close()
  source = undefined
})

const openWith = async (room: number, more: object = {}): Promise<Source> => source = await openFiles(remote, names, ELEMENTS, { dir, diskBudget: room * fileBytes, concurrency: 3, ahead: 6, ...more })

/** What every item is, by its values. */
async function valuesOf(dataset: LiveDataset, options: BatchOptions): Promise<number[]> {
  const values: number[] = []
  for await (const { indices, x } of dataset.batches(options)) {
    expect(Array.from(indices, (_, k) => x.data[k * ELEMENTS])).toEqual([...indices])
    values.push(...indices)
  }
  return values
}

/** Nothing is in use, and nothing is on its way. */
async function settled(): Promise<void> {
  const busy = (): string[] => [...readdirSync(join(dir, 'pins')), ...readdirSync(join(dir, 'parts')).filter((name) => !name.includes('-nobody'))]
  for (let tries = 0; busy().length > 0 && tries < 400; tries++) await new Promise((done) => { setTimeout(done, 10) })
  expect(busy()).toEqual([])
}

describe('files of which a tenth fits on the disk', () => {
  test.each<[string, Omit<BatchOptions, 'epoch'>]>([
    ['shuffled', { size: 4, shuffle: true, seed: 1 }],
    ['shuffled, larger batches, none ahead', { size: 8, shuffle: true, seed: 2, prefetch: 0 }],
    ['in order', { size: 4 }],
  ])('%s: never more than the budget, and almost no fetch that could be saved', async (_, order) => {
    const ahead = 8
    const { fetched, belady, lru, most, budget, before } = await loopStaged(tempDir(), { files: 200, elements: 4000, room: 20, ahead, epochs: 2, order })
    expect(most).toBeGreaterThan(budget / 2)
    expect(most).toBeLessThanOrEqual(budget)
    // Room is kept for what comes next, which the optimum does not do.
    expect(fetched).toBeLessThanOrEqual(belady + ahead)
    expect(fetched).toBeLessThan(lru)
    // The first batch, what is fetched at the same time, and what is begun while it is handed out.
    expect(before).toBeLessThanOrEqual(order.size + ahead + 4)
  })

  test('what fits is fetched once', async () => {
    const live = await cache.dataset(await openWith(FILES), recipe([]), { cache: false })
    for (const epoch of range(0, 3)) expect((await valuesOf(live, { size: 7, shuffle: true, seed: 5, epoch })).sort((a, b) => a - b)).toEqual(range(0, FILES))
    expect(remote.gets().sort()).toEqual([...names].sort())
  })
})

test('several loops, two datasets and single items at the same time, with room for two files', async () => {
  const source = await openWith(2)
  const [all, some] = [await cache.dataset(source, recipe([]), { cache: false }), await cache.dataset(source, recipe([select({ fields: ['x'] })]), { cache: false })]
  const singles = async (): Promise<void> => { for (const k of [3, 17, 3, 39]) expect(((await all.get(k)).x as Tensor).data[0]).toBe(k) }
  const seen = await Promise.all([valuesOf(all, { size: 5, shuffle: true, seed: 1 }), valuesOf(all, { size: 3 }), valuesOf(some, { size: 8, shuffle: true, seed: 2, dropLast: true }), singles()])
  expect(seen.slice(0, 3).map((of) => new Set(of as number[]).size)).toEqual([FILES, FILES, FILES])
  await settled()
})

test('a loop that ends early ends what is on its way, and the next one goes on', async () => {
  const live = await cache.dataset(await openWith(10), recipe([]), { cache: false })
  for await (const { indices } of live.batches({ size: 4, shuffle: true, seed: 3 })) if (indices.length > 0) break
  await settled()
  const before = remote.gets().length
  expect(before).toBeLessThan(FILES / 2 + 10)
  const controller = new AbortController()
  const aborted = (async () => { for await (const _ of live.batches({ size: 4, shuffle: true, seed: 3, signal: controller.signal })) controller.abort(new Error('enough')) })()
  await expect(aborted).rejects.toThrow('enough')
  await settled()
  expect(await valuesOf(live, { size: 4, shuffle: true, seed: 3 })).toHaveLength(FILES)
})

test('a server that does not answer any more does not hold up who leaves', async () => {
  const live = await cache.dataset(await openWith(10), recipe([]), { cache: false })
  for (const name of names.slice(8)) remote.files.get(name)!.fault = () => 'handled'
  for await (const { indices } of live.batches({ size: 4 })) if (indices[0] === 4) break
  await settled()
})

test('a file that cannot be fetched is an error of its items; the others are had, and it is when it is there again', async () => {
  const live = await cache.dataset(await openWith(10), recipe([]), { cache: false })
  remote.files.get('f21.npy')!.fault = status(404)
  const seen: number[] = []
  const loop = (async () => { for await (const { indices } of live.batches({ size: 5 })) seen.push(...indices) })()
  await expect(loop).rejects.toMatchObject({ code: 'E_ITEM', message: expect.stringMatching(/item f21\.npy: http.*f21\.npy: .*404/) as string })
  expect(seen).toEqual(range(0, 20))
  await expect(live.get(21)).rejects.toMatchObject({ code: 'E_ITEM' })
  expect(((await live.get(22)).x as Tensor).data[0]).toBe(22)
  remote.files.get('f21.npy')!.fault = undefined
  expect(await valuesOf(live, { size: 5 })).toHaveLength(FILES)
  await settled()
})

test('groups are fetched with their members ahead; numbers that the list knows without any file', async () => {
  const points = range(0, FILES).map((k) => ({ x: (k * 7) % 11, y: (k * 5) % 13 }))
  const source = await openWith(12, { items: names.map((name, k) => ({ id: name, files: [{ url: `${remote.url}/${name}` }], properties: { xcoords: points[k]!.x, ycoords: points[k]!.y } })) })
  const live = await cache.dataset(source, recipe([group({ samples: 30, neighbors: 6, size: 3 })], { seed: 4 }), { cache: false })
  expect(remote.gets()).toEqual([])
  for await (const _ of live.batches({ size: 4, fields: ['groups', 'center'] })) expect(remote.gets()).toEqual([])
  let ahead = 0
  const check = ({ groups, x }: Batch): void => { for (let k = 0; k < groups.data.length; k++) expect(x.data[k * ELEMENTS]).toBe(groups.data[k]) }
  for await (const batch of live.batches({ size: 2, shuffle: true, seed: 1, prefetch: 0 })) {
    check(batch)
    ahead ||= remote.gets().length
  }
  // Those of the first batch, at most six, and what was fetched for the next ones.
  expect(ahead).toBeGreaterThan(6)
  await settled()
})

test('an op that does not say what its items are made of: they are fetched when they are asked for', async () => {
  const backwards = defineOp({
    name: 'test.backwards', scope: 'dataset', infer: (fields) => fields,
    arrange: async (sequence) => ({ length: sequence.length, fields: sequence.fields, id: (k) => sequence.id(sequence.length - 1 - k), read: (k, fields, signal) => sequence.read(sequence.length - 1 - k, fields, signal) }),
  })
  const live = await cache.dataset(await openWith(4), recipe([backwards()]), { cache: false })
  const seen: number[] = []
  for await (const { x } of live.batches({ size: 8 })) for (let k = 0; k * ELEMENTS < x.data.length; k++) seen.push(x.data[k * ELEMENTS])
  expect(seen).toEqual(range(0, FILES).reverse())
  expect(remote.gets()).toHaveLength(FILES)
})

test('what an earlier process left is used where it is needed, whatever it is needed for', async () => {
  const live = await cache.dataset(await openWith(20), recipe([]), { cache: false })
  for await (const { indices } of live.batches({ size: 10, prefetch: 0 })) if (indices[0] === 10) break
  await settled()
  source!.close()
  expect(rawFiles(dir).length).toBeGreaterThanOrEqual(20 - 6)
  const there = remote.gets().length
  const again = await cache.dataset(await openWith(20), recipe([]), { cache: false })
  await valuesOf(again, { size: 10 })
  expect(remote.gets().length).toBeLessThanOrEqual(there + FILES - 14)
})
