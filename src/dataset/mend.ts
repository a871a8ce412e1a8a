import type { Fingerprint } from '../cache/options.js'
import { fromHex } from '../core/hash.js'
import type { DeviceSource } from '../devices/device.js'
import type { CheckSmall, HeldEntry } from '../store/audit.js'
import { blobPath } from '../store/layout.js'
import type { Store } from '../store/store.js'
import type { DatasetRecord } from '../store/tables.js'
import { blobFault, type DamagedBlob } from '../store/verify.js'
import { build, type Progress } from './build.js'
import { completeManifest } from './find.js'
import { hindrance, isHindrance, originOf, reopen, type Hindrance, type Origin } from './origin.js'

/** What became of one dataset, value or blob that was damaged. */
export interface Repair {
  /** What was damaged. */
  readonly what: 'dataset' | 'value' | 'blob'
  /** `namespace/name` of a dataset, or its key; namespace and key of a value; digest of a blob. */
  readonly name: string
  /** `rebuilt`: the same bytes as before. `removed`: a miss from now on, made again when it is asked for. `lost`: nobody here can make it again. */
  readonly outcome: 'rebuilt' | 'removed' | 'lost'
  /** What was wrong with it. */
  readonly reason: string
  /** What to do about what is lost; else empty. */
  readonly advice: string
}

