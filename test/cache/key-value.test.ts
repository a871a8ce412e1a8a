import { existsSync, readdirSync, readFileSync, statSync, writeFileSync, chmodSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import { isValidFor, keyOf, openCache, strategyFor, type Cache, type CacheOptions, type Value } from '../../src/index.js'
import { tempDir } from '../support/temp.js'

const open = (dir: string | null, options: CacheOptions = {}): Promise<Cache> => openCache({ dir, minFree: 0, ...options })
const fresh = (): string => join(tempDir(), 'cache')
/** Larger than what the index takes. */
const large = (seed: number): Float32Array => Float32Array.from({ length: 20_000 }, (_, k) => Math.fround(Math.sin(k * seed)))
const blobs = (dir: string): string[] => readdirSync(join(dir, 'blobs')).flatMap((folder) => readdirSync(join(dir, 'blobs', folder)))

const tree = { input_ids: Int32Array.of(1, 2, 3), nested: { mask: Uint8Array.of(1, 0), names: ['a', 'b'], none: null, big: 2n ** 70n }, pixel: { dtype: 'float32' as const, shape: [1, 2], data: Float32Array.of(0.5, -0) }, score: -0 }

describe.each([['small', tree], ['large', { ...tree, pixels: large(1) }]] as const)('a %s value', (_name, value) => {
  test.each(['with a folder', 'in memory only'])('comes back as it went in, %s', async (kind) => {
    const dir = kind === 'with a folder' ? fresh() : null
    const cache = await open(dir)
    const began = Date.now()
    await cache.put('batch_7', value, { metadata: { version: 3, tokenizerHash: 'b2', numItems: 3, extra: { split: 'train' } }, namespace: 'tokens' })
    for (let round = 0; round < 2; round++) {
      const hit = (await cache.get<typeof value>('batch_7', { namespace: 'tokens' }))!
      expect(hit.value).toEqual(value)
      expect(Object.is(hit.value.score, -0)).toBe(true)
      expect(hit.metadata).toEqual({ version: 3, tokenizerHash: 'b2', numItems: 3, extra: { split: 'train' } })
      expect(hit.created.getTime()).toBeGreaterThanOrEqual(began)
      expect(hit.expires).toBeUndefined()
    }
    expect(await cache.get('batch_7')).toBeUndefined()
    expect(await cache.has('batch_7', { namespace: 'tokens' })).toBe(true)
    await cache.close()
    if (dir === null) return
    const again = await open(dir)
    expect((await again.get('batch_7', { namespace: 'tokens' }))!.value).toEqual(value)
    expect(await again.delete('batch_7', { namespace: 'tokens' })).toBe(true)
    expect(await again.delete('batch_7', { namespace: 'tokens' })).toBe(false)
    expect(await again.get('batch_7', { namespace: 'tokens' })).toBeUndefined()
    await again.close()
    expect(blobs(dir)).toEqual([])
  })

  test('a hit is the same object, and what the caller writes after put reaches nobody', async () => {
    const cache = await open(fresh())
    const mine = { ids: Int32Array.of(1, 2, 3), rest: value }
    await cache.put('k', mine)
    mine.ids[0] = 99
    const [first, second] = [(await cache.get<typeof mine>('k'))!.value, (await cache.get<typeof mine>('k'))!.value]
    expect([...first.ids]).toEqual([1, 2, 3])
    expect(second).toBe(first)
    await cache.close()
  })
})

describe('entries', () => {
  test('are replaced, and the file of the one before goes when nobody else holds it', async () => {
    const dir = fresh()
    const cache = await open(dir)
    await cache.put('a', large(1))
    await cache.put('b', large(1))
    expect(blobs(dir).length).toBe(1)
    await cache.put('a', large(2))
    expect((await cache.get('b'))!.value).toEqual(large(1))
    await cache.put('b', 'small')
    await cache.delete('nothing')
    await sleep(20)
    await cache.store.entries.collect()
    expect(blobs(dir).length).toBe(1)
    for (const name of blobs(dir)) {
      const path = join(dir, 'blobs', name.slice(0, 2), name)
      expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(name)
      expect(statSync(path).mode & 0o777).toBe(0o444)
    }
    await cache.close()
  })

  test('are listed and cleared by namespace, with all below it', async () => {
    const cache = await open(fresh())
    for (const [namespace, key] of [['', 'top'], ['a', '1'], ['a', '2'], ['a/b', '3'], ['ab', '4']] as const) await cache.put(key, key, { namespace })
    const keys = async (namespace?: string): Promise<string[]> => { const all = []; for await (const key of cache.keys(namespace === undefined ? {} : { namespace })) all.push(key); return all.sort() }
    expect([await keys(), await keys('a'), await keys('a/b'), await keys('none')]).toEqual([['top'], ['1', '2'], ['3'], []])
    expect(await cache.clear({ namespace: 'a' })).toBe(3)
    expect([await keys(), await keys('a'), await keys('a/b'), await keys('ab')]).toEqual([['top'], [], [], ['4']])
    expect(await cache.clear()).toBe(2)
    expect((await cache.stats()).stored).toEqual({ entries: 0, bytes: 0 })
    await cache.close()
  })

  test('expire', async () => {
    const cache = await open(fresh(), { expiresIn: '1h' })
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      vi.setSystemTime(1_000_000)
      await cache.put('hour', 1)
      await cache.put('short', 2, { expiresIn: 500 })
      await cache.put('until', 3, { expiresAt: new Date(1_000_800) })
      vi.setSystemTime(1_000_600)
      expect([await cache.has('hour'), await cache.has('short'), await cache.has('until')]).toEqual([true, false, true])
      expect([(await cache.get('hour'))?.value, (await cache.get('short'))?.value, (await cache.get('until'))?.value]).toEqual([1, undefined, 3])
      vi.setSystemTime(1_000_800)
      expect(await cache.get('until')).toBeUndefined()
      const names = []
      for await (const key of cache.keys()) names.push(key)
      expect(names).toEqual(['hour'])
      expect((await cache.get('hour'))!.expires).toEqual(new Date(1_000_000 + 3_600_000))
    } finally {
      vi.useRealTimers()
    }
    await cache.close()
  })

  test('any text is a key', async () => {
    const dir = fresh()
    const cache = await open(dir)
    const keys = ['', 'a/b', '../..', 'ünï', '\0', 'x'.repeat(200), 'x'.repeat(201), 'é'.repeat(5000), keyOf({ model: 'm' }, { prefix: 'tokenized' })]
    await Promise.all(keys.map((key, k) => cache.put(key, k)))
    const hits = await cache.getMany([...keys, 'absent'])
    expect([...hits].map(([key, { value }]) => [key, value])).toEqual(keys.map((key, k) => [key, k]))
    await cache.close()
  })

  test('that are not accepted are misses; validate is always asked', async () => {
    const cache = await open(fresh())
    await cache.put('k', 1, { metadata: { tokenizerHash: 'old' } })
    const validate = vi.fn((metadata) => isValidFor(metadata, { tokenizerHash: 'new' }).valid)
    expect(await cache.get('k', { validate })).toBeUndefined()
    const compute = vi.fn(() => 2)
    expect(await cache.getOrCompute('k', compute, { validate, metadata: { tokenizerHash: 'new' } })).toBe(2)
    expect(await cache.getOrCompute('k', compute, { validate, metadata: { tokenizerHash: 'new' } })).toBe(2)
    expect(compute).toHaveBeenCalledTimes(1)
    expect(validate.mock.calls.length).toBeGreaterThanOrEqual(3)
    expect((await cache.stats()).stale).toBeGreaterThanOrEqual(2)
    await cache.close()
  })

  test.each(['with a folder', 'in memory only'])('go with what they were made from, however far, %s', async (kind) => {
    const cache = await open(kind === 'with a folder' ? fresh() : null)
    const digest = (text: string): string => createHash('sha256').update(text).digest('hex')
    await cache.put('evaluation', 1, { dependsOn: [digest('model 1')] })
    await cache.put('other', 2, { dependsOn: [digest('model 2'), digest('data')] })
    await cache.get('evaluation')
    expect(await cache.invalidate(digest('model 1'))).toBe(1)
    expect([await cache.has('evaluation'), await cache.has('other')]).toEqual([false, true])
    expect(await cache.invalidate(digest('data'))).toBe(1)
    expect(await cache.invalidate(digest('data'))).toBe(0)
    // A value by its digest: replaced by an equal one it stays what it was made from, by another or by nothing it does not.
    for (const value of [{ x: 1 }, { x: large(3) }]) {
      const all = async (): Promise<boolean[]> => [await cache.has('one'), await cache.has('two', { namespace: 'far' })]
      const chain = async (): Promise<void> => {
        await cache.put('base', value)
        await cache.put('one', 1, { dependsOn: [(await cache.digest('base'))!] })
        await cache.put('two', large(1), { dependsOn: [(await cache.digest('one'))!], namespace: 'far' })
      }
      await chain()
      await cache.put('base', value)
      expect(await all()).toEqual([true, true])
      await cache.put('base', { x: 2 })
      expect(await all()).toEqual([false, false])
      await chain()
      await cache.delete('base')
      expect(await all()).toEqual([false, false])
      await chain()
      await cache.clear()
      expect([...await all(), await cache.digest('base')]).toEqual([false, false, undefined])
    }
    await cache.close()
  })
})

