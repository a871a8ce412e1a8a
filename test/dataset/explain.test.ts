import { mkdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { explain, type Explanation } from '../../src/dataset/explain.js'
import { deviceSource } from '../../src/devices/select.js'
import { cast, crop, defineOp, normalize, npz, pad, recipe, resample, type Cache, type OpCall, type Source } from '../../src/index.js'
import { range, smallCache, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const WIDTH = 64
let dir: string
let cache: Cache
let path: string
const named = (version: number): OpCall => defineOp({ name: 'my_lab.same', version, infer: (fields) => fields, run: (item) => item, params: ({ k = 1 }: { k?: number }) => ({ k }) })({})
const ops = (...more: OpCall[]): OpCall[] => [cast({ dtype: 'float32', fields: ['x'] }), normalize({ mode: 'zscore', fields: ['x'] }), ...more]
const open = (from = path, fields: Record<string, string> = { x: 'x', y: 'y' }): Promise<Source> => npz(from, { fields })

beforeAll(async () => {
  dir = tempDir()
  cache = await smallCache(join(dir, 'cache'))
  path = join(dir, 'a.npz')
  writeRows(path, range(0, 40), WIDTH)
  await cache.dataset(await open(), recipe(ops()), { name: 'train' })
  await cache.dataset(await open(), recipe(ops(named(1))), { name: 'with op' })
})
afterAll(() => cache.close())

async function explained(source: Source, steps: OpCall[], seed?: number): Promise<Explanation> {
  const device = deviceSource('cpu')
  const found = await explain({ store: cache.store, source, recipe: recipe(steps, seed === undefined ? {} : { seed }), device, signal: undefined })
  source.close()
  await device.close()
  return found
}

const random = (draws: boolean): OpCall => defineOp({ name: 'my_lab.draws', version: 1, draws, infer: (fields) => fields, run: (item) => item, params: () => ({}) })({})

describe('what differs from the nearest dataset is named', () => {
  const castX = cast({ dtype: 'float32', fields: ['x'] })
  const changes: readonly (readonly [string, OpCall[], RegExp])[] = [
    ['a mode', [castX, normalize({ mode: 'minmax', fields: ['x'] })], /op 1 \(normalize\): params\.mode: "minmax" here, "zscore" there/],
    ['a number', [castX, normalize({ mode: 'zscore', eps: 1e-6, fields: ['x'] })], /op 1 \(normalize\): params\.eps: 0\.000001 here, 1e-8 there/],
    ['a flag', [castX, normalize({ mode: 'zscore', nonzero: true, fields: ['x'] })], /params\.nonzero: true here, false there/],
    ['axes', [castX, normalize({ mode: 'zscore', axes: [0], fields: ['x'] })], /params\.axes: \[0\] here/],
    ['fields', [castX, normalize({ mode: 'zscore' })], /params\.fields: none here, \["x"\] there/],
    ['a dtype', [cast({ dtype: 'float16', fields: ['x'] }), normalize({ mode: 'zscore', fields: ['x'] })], /op 0 \(cast\): params\.dtype: "float16" here, "float32" there/],
    ['what happens to NaN', [cast({ dtype: 'float32', nonFinite: 'zero', fields: ['x'] }), normalize({ mode: 'zscore', fields: ['x'] })], /op 0 \(cast\): params\.nonFinite: "zero" here, "error" there/],
    ['an op more', ops(crop({ shape: [32], fields: ['x'] })), /op 2: crop here, (none|my_lab\.same) there/],
    ['an op less', [castX], /op 1: none here, normalize there/],
    ['another op', [castX, resample({ shape: [32], fields: ['x'] })], /op 1: resample here, normalize there/],
    ['an op in between', [castX, pad({ shape: [80], fields: ['x'] }), normalize({ mode: 'zscore', fields: ['x'] })], /op 1: pad here, normalize there/],
    ['the order of ops', [normalize({ mode: 'zscore', fields: ['x'] }), castX], /op 0: normalize here, cast there/],
    ['the version of an op', ops(named(2)), /op 2 \(my_lab\.same\): version 2 here, 1 there/],
    ['an op that draws', ops(random(true)), /op 2: my_lab\.draws here/],
  ]
  test.each(changes)('%s', async (_what, steps, message) => {
    const { hit, hits, nearest, differences } = await explained(await open(), steps, steps.length > 2 && steps[2]!.name === 'my_lab.draws' ? 7 : undefined)
    expect([hit, hits]).toEqual([false, 0])
    expect(['train', 'with op']).toContain(nearest!.name)
    expect(differences.join('\n')).toMatch(message)
  })

  test('a seed', async () => {
    await cache.dataset(await open(), recipe(ops(random(true)), { seed: 42 }), { name: 'drawn' })
    const { hit, differences } = await explained(await open(), ops(random(true)), 43)
    expect([hit, differences]).toEqual([false, ['recipe: seed: 43 here, 42 there']])
  })

  test('a byte of the file', async () => {
    const other = join(dir, 'b', 'a.npz')
    mkdirSync(join(dir, 'b'))
    writeRows(other, range(0, 40).map((k) => k === 7 ? 700 : k), WIDTH)
    const [keep, at] = [readFileSync(path), path]
    writeFileSync(at, readFileSync(other))
    const { hit, hits, differences } = await explained(await open(), ops())
    writeFileSync(at, keep)
    expect([hit, hits]).toEqual([false, 39])
    expect(differences).toEqual([expect.stringMatching(/^file .*a\.npz: its content is another \([0-9a-f]{16} here, [0-9a-f]{16} there;/)])
  })

  test('items added, taken away, and another file', async () => {
    const added = join(dir, 'added.npz')
    writeRows(added, range(0, 43), WIDTH)
    const more = await explained(await open(added), ops())
    expect([more.hits, more.items]).toEqual([40, 43])
    expect(more.differences.join('\n')).toMatch(/added\.npz: not there\n.*a\.npz: there, not here\nsource: 43 items here, 40 there/)
    writeRows(added, range(5, 40), WIDTH)
    const fewer = await explained(await open(added), ops())
    expect([fewer.hit, fewer.differences.at(-1)]).toEqual([true, 'source: 35 items here, 40 there'])
    writeRows(added, range(100, 110), WIDTH)
    expect((await explained(await open(added), ops())).hits).toBe(0)
  })

  test('a field mapping', async () => {
    const { hit, differences } = await explained(await open(path, { x: 'x', label: 'y' }), ops())
    expect(hit).toBe(false)
    expect(differences.join('\n')).toMatch(/source: npz.*\.label: "y" here, none there/)
    const fewer = await explained(await open(path, { x: 'x' }), ops())
    expect(fewer.differences.join('\n')).toMatch(/\.y: none here, "y" there/)
  })
})

describe('what changes nothing is a hit', () => {
  test('the same', async () => {
    expect(await explained(await open(), ops())).toMatchObject({ hit: true, hits: 40, differences: [], harmless: [], nearest: { name: 'train' } })
  })

  test('a touched file', async () => {
    utimesSync(path, new Date(), new Date(Date.now() - 1e6))
    expect(await explained(await open(), ops())).toMatchObject({ hit: true, differences: [] })
  })

  test('a moved folder', async () => {
    mkdirSync(join(dir, 'moved'))
    const to = join(dir, 'moved', 'renamed.npz')
    renameSync(path, to)
    const { hit, differences, harmless } = await explained(await open(to), ops())
    renameSync(to, path)
    expect([hit, differences]).toEqual([true, []])
    expect(harmless).toEqual([expect.stringMatching(/renamed\.npz: was .*a\.npz/)])
  })

  test('a seed that nothing draws from changes no item, and is said', async () => {
    expect(await explained(await open(), ops(), 5)).toMatchObject({ hit: true, differences: ['recipe: seed: 5 here, none there'] })
  })
})

test('an empty cache has nothing to compare with', async () => {
  const empty = await smallCache(join(tempDir(), 'cache'))
  const device = deviceSource('cpu')
  const source = await open()
  expect(await explain({ store: empty.store, source, recipe: recipe(ops()), device, signal: undefined })).toEqual({ items: 40, hits: 0, hit: false, nearest: undefined, differences: [], harmless: [] })
  source.close()
  await device.close()
  await empty.close()
})
