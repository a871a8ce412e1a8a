import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { assertWritable } from '../cache/environment.js'
import { boolean, checkOptions, number, show } from '../core/options.js'
import { fromHex } from '../core/hash.js'
import { requestKey } from '../core/keys.js'
import type { OpenBlob } from '../store/open-blob.js'
import { reindexStore, type ManifestReading, type Reindexed } from '../store/reindex.js'
import type { VerifyProgress } from '../store/verify.js'
import { Manifest, originRecord, type ManifestFacts } from './manifest.js'

/** Options of `reindexCache`. */
export interface ReindexOptions {
  /** Makes the index again although the one there is sound; the keys of values, and small values, are lost. Default false. */
  readonly force?: boolean
  /** Blobs read at the same time. Default: one per core. */
  readonly jobs?: number
  /** Aborted: rejects with its reason; the index stays as it was. */
  readonly signal?: AbortSignal
  /** Called as blobs are read, of how many, with their bytes. */
  readonly onProgress?: (progress: VerifyProgress) => void
}

/**
 * Makes a lost or damaged index of a cache directory again from its blobs. Datasets come back whole; values in files come back in the namespace `recovered` under their digests, without
 * their keys; small values lay in the index alone and are gone. Nobody may have the cache open. Rejects with StoreError when somebody has, when the index is sound, and under `TENSORCACHE_READONLY`.
 */
export async function reindexCache(dir: string, options: ReindexOptions = {}): Promise<Reindexed> {
  const where = 'reindexCache'
  checkOptions(where, options, ['force', 'jobs', 'signal', 'onProgress'])
  if (typeof dir !== 'string' || dir === '') throw new TypeError(`${where}: dir must be a path, not ${show(dir)}`)
  const force = boolean(where, 'force', options.force, false)
  const jobs = number(where, 'jobs', options.jobs, { integer: true, min: 1, max: 256 }, availableParallelism())
  assertWritable(resolve(dir), 'reindex')
  return reindexStore({ dir: resolve(dir), readManifest, force, jobs, signal: options.signal, onProgress: options.onProgress })
}

async function readManifest(blob: OpenBlob): Promise<ManifestReading> {
  const manifest = await Manifest.read(blob)
  const { facts, rows } = manifest
  return {
    dataset: fromHex(facts.key),
    record: { digest: facts.digest, name: facts.name, namespace: facts.namespace, items: manifest.length, ...originRecord(facts) },
    shards: [...rows.blobs],
    created: Date.parse(facts.provenance.created),
    request: requestOf(facts),
  }
}

/** The request key that led to it, where files were told apart by content and their digests are recorded: then nothing is read to find it again. */
function requestOf({ recipeKey, reader, selection, provenance: { source, files } }: ManifestFacts): Uint8Array | undefined {
  const { type, digest } = source as { readonly type: string; readonly digest?: string }
  const digests = files.length > 0 ? files.map((file) => file.digest) : [type === 'dataset' ? digest : undefined]
  return digests.includes(undefined) ? undefined : requestKey(fromHex(recipeKey), { reader, selection }, digests as string[])
}