describe('getOrCompute', () => {
  test('computes once for all who ask at the same time, again with force, never for a hit', async () => {
    const cache = await open(fresh())
    const compute = vi.fn(async () => { await sleep(30); return { x: Float32Array.of(1) } })
    const values = await Promise.all(Array.from({ length: 20 }, () => cache.getOrCompute('k', compute)))
    expect(values.every((value) => value.x[0] === 1)).toBe(true)
    expect(compute).toHaveBeenCalledTimes(1)
    await cache.getOrCompute('k', compute)
    expect(compute).toHaveBeenCalledTimes(1)
    await cache.getOrCompute('k', compute, { force: true })
    expect(compute).toHaveBeenCalledTimes(2)
    expect((await cache.stats()).computed).toBe(2)
    await cache.close()
  })

  test('a failure is everyone’s, and the next one computes again', async () => {
    const cache = await open(fresh())
    let calls = 0
    const compute = async (): Promise<number> => { await sleep(5); if (calls++ === 0) throw new Error('first'); return 7 }
    const both = await Promise.allSettled([cache.getOrCompute('k', compute), cache.getOrCompute('k', compute)])
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await cache.getOrCompute('k', compute)).toBe(7)
    await cache.close()
  })

  test('who gives up takes nobody along', async () => {
    const cache = await open(fresh())
    const [mine, other] = [new AbortController(), new AbortController()]
    const compute = vi.fn(async ({ signal }: { signal: AbortSignal | undefined }) => { await sleep(50, undefined, { signal }); return 1 })
    const first = cache.getOrCompute('k', compute, { signal: mine.signal })
    await sleep(10)
    const second = cache.getOrCompute('k', compute)
    const third = cache.getOrCompute('k', compute, { signal: other.signal })
    other.abort()
    await expect(third).rejects.toThrow(/abort/i)
    mine.abort()
    await expect(first).rejects.toThrow(/abort/i)
    expect(await second).toBe(1)
    expect(compute).toHaveBeenCalledTimes(2)
    await cache.close()
  })
})

