import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { items, openCache, recipe, type Cache, type CacheOptions, type Source } from '../../src/index.js'
import { tempDir } from '../support/temp.js'

const open = (dir: string, options: CacheOptions = {}): Promise<Cache> => openCache({ dir, minFree: 0, ...options })
const fresh = (): string => join(tempDir(), 'cache')
/** 100 KB. */
const block = (seed: number): Float32Array => Float32Array.from({ length: 25_000 }, (_, k) => Math.fround(Math.sin(k * seed)))
const blobs = (dir: string): string[] => readdirSync(join(dir, 'blobs')).flatMap((folder) => readdirSync(join(dir, 'blobs', folder)))
/** 20 items of 40 KB. */
const source = (seed: number, count = 20): Promise<Source> => items(Array.from({ length: count }, (_, i) => ({ id: `item ${i}`, fields: { x: Float32Array.from({ length: 10_000 }, (_, k) => Math.fround(Math.cos(k * (seed * 1000 + i)))) } })))
const names = async (cache: Cache): Promise<string[]> => (await all(cache.keys())).sort()
async function all(keys: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = []
  for await (const key of keys) found.push(key)
  return found
}

describe('maxSize', () => {
  test('what was used longest ago and can be made again goes, what was put stays', async () => {
    const dir = fresh()
    const cache = await open(dir, { maxSize: '1MB', memory: 0 })
    await cache.put('mine', block(0))
    for (let k = 1; k <= 12; k++) await cache.getOrCompute(`k${k}`, () => block(k))
    const left = await names(cache)
    expect(left).toContain('mine')
    expect(left).toContain('k12')
    expect(left).not.toContain('k1')
    expect(cache.store.upkeep.bytes).toBeLessThanOrEqual(1_000_000)
    // Files that somebody may just be about to use go a little later.
    await vi.waitFor(() => expect(blobs(dir)).toHaveLength(left.length), { timeout: 15_000 })
    expect((await cache.space({ required: 900_000 })).fits).toBe(false)
    await cache.close()
  })

  test('where nothing can go, puts are refused, computed values are given, and what is there is served', async () => {
    const cache = await open(fresh(), { maxSize: '250KB', memory: 0 })
    await cache.put('a', block(1))
    await cache.put('b', block(2))
    await expect(cache.put('c', block(3))).rejects.toMatchObject({ code: 'E_DISK_FULL', maxSize: 250_000 })
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    expect(await cache.getOrCompute('d', () => block(4))).toEqual(block(4))
    expect(await cache.getOrCompute('e', () => block(5))).toEqual(block(5))
    expect(warnings).toHaveBeenCalledTimes(1)
    warnings.mockRestore()
    expect(await names(cache)).toEqual(['a', 'b'])
    expect((await cache.get('a'))!.value).toEqual(block(1))
    // Removing makes room at once, small values are values, too.
    await cache.delete('a')
    await cache.put('f', 1)
    await cache.close()
  })

  test('a value that can never fit keeps no smaller one out', async () => {
    const cache = await open(fresh(), { maxSize: '1MB', memory: 0 })
    for (let k = 0; k < 9; k++) await cache.getOrCompute(`k${k}`, () => block(k))
    await expect(cache.put('huge', new Float32Array(500_000))).rejects.toMatchObject({ code: 'E_DISK_FULL' })
    await cache.put('fits', new Float32Array(60_000))
    expect(await cache.has('fits')).toBe(true)
    await cache.close()
  })

  test('datasets that are not open make room for others; those that are stay', async () => {
    const dir = fresh()
    const cache = await open(dir, { maxSize: '2MB' })
    const first = await cache.dataset(await source(1), recipe([]), { name: 'first' })
    await (await cache.dataset(await source(2), recipe([]), { name: 'second' })).close()
    const third = await cache.dataset(await source(3), recipe([]), { name: 'third' })
    expect(cache.usage().reduce((sum, { datasets }) => sum + datasets, 0)).toBe(2)
    expect(await cache.openDataset(first.key)).toBeDefined()
    await expect(cache.dataset(await source(4), recipe([]), { name: 'fourth' })).rejects.toMatchObject({ code: 'E_DISK_FULL' })
    for (const dataset of [first, third]) for await (const batch of dataset.batches({ size: 7 })) expect(batch.ids.length).toBeGreaterThan(0)
    await cache.close()
  })

  test('a build does not lose what it takes over from an older dataset', async () => {
    const cache = await open(fresh(), { maxSize: '1500KB' })
    await (await cache.dataset(await source(1, 20), recipe([]))).close()
    const more = await cache.dataset(await source(1, 30), recipe([]))
    expect(more.report).toMatchObject({ hits: 20, computed: 10 })
    for await (const batch of more.batches({ size: 30, shuffle: true, seed: 1 })) expect(batch.ids).toHaveLength(30)
    expect(more.report.computed).toBe(10)
    await cache.close()
  })

  test('shards of a build that failed are removed before anything is refused', async () => {
    const cache = await open(fresh(), { maxSize: '1500KB' })
    const bad = await items(Array.from({ length: 25 }, (_, i) => ({ id: `item ${i}`, fields: { x: Float32Array.from({ length: 10_000 }, (_, k) => i === 24 && k === 5 ? NaN : i + k) } })))
    const { cast } = await import('../../src/index.js')
    await expect(cache.dataset(bad, recipe([cast({ dtype: 'float64' })]), { jobs: 1 })).rejects.toMatchObject({ code: 'E_NON_FINITE' })
    const good = await cache.dataset(await source(2, 30), recipe([]))
    expect(good.length).toBe(30)
    await cache.close()
  })
})