export interface MendRequest {
  readonly store: Store
  readonly damaged: readonly DamagedBlob[]
  readonly checkSmall: CheckSmall
  readonly device: DeviceSource
  readonly jobs: number
  readonly memoryBytes: number
  readonly fingerprint: Fingerprint
  /** Says what would become of each; changes nothing. */
  readonly dryRun: boolean
  readonly signal: AbortSignal | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

interface Affected {
  readonly key: string
  readonly record: DatasetRecord
  readonly origin: Origin | undefined
  /** Other bytes than before are what is wanted. */
  readonly doubted: boolean
}

/** Said of a blob whose file is as it was written, and whose content is not what computing again gives. */
const DOUBT = 'holds other bytes than computing again gives'

/**
 * Moves damaged blobs aside and makes again what was in them, each dataset from its recorded recipe and source. A killed run leaves misses, which the next one (or the next
 * build) fills: quarantine comes first, and nothing is ever taken from a damaged copy.
 */
export async function mend(request: MendRequest): Promise<Repair[]> {
  const { store, damaged, checkSmall, dryRun, signal } = request
  const digests = new Set(damaged.map(({ digest }) => digest))
  // Looked up before anything is dropped: afterwards the index does not know any more which shards these were.
  const shardsOf = new Map(Array.from(store.datasets(), ({ key, record }) => [key, store.audit.shardsOf(record)]))
  const affected = await affectedDatasets(request, shardsOf)
  if (!dryRun) for (const blob of damaged) await setAside(store, blob)
  // Not by digest, once it is done: a file that turned out sound, or was put again meanwhile, keeps its values.
  const entries = await store.audit.entriesOf(dryRun ? digests : new Set(), checkSmall, signal)
  const repairs: Repair[] = await dropEntries(store, entries, dryRun)
  const order = inOrder(affected)
  const first = repairs.length
  for (const dataset of order) {
    signal?.throwIfAborted()
    repairs.push(await remake(request, dataset, repairs))
  }
  // Datasets have shards in common: what one could not make again another may have.
  for (const [k, { key }] of order.entries()) {
    const repair = repairs[first + k]!
    if (!dryRun && repair.outcome === 'lost' && await completeManifest(store, fromHex(key)) !== undefined) repairs[first + k] = { ...repair, outcome: 'rebuilt', reason: 'what was damaged of it was made again for another dataset', advice: '' }
  }
  const known = new Set([...shardsOf].filter(([key]) => affected.some((dataset) => dataset.key === key)).flatMap(([, shards]) => shards).concat(affected.map(({ record }) => record.manifest)))
  for (const { digest, kind, reason } of damaged) {
    if (kind !== 'value' && !known.has(digest)) repairs.push({ what: 'blob', name: digest, outcome: 'removed', reason: `it ${reason}; no dataset in the cache has it`, advice: '' })
  }
  return repairs
}

async function affectedDatasets({ store, damaged }: MendRequest, shardsOf: ReadonlyMap<string, readonly string[]>): Promise<Affected[]> {
  const found: Affected[] = []
  const digests = new Set(damaged.map(({ digest }) => digest))
  const doubts = new Set(damaged.filter(({ reason }) => reason === DOUBT).map(({ digest }) => digest))
  for (const { key, record } of store.datasets()) {
    const shards = shardsOf.get(key) ?? []
    const whole = store.hasBlob(record.manifest) && !digests.has(record.manifest)
    if (whole && shards.length === (record.shards ?? shards).length && !shards.some((shard) => digests.has(shard))) continue
    found.push({ key, record, origin: await originOf(store, record, whole), doubted: shards.some((shard) => doubts.has(shard)) })
  }
  return found
}

/** A sound file that somebody has put in its place meanwhile stays. */
async function setAside(store: Store, { digest, reason, path }: DamagedBlob): Promise<void> {
  const bytes = store.blobBytes(digest)
  if (bytes === undefined) return
  const now = await blobFault(store.layout, digest, bytes)
  const fault = now?.reason ?? store.audit.blobFault(digest)
  if (fault === undefined && reason !== DOUBT) return
  await store.quarantine({ digest, inode: now?.inode }, `${path}: ${fault ?? reason}`)
}

async function dropEntries(store: Store, entries: readonly HeldEntry[], dryRun: boolean): Promise<Repair[]> {
  // In portions: one transaction of all of them would be unbounded.
  for (let from = 0; !dryRun && from < entries.length; from += 1024) await store.audit.drop(entries.slice(from, from + 1024))
  return entries.map(({ key, namespace, entry }): Repair => {
    const name = `${namespace === '' ? '' : `${namespace}/`}${entry?.key ?? key.toString('hex')}`
    const isComputed = entry !== undefined && !Number.isNaN(entry.seconds)
    return isComputed
      ? { what: 'value', name, outcome: 'removed', reason: 'its bytes are damaged; the next getOrCompute computes it again', advice: '' }
      : { what: 'value', name, outcome: 'lost', reason: 'its bytes are damaged, and it was put, not computed', advice: 'put it again' }
  })
}

/** Those that others are made from come first. */
function inOrder(affected: readonly Affected[]): Affected[] {
  const left = new Map(affected.map((dataset) => [dataset.key, dataset]))
  const order: Affected[] = []
  const take = (dataset: Affected): void => {
    if (!left.delete(dataset.key)) return
    const base = left.get(String(dataset.origin?.source.key))
    if (base !== undefined) take(base)
    order.push(dataset)
  }
  affected.forEach(take)
  return order
}

async function remake(request: MendRequest, { key, record, origin, doubted }: Affected, before: readonly Repair[]): Promise<Repair> {
  const { store, device, dryRun, signal } = request
  const name = `${record.namespace === '' ? '' : `${record.namespace}/`}${record.name === '' ? key : record.name}`
  const lost = ({ reason, advice }: Hindrance): Repair => ({ what: 'dataset', name, outcome: 'lost', reason, advice })
  const base = origin?.source.type === 'dataset' ? String(origin.source.key) : undefined
  // What it is made from is only going to be there.
  if (dryRun && base !== undefined && await completeManifest(store, fromHex(base)) === undefined && before.some(({ what, outcome }) => what === 'dataset' && outcome === 'rebuilt')) {
    return { what: 'dataset', name, outcome: 'rebuilt', reason: 'from the dataset it was made from, once that is there again', advice: '' }
  }
  const opened = await reopen(store, origin)
  if (isHindrance(opened)) return lost(opened)
  try {
    const hindered = await hindrance(store, key, origin!, opened, device, signal)
    if (hindered !== undefined) return lost(hindered)
    const from = describe(opened.source.description)
    if (dryRun) return { what: 'dataset', name, outcome: 'rebuilt', reason: `from ${from}`, advice: '' }
    const { manifest, report } = await build({
      store, source: opened.source, recipe: opened.recipe, device, name: record.name, namespace: record.namespace,
      fingerprint: request.fingerprint, memoryBytes: request.memoryBytes, jobs: request.jobs, signal, onProgress: request.onProgress,
    })
    const { digest } = manifest.facts
    if (digest !== record.digest && !doubted) return lost({ reason: `computing it again gives other bytes (digest ${digest.slice(0, 16)}, it was ${record.digest.slice(0, 16)}); what is there now is what was computed`, advice: 'compare both machines with tensorcache doctor' })
    return { what: 'dataset', name, outcome: 'rebuilt', reason: `${report.computed} of ${report.items} items computed from ${from}`, advice: '' }
  } catch (error) {
    signal?.throwIfAborted()
    return lost({ reason: `computing it again failed (${(error as Error).message})`, advice: 'see what it says, and run verify --fix again' })
  } finally {
    await opened.close()
  }
}

function describe({ type, path, paths, name }: { readonly type: string; readonly [option: string]: unknown }): string {
  const files = paths ?? path
  if (Array.isArray(files)) return `${type} ${String(files[0])}${files.length > 1 ? ` and ${files.length - 1} more` : ''}`
  return `${type} ${String(files ?? name)}`
}

/** Blobs that hold what computing again did not give. */
export function doubtedBlobs(store: Store, digests: Iterable<string>): DamagedBlob[] {
  const records = new Map(Array.from(store.blobs(), ({ digest, record }) => [digest, record]))
  return Array.from(digests).flatMap((digest) => {
    const record = records.get(digest)
    return record === undefined ? [] : [{ digest, kind: record.kind, path: blobPath(store.layout, digest), reason: DOUBT }]
  })
}