describe('what is read while it changes', () => {
  test.each([['small', (n: number): Value => n], ['large', (n: number): Value => large(n)]])('a put that is done is what everybody gets, %s', async (_size, valueOf) => {
    const cache = await open(fresh())
    for (let n = 1; n <= 20; n++) {
      const putting = cache.put('k', valueOf(n))
      // These may see either value, and must not keep the old one.
      const reading = Array.from({ length: 8 }, async (_, k) => { await sleep(k % 3); await cache.get('k') })
      await putting
      expect((await cache.get('k'))!.value).toEqual(valueOf(n))
      await Promise.all(reading)
      expect((await cache.get('k'))!.value).toEqual(valueOf(n))
    }
    const deleting = cache.delete('k')
    await cache.get('k')
    await deleting
    expect(await cache.get('k')).toBeUndefined()
    await cache.close()
  })

  test('changes that follow one another closely all settle', async () => {
    const cache = await open(fresh())
    await cache.put('warm', 0)
    for (let n = 0; n < 200; n++) {
      const late = Promise.resolve()
      let chain = late
      for (let hop = 0; hop < n % 12; hop++) chain = chain.then(() => undefined)
      // The second asks some microtasks after the first was answered.
      await cache.put('a', n).then(async () => { await chain; await cache.put('b', n) })
      await Promise.all([cache.delete('a'), cache.put('c', n)])
    }
    expect((await cache.get('b'))!.value).toBe(199)
    await cache.close()
  })
})

