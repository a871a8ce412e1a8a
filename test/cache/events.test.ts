import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { checkCacheOptions } from '../../src/cache/options.js'
import { Events } from '../../src/core/events.js'
import { events, npz, openCache, type Dataset, type EventName, type LogLine } from '../../src/index.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const listening: (() => void)[] = []
afterEach(() => { for (const stop of listening.splice(0)) stop() })

/** Messages of these channels, as they come, of caches in `dir`. */
function heard(dir: string | null, ...names: EventName[]): [EventName, Record<string, unknown>][] {
  const found: [EventName, Record<string, unknown>][] = []
  for (const name of names) {
    const listener = (message: unknown): void => { if ((message as { dir: unknown }).dir === dir) found.push([name, message as Record<string, unknown>]) }
    subscribe(events[name], listener)
    listening.push(() => unsubscribe(events[name], listener))
  }
  return found
}

const VALUES = ['hit', 'miss', 'stale', 'put', 'compute', 'evict'] as const
const large = (seed: number): Float32Array => Float32Array.from({ length: 20_000 }, (_, k) => k * seed)
const shardsIn = (dir: string): string[] => readdirSync(join(dir, 'blobs'), { recursive: true, encoding: 'utf8' }).map((name) => join(dir, 'blobs', name)).filter((path) => statSync(path).isFile()).sort((a, b) => statSync(b).size - statSync(a).size)

function damage(path: string): void {
  const bytes = readFileSync(path)
  bytes[bytes.length - 1]! ^= 1
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
}