describe('a namespace on another drive', () => {
  test('lies there with all below it, values and datasets', async () => {
    const [dir, drive] = [fresh(), join(tempDir(), 'scratch')]
    let cache = await open(dir, { namespaces: { generated: { dir: drive, maxSize: '1GB' } } })
    await cache.put('a', block(1))
    await cache.put('b', block(2), { namespace: 'generated/cycle_001' })
    await cache.put('c', block(3), { namespace: 'generated_too' })
    const dataset = await cache.dataset(await source(1), recipe([]), { namespace: 'generated', name: 'g' })
    expect([blobs(dir).length, blobs(drive).length]).toEqual([2, 3])
    expect(cache.usage().map(({ namespace, entries, datasets }) => [namespace, entries, datasets])).toEqual([['', 1, 0], ['generated', 0, 1], ['generated/cycle_001', 1, 0], ['generated_too', 1, 0]])
    expect((await cache.get('b', { namespace: 'generated/cycle_001' }))!.value).toEqual(block(2))
    expect((await cache.openDataset(dataset.key))!.length).toBe(20)
    expect(await all(cache.keys({ namespace: 'generated/cycle_001' }))).toEqual(['b'])
    await cache.close()
    cache = await open(dir, { namespaces: { generated: { dir: drive } }, readonly: true })
    expect((await cache.get('b', { namespace: 'generated/cycle_001' }))!.value).toEqual(block(2))
    await cache.close()
    cache = await open(dir, { namespaces: { generated: { dir: drive } } })
    expect(await cache.clear({ namespace: 'generated' })).toBe(2)
    expect([blobs(dir).length, blobs(drive).length]).toEqual([2, 0])
    expect(await cache.clear()).toBe(2)
    expect(blobs(dir)).toEqual([])
    await cache.close()
  })

  test('a drive whose folder is not its own is refused before anything is opened', async () => {
    const dir = fresh()
    const other = join(tempDir(), 'scratch')
    for (const [drives, named] of [[{ a: { dir } }, 'namespaces.a'], [{ a: { dir: join(dir, 'not/there') } }, 'namespaces.a'], [{ a: { dir: join(dir, '..') } }, 'namespaces.a'], [{ a: { dir: other }, b: { dir: `${other}/` } }, 'namespaces.b']] as const) {
      await expect(open(dir, { namespaces: drives })).rejects.toThrow(new RegExp(`${named}.*a folder of its own`))
    }
    expect([existsSync(join(dir, 'index')), existsSync(other)]).toEqual([false, false])
  })

  test('a drive that is not mounted is an error, and nothing is written in its place', async () => {
    const [dir, away] = [fresh(), join(tempDir(), 'mnt/scratch')]
    await expect(open(dir, { namespaces: { generated: { dir: away } } })).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringMatching(/is to hold namespace generated, but .* is not there/) as string })
    expect(existsSync(away)).toBe(false)
    // The first store is closed again.
    const cache = await open(dir)
    await cache.put('a', 1)
    await cache.close()
  })

  test.each<[string, CacheOptions['namespaces'], RegExp]>([
    ['no folder', { generated: {} as never }, /namespaces\.generated\.dir must be a path/],
    ['an odd name', { 'a//b': { dir: '/tmp' } }, /namespace must be names between slashes/],
    ['an unknown option', { generated: { dir: '/tmp', maxsize: 1 } as never }, /misspelled option "maxsize" should be "maxSize"/],
  ])('%s is refused before anything is opened', async (_name, namespaces, message) => {
    await expect(open(fresh(), { namespaces })).rejects.toThrow(message)
  })
})