describe('scopes', () => {
  test('are emptied at the end of the block, also when it throws', async () => {
    const dir = fresh()
    const cache = await open(dir)
    await cache.put('tensor', large(3), { namespace: 'tensors' })
    await expect((async () => {
      await using cycle = cache.scope('generated/synthetic/cycle_003')
      await cycle.put('gen_000000', { field: large(4) })
      await cycle.put('below', 1, { namespace: 'deeper' })
      expect(await cycle.has('gen_000000')).toBe(true)
      expect(await cache.has('gen_000000', { namespace: 'generated/synthetic/cycle_003' })).toBe(true)
      throw new Error('on purpose')
    })()).rejects.toThrow('on purpose')
    expect(cache.store.entries.namespaces().map(({ name, entries }) => [name, entries])).toEqual([['tensors', 1]])
    expect(blobs(dir).length).toBe(1)
    await cache.close()
  })

  test('of a process that died are emptied by the next that opens the cache', async () => {
    const dir = fresh()
    const cache = await open(dir)
    const scope = cache.scope('generated/cycle_1')
    await scope.put('x', large(5))
    // As if the process had been another that is gone.
    const { id } = cache.store.entries.namespaces()[0]!
    const held = cache.store.entries.namespaces()[0]!
    await cache.close()
    const { open: openLmdb } = await import('lmdb')
    const root = openLmdb({ path: join(dir, 'index'), noSubdir: false, maxDbs: 32, overlappingSync: false, encoding: 'binary' })
    const table = root.openDB({ name: 'namespaces', encoding: 'json', keyEncoding: 'uint32', cache: false } as never)
    const { id: _, ...record } = held
    table.putSync(id, { ...record, owner: held.owner!.replace(/\.\d+\.[^.]*$/, '.999999.dead') })
    await root.close()
    const next = await open(dir)
    expect(next.store.entries.namespaces()).toEqual([])
    expect(blobs(dir)).toEqual([])
    await next.close()
  })

  test('keepLast keeps the last ones', async () => {
    const cache = await open(fresh())
    for (let k = 0; k < 5; k++) {
      await using cycle = cache.scope(`generated/cycle_${k}`, { keepLast: 2 })
      await cycle.put('x', k)
    }
    expect(cache.store.entries.namespaces().map(({ name }) => name)).toEqual(['generated/cycle_3', 'generated/cycle_4'])
    await cache.close()
  })
})

describe('a cache that keeps nothing', () => {
  test('computes every time', async () => {
    const cache = await open(fresh(), { enabled: false })
    await cache.put('k', 1)
    expect([await cache.get('k'), await cache.has('k'), cache.dir]).toEqual([undefined, false, null])
    const compute = vi.fn(() => 3)
    expect([await cache.getOrCompute('k', compute), await cache.getOrCompute('k', compute)]).toEqual([3, 3])
    expect(compute).toHaveBeenCalledTimes(2)
    await cache.close()
  })

  test('memory is bounded by bytes and by items', async () => {
    const cache = await open(null, { memory: { bytes: 100_000, items: 3 } })
    for (let k = 0; k < 5; k++) await cache.put(`k${k}`, k)
    expect(await Promise.all([0, 1, 2, 3, 4].map((k) => cache.has(`k${k}`)))).toEqual([false, false, true, true, true])
    await cache.put('large', new Uint8Array(90_000))
    await cache.put('larger', new Uint8Array(200_000))
    expect([await cache.has('large'), await cache.has('larger')]).toEqual([true, false])
    expect((await cache.stats()).memoryNow.evictions).toBeGreaterThan(1)
    await cache.close()
  })
})