describe('channels', () => {
  test('tell where each value came from', async () => {
    const dir = join(tempDir(), 'cache')
    const told = heard(dir, ...VALUES)
    const cache = await openCache({ dir, minFree: 0, memory: { items: 1 } })
    await cache.getOrCompute('a', () => ({ ids: Int32Array.of(1, 2) }), { namespace: 'tokens' })
    await cache.get('a', { namespace: 'tokens' })
    await cache.get('a', { namespace: 'tokens' })
    await cache.put('b', large(1), { expiresIn: 0 })
    await cache.get('b')
    await cache.put('c', large(2))
    await cache.get('c')
    const a = { dir, namespace: 'tokens', key: 'a' }
    expect(told.map(([name, { dir: where, namespace, key, tier }]) => [name, { dir: where, namespace, key, ...(tier === undefined ? {} : { tier }) }])).toEqual([
      ['miss', a], ['compute', a], ['put', { ...a, tier: 'disk' }], ['hit', { ...a, tier: 'disk' }], ['hit', { ...a, tier: 'memory' }],
      ['put', { dir, namespace: '', key: 'b', tier: 'disk' }], ['evict', a], ['stale', { dir, namespace: '', key: 'b', tier: 'disk' }],
      ['put', { dir, namespace: '', key: 'c', tier: 'disk' }], ['evict', { dir, namespace: '', key: 'b' }], ['hit', { dir, namespace: '', key: 'c', tier: 'disk' }],
    ])
    const [, hit] = told.at(-1)!
    // The value's, not what its view costs the memory tier.
    expect(hit.bytes).toBeGreaterThan(80_000)
    await cache.close()
  })

  test('of a cache without a folder say null, and only what was listened to is made', async () => {
    const told = heard(null, ...VALUES)
    const cache = await openCache({ dir: null })
    await cache.put('a', 1)
    await cache.get('a')
    expect(told).toEqual([['put', { dir: null, namespace: '', key: 'a', tier: 'memory', bytes: expect.any(Number) as number }], ['hit', expect.objectContaining({ tier: 'memory' })]])
    await cache.close()
    new Events(null).publish('full', () => { throw new Error('nobody listens') })
  })

  test('tell of datasets: shards, build, reuse, damage and heal, prune', async () => {
    const dir = join(tempDir(), 'cache')
    const file = join(tempDir(), 'a.npz')
    writeRows(file, range(0, 60), 4096)
    const told = heard(dir, 'shard', 'build', 'reuse', 'damage', 'heal', 'prune')
    const take = (): Record<string, Record<string, unknown>[]> => {
      const taken: Record<string, Record<string, unknown>[]> = {}
      for (const [name, message] of told.splice(0)) (taken[name] ??= []).push(message)
      return taken
    }
    const cache = await smallCache(dir)
    const source = await npz(file)
    const dataset = await cache.dataset(source, steps, { name: 'train', namespace: 'tensors' })
    const which = { dir, name: 'train', namespace: 'tensors', key: dataset.key }
    const built = take()
    expect(Object.keys(built)).toEqual(['shard', 'build'])
    expect(built.shard!.reduce((sum, { items }) => sum + (items as number), 0)).toBe(60)
    expect(built.build).toEqual([{ ...which, items: 60, hits: 0, computed: 60, seconds: dataset.report.seconds, bytes: dataset.report.bytes, secondsSaved: 0 }])
    const spent = built.shard!.reduce((sum, { seconds }) => sum + (seconds as number), 0)
    expect(spent).toBeGreaterThan(0)
    expect(spent).toBeLessThanOrEqual(dataset.report.seconds)
    await dataset.close()

    // What a reuse saved is what the shards took, to the last bit that JSON keeps.
    const again = await cache.dataset(source, steps, { name: 'train', namespace: 'tensors' })
    const { reuse } = take()
    expect(reuse).toEqual([{ ...which, items: 60, seconds: again.report.seconds, secondsSaved: again.report.secondsSaved }])
    expect(again.report.secondsSaved).toBeCloseTo(spent, 9)
    await again.close()

    // Items that another dataset has: their share of the shards' time.
    const half = await cache.dataset(await npz(file, { fields: { x: 'x', y: 'y' } }), steps)
    expect(take().reuse).toMatchObject([{ name: 'train', items: 60 }])
    await half.close()
    writeRows(file, range(20, 70), 4096)
    const other = await cache.dataset(await npz(file), steps, { name: 'other' })
    expect(take().build).toMatchObject([{ name: 'other', hits: 40, computed: 10, secondsSaved: other.report.secondsSaved }])
    expect(other.report.secondsSaved).toBeGreaterThan(0)
    expect(other.report.secondsSaved).toBeLessThan(spent)
    await other.close()
    await cache.close()
    source.close()

    const [victim] = shardsIn(dir)
    damage(victim!)
    const mending = await smallCache(dir)
    const source2 = await npz(file)
    const healed = await mending.dataset(source2, steps, { name: 'other' })
    for (let i = 0; i < healed.length; i++) await healed.get(i)
    const mended = take()
    expect(mended.damage).toEqual([{ dir, what: 'shard', digest: victim!.slice(-64), reason: expect.stringContaining(victim!) as string }])
    expect(mended.heal).toMatchObject([{ dir, name: 'other', key: healed.key, file: victim }])
    await healed.close()
    const pruned = await mending.prune({ maxSize: 0 })
    expect(pruned.datasets).toBeGreaterThan(0)
    expect(take().prune).toEqual([{ dir, ...pruned }])
    expect((await mending.stats()).session.datasets).toMatchObject({ reused: 1, healed: 1, evictions: pruned.datasets, itemsReused: 50 })
    await mending.close()
    source2.close()
  })

  test('say once that the disk is low and the cache full, and again when there was room in between', async () => {
    const dir = join(tempDir(), 'cache')
    const told = heard(dir, 'low-disk', 'full')
    const cache = await openCache({ dir, minFree: '900PB' })
    const warnings: string[] = []
    const warned = (warning: Error): void => { warnings.push(warning.message) }
    process.on('warning', warned)
    for (let k = 0; k < 3; k++) expect((await cache.getOrCompute(`v${k}`, () => large(k)))[1]).toBe(k)
    expect(told.map(([name]) => name)).toEqual(['low-disk', 'full'])
    expect(told[0]![1]).toMatchObject({ folder: dir, minFree: 900e15, needed: expect.any(Number) as number, free: expect.any(Number) as number })
    // As if somebody had made room, and it were gone again a second later.
    Object.assign(cache.store, { minFree: 0 })
    await cache.put('small', 1)
    Object.assign(cache.store, { minFree: 900e15 })
    await sleep(1100)
    await cache.getOrCompute('v9', () => large(9))
    expect(told.map(([name]) => name)).toEqual(['low-disk', 'full', 'low-disk', 'full'])
    await sleep(10)
    process.removeListener('warning', warned)
    expect(warnings.filter((text) => text.includes('not kept'))).toHaveLength(1)
    await cache.close()
  })

  test('have the names that the table of the documentation has', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/observability.md'), 'utf8')
    for (const [name, id] of Object.entries(events)) {
      expect(id).toBe(`tensorcache:${name}`)
      expect(page).toContain(`| \`${name}\` |`)
    }
  })
})

