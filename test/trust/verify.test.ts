import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { cast, fromDataset, items, npz, recipe, type Cache } from '../../src/index.js'
import { blobFault, verifyStore } from '../../src/store/verify.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { blobsOf, change, DAMAGE, fill, pathOf, picture } from './support.js'

let dir: string
const folder = (): string => join(dir, 'cache')
beforeEach(() => {
  dir = tempDir()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})

const reopened = async <T>(use: (cache: Cache) => Promise<T>, readonly = false): Promise<T> => {
  const cache = await smallCache(folder(), { readonly })
  try {
    return await use(cache)
  } finally {
    await cache.close()
  }
}

describe('verify', () => {
  test('a sound cache is sound, whatever is asked of it', async () => {
    const { cache } = await fill(dir)
    const progress: number[] = []
    const found = await cache.verify({ recompute: 7, seed: 3, fix: true, onProgress: ({ bytes }) => progress.push(bytes) })
    expect(found).toMatchObject({ sound: true, damaged: [], broken: [], repairs: [], recomputed: { items: 7, of: 40, differences: [], skipped: [] }, seed: null })
    expect(found.blobs).toBe([...cache.store.blobs()].length)
    expect(progress.at(-1)).toBe(found.bytes)
    expect(progress).toEqual([...progress].sort((a, b) => a - b))
    await cache.close()
  })

  test('a sample is chosen by its seed', async () => {
    const { cache } = await fill(dir)
    const all = [...cache.store.blobs()].length
    expect(all).toBeGreaterThan(3)
    const seen = async (seed: bigint): Promise<number> => (await verifyStore(cache.store, { sample: () => 1, seed })).bytes
    const bytes = await Promise.all(range(0, 16).map((seed) => seen(BigInt(seed))))
    expect(new Set(bytes).size).toBeGreaterThan(1)
    expect(await Promise.all(range(0, 16).map((seed) => seen(BigInt(seed))))).toEqual(bytes)
    expect(await cache.verify({ sample: '50%', seed: 9n })).toMatchObject({ blobs: Math.ceil(all / 2), of: all, seed: '9' })
    expect(await cache.verify({ sample: 1000 })).toMatchObject({ blobs: all, seed: null })
    await cache.close()
  })

  test.each([['sample', { sample: '0%' }], ['sample', { sample: 0 }], ['sample', { sample: 'half' }], ['seed', { seed: -1 }], ['recompute', { recompute: 1.5 }], ['dryRun', { dryRun: true }], ['fixx', { fixx: true }]])('%s: misuse is refused before any work', async (name, options) => {
    const cache = await smallCache(folder())
    await expect(cache.verify(options as object)).rejects.toThrow(name)
    await expect(cache.verify(options as object)).rejects.toBeInstanceOf(TypeError)
    await cache.close()
  })

  test('a read-only cache is not mended', async () => {
    await (await fill(dir)).cache.close()
    await reopened(async (cache) => {
      await expect(cache.verify({ fix: true })).rejects.toMatchObject({ code: 'E_STORE' })
      expect(await cache.verify({ fix: true, dryRun: true, recompute: 2 })).toMatchObject({ sound: true })
    }, true)
  })
})

describe('what a file cannot help', () => {
  test('is thrown, and is no damage: nothing is set aside for it', async () => {
    const { cache } = await fill(dir)
    const [digest] = blobsOf(cache, 'shard')
    const { layout } = cache.store
    const bytes = cache.store.blobBytes(digest!)!
    expect(await blobFault(layout, digest!, bytes)).toBeUndefined()
    // As too many open files and no memory do, and unlike these for whoever runs the test.
    await expect(blobFault({ ...layout, blobs: 'x'.repeat(300) }, digest!, bytes)).rejects.toMatchObject({ code: 'ENAMETOOLONG' })
    expect(await blobFault({ ...layout, blobs: join(dir, 'nowhere') }, digest!, bytes)).toMatchObject({ reason: 'is missing' })
    await cache.close()
  })
})