describe('upkeep', () => {
  test('prune takes what was used longest ago, and nothing that cannot be computed again', async () => {
    const cache = await open(fresh())
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      for (let k = 0; k < 4; k++) {
        vi.setSystemTime(1e12 + k * 1e6)
        await cache.getOrCompute(`k${k}`, () => large(k + 1))
      }
      await cache.put('mine', large(9))
      vi.setSystemTime(1e12 + 5e6)
      await cache.get('k0')
      const { used } = await cache.space()
      expect(used).toBeGreaterThan(5 * 80_000)
      expect(await cache.prune({ maxSize: used - 100_000, dryRun: true })).toMatchObject({ entries: 2, pinned: 0 })
      expect(await cache.prune({ maxSize: used - 100_000 })).toMatchObject({ entries: 2 })
      expect(await Promise.all(['k0', 'k1', 'k2', 'k3', 'mine'].map((key) => cache.has(key)))).toEqual([true, false, false, true, true])
      vi.setSystemTime(1e12 + 6e6)
      expect(await cache.prune({ olderThan: 2e6 })).toMatchObject({ entries: 1 })
      expect(await cache.has('k0')).toBe(true)
      expect(cache.usage()).toEqual([expect.objectContaining({ namespace: '', entries: 2, datasets: 0, lastUse: 1e12 + 5e6 })])
    } finally {
      vi.useRealTimers()
    }
    expect((await cache.space({ required: '1MB' })).fits).toBe(true)
    expect((await cache.space({ required: Number.MAX_SAFE_INTEGER })).fits).toBe(false)
    await expect(cache.prune({})).rejects.toThrow(/give maxSize, olderThan, a namespace/)
    await cache.close()
  })

  test('strategyFor says where data should live, and why', () => {
    const data = { items: 1000, shape: [128, 128], dtype: 'float32' as const }
    expect(strategyFor({ ...data, memoryBudget: '1GB' })).toMatchObject({ strategy: 'memory', bytesPerItem: 65_536, bytes: 65_536_000 })
    expect(strategyFor({ ...data, memoryBudget: '10MB' })).toMatchObject({ strategy: 'cache', reason: expect.stringContaining('do not fit the budget of 10000000') as string })
    expect(strategyFor({ ...data, memoryBudget: '10MB', secondsPerItem: 1e-6 }).strategy).toBe('onTheFly')
    expect(strategyFor({ ...data, memoryBudget: '10MB', secondsPerItem: 1, diskFree: '20MB' }).strategy).toBe('onTheFly')
    expect(() => strategyFor({ ...data, dtype: 'float33' as never, memoryBudget: 1 })).toThrow(/dtype must be one of/)
  })
})

test('what is written to a large value after put reaches nobody, also while it is being written', async () => {
  const cache = await open(fresh())
  const mine = new Float32Array(8e6).fill(1)
  const put = cache.put('k', { mine })
  mine.fill(2)
  for (let k = 0; k < 10; k++) {
    await sleep(2)
    mine.fill(k)
  }
  await put
  expect((await cache.get<{ mine: Float32Array }>('k'))!.value.mine.every((x) => x === 1)).toBe(true)
  await cache.close()
})