describe('log', () => {
  test('a function is given every line with its level, and lines have one form', async () => {
    const lines: LogLine[] = []
    const dir = join(tempDir(), 'cache')
    const file = join(tempDir(), 'a.npz')
    writeRows(file, range(0, 60), 4096)
    const cache = await smallCache(dir, { log: (line) => lines.push(line) })
    const source = await npz(file)
    for (let k = 0; k < 2; k++) await (await cache.dataset(source, steps, { name: 'train' })).close()
    await cache.getOrCompute('a\nb', () => 1, { namespace: 'tokens' })
    await cache.prune({ maxSize: 0 })
    await cache.close()
    source.close()
    expect(lines.map(({ level, event }) => `${level} ${event}`)).toEqual([...Array.from(lines.filter(({ event }) => event === 'shard'), () => 'debug shard'), 'info build', 'info reuse', 'debug miss', 'debug compute', 'debug put', 'info prune'])
    for (const { event, text } of lines) expect(text).toMatch(new RegExp(`^tensorcache ${event} .+: .+$`))
    const text = (wanted: EventName): string => lines.find(({ event }) => event === wanted)!.text
    expect(text('build')).toMatch(/^tensorcache build train: 60 of 60 items computed in .+, .+ written$/)
    expect(text('reuse')).toMatch(/^tensorcache reuse train: 60 of 60 items from the cache, \d.* of computing saved$/)
    expect(text('put')).toMatch(/^tensorcache put "tokens\/a\\nb": to disk, /)
  })

  test('an option counts before the environment, and both are checked', () => {
    expect(checkCacheOptions({}, {})).toMatchObject({ log: 'warn', check: false, readonly: false, enabled: true })
    expect(checkCacheOptions({ log: 'debug' }, { TENSORCACHE_LOG: 'info' })).toMatchObject({ log: 'debug' })
    expect(checkCacheOptions({}, { TENSORCACHE_LOG: 'info', TENSORCACHE_CHECK: '1', TENSORCACHE_READONLY: 'true', TENSORCACHE_ENABLED: '0' })).toMatchObject({ log: 'info', check: true, readonly: true, enabled: false })
    expect(() => checkCacheOptions({ log: 'trace' as never }, {})).toThrow('openCache: log must be one of warn, info, debug, not "trace"')
    expect(() => checkCacheOptions({}, { TENSORCACHE_LOG: 'all' })).toThrow('environment: TENSORCACHE_LOG must be one of')
    expect(() => checkCacheOptions({}, { TENSORCACHE_READONLY: 'yes' })).toThrow('environment: TENSORCACHE_READONLY must be one of 1, 0, true, false, not "yes"')
  })
})

describe('TENSORCACHE_CHECK', () => {
  const checked = async <T>(use: () => Promise<T>): Promise<T> => {
    process.env.TENSORCACHE_CHECK = '1'
    try {
      return await use()
    } finally {
      delete process.env.TENSORCACHE_CHECK
    }
  }

  test.each([['small', { ids: Int32Array.of(1, 2, 3) }], ['large', { ids: Int32Array.from(range(0, 20_000)) }]])('a %s value that was written to is an error where it is handed out next, and then a miss of the memory', async (_, value) => {
    const dir = join(tempDir(), 'cache')
    const cache = await checked(() => openCache({ dir, minFree: 0 }))
    await cache.put('k', value, { namespace: 'n' })
    const first = (await cache.get<typeof value>('k', { namespace: 'n' }))!.value
    expect((await cache.get('k', { namespace: 'n' }))!.value).toBe(first)
    first.ids[1] = 99
    await expect(cache.get('k', { namespace: 'n' })).rejects.toMatchObject({ code: 'E_INTEGRITY', file: 'n/k', message: expect.stringContaining('was written to') as string })
    await expect(cache.get('k', { namespace: 'n' })).resolves.toBeDefined()
    await cache.close()
    const plain = await openCache({ dir, minFree: 0 })
    expect((await plain.get<typeof value>('k', { namespace: 'n' }))!.value).toEqual(value)
    await plain.close()
  })

  test.each([['items', async (dataset: Dataset) => { await dataset.get(7) }], ['batches', async (dataset: Dataset) => { for await (const _ of dataset.batches({ size: 16 })) { /* looks */ } }], ['shuffled batches', async (dataset: Dataset) => { for await (const _ of dataset.batches({ size: 16, shuffle: true, seed: 1 })) { /* looks */ } }]])('of %s too', async (_, read) => {
    const file = join(tempDir(), 'a.npz')
    writeRows(file, range(0, 60), 1024)
    const source = await npz(file)
    const cache = await checked(() => smallCache(join(tempDir(), 'cache')))
    const dataset = await cache.dataset(source, steps)
    await read(dataset)
    const { x } = await dataset.get(7) as unknown as { x: { data: Float32Array } }
    x.data[3]! += 1
    await expect(read(dataset)).rejects.toMatchObject({ code: 'E_INTEGRITY', file: 'item a/7' })
    await dataset.close()
    await cache.close()
    source.close()
  })
})
