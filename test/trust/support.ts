import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { npz, type Cache } from '../../src/index.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'

/** Ways in which a file goes bad. */
export const DAMAGE: Readonly<Record<string, (path: string) => void>> = {
  'a flipped bit': (path) => change(path, (bytes) => { bytes[bytes.length - 1]! ^= 4 }),
  'a flipped bit in the header': (path) => change(path, (bytes) => { bytes[20]! ^= 1 }),
  'a cut end': (path) => change(path, (bytes) => bytes.subarray(0, bytes.length - 7)),
  'bytes after the end': (path) => change(path, (bytes) => Buffer.concat([bytes, Buffer.from('junk')])),
  'an empty file': (path) => change(path, () => Buffer.alloc(0)),
  'no file': (path) => rmSync(path),
}

export function change(path: string, how: (bytes: Buffer) => Buffer | void): void {
  const bytes = readFileSync(path)
  const changed = how(bytes) ?? bytes
  // A file of its own, as a disk gives it back: a mapping of the old one stays what it was.
  rmSync(path)
  writeFileSync(path, changed)
  chmodSync(path, 0o444)
}

export interface Filled {
  readonly cache: Cache
  readonly key: string
  readonly digest: string
}

/** A cache with a dataset `rows` of two shards, values in files and small ones. */
export async function fill(dir: string, rows = 40): Promise<Filled> {
  writeRows(join(dir, 'a.npz'), range(0, rows), 8192)
  const cache = await smallCache(join(dir, 'cache'))
  const source = await npz(join(dir, 'a.npz'))
  const dataset = await cache.dataset(source, steps, { name: 'rows', namespace: 'tensors' })
  const { key, digest } = dataset
  await dataset.close()
  source.close()
  await cache.put('large', Float32Array.from({ length: 20_000 }, (_, i) => i), { namespace: 'kept' })
  await cache.put('small', { a: 1, b: 'two' }, { namespace: 'kept' })
  await cache.getOrCompute('computed', () => Float32Array.from({ length: 30_000 }, (_, i) => -i), { namespace: 'kept' })
  return { cache, key, digest }
}

export function blobsOf(cache: Cache, kind: 'shard' | 'manifest' | 'value'): string[] {
  return [...cache.store.blobs()].filter(({ record }) => record.kind === kind).map(({ digest }) => digest).sort()
}

export function pathOf(dir: string, digest: string): string {
  return join(dir, 'blobs', digest.slice(0, 2), digest)
}

/** Every file below a folder with its size, times and bytes: what a dry run must not change. LMDB's lock file and its readers are no content. */
export function picture(dir: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort()) {
    const path = join(dir, name)
    const stat = statSync(path)
    if (stat.isFile() && !name.endsWith('lock.mdb')) found[name] = `${stat.ino} ${stat.mtimeMs} ${readFileSync(path).toString('base64')}`
  }
  return found
}