test('who gives up is heard: put before it began, getOrCompute also when compute does not listen', async () => {
  const cache = await open(fresh())
  await expect(cache.put('k', 1, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i)
  expect(await cache.has('k')).toBe(false)
  const stop = new AbortController()
  const deaf = cache.getOrCompute('deaf', async () => { await sleep(80); return 7 }, { signal: stop.signal })
  await sleep(10)
  stop.abort()
  await expect(deaf).rejects.toThrow(/abort/i)
  await sleep(150)
  expect((await cache.get('deaf'))!.value).toBe(7)
  await cache.close()
})

test('a value that is asked for by what computes it is an error, not a wait for ever', async () => {
  const cache = await open(fresh())
  const a = (): Promise<number> => cache.getOrCompute('a', async () => await b() + 1)
  const b = (): Promise<number> => cache.getOrCompute('b', async () => await a() + 1)
  await expect(a()).rejects.toThrow(/"a" is asked for by what computes it/)
  expect(await cache.getOrCompute('a', () => cache.getOrCompute('b', () => 1))).toBe(1)
  await cache.close()
})

test('keys that would become one are refused', async () => {
  const cache = await open(fresh())
  await expect(cache.put('\ud800', 1)).rejects.toThrow(/half of a surrogate pair/)
  await cache.put('\ud83d\ude00', 1)
  await cache.close()
})

test('what was made from one of two equal values stays with the other', async () => {
  const cache = await open(fresh())
  await cache.put('base', large(1))
  await cache.put('copy', large(1))
  await cache.put('made', 1, { dependsOn: [(await cache.digest('base'))!] })
  await cache.delete('copy')
  expect(await cache.has('made')).toBe(true)
  await cache.delete('base')
  expect(await cache.has('made')).toBe(false)
  await cache.close()
})

test.each(['dir: null', 'enabled: false'])('upkeep of a cache with %s has nothing to do', async (kind) => {
  const cache = await openCache(kind === 'dir: null' ? { dir: null } : { dir: fresh(), enabled: false })
  expect(cache.usage()).toEqual([])
  expect(await cache.prune({ maxSize: 0 })).toMatchObject({ entries: 0, datasets: 0 })
  expect(await cache.verify()).toMatchObject({ sound: true, blobs: 0 })
  expect((await cache.space({ required: 1 })).fits).toBe(true)
  await cache.close()
})

test('two caches over one folder see what the other does', async () => {
  const dir = fresh()
  const [one, two] = [await open(dir), await open(dir)]
  await one.put('k', 1)
  expect((await two.get('k'))!.value).toBe(1)
  await one.put('k', 2)
  await sleep(10)
  expect((await two.get('k'))!.value).toBe(2)
  await two.delete('k')
  await sleep(10)
  expect(await one.get('k')).toBeUndefined()
  await one.close()
  await two.close()
})

test('a flipped bit in the index is noticed when the value is read first', async () => {
  const dir = fresh()
  const ids = Uint8Array.from({ length: 256 }, (_, n) => n * 89 + 7)
  const cache = await open(dir)
  await cache.put('k', { ids })
  await cache.put('beside', { ids: ids.map((byte) => 255 - byte) })
  await cache.close()
  const path = join(dir, 'index/data.mdb')
  const bytes = readFileSync(path)
  let found = 0
  for (let at = bytes.indexOf(ids); at >= 0; at = bytes.indexOf(ids, at + 1)) {
    bytes[at + 100]! ^= 4
    found++
  }
  expect(found).toBeGreaterThan(0)
  writeFileSync(path, bytes)
  const again = await open(dir)
  const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  expect(await again.has('k')).toBe(true)
  // As with damaged files: a miss, one line that says so, and nothing that promises what is not there.
  expect([...(await again.getMany(['beside', 'k'])).keys()]).toEqual(['beside'])
  expect(warnings.mock.calls.map(([message]) => message)).toEqual([expect.stringMatching(/value k is lost/)])
  expect([await again.has('k'), await again.get('k')]).toEqual([false, undefined])
  expect(warnings).toHaveBeenCalledTimes(1)
  warnings.mockRestore()
  expect((await again.get<{ ids: Uint8Array }>('beside'))!.value.ids[0]).toBe(248)
  // What takes its place is another record.
  await again.put('k', { ids })
  expect((await again.get<{ ids: Uint8Array }>('k'))!.value.ids).toEqual(ids)
  await again.close()
})

test('thousands at once, of memory that is used for the next: each is kept as it was, and what is handed out stays', async () => {
  const dir = fresh()
  const cache = await open(dir, { memory: 0 })
  const count = 3000
  const ids = new Int32Array(700)
  for (const where of [cache, cache.scope('scratch')]) {
    const done: Promise<void>[] = []
    // The namespace is made while the first ones wait.
    for (let n = 0; n < count; n++) {
      ids.fill(n)
      done.push(where.put(`k${n}`, { ids, n }, { namespace: n % 2 === 0 ? 'even' : 'odd' }))
      if (n === 10) await Promise.all(done)
    }
    ids.fill(-1)
    await Promise.all(done)
    const hits = await Promise.all(Array.from({ length: count }, (_, n) => where.get<{ ids: Int32Array; n: number }>(`k${n}`, { namespace: n % 2 === 0 ? 'even' : 'odd' })))
    for (const [n, hit] of hits.entries()) expect(hit!.value.n === n && hit!.value.ids.every((id) => id === n), `k${n}`).toBe(true)
  }
  expect((await cache.stats()).session.puts).toBe(2 * count)
  await cache.close()
})

test('the memory tier keeps to its bytes, with all that values share', async () => {
  const dir = fresh()
  const cache = await open(dir, { memory: 100_000 })
  for (let n = 0; n < 60; n++) await cache.put(`k${n}`, new Uint8Array(3000).fill(n))
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 60; n++) {
      expect((await cache.get<Uint8Array>(`k${n * 7 % 60}`))!.value[2999]).toBe(n * 7 % 60)
      const { memoryNow } = await cache.stats()
      expect(memoryNow.bytes).toBeLessThanOrEqual(100_000)
    }
  }
  expect((await cache.stats()).memoryNow.items).toBeGreaterThan(15)
  await cache.close()
})