describe('beside others', () => {
  test('what they remove and replace meanwhile is no damage, and --fix touches nothing of it', { timeout: 60_000 }, async () => {
    const { cache, key, digest } = await fill(dir)
    const other = await smallCache(folder())
    const stop = new AbortController()
    let rounds = 0
    const writer = (async () => {
      for (let i = 0; !stop.signal.aborted; i++) {
        await other.put(`k${i % 5}`, Float32Array.from({ length: 10_000 }, (_, k) => k + i), { namespace: 'busy' })
        await other.put(`s${i % 5}`, i, { namespace: 'busy' })
        if (i % 3 === 0) await other.delete(`k${(i + 2) % 5}`, { namespace: 'busy' })
        if (i % 7 === 0) {
          writeRows(join(dir, 'b.npz'), range(i, i + 10), 4096)
          const source = await npz(join(dir, 'b.npz'))
          await (await other.dataset(source, steps, { namespace: 'busy' })).close()
          source.close()
          await other.prune({ namespace: 'busy', olderThan: 0 })
        }
        rounds++
      }
    })()
    for (let round = 0; round < 25 || rounds < 40; round++) {
      const found = await cache.verify({ fix: true, recompute: 3, seed: round })
      expect(found, JSON.stringify(found, null, 1)).toMatchObject({ sound: true, damaged: [], broken: [], repairs: [], recomputed: { differences: [] } })
    }
    stop.abort()
    await writer
    expect((await cache.openDataset(key))!.digest).toBe(digest)
    expect(readdirSync(join(folder(), 'quarantine'))).toEqual([])
    await other.close()
    await cache.close()
  })
})

describe('damage is found, mended, and then gone', () => {
  for (const kind of ['shard', 'manifest'] as const) {
    test.each(Object.entries(DAMAGE))(`a ${kind}: %s`, async (_, damage) => {
      const { cache, key, digest } = await fill(dir)
      const [victim] = blobsOf(cache, kind)
      const before = await readBytes(cache, key)
      await cache.close()
      damage(pathOf(folder(), victim!))
      await reopened(async (again) => {
        const found = await again.verify()
        expect(found).toMatchObject({ sound: false, damaged: [{ digest: victim, kind }], repairs: null })
      }, true)
      const still = picture(folder())
      await reopened(async (again) => {
        const dry = await again.verify({ fix: true, dryRun: true })
        expect(dry).toMatchObject({ sound: false, dryRun: true, repairs: [{ what: 'dataset', name: 'tensors/rows', outcome: 'rebuilt' }] })
      }, true)
      expect(picture(folder())).toEqual(still)
      await reopened(async (again) => {
        expect(await again.verify({ fix: true })).toMatchObject({ sound: true, damaged: [{ digest: victim }], repairs: [{ what: 'dataset', name: 'tensors/rows', outcome: 'rebuilt' }] })
        expect(await again.verify({ fix: true })).toMatchObject({ sound: true, damaged: [], broken: [], repairs: [] })
        expect((await again.openDataset(key))!.digest).toBe(digest)
        expect(await readBytes(again, key)).toBe(before)
      })
    })
  }

  test.each(Object.entries(DAMAGE))('values in files: %s', async (_, damage) => {
    const { cache } = await fill(dir)
    const victims = blobsOf(cache, 'value')
    expect(victims).toHaveLength(2)
    await cache.close()
    for (const victim of victims) damage(pathOf(folder(), victim))
    await reopened(async (again) => {
      const found = await again.verify({ fix: true })
      expect(found.sound).toBe(false)
      expect(found.repairs!.map(({ name, outcome, advice }) => [name, outcome, advice]).sort()).toEqual([['kept/computed', 'removed', ''], ['kept/large', 'lost', 'put it again']])
      expect(await again.verify({ fix: true })).toMatchObject({ sound: true, repairs: [] })
      expect(await again.get('large', { namespace: 'kept' })).toBeUndefined()
      expect((await again.get('small', { namespace: 'kept' }))!.value).toEqual({ a: 1, b: 'two' })
      expect(again.usage().find(({ namespace }) => namespace === 'kept')).toMatchObject({ entries: 1 })
    })
  })

  test('a small value whose bytes changed in the index', async () => {
    const { cache } = await fill(dir)
    await cache.put('marked', 'a text that is easily found in a file', { namespace: 'kept' })
    await cache.close()
    const index = join(folder(), 'index/data.mdb')
    change(index, (bytes) => { for (let at = bytes.indexOf('easily found'); at >= 0; at = bytes.indexOf('easily found', at + 1)) bytes[at]! ^= 1 })
    await import('node:fs').then(({ chmodSync }) => chmodSync(index, 0o644))
    await reopened(async (again) => {
      expect(await again.verify()).toMatchObject({ sound: false, damaged: [], broken: [{ what: 'value', key: 'marked', namespace: 'kept' }] })
      expect(await again.verify({ fix: true })).toMatchObject({ sound: false, repairs: [{ name: 'kept/marked', outcome: 'lost' }] })
      expect(await again.verify()).toMatchObject({ sound: true })
      expect(await again.get('small', { namespace: 'kept' })).toBeDefined()
    })
  })

  test('what was made from a lost value stays', async () => {
    const { cache } = await fill(dir)
    const { digest } = (await cache.get('large', { namespace: 'kept' }) as unknown as { digest?: string })
    const victim = digest ?? blobsOf(cache, 'value')[0]!
    await cache.put('child', 1, { namespace: 'kept', dependsOn: [victim] })
    await cache.close()
    DAMAGE['no file']!(pathOf(folder(), victim))
    await reopened(async (again) => {
      await again.verify({ fix: true })
      expect((await again.get('child', { namespace: 'kept' }))!.value).toBe(1)
    })
  })

  test('a dangling dataset: its shard left the index long ago', async () => {
    const { cache, key, digest } = await fill(dir)
    const [shard] = blobsOf(cache, 'shard')
    await cache.store.quarantine({ digest: shard!, inode: undefined }, 'a test')
    expect(await cache.verify()).toMatchObject({ sound: false, damaged: [], broken: [{ what: 'dataset', key, name: 'rows' }] })
    expect(await cache.verify({ fix: true })).toMatchObject({ sound: true, repairs: [{ outcome: 'rebuilt' }] })
    expect((await cache.openDataset(key))!.digest).toBe(digest)
    await cache.close()
  })

  test('a dataset that is made from a damaged one comes after it', async () => {
    const { cache, key } = await fill(dir)
    const base = (await cache.openDataset(key))!
    const made = await cache.dataset(fromDataset(base, { fields: ['x'] }), recipe([cast({ dtype: 'float16', fields: ['x'] })]), { name: 'a-first' })
    const { digest } = made
    const victims = [...blobsOf(cache, 'shard'), ...blobsOf(cache, 'manifest')]
    await cache.close()
    for (const victim of victims) DAMAGE['a flipped bit']!(pathOf(folder(), victim))
    await reopened(async (again) => {
      expect((await again.verify({ fix: true, dryRun: true })).repairs!.map(({ outcome }) => outcome)).toEqual(['rebuilt', 'rebuilt'])
      expect((await again.verify({ fix: true })).repairs!.map(({ name, outcome }) => [name, outcome])).toEqual([['tensors/rows', 'rebuilt'], ['a-first', 'rebuilt']])
      expect((await again.openDataset(made.key))!.digest).toBe(digest)
    })
  })
})

