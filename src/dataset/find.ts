import { availableParallelism } from 'node:os'
import type { Fingerprint } from '../cache/options.js'
import { IntegrityError } from '../core/errors.js'
import { requestKey } from '../core/keys.js'
import type { Source } from '../sources/source.js'
import type { OpenBlob } from '../store/open-blob.js'
import type { Store } from '../store/store.js'
import { digestOf, nameOf, type Learned } from './fingerprint.js'
import { Manifest } from './manifest.js'

export interface Asked {
  /** undefined when the source has neither files nor a digest. */
  readonly key: Buffer | undefined
  /** Settles when the digests that had to be computed are remembered, which nothing else has to wait for. */
  readonly remembered: Promise<void>
}

/**
 * Key of what a recipe and a source's files ask for, without reading an item. Digests are remembered by device,
 * inode, size and times, so a file that is as it was is not read again.
 */
export async function requestKeyOf(store: Store, source: Source, recipe: Uint8Array, fingerprint: Fingerprint, signal: AbortSignal | undefined): Promise<Asked> {
  if (source.files.length === 0) return { key: source.digest === undefined ? undefined : requestKey(recipe, source, [source.digest]), remembered: Promise.resolve() }
  const names: string[] = []
  const learned: Learned[] = []
  // One core hashes slower than most disks read.
  const queue = source.files.entries()
  const failures: unknown[] = []
  const lane = async (): Promise<void> => {
    for (const [k, file] of queue) {
      if (failures.length > 0) return
      try {
        names[k] = nameOf(file, fingerprint, fingerprint === 'stat' ? undefined : await digestOf(store, file, learned, signal))
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), source.files.length) }, lane))
  if (failures.length > 0) throw failures[0]
  const key = requestKey(recipe, source, names)
  if (learned.length === 0) return { key, remembered: Promise.resolve() }
  // Once for all: a source may have 100,000 files.
  source.assertUnchanged()
  const remembered = store.remember({ files: learned })
  // Reported to whoever waits for it; until then it must not count as unhandled.
  remembered.catch(() => {})
  return { key, remembered }
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