test('damage is noticed, moved aside, and a miss', async () => {
  const dir = fresh()
  const cache = await open(dir)
  await cache.put('k', { x: large(6) })
  await cache.close()
  const [name] = blobs(dir)
  const path = join(dir, 'blobs', name!.slice(0, 2), name!)
  const bytes = readFileSync(path)
  bytes[bytes.length - 100]! ^= 1
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
  const again = await open(dir)
  const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  expect(await again.get('k')).toBeUndefined()
  expect(warnings).toHaveBeenCalledTimes(1)
  warnings.mockRestore()
  expect(existsSync(join(dir, 'quarantine', name!))).toBe(true)
  expect(await again.getOrCompute('k', () => ({ x: large(6) }))).toEqual({ x: large(6) })
  expect((await again.get('k'))!.value).toEqual({ x: large(6) })
  await again.close()
})

test('a full disk: put says so, a computed value is given all the same with one warning, and nothing is left behind', async () => {
  const dir = fresh()
  const cache = await openCache({ dir, minFree: '1000TB' })
  await expect(cache.put('k', large(1))).rejects.toMatchObject({ code: 'E_DISK_FULL' })
  const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const compute = vi.fn(() => large(2))
  for (let k = 0; k < 3; k++) expect(await cache.getOrCompute('k', compute)).toEqual(large(2))
  expect(compute).toHaveBeenCalledTimes(3)
  expect(warnings.mock.calls.map(([message]) => message)).toEqual([expect.stringMatching(/values are computed and not kept until there is room/)])
  warnings.mockRestore()
  await expect(cache.put('small', 1)).rejects.toMatchObject({ code: 'E_DISK_FULL' })
  expect(await cache.delete('small')).toBe(false)
  expect([blobs(dir), readdirSync(join(dir, 'tmp'))]).toEqual([[], []])
  await cache.close()
  const again = await open(dir)
  await again.put('k', large(3))
  await again.delete('k')
  await again.store.entries.collect()
  expect(blobs(dir)).toEqual([])
  await again.close()
})

test.each<[string, (cache: Cache) => unknown, RegExp]>([
  ['a key that is no text', (cache) => cache.get(7 as never), /get: key must be a text, not 7; keyOf/],
  ['a value that is none', (cache) => cache.put('k', { f: (() => 1) as never }), /put: value\.f is a function/],
  ['an odd namespace', (cache) => cache.put('k', 1, { namespace: 'a//b' }), /put: namespace must be names between slashes/],
  ['an unknown option', (cache) => cache.get('k', { name_space: 'a' } as never), /misspelled option "name_space" should be "namespace"/],
  ['both expiries', (cache) => cache.put('k', 1, { expiresIn: '1h', expiresAt: 5 }), /give expiresIn or expiresAt, not both/],
  ['a digest that is none', (cache) => cache.put('k', 1, { dependsOn: ['abc'] }), /dependsOn must be a list of digests/],
  ['nonsense as metadata', (cache) => cache.put('k', 1, { metadata: { version: [] as never } }), /put: metadata\.version must be/],
])('%s is refused before anything is done', async (_what, use, message) => {
  const cache = await open(fresh())
  await expect((async () => use(cache))()).rejects.toThrow(message)
  expect((await cache.stats()).puts).toBe(0)
  await cache.close()
})

// --- against a simple model -----------------------------------------------------------------------------------------------------------
