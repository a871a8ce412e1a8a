import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { npz, openCache, restoreCache, type Cache } from '../../src/index.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { blobsOf, change, fill, pathOf, picture } from './support.js'

let dir: string
const folder = (): string => join(dir, 'cache')
const target = (): string => join(dir, 'backup')
const files = (root: string): string[] => readdirSync(join(root, 'blobs'), { recursive: true, encoding: 'utf8' }).filter((name) => name.length > 60).map((name) => name.slice(3)).sort()
beforeEach(() => {
  dir = tempDir()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})

async function expectWhole(root: string, key: string, digest: string): Promise<void> {
  const cache = await openCache({ dir: root, minFree: 0 })
  expect(await cache.verify()).toMatchObject({ sound: true, damaged: [], broken: [] })
  expect((await cache.openDataset(key))!.digest).toBe(digest)
  expect((await cache.get('small', { namespace: 'kept' }))!.value).toEqual({ a: 1, b: 'two' })
  expect((await cache.get('large', { namespace: 'kept' }))!.value).toHaveLength(20_000)
  await cache.close()
}

describe('backup', () => {
  test.each([false, true])('hard links %s: what is there is a cache again', async (link) => {
    const { cache, key, digest } = await fill(dir)
    // An open dataset is a pin of this process, which the backup has not.
    const open = (await cache.openDataset(key))!
    const done = await cache.backup(target(), { link })
    const count = [...cache.store.blobs()].length
    expect(done).toMatchObject({ blobs: count, copied: count, linked: link ? count : 0, removed: 0, missing: [] })
    const [shard] = blobsOf(cache, 'shard')
    expect(statSync(pathOf(target(), shard!)).ino === statSync(pathOf(folder(), shard!)).ino).toBe(link)
    expect(readdirSync(join(target(), 'tmp'))).toEqual([])
    await open.close()
    expect([...cache.store.host.tables.pending.getKeys()]).toEqual([])
    expect([...cache.store.host.tables.leases.getKeys()]).toEqual([])
    await cache.close()
    const copy = await openCache({ dir: target(), readonly: true })
    expect([...copy.store.pins()]).toEqual([])
    await copy.close()
    rmSync(folder(), { recursive: true })
    expect(await restoreCache(target(), folder(), { verify: true })).toMatchObject({ blobs: count, copied: count, missing: [], damaged: [] })
    await expectWhole(folder(), key, digest)
    expect(existsSync(join(folder(), 'backup.json'))).toBe(false)
  })

  test('the second one brings what is new, and takes away what is gone', async () => {
    const { cache } = await fill(dir)
    await cache.backup(target())
    expect(await cache.backup(target())).toMatchObject({ copied: 0, removed: 0 })
    await cache.put('more', new Float32Array(50_000), { namespace: 'kept' })
    expect(await cache.backup(target())).toMatchObject({ copied: 1, removed: 0 })
    await cache.delete('more', { namespace: 'kept' })
    await cache.clear({ namespace: 'kept' })
    expect(await cache.backup(target())).toMatchObject({ copied: 0, removed: 3 })
    expect(files(target())).toEqual([...blobsOf(cache, 'shard'), ...blobsOf(cache, 'manifest')].sort())
    // A file of the backup that lost bytes is brought again.
    const [shard] = blobsOf(cache, 'shard')
    change(pathOf(target(), shard!), (bytes) => bytes.subarray(1))
    expect(await cache.backup(target())).toMatchObject({ copied: 1 })
    await cache.close()
  })

  test('removed files stay until the copy has them', { timeout: 30_000 }, async () => {
    const { cache, key, digest } = await fill(dir)
    for (let i = 0; i < 40; i++) await cache.put(`more${i}`, Float32Array.from({ length: 10_000 }, (_, k) => k * i), { namespace: 'kept' })
    const all = files(folder())
    // Files of the last two seconds stay in any case: a file system's clock may lag.
    await new Promise((done) => { setTimeout(done, 2_200) })
    let calls = 0
    const done = await cache.backup(target(), {
      onProgress: () => {
        if (calls++ > 0) return
        // In the middle of it another process removes everything; nothing is copied here until it is done.
        const program = `import { openCache } from '${resolve(import.meta.dirname, '../../dist/index.js')}'
          const cache = await openCache({ dir: ${JSON.stringify(folder())} })
          await cache.clear({ namespace: 'kept' })
          await cache.prune({ namespace: 'tensors' })
          await cache.store.entries.collect()
          console.log(JSON.stringify([...cache.store.blobs()]))
          await cache.close()`
        writeFileSync(join(dir, 'other.mjs'), program)
        const { stdout, stderr } = spawnSync(process.execPath, [join(dir, 'other.mjs')], { encoding: 'utf8' })
        expect(stdout, stderr).toBe('[]\n')
        expect(files(folder())).toEqual(all)
      },
    })
    expect(done).toMatchObject({ blobs: all.length, copied: all.length, missing: [] })
    expect(files(target())).toEqual(all)
    // They go when it is done.
    expect(files(folder())).toEqual([])
    await cache.close()
    await expectWhole(target(), key, digest)
  })

  test('others write, replace and prune meanwhile', { timeout: 60_000 }, async () => {
    const { cache, key, digest } = await fill(dir)
    const stop = new AbortController()
    const other = await smallCache(folder())
    const writer = (async () => {
      for (let i = 0; !stop.signal.aborted; i++) {
        await other.put(`k${i % 7}`, Float32Array.from({ length: 10_000 }, (_, k) => k + i), { namespace: 'busy' })
        if (i % 5 === 0) await other.delete(`k${(i + 3) % 7}`, { namespace: 'busy' })
        if (i % 9 === 0) {
          writeRows(join(dir, 'b.npz'), range(i, i + 10), 4096)
          const source = await npz(join(dir, 'b.npz'))
          await (await other.dataset(source, steps, { namespace: 'busy' })).close()
          source.close()
          await other.prune({ namespace: 'busy', olderThan: 0 })
        }
        expect((await other.verify()).sound).toBe(true)
      }
    })()
    for (let round = 0; round < 8; round++) {
      const done = await cache.backup(target(), { link: round % 2 === 1 })
      expect(done.missing).toEqual([])
      await expectWhole(target(), key, digest)
    }
    stop.abort()
    await writer
    await other.close()
    await cache.close()
  })

  test('folders that are no place for one', async () => {
    const { cache } = await fill(dir)
    const refused = { code: 'E_STORE' }
    await expect(cache.backup(folder())).rejects.toMatchObject(refused)
    await expect(cache.backup(join(folder(), 'not/there/yet'))).rejects.toMatchObject(refused)
    symlinkSync(folder(), join(dir, 'link'))
    await expect(cache.backup(join(dir, 'link/not/there/yet'))).rejects.toMatchObject(refused)
    expect(existsSync(join(folder(), 'not'))).toBe(false)
    mkdirSync(join(folder(), 'inner'))
    await expect(cache.backup(join(folder(), 'inner'))).rejects.toMatchObject(refused)
    mkdirSync(join(dir, 'mine'))
    writeFileSync(join(dir, 'mine/thesis.tex'), 'x')
    await expect(cache.backup(join(dir, 'mine'))).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringContaining('holds no backup') })
    expect(readdirSync(join(dir, 'mine'))).toEqual(['thesis.tex'])
    await expect(cache.backup('')).rejects.toBeInstanceOf(TypeError)
    await expect(cache.backup(target(), { lnk: true } as object)).rejects.toThrow('link')
    await cache.backup(target())
    const user = await openCache({ dir: target() })
    await expect(cache.backup(target())).rejects.toMatchObject({ message: expect.stringContaining('open in process') })
    await user.close()
    await cache.close()
  })

  test('a blob that is not there is a miss of the backup, and said', async () => {
    const { cache, key } = await fill(dir)
    const [shard] = blobsOf(cache, 'shard')
    rmSync(pathOf(folder(), shard!))
    expect(await cache.backup(target())).toMatchObject({ missing: [shard] })
    const copy = await openCache({ dir: target() })
    expect(await copy.verify()).toMatchObject({ sound: false, damaged: [], broken: [{ key }] })
    await copy.close()
    await cache.close()
  })
})

