import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import { folderTier, openCache, type Cache, type CacheOptions, type RemoteTier } from '../../src/index.js'
import { testTier } from '../contracts/tier.js'
import { tempDir } from '../support/temp.js'

/** An object store, as small as they come. */
function memoryTier(): RemoteTier & { readonly objects: Map<string, Uint8Array>; calls: string[] } {
  const objects = new Map<string, Uint8Array>()
  const calls: string[] = []
  const called = (call: string): Promise<void> => {
    calls.push(call)
    return sleep(1)
  }
  return {
    name: 'objects', objects, calls,
    get: async (name) => { await called(`get ${name}`); return objects.get(name) },
    put: async (name, bytes) => { const copy = Uint8Array.from(bytes); await called(`put ${name}`); objects.set(name, copy) },
    delete: async (name) => { await called(`delete ${name}`); objects.delete(name) },
    list: async function * (prefix) { for (const name of objects.keys()) if (name.startsWith(prefix)) yield name },
  }
}

function folder(): string {
  const dir = join(tempDir(), 'shared')
  mkdirSync(dir)
  return dir
}

testTier('folder', () => folderTier(folder()))
testTier('memory', memoryTier)

const open = (remote: RemoteTier | undefined, options: CacheOptions = {}): Promise<Cache> => openCache({ dir: join(tempDir(), 'cache'), minFree: 0, ...(remote && { remote }), ...options })
const large = (seed: number): Float32Array => Float32Array.from({ length: 20_000 }, (_, k) => Math.fround(Math.sin(k * seed)))

describe('a cache with a remote tier', () => {
  test.each(['none', 'lz4', 'gzip'] as const)('gives another machine what was put, small and large (%s), with what is known of it', async (compression) => {
    const shared = folder()
    const one = await open(folderTier(shared), { compression })
    await one.put('a', { x: Int32Array.of(1, 2) }, { namespace: 'tokens/v 1', metadata: { version: 2 }, expiresIn: '1h' })
    await one.put('b', { x: large(1) })
    await one.close()
    const two = await open(folderTier(shared))
    expect(await two.has('b')).toBe(true)
    expect((await two.get('b'))!.value).toEqual({ x: large(1) })
    const hit = (await two.get('a', { namespace: 'tokens/v 1' }))!
    expect([hit.value, hit.metadata]).toEqual([{ x: Int32Array.of(1, 2) }, { version: 2 }])
    expect(hit.expires).toBeDefined()
    expect(await two.get('c')).toBeUndefined()
    const compute = vi.fn(() => 1)
    expect(await two.getOrCompute('b', compute as never)).toEqual({ x: large(1) })
    expect(compute).not.toHaveBeenCalled()
    await two.close()
  })

  test('a value that is computed is put, one that has expired or is not accepted is computed', async () => {
    const tier = memoryTier()
    const one = await open(tier)
    expect(await one.getOrCompute('k', () => ({ n: 1 }), { metadata: { version: 1 } })).toEqual({ n: 1 })
    await one.put('old', 1, { expiresIn: 1 })
    await one.close()
    const two = await open(tier)
    expect(await two.getOrCompute('k', () => ({ n: 2 }), { metadata: { version: 2 }, validate: ({ version }) => version === 2 })).toEqual({ n: 2 })
    await sleep(5)
    expect(await two.get('old')).toBeUndefined()
    await two.close()
    const three = await open(tier)
    expect((await three.get('k'))!.value).toEqual({ n: 2 })
    await three.close()
  })

  test('what is deleted or cleared here does not come back from there; prune takes only what is here', async () => {
    const tier = memoryTier()
    const cache = await open(tier)
    await cache.put('a', 1)
    await cache.put('b', large(1), { namespace: 'x' })
    await cache.put('c', 3, { namespace: 'x/y' })
    await cache.put('d', 4, { namespace: 'xy' })
    await cache.delete('a')
    expect(await cache.get('a')).toBeUndefined()
    await cache.prune({ namespace: 'x' })
    expect((await cache.get('b', { namespace: 'x' }))!.value).toEqual(large(1))
    await cache.clear({ namespace: 'x' })
    expect([await cache.get('b', { namespace: 'x' }), await cache.get('c', { namespace: 'x/y' })]).toEqual([undefined, undefined])
    expect((await cache.get('d', { namespace: 'xy' }))!.value).toBe(4)
    await cache.close()
  })

  test('scopes stay here', async () => {
    const tier = memoryTier()
    const cache = await open(tier)
    const scope = cache.scope('generated/c1')
    await scope.put('a', 1)
    await scope.dispose()
    await cache.close()
    expect(tier.objects.size).toBe(0)
  })

  test('damage there is a miss with a warning', async () => {
    const shared = folder()
    const one = await open(folderTier(shared))
    await one.put('b', large(1))
    await one.put('c', large(2))
    await one.put('d', 5)
    await one.close()
    const files = readdirSync(shared, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    for (const path of files) {
      const bytes = readFileSync(path)
      if (path.includes('/blobs/')) bytes[5000]! ^= 1
      else bytes[0] = 77
      writeFileSync(path, bytes)
    }
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const two = await open(folderTier(shared))
    for (const key of ['b', 'c', 'd']) expect(await two.get(key)).toBeUndefined()
    expect(await two.getOrCompute('b', () => large(3))).toEqual(large(3))
    expect(warnings).toHaveBeenCalledTimes(1)
    expect(String(warnings.mock.calls[0]![0])).toContain(shared)
    warnings.mockRestore()
    await two.close()
  })

  test('a tier that fails makes misses and no errors', async () => {
    const fail = (): Promise<never> => Promise.reject(new Error('no route to host'))
    // eslint-disable-next-line require-yield
    const tier: RemoteTier = { name: 'far away', get: fail, put: fail, delete: fail, list: async function * () { await fail() } }
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const cache = await open(tier)
    expect(await cache.get('a')).toBeUndefined()
    await cache.put('a', 1)
    expect((await cache.get('a'))!.value).toBe(1)
    expect(await cache.delete('a')).toBe(true)
    expect(await cache.clear()).toBe(0)
    expect(warnings.mock.calls.map(([message]) => String(message))).toEqual([expect.stringMatching(/far away failed \(no route to host\)/)])
    warnings.mockRestore()
    await cache.close()
  })

  test('what is no tier is refused', async () => {
    await expect(open({ name: 'x', get: () => undefined } as never)).rejects.toThrow(/remote must be a tier such as folderTier.* has no method put/)
  })
})
