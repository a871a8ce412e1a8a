import { createHash } from 'node:crypto'
import { appendFileSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { statKey } from '../../src/dataset/fingerprint.js'
import { keyOf, openCache } from '../../src/index.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

function written(bytes = 100_000): string {
  const path = join(tempDir(), 'corpus.txt')
  writeFileSync(path, Buffer.alloc(bytes, 'lorem ipsum '))
  return path
}

test('content is the SHA-256 of the bytes, wherever they lie', async () => {
  const cache = await smallCache(join(tempDir(), 'cache'))
  const path = written()
  const digest = await cache.fingerprint(path)
  expect(digest).toBe(sha256(path))
  expect(await cache.fingerprint(pathToFileURL(path))).toBe(digest)
  expect(await cache.fingerprint(written())).toBe(digest)
  expect(keyOf({ a: 1 }, { content: digest })).toMatch(/^[0-9a-f]{16}_[0-9a-f]{16}$/)
  appendFileSync(path, 'x')
  expect(await cache.fingerprint(path)).toBe(sha256(path))
  await cache.close()
})

test('a file that is as it was is not read again, also by whoever opens the cache later', async () => {
  const dir = join(tempDir(), 'cache')
  const path = written()
  await sleep(60)
  const first = await smallCache(dir)
  await first.fingerprint(path)
  await first.close()
  const cache = await smallCache(dir)
  const stat = statKey(statFacts(path))
  expect(cache.store.fileDigest(stat)).toBe(sha256(path))
  // What is remembered is what is given: the file was not looked into.
  await cache.store.remember({ files: [{ stat, digest: Buffer.alloc(32, 7) }] })
  expect(await cache.fingerprint(path)).toBe('07'.repeat(32))
  await sleep(60)
  utimesSync(path, new Date(0), new Date(0))
  expect(await cache.fingerprint(path)).toBe(sha256(path))
  await cache.close()
})

test('stat and combined follow path, size and time', async () => {
  const cache = await smallCache(join(tempDir(), 'cache'))
  const path = written()
  utimesSync(path, new Date(1e9), new Date(1e9))
  const seen: Record<string, string[]> = { content: [], stat: [], combined: [] }
  const look = async (): Promise<void> => { for (const mode of ['content', 'stat', 'combined'] as const) seen[mode]!.push(await cache.fingerprint(now, { mode })) }
  let now = path
  await look()
  utimesSync(path, new Date(2e9), new Date(2e9))
  await look()
  renameSync(path, now = `${path}.moved`)
  await look()
  expect(new Set(seen.content).size).toBe(1)
  expect(new Set(seen.stat).size).toBe(3)
  expect(new Set(seen.combined).size).toBe(3)
  expect(new Set(Object.values(seen).flat()).size).toBe(7)
  for (const digest of Object.values(seen).flat()) expect(digest).toMatch(/^[0-9a-f]{64}$/)
  await cache.close()
})

test('a file that is written while it is read is an error, and nothing is remembered', async () => {
  const cache = await smallCache(join(tempDir(), 'cache'))
  const path = written(32 * 2 ** 20)
  await sleep(60)
  const asked = cache.fingerprint(path)
  appendFileSync(path, 'x')
  await expect(asked).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED', file: path })
  expect(await cache.fingerprint(path)).toBe(sha256(path))
  await cache.close()
})

test('the default is the cache\'s; without a folder nothing is remembered and all is as well', async () => {
  const path = written()
  const byStat = await openCache({ dir: null, fingerprint: 'stat' })
  expect(await byStat.fingerprint(path)).toBe(await byStat.fingerprint(path, { mode: 'stat' }))
  expect(await byStat.fingerprint(path, { mode: 'content' })).toBe(sha256(path))
  await byStat.close()
})

test('misuse, and files that are not there', async () => {
  const cache = await smallCache(join(tempDir(), 'cache'))
  await expect(cache.fingerprint(7 as never)).rejects.toThrow(/fingerprint: path must be a string/)
  await expect(cache.fingerprint('x', { mode: 'size' as never })).rejects.toThrow(/mode must be one of content, stat, combined/)
  await expect(cache.fingerprint('x', { mod: 'stat' } as never)).rejects.toThrow(/misspelled option "mod" should be "mode"/)
  await expect(cache.fingerprint(join(tempDir(), 'none'))).rejects.toMatchObject({ code: 'E_FILE' })
  await expect(cache.fingerprint(tempDir())).rejects.toThrow(/is a folder/)
  await expect(cache.fingerprint(written(), { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
  await cache.close()
})

function statFacts(path: string): { dev: bigint; ino: bigint; size: number; mtimeNs: bigint; ctimeNs: bigint } {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
  return { dev, ino, size: Number(size), mtimeNs, ctimeNs }
}