describe('restore', () => {
  let made: { key: string; digest: string; cache: Cache }
  beforeEach(async () => {
    made = await fill(dir)
    await made.cache.backup(target())
    await made.cache.put('later', new Float32Array(30_000))
    await made.cache.close()
  })

  test('not over a cache, unless it is meant; then the cache is that of the backup', async () => {
    const before = picture(folder())
    await expect(restoreCache(target(), folder())).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringContaining('not empty') })
    expect(picture(folder())).toEqual(before)
    expect(await restoreCache(target(), folder(), { force: true, verify: true })).toMatchObject({ copied: 0, removed: 1, damaged: [] })
    await expectWhole(folder(), made.key, made.digest)
    const cache = await smallCache(folder())
    expect(await cache.get('later')).toBeUndefined()
    await cache.close()
  })

  test('not over a folder of somebody else, not over the backup, not while it is open', async () => {
    mkdirSync(join(dir, 'mine'))
    writeFileSync(join(dir, 'mine/thesis.tex'), 'x')
    for (const force of [false, true]) await expect(restoreCache(target(), join(dir, 'mine'), { force })).rejects.toMatchObject({ code: 'E_STORE' })
    await expect(restoreCache(target(), target(), { force: true })).rejects.toMatchObject({ code: 'E_STORE' })
    await expect(restoreCache(folder(), join(dir, 'new'))).rejects.toMatchObject({ message: expect.stringContaining('holds no backup') })
    const cache = await smallCache(folder())
    await expect(restoreCache(target(), folder(), { force: true })).rejects.toMatchObject({ message: expect.stringContaining('this one') })
    await cache.close()
  })

  test('a backup that lost bytes: sizes always, digests with verify', async () => {
    const [one, two] = files(target())
    truncateSync((() => { const path = pathOf(target(), one!); change(path, (bytes) => bytes); return path })(), 0)
    change(pathOf(target(), two!), (bytes) => { bytes[bytes.length - 1]! ^= 1 })
    cpSync(target(), join(dir, 'copy'), { recursive: true })
    expect(await restoreCache(target(), join(dir, 'one'))).toMatchObject({ missing: [one], damaged: [] })
    expect(await restoreCache(join(dir, 'copy'), join(dir, 'two'), { verify: true })).toMatchObject({ missing: [one], damaged: [{ digest: two }] })
  })
})