describe('datasets', () => {
  test('are listed where they were asked for last, and what was made from them goes with them', async () => {
    const cache = await open(fresh())
    const scope = cache.scope('generated/c1')
    const first = await scope.dataset(await source(1), recipe([]))
    const kept = await cache.dataset(await source(1), recipe([]), { name: 'train', namespace: 'perm' })
    expect(kept.report.computed).toBe(0)
    const again = cache.scope('generated/c2')
    await again.dataset(await source(1), recipe([]))
    await again.dispose()
    await kept.close()
    await scope.dispose()
    expect(cache.usage().map(({ namespace, datasets }) => [namespace, datasets])).toEqual([['perm', 1]])
    await cache.put('evaluation', 1, { dependsOn: [first.digest] })
    await cache.clear({ namespace: 'perm' })
    expect(await cache.has('evaluation')).toBe(false)
    await cache.close()
  })
})

describe('datasets in scopes', () => {
  test('go with the scope, also when the block throws; those outside stay', async () => {
    const dir = fresh()
    const cache = await open(dir)
    const kept = await cache.dataset(await source(1), recipe([]), { namespace: 'tensors' })
    const files = blobs(dir).length
    const failed = (async () => {
      await using cycle = cache.scope('generated/cycle_001')
      await cycle.put('field', block(1))
      const dataset = await cycle.dataset(await source(2), recipe([]), { namespace: 'train', name: 'd' })
      expect(cache.usage().map(({ namespace }) => namespace)).toContain('generated/cycle_001/train')
      expect(dataset.length).toBe(20)
      throw new Error('diverged')
    })()
    await expect(failed).rejects.toThrow('diverged')
    expect(cache.usage().filter(({ entries, datasets }) => entries + datasets > 0).map(({ namespace }) => namespace)).toEqual(['tensors'])
    expect(blobs(dir)).toHaveLength(files)
    for await (const batch of kept.batches({ size: 20 })) expect(batch.ids).toHaveLength(20)
    await cache.close()
  })

  test('of a dead process go when the cache is opened next', async () => {
    const dir = fresh()
    const cache = await open(dir)
    const scope = cache.scope('generated/cycle_002')
    await (await scope.dataset(await source(2), recipe([]))).close()
    mkdirSync(join(dir, 'x'))
    // As if its process were gone: another process number on this machine, which nobody has.
    const namespaces = (await import('../../src/store/tables.js')).openTables(cache.store.layout, { readOnly: false }).namespaces
    for (const { key, value } of Array.from(namespaces.getRange())) if (value.owner !== undefined) await namespaces.put(key, { ...value, owner: value.owner.split('.').map((part, k) => (k === 2 ? '4194999' : part)).join('.') })
    await cache.close()
    const again = await open(dir)
    expect(again.usage()).toEqual([])
    expect(blobs(dir)).toEqual([])
    await again.close()
  })

  test('with keepLast the last ones stay', async () => {
    const dir = fresh()
    const cache = await open(dir)
    for (const k of [1, 2, 3]) {
      const scope = cache.scope(`generated/cycle_00${k}`, { keepLast: 2 })
      await scope.dataset(await source(k), recipe([]))
      await scope.dispose()
    }
    expect(cache.usage().filter(({ datasets }) => datasets > 0).map(({ namespace }) => namespace)).toEqual(['generated/cycle_002', 'generated/cycle_003'])
    await cache.close()
  })
})
