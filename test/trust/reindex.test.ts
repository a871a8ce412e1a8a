import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { npz, openCache, reindexCache } from '../../src/index.js'
import { runCli } from '../support/cli.js'
import { smallCache, steps } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { blobsOf, DAMAGE, fill, pathOf, picture } from './support.js'

let dir: string
const folder = (): string => join(dir, 'cache')
const index = (): string => join(folder(), 'index')
beforeEach(() => {
  dir = tempDir()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})

/** Ways in which an index is lost. */
const LOST: Readonly<Record<string, () => void>> = {
  'a folder that is gone': () => rmSync(index(), { recursive: true }),
  'a file that is gone': () => rmSync(join(index(), 'data.mdb')),
  'an empty file': () => truncateSync(join(index(), 'data.mdb')),
  'a cut file': () => truncateSync(join(index(), 'data.mdb'), 20_000),
  'a file of two pages': () => truncateSync(join(index(), 'data.mdb'), 8192),
  garbage: () => writeFileSync(join(index(), 'data.mdb'), Buffer.alloc(300_000, 0x5a)),
  'zeros from the third page on': () => {
    const bytes = readFileSync(join(index(), 'data.mdb'))
    writeFileSync(join(index(), 'data.mdb'), bytes.fill(0, 8192))
  },
}