describe('what cannot be made again is said by name', () => {
  const lost = async (): Promise<{ outcome: string; reason: string; advice: string }> => {
    const [victim] = await reopened(async (cache) => blobsOf(cache, 'shard'))
    DAMAGE['a flipped bit']!(pathOf(folder(), victim!))
    const found = await reopened((cache) => cache.verify({ fix: true }))
    expect(found.sound).toBe(false)
    const again = await reopened((cache) => cache.verify({ fix: true }))
    expect(again).toMatchObject({ sound: false, repairs: [{ outcome: 'lost' }] })
    return found.repairs![0]!
  }

  test('the source is gone, and comes back', async () => {
    await (await fill(dir)).cache.close()
    renameSync(join(dir, 'a.npz'), join(dir, 'b.npz'))
    expect(await lost()).toMatchObject({ outcome: 'lost', name: 'tensors/rows', reason: expect.stringContaining('a.npz'), advice: expect.stringContaining('bring the source back') })
    renameSync(join(dir, 'b.npz'), join(dir, 'a.npz'))
    expect(await reopened((cache) => cache.verify({ fix: true }))).toMatchObject({ sound: true })
  })

  test('the source has changed: nothing is made from what is there now', async () => {
    await (await fill(dir)).cache.close()
    writeRows(join(dir, 'a.npz'), range(1, 41), 8192)
    expect(await lost()).toMatchObject({ reason: expect.stringContaining('has changed') })
    await reopened(async (cache) => expect([...cache.store.datasets()]).toHaveLength(1))
  })

  test('a source made in code', async () => {
    const cache = await smallCache(folder())
    await (await cache.dataset(await items(range(0, 4).map((i) => ({ id: String(i), fields: { x: Float64Array.of(i) } }))), recipe([cast({ dtype: 'float32' })]), { name: 'code' })).close()
    await cache.close()
    expect(await lost()).toMatchObject({ name: 'code', reason: expect.stringContaining('made in code (items)'), advice: expect.stringContaining('cache.dataset') })
  })
})

