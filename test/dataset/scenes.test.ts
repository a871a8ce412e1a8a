// Simulations in the cache: what a build reads of a folder that grows.
import { readdirSync, renameSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { normalize, recipe, scenes, type Cache, type Dataset, type ScenesOptions, type Source } from '../../src/index.js'
import { range, smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { writeScene } from '../sources/scene-write.js'
import { pattern } from '../sources/write.js'

const steps = recipe([normalize({ mode: 'scale', factor: 2, fields: ['u'] })])

let cache: Cache
let dir: string
beforeEach(async () => {
  dir = tempDir()
  cache = await smallCache(join(tempDir(), 'cache'))
  for (const k of range(0, 5)) write(k)
})
afterEach(() => cache.close())

function write(k: number, nu = k): void {
  const scene = writeScene(join(dir, `sim_${String(k).padStart(6, '0')}`), { u: range(0, 8).map((frame) => pattern('uint16', [4, 3], 100 * k + frame)) }, { description: { nu } })
  // Left alone for long enough to be remembered.
  for (const name of readdirSync(scene)) utimesSync(join(scene, name), new Date(0), new Date(0))
}

/** Ids of the items that were read, in order. */
async function built(options: ScenesOptions, ops = steps): Promise<{ read: string[]; dataset: Dataset }> {
  const source = await scenes(dir, options)
  const read: string[] = []
  const watched: Source = new Proxy(source, {
    get(target, name) {
      if (name === 'read') return (start: number, stop: number, rest: never) => (read.push(...range(start, stop).map((k) => source.id(k))), target.read(start, stop, rest))
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) as unknown : value
    },
  })
  const dataset = await cache.dataset(watched, ops)
  source.close()
  return { read, dataset }
}

test.each([['simulations', {}, 1], ['windows', { window: 4, stride: 2 }, 3]] as const)('%s: of a folder that has grown the new ones are read, and of an unchanged one none', async (_, options, each) => {
  const first = await built(options)
  expect([first.read.length, first.dataset.report.computed]).toEqual([5 * each, 5 * each])
  expect((await built(options)).read).toEqual([])
  write(7)
  write(9)
  const { read, dataset } = await built(options)
  expect([dataset.length, dataset.report.computed]).toEqual([7 * each, 2 * each])
  expect([...new Set(read.map((id) => id.slice(0, 10)))]).toEqual(['sim_000007', 'sim_000009'])
  // Moved, renamed and in another order, they are what they were.
  renameSync(join(dir, 'sim_000000'), join(dir, 'sim_000011'))
  const moved = await built(options)
  expect([moved.read, moved.dataset.report.computed]).toEqual([[], 0])
  expect(await moved.dataset.get(6 * each)).toEqual({ ...await dataset.get(0), id: moved.dataset.id(6 * each) })
})

test('windows that were not there before are read, and of two that share frames both are items', async () => {
  expect((await built({ window: 4, stride: 4 })).dataset.report.computed).toBe(10)
  const { dataset } = await built({ window: 4, stride: 2 })
  expect([dataset.length, dataset.report.computed]).toEqual([15, 5])
})

test('another number in a description is another item, a field that is not asked for is none', async () => {
  await built({ properties: ['nu'] }, recipe([]))
  rmSync(join(dir, 'sim_000003'), { recursive: true })
  write(3, 42)
  const { read, dataset } = await built({ properties: ['nu'] }, recipe([]))
  expect([read, dataset.report.computed]).toEqual([['sim_000003'], 1])
  expect((await dataset.get(3)).nu).toMatchObject({ dtype: 'float64', shape: [], data: Float64Array.of(42) })
})
