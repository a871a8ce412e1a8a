import { availableParallelism } from 'node:os'
import type { Fingerprint } from '../cache/options.js'
import { IntegrityError } from '../core/errors.js'
import { fromHex } from '../core/hash.js'
import { requestKey } from '../core/keys.js'
import type { Source, SourceFile } from '../sources/source.js'
import type { OpenBlob } from '../store/open-blob.js'
import type { Store } from '../store/store.js'
import { Manifest } from './manifest.js'

/** A digest is remembered when its file has been left alone for longer than the clock of the file system may lag. */
const SETTLED_NS = 50_000_000n

/**
 * Key of what a recipe and a source's files ask for, without reading an item; undefined when the source has neither files nor a digest. Digests are remembered by device,
 * inode, size and times, so a file that is as it was is not read again.
 */
export async function requestKeyOf(store: Store, source: Source, recipe: Uint8Array, fingerprint: Fingerprint, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
  if (source.files.length === 0) return source.digest === undefined ? undefined : requestKey(recipe, source, [source.digest])
  const names: string[] = []
  const learned: { stat: string; digest: Buffer }[] = []
  const nameOf = async (file: SourceFile): Promise<string> => {
    const path = `${file.path}:${file.size}:${file.mtimeNs}`
    const stat = statKey(file)
    let digest = store.fileDigest(stat)
    if (digest !== undefined) file.recall?.(digest)
    if (fingerprint === 'stat') return path
    if (digest === undefined) {
      digest = await file.digest(signal)
      computed.set(file, digest)
      if (BigInt(Date.now()) * 1_000_000n - file.ctimeNs > SETTLED_NS) learned.push({ stat, digest: fromHex(digest) })
    }
    return fingerprint === 'combined' ? `${digest}:${path}` : digest
  }
  // One core hashes slower than most disks read.
  const queue = source.files.entries()
  const failures: unknown[] = []
  const lane = async (): Promise<void> => {
    for (const [k, file] of queue) {
      if (failures.length > 0) return
      names[k] = await nameOf(file).catch((error: unknown) => { failures.push(error); return '' })
    }
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), source.files.length) }, lane))
  if (failures.length > 0) throw failures[0]
  if (learned.length > 0) {
    // Once for all: a source may have 100,000 files.
    source.assertUnchanged()
    await store.remember({ files: learned })
  }
  return requestKey(recipe, source, names)
}

/** Digests of files that were computed for a key, and were too young to be remembered. */
const computed = new WeakMap<SourceFile, string>()

/** A file's digest, as far as it is known. */
export function knownDigest(store: Store, file: SourceFile): string | undefined {
  return computed.get(file) ?? store.fileDigest(statKey(file))
}

/** Under which a file's digest is remembered. */
export function statKey({ dev, ino, size, mtimeNs, ctimeNs }: { dev: bigint; ino: bigint; size: number; mtimeNs: bigint; ctimeNs: bigint }): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`
}

/** The manifest of a dataset all of whose shards are in the index. */
export async function completeManifest(store: Store, key: Uint8Array): Promise<Manifest | undefined> {
  const record = store.datasetRecord(key)
  if (record === undefined) return undefined
  let blob: OpenBlob | undefined
  try {
    blob = await store.blob(record.manifest)
    const manifest = await Manifest.read(blob)
    return manifest.rows.blobs.every((shard) => store.hasBlob(shard)) ? manifest : undefined
  } catch (error) {
    if (!(error instanceof IntegrityError)) throw error
    if (blob !== undefined) await store.quarantine(blob, error.message)
    return undefined
  }
}