describe('recompute', () => {
  test('finds bytes that were wrong when they were written, and --fix makes the right ones', async () => {
    const { cache, key, digest } = await fill(dir)
    await cache.close()
    // The recipe of the manifest is believed; the stored items are those of other rows.
    const wrong = await smallCache(join(dir, 'wrong'))
    writeRows(join(dir, 'other.npz'), range(100, 140), 8192)
    await (await wrong.dataset(await npz(join(dir, 'other.npz')), steps)).close()
    await wrong.close()
    const found = await reopened(async (again) => {
      const [shard] = blobsOf(again, 'shard')
      await forge(again, shard!)
      return again.verify({ recompute: 40, seed: 1 })
    })
    expect(found.recomputed).toMatchObject({ items: 40 })
    expect(found.recomputed!.differences.length).toBeGreaterThan(0)
    expect(found.sound).toBe(false)
    await reopened(async (again) => {
      expect(await again.verify()).toMatchObject({ sound: true })
      expect(await again.verify({ recompute: 40, fix: true })).toMatchObject({ sound: true, repairs: [{ outcome: 'rebuilt' }] })
      expect(await again.verify({ recompute: 40 })).toMatchObject({ sound: true, recomputed: { differences: [] } })
      expect((await again.openDataset(key))!.digest).toBe(digest)
    })
  })

  test('items of a source that changed are not compared', async () => {
    await (await fill(dir)).cache.close()
    writeRows(join(dir, 'a.npz'), range(1, 41), 8192)
    const found = await reopened((cache) => cache.verify({ recompute: 5 }), true)
    expect(found).toMatchObject({ sound: true, recomputed: { items: 0, differences: [], skipped: [{ dataset: 'tensors/rows', items: 5 }] } })
    rmSync(join(dir, 'a.npz'))
    expect((await reopened((cache) => cache.verify({ recompute: 5 }), true)).recomputed!.skipped[0]!.reason).toContain('a.npz')
  })
})

/** A shard in which one item is wrong, and whose name, checksums, item digest and manifest all agree with that. */
async function forge(cache: Cache, digest: string): Promise<void> {
  const { createHash } = await import('node:crypto')
  const { native } = await import('../../src/native/load.js')
  const { readFileSync, mkdirSync } = await import('node:fs')
  const bytes = readFileSync(pathOf(folder(), digest))
  const { record } = [...cache.store.blobs()].find((blob) => blob.digest === digest)!
  // The first value of the first item.
  const at = Number(bytes.readBigUInt64LE(0)) + 8
  bytes[at + 8 * (record.rows + 1) + 40]! ^= 1
  const forged = createHash('sha256').update(bytes).digest()
  mkdirSync(join(folder(), 'blobs', forged.toString('hex').slice(0, 2)), { recursive: true })
  writeFileSync(pathOf(folder(), forged.toString('hex')), bytes)
  const { tables } = cache.store.host
  const key = Buffer.from(digest, 'hex')
  const held = tables.blobs.get(key)!
  await tables.blobs.put(forged, held)
  await tables.checksums.put(forged, Buffer.from(await native().xxh64Chunks(bytes, record.chunkBytes)))
  await tables.blobIds.put(record.id, forged)
  await tables.blobs.remove(key)
  await tables.checksums.remove(key)
  // The manifest names it too.
  const [manifest] = blobsOf(cache, 'manifest')
  const text = readFileSync(pathOf(folder(), manifest!))
  for (let k = text.indexOf(key); k >= 0; k = text.indexOf(key, k + 1)) forged.copy(text, k)
  const name = createHash('sha256').update(text).digest()
  mkdirSync(join(folder(), 'blobs', name.toString('hex').slice(0, 2)), { recursive: true })
  writeFileSync(pathOf(folder(), name.toString('hex')), text)
  const old = Buffer.from(manifest!, 'hex')
  const facts = tables.blobs.get(old)!
  await tables.blobs.put(name, facts)
  await tables.blobIds.put(facts.id, name)
  await tables.checksums.put(name, Buffer.from(await native().xxh64Chunks(text, facts.chunkBytes)))
  await tables.blobs.remove(old)
  await tables.checksums.remove(old)
  for (const { key: dataset, value } of Array.from(tables.datasets.getRange())) await tables.datasets.put(Buffer.from(dataset), { ...value, manifest: name.toString('hex') })
}

async function readBytes(cache: Cache, key: string): Promise<string> {
  const dataset = (await cache.openDataset(key))!
  const parts: Buffer[] = []
  for await (const { x } of dataset.batches({ size: 16 }) as AsyncIterable<{ x: { data: Float32Array } }>) parts.push(Buffer.from(x.data.slice().buffer))
  await dataset.close()
  return Buffer.concat(parts).toString('base64')
}
