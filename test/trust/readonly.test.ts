import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { npz, openCache, reindexCache, restoreCache, type Cache } from '../../src/index.js'
import { runCli } from '../support/cli.js'
import { steps } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { fill, picture } from './support.js'

let dir: string
const folder = (): string => join(dir, 'cache')
const REFUSED = { code: 'E_STORE', message: expect.stringContaining('is opened read-only') as string }
beforeEach(() => { dir = tempDir() })
afterEach(() => { vi.unstubAllEnvs() })

describe('a cache that is opened read-only', () => {
  test('refuses what would change it, and is read on', async () => {
    await (await fill(dir)).cache.close()
    const before = picture(folder())
    const cache = await openCache({ dir: folder(), readonly: true })
    const at = { namespace: 'kept' }
    const changes: Readonly<Record<string, (cache: Cache) => Promise<unknown>>> = {
      put: (one) => one.put('new', 1, at), 'put of a file': (one) => one.put('new', new Float64Array(50_000), at), delete: (one) => one.delete('small', at), 'delete of nothing': (one) => one.delete('nothing'),
      clear: (one) => one.clear(), 'clear of a namespace': (one) => one.clear(at), invalidate: (one) => one.invalidate('0'.repeat(64)), prune: (one) => one.prune({ maxSize: 0 }),
      'put into a scope': (one) => one.scope('kept').put('new', 1), 'clear of a scope': (one) => one.scope('kept').clear(), fix: (one) => one.verify({ fix: true }), backup: (one) => one.backup(join(dir, 'backup')),
    }
    for (const [name, change] of Object.entries(changes)) {
      await expect(change(cache), name).rejects.toMatchObject(REFUSED)
      expect((await cache.get('small', at))?.value, name).toEqual({ a: 1, b: 'two' })
    }
    await cache.close()
    expect(picture(folder())).toEqual(before)
  })

  test('a scope of it ends in peace: what is there is given, what is not is computed', async () => {
    const { cache: first, digest } = await fill(dir)
    await first.close()
    const cache = await openCache({ dir: folder(), readonly: true })
    const source = await npz(join(dir, 'a.npz'))
    {
      await using scope = cache.scope('kept')
      expect((await scope.get('small'))?.value).toEqual({ a: 1, b: 'two' })
      expect(await scope.getOrCompute('absent', () => 7)).toBe(7)
      expect((await scope.dataset(source, steps)).digest).toBe(digest)
    }
    const kept = cache.scope('kept/old', { keepLast: 1 })
    await kept.dispose()
    expect(await cache.has('small', { namespace: 'kept' })).toBe(true)
    source.close()
    await cache.close()
  })
})

describe('TENSORCACHE_READONLY', () => {
  test('keeps reindex and restore out, from code and from the command line', async () => {
    const { cache } = await fill(dir)
    await cache.backup(join(dir, 'backup'))
    await cache.close()
    const before = picture(folder())
    vi.stubEnv('TENSORCACHE_READONLY', '1')
    const refused = { code: 'E_STORE', message: expect.stringContaining('TENSORCACHE_READONLY') as string }
    await expect(reindexCache(folder(), { force: true })).rejects.toMatchObject(refused)
    await expect(restoreCache(join(dir, 'backup'), folder(), { force: true })).rejects.toMatchObject(refused)
    for (const args of [['reindex', '--yes'], ['restore', join(dir, 'backup'), '--yes'], ['clear', '--yes'], ['backup', join(dir, 'other')]]) {
      const { status, stderr } = runCli(dir, [...args, '--cache-dir', folder()])
      expect([args[0], status, stderr]).toEqual([args[0], 2, expect.stringContaining('read only')])
    }
    expect(picture(folder())).toEqual(before)
  })
})