describe('reindex', () => {
  test.each(Object.entries(LOST))('%s: datasets come back whole, values without their keys', { timeout: 30_000 }, async (_, lose) => {
    const { cache, key, digest } = await fill(dir)
    const values = blobsOf(cache, 'value')
    const count = [...cache.store.blobs()].length
    await cache.close()
    lose()
    const done = await reindexCache(folder())
    expect(done).toMatchObject({ blobs: count, items: 40, datasets: 1, values: 2, damaged: [] })
    const again = await smallCache(folder())
    const source = await npz(join(dir, 'a.npz'))
    const dataset = await again.dataset(source, steps)
    expect(dataset).toMatchObject({ key, digest, report: { hits: 40, computed: 0 }, name: 'rows' })
    expect(await again.verify({ recompute: 10 })).toMatchObject({ sound: true, recomputed: { items: 10, differences: [] } })
    for (const value of values) expect((await again.get(value, { namespace: 'recovered' }))!.value).toBeInstanceOf(Float32Array)
    expect(await again.get('small', { namespace: 'kept' })).toBeUndefined()
    // The same value under its key again shares the file.
    await again.put('large', Float32Array.from({ length: 20_000 }, (__, i) => i), { namespace: 'kept' })
    expect([...again.store.blobs()]).toHaveLength(count)
    source.close()
    await again.close()
  })

  test('a damaged index is an error of a class, not the end of the process', async () => {
    const { cache } = await fill(dir)
    await cache.close()
    for (const lose of [LOST['a cut file']!, LOST['a file of two pages']!, LOST.garbage!]) {
      lose()
      await expect(openCache({ dir: folder() })).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringContaining('tensorcache reindex') })
    }
  })

  test('damage deep in the index is an error that names reindex, whoever meets it, and never sound', { timeout: 120_000 }, async () => {
    const { cache } = await fill(dir)
    await Promise.all(Array.from({ length: 3000 }, (_, i) => cache.put(`key ${i}`, 'x'.repeat(i % 300), { namespace: 'many' })))
    await cache.close()
    const whole = readFileSync(join(index(), 'data.mdb'))
    const found = new Set<string>()
    // Six pages are overwritten, one at a time: inner pages, leaves, and free ones, which nobody misses.
    for (let page = 2; page * 4096 < whole.length; page += Math.ceil(whole.length / 4096 / 6)) {
      writeFileSync(join(index(), 'data.mdb'), Buffer.from(whole).fill(0x5a, page * 4096, (page + 1) * 4096))
      // Reading such pages may end a process, so each has its own.
      const { status, stderr } = runCli(dir, ['verify', '--cache-dir', folder()])
      expect([0, 1], `page ${page}: ${stderr}`).toContain(status)
      if (status === 1) expect(stderr, `page ${page}`).toMatch(/tensorcache reindex|damaged/)
      found.add(status === 1 ? stderr.replaceAll(/.*damaged \(|\);.*\n/g, '') : 'sound')
    }
    expect(found.size).toBeGreaterThan(1)
  })

  test.each([true, false])('pages that the index leads to and has not: every read is an error of a class (read-only %s)', async (readonly) => {
    const first = await openCache({ dir: folder() })
    await Promise.all(Array.from({ length: 3000 }, (_, i) => first.put(`key ${i}`, 'x'.repeat(i % 300))))
    await first.close()
    const path = join(index(), 'data.mdb')
    const bytes = readFileSync(path)
    // An inner page has the flags 1 at 18 and twice the number of its nodes at 20; a node's third and fourth byte are the upper half of a page number.
    for (let at = 2 * 4096; at + 4096 <= bytes.length; at += 4096) {
      if (bytes.readUInt16LE(at + 18) !== 1) continue
      for (let k = 0; k < bytes.readUInt16LE(at + 20) / 2; k++) bytes.writeUInt16LE(0xffff, at + 24 + bytes.readUInt16LE(at + 24 + 2 * k) + 2)
    }
    writeFileSync(path, bytes)
    const cache = await openCache({ dir: folder(), readonly })
    const keys = async (): Promise<void> => { for await (const _ of cache.keys()) { /* all */ } }
    const uses = [() => cache.get('key 7'), () => cache.has('key 7'), () => cache.digest('key 7'), () => cache.getOrCompute('key 7', () => 1), keys, () => cache.verify(), ...readonly ? [] : [() => cache.put('key 7', 1), () => cache.clear()]]
    for (const use of uses) await expect(use()).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringMatching(/cache: the index is damaged \([^()]*(?:\([^()]*\))?[^()]*\); tensorcache reindex makes it again from the blobs$/) as string })
    await cache.close()
  })

  test('a sound index is not made again unless that is meant', async () => {
    const { cache, key } = await fill(dir)
    await cache.close()
    const before = picture(folder())
    await expect(reindexCache(folder())).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringContaining('loses the keys of values') })
    expect(picture(folder())).toEqual(before)
    const done = await reindexCache(folder(), { force: true })
    expect(existsSync(done.before!)).toBe(true)
    const again = await smallCache(folder())
    expect(await again.openDataset(key)).toBeDefined()
    await again.close()
  })

  test('not beside somebody who has it open, here or in another process', { timeout: 30_000 }, async () => {
    const { cache } = await fill(dir)
    await expect(reindexCache(folder(), { force: true })).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringContaining('this one') })
    await cache.close()
    const other = spawn(process.execPath, ['--input-type=module', '-e', `import { openCache } from '${resolve(import.meta.dirname, '../../dist/index.js')}'; await openCache({ dir: ${JSON.stringify(folder())} }); console.log('open'); setInterval(() => {}, 1000)`], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      await new Promise((done) => other.stdout.once('data', done))
      // Deleted under it, it is open all the same.
      rmSync(index(), { recursive: true })
      await expect(reindexCache(folder())).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringContaining(String(other.pid)) })
    } finally {
      other.kill('SIGKILL')
      await new Promise((done) => other.once('close', done))
    }
    expect(await reindexCache(folder())).toMatchObject({ datasets: 1 })
  })

  test.each(Object.entries(DAMAGE))('a shard with %s goes to quarantine, and is made again by verify --fix', { timeout: 30_000 }, async (name, damage) => {
    const { cache, key, digest } = await fill(dir)
    const [shard] = blobsOf(cache, 'shard')
    await cache.close()
    damage(pathOf(folder(), shard!))
    rmSync(index(), { recursive: true })
    const done = await reindexCache(folder())
    expect(done.damaged.map((blob) => blob.digest)).toEqual(name === 'no file' ? [] : [shard])
    expect(readdirSync(join(folder(), 'quarantine'))).toEqual(name === 'no file' ? [] : [shard])
    const again = await smallCache(folder())
    expect(await again.verify()).toMatchObject({ sound: false, broken: [{ what: 'dataset', key }] })
    expect(await again.verify({ fix: true })).toMatchObject({ sound: true, repairs: [{ outcome: 'rebuilt' }] })
    expect((await again.openDataset(key))!.digest).toBe(digest)
    await again.close()
  })

  test('while one is under way or was interrupted, nobody opens the cache', async () => {
    const { cache } = await fill(dir)
    await cache.close()
    writeFileSync(join(folder(), 'unfinished'), JSON.stringify({ work: 'reindex', owner: 'nobody' }))
    await expect(openCache({ dir: folder() })).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringContaining('interrupted; run it again') })
    expect(await reindexCache(folder(), { force: true })).toMatchObject({ datasets: 1 })
    await (await openCache({ dir: folder() })).close()
  })

  test.each(['a folder that is gone', 'a file that is gone', 'an empty file'])('a cache that is lost is said to be: %s', async (name) => {
    const { cache } = await fill(dir)
    await cache.close()
    LOST[name]!()
    await expect(openCache({ dir: folder(), readonly: true })).rejects.toMatchObject({ code: 'E_STORE', message: expect.stringContaining('tensorcache reindex') })
    for (const verb of ['ls', 'du', 'verify']) {
      const { status, stderr } = runCli(dir, [verb, '--cache-dir', folder()])
      expect([status, stderr]).toEqual([1, expect.stringContaining('tensorcache reindex')])
    }
    const warn = vi.mocked(process.emitWarning)
    warn.mockClear()
    await (await openCache({ dir: folder() })).close()
    expect(warn).toHaveBeenCalledWith(expect.stringContaining('tensorcache reindex'), { code: 'TENSORCACHE_INDEX_LOST' })
  })
})
