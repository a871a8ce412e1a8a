import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { HASH_BYTES } from '../core/keys.js'
import type { Codec } from './compression.js'
import { entryTransactions } from './entry-transactions.js'
import { layoutOf, STORE_FORMAT } from './layout.js'
import { isAlive } from '../core/owner.js'
import type { BlobRecord, DatasetRecord, Tables } from './tables.js'

/**
 * Every change of the index: each function is one LMDB write transaction, run on the writer thread. They get and give plain data. LMDB
 * holds one writer at a time over all processes, so what a function reads here stays true until it returns.
 */

/** How long an owner that cannot be looked at (another container) is believed after its last sign of life. */
export const HEARTBEAT_TTL_MS = 15_000
/** How much longer a silent work of a living process is believed: its event loop may be busy. */
const STALLED_MS = 45_000
/** A file system's clock may lag behind the processor's by some ticks. */
const CLOCK_LAG_MS = 2_000

export interface Claim {
  /** 32 bytes that name the work. */
  readonly range: Uint8Array
  readonly owner: string
  /** File names in tmp/ that the owner is going to write. */
  readonly pending: readonly string[]
  readonly now: number
}

export interface ShardPublication {
  readonly digest: Uint8Array
  readonly bytes: number
  readonly codec: Codec | undefined
  readonly chunkBytes: number
  readonly checksums: Uint8Array
  readonly seconds: number | undefined
  /** rows × 32 bytes */
  readonly keys: Uint8Array
  readonly lease: { readonly range: Uint8Array; readonly owner: string; readonly token: number }
  /** The range is finished: the lease ends with this transaction. */
  readonly done: boolean
  readonly pending: string
  readonly now: number
}

export interface ManifestPublication {
  readonly digest: Uint8Array
  readonly bytes: number
  readonly chunkBytes: number
  readonly checksums: Uint8Array
  readonly dataset: Uint8Array
  readonly record: DatasetRecord
  /** Digests of its shards, 32 bytes each. */
  readonly shards: Uint8Array
  /** The manifest found wanting, if any: only this one is replaced. */
  readonly stale: string | undefined
  readonly lease: { readonly range: Uint8Array; readonly owner: string; readonly token: number }
  readonly pending: string
  readonly now: number
}

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export const transactions = {
  ...entryTransactions,

  /** Writes the format version into a new index. */
  initialise(tables: Tables): void {
    if (tables.counters.get('format') === undefined) tables.counters.put('format', STORE_FORMAT)
  },

  /** Takes the work unless a living owner has it. Gives the fencing token, or undefined. */
  claim(tables: Tables, claim: Claim): number | undefined {
    const range = buffer(claim.range)
    const held = tables.leases.get(range)
    if (held !== undefined && held.owner !== claim.owner && ownerLives(tables, held.owner, claim.now)) return undefined
    const token = next(tables, 'token')
    tables.leases.put(range, { owner: claim.owner, token })
    tables.owners.put(claim.owner, { expires: claim.now + HEARTBEAT_TTL_MS })
    for (const name of claim.pending) tables.pending.put(name, { owner: claim.owner, since: claim.now })
    return token
  },

  /** Gives work back. `unused` is a pending name whose file was never made. */
  release(tables: Tables, { lease, unused }: { lease: { range: Uint8Array; owner: string; token: number }; unused: string | undefined }): void {
    if (unused !== undefined) tables.pending.remove(unused)
    if (holds(tables, lease)) tables.leases.remove(buffer(lease.range))
  },

  heartbeat(tables: Tables, beat: { owner: string; now: number }): void {
    tables.owners.put(beat.owner, { expires: beat.now + HEARTBEAT_TTL_MS })
  },

  /** Forgets everything an owner holds; it is done. */
  retire(tables: Tables, { owner }: { owner: string }): void {
    forget(tables, owner)
  },

  /**
   * Makes a shard's items visible. Items that another shard already holds stay with it. Gives the number of items that became visible, or
   * undefined when the lease was lost, and then nothing changed.
   */
  publishShard(tables: Tables, shard: ShardPublication): number | undefined {
    if (!holds(tables, shard.lease)) return undefined
    const digest = buffer(shard.digest)
    const rows = shard.keys.byteLength / 32
    const id = putBlob(tables, digest, { kind: 'shard', bytes: shard.bytes, ...(shard.codec !== undefined && { codec: shard.codec }), chunkBytes: shard.chunkBytes, rows, ...(shard.seconds !== undefined && { seconds: shard.seconds }), created: shard.now }, shard.checksums)
    let visible = 0
    for (let row = 0; row < rows; row++) {
      const key = Buffer.from(shard.keys.subarray(row * 32, row * 32 + 32))
      const held = tables.items.get(key)
      if (held !== undefined && tables.blobIds.get(held.readUInt32LE(0)) !== undefined) continue
      const entry = Buffer.allocUnsafe(8)
      entry.writeUInt32LE(id, 0)
      entry.writeUInt32LE(row, 4)
      tables.items.put(key, entry)
      visible++
    }
    tables.pending.remove(shard.pending)
    if (shard.done) tables.leases.remove(buffer(shard.lease.range))
    return visible
  },

  /**
   * Makes a dataset's manifest visible, unless another than the stale one is there. Gives the digest of the one that counts, or undefined when the
   * lease was lost. A manifest that came too late keeps its pending record, so that its file is swept.
   */
  publishManifest(tables: Tables, manifest: ManifestPublication): string | undefined {
    if (!holds(tables, manifest.lease)) return undefined
    const dataset = buffer(manifest.dataset)
    const held = tables.datasets.get(dataset)
    if (held !== undefined && held.manifest !== manifest.stale && tables.blobs.get(Buffer.from(held.manifest, 'hex')) !== undefined) return held.manifest
    putBlob(tables, buffer(manifest.digest), { kind: 'manifest', bytes: manifest.bytes, chunkBytes: manifest.chunkBytes, rows: manifest.record.items, created: manifest.now }, manifest.checksums)
    const digests = Array.from({ length: manifest.shards.byteLength / HASH_BYTES }, (_, k) => buffer(manifest.shards.subarray(k * HASH_BYTES, (k + 1) * HASH_BYTES)))
    tables.datasets.put(dataset, { ...manifest.record, shards: digests.map((digest) => numberOf(tables, digest)) })
    tables.pending.remove(manifest.pending)
    return manifest.record.manifest
  },

  /**
   * Removes datasets that are not open anywhere, with their manifests and the shards that no other has and no build is about to refer to; gives how many are open. `loose` are shards of no dataset, of
   * builds that were ended; they stay while anybody builds, whose shards look the same.
   */
  removeDatasets(tables: Tables, { keys, loose, now }: { keys: readonly Uint8Array[]; loose: readonly Uint8Array[]; now: number }): number {
    const pinned = openDatasets(tables, now)
    const held = new Set<string>()
    for (const { value } of tables.pins.getRange()) if (value.blobs !== undefined && ownerLives(tables, value.owner, now)) for (const blob of value.blobs) held.add(blob)
    // Between two ranges a build holds no lease.
    const building = Array.from(tables.owners.getKeys()).some((owner) => ownerLives(tables, owner as string, now))
    const manifests = new Set<string>()
    const shards = new Set<number>()
    let open = 0
    for (const digest of building ? [] : loose) {
      const record = tables.blobs.get(buffer(digest))
      if (record?.kind === 'shard') shards.add(record.id)
    }
    for (const given of keys) {
      const key = buffer(given)
      const record = tables.datasets.get(key)
      if (record === undefined) continue
      if (pinned.has(key.toString('hex'))) {
        open++
        continue
      }
      tables.datasets.remove(key)
      tables.uses.remove(key)
      manifests.add(record.manifest)
      for (const shard of record.shards ?? []) shards.add(shard)
    }
    for (const { value } of tables.datasets.getRange()) {
      manifests.delete(value.manifest)
      for (const shard of value.shards ?? []) shards.delete(shard)
    }
    for (const digest of [...Array.from(manifests, (hex) => Buffer.from(hex, 'hex')), ...Array.from(shards, (id) => tables.blobIds.get(id)).flatMap((digest) => digest === undefined ? [] : Buffer.from(digest))]) {
      const record = tables.blobs.get(digest)
      if (record === undefined || held.has(digest.toString('hex'))) continue
      tables.blobs.remove(digest)
      tables.blobIds.remove(record.id)
      tables.checksums.remove(digest)
      tables.trash.put(digest, Buffer.alloc(0))
    }
    return open
  },

  /** Gives a dataset another name and namespace, where these are not ''. */
  relabel(tables: Tables, { dataset, name, namespace }: { dataset: Uint8Array; name: string; namespace: string }): void {
    const key = buffer(dataset)
    const record = tables.datasets.get(key)
    if (record !== undefined) tables.datasets.put(key, { ...record, name: name || record.name, namespace: namespace || record.namespace })
  },

  /** Remembers which dataset a request asks for. */
  remember(tables: Tables, memo: { request?: Uint8Array; dataset?: Uint8Array; files?: readonly { stat: string; digest: Uint8Array }[] }): void {
    if (memo.request !== undefined && memo.dataset !== undefined) tables.requests.put(buffer(memo.request), buffer(memo.dataset))
    for (const file of memo.files ?? []) tables.files.put(file.stat, buffer(file.digest))
  },

  /** Remembers the identities of items, 32 bytes each, by their witnesses. */
  witness(tables: Tables, { witnesses, identities }: { witnesses: Uint8Array; identities: Uint8Array }): void {
    for (let at = 0; at < witnesses.byteLength; at += HASH_BYTES) tables.witnesses.put(buffer(witnesses.subarray(at, at + HASH_BYTES)), buffer(identities.subarray(at, at + HASH_BYTES)))
  },

  /** Remembers what the canary said of devices. */
  judge(tables: Tables, { verdicts }: { verdicts: Readonly<Record<string, boolean>> }): void {
    for (const [key, passed] of Object.entries(verdicts)) tables.verdicts.put(key, passed)
  },

  /** Forgets a damaged or vanished blob; what refers to it becomes a miss. */
  dropBlob(tables: Tables, { digest }: { digest: Uint8Array }): BlobRecord | undefined {
    const key = buffer(digest)
    const record = tables.blobs.get(key)
    if (record === undefined) return undefined
    tables.blobs.remove(key)
    tables.blobIds.remove(record.id)
    tables.checksums.remove(key)
    tables.counters.put(formerNumber(key), record.id)
    return record
  },

  /** In a copy of an index: forgets what belongs to living processes, and what was on its way out. */
  detach(tables: Tables): void {
    for (const table of [tables.leases, tables.owners, tables.pending, tables.pins, tables.trash] as readonly { clearSync(): void }[]) table.clearSync()
    tables.counters.remove('orphans')
  },

  /**
   * Forgets owners that are gone and removes what they left: their unfinished files, and orphans, blobs without a record. A publisher records its file
   * as pending before it creates it, and the rename gives it a new ctime; so a blob without a record that is older than every pending record is
   * nobody's any more. Younger ones are left for the next sweep.
   */
  sweep(tables: Tables, { dir, now }: { dir: string; now: number }): void {
    const layout = layoutOf(dir)
    const owners = new Set<string>()
    for (const table of [tables.pending, tables.leases, tables.pins]) {
      for (const { value } of table.getRange()) if (!ownerLives(tables, value.owner, now)) owners.add(value.owner)
    }
    for (const owner of owners) for (const name of forget(tables, owner)) rmSync(join(layout.tmp, name), { force: true })
    if (tables.counters.get('orphans') === undefined) return
    let oldest = Infinity
    for (const { value } of tables.pending.getRange()) oldest = Math.min(oldest, value.since)
    let left = 0
    for (const folder of readdirSync(layout.blobs)) {
      // Whatever else somebody put there is not ours.
      if (!/^[0-9a-f]{2}$/.test(folder)) continue
      for (const name of readdirSync(join(layout.blobs, folder))) {
        if (!/^[0-9a-f]{64}$/.test(name) || tables.blobs.get(Buffer.from(name, 'hex')) !== undefined) continue
        const path = join(layout.blobs, folder, name)
        if ((statSync(path, { throwIfNoEntry: false })?.ctimeMs ?? 0) > oldest - CLOCK_LAG_MS) left++
        else rmSync(path, { force: true })
      }
    }
    if (left === 0) tables.counters.remove('orphans')
  },
} as const

export type Transactions = typeof transactions
export type TransactionName = keyof Transactions
export type Argument<N extends TransactionName> = Parameters<Transactions[N]>[1]
export type Result<N extends TransactionName> = ReturnType<Transactions[N]>

function next(tables: Tables, counter: string): number {
  const value = (tables.counters.get(counter) ?? 0) + 1
  tables.counters.put(counter, value)
  return value
}

/** One that was damaged and comes back with the same bytes has its number again: items and datasets that were never told of the damage lead to it. One that is missing gets it beforehand. */
function numberOf(tables: Tables, digest: Buffer): number {
  const known = tables.blobs.get(digest)?.id ?? tables.counters.get(formerNumber(digest))
  if (known !== undefined) return known
  const id = next(tables, 'blob')
  tables.counters.put(formerNumber(digest), id)
  return id
}

function formerNumber(digest: Buffer): string {
  return `number:${digest.toString('hex')}`
}

function putBlob(tables: Tables, digest: Buffer, facts: Omit<BlobRecord, 'id'>, checksums: Uint8Array): number {
  const id = numberOf(tables, digest)
  tables.counters.remove(formerNumber(digest))
  tables.blobs.put(digest, { id, ...facts })
  tables.blobIds.put(id, digest)
  tables.checksums.put(digest, buffer(checksums))
  return id
}

/** Keys (64 hex digits) of datasets that some living process has open. */
export function openDatasets(tables: Tables, now: number): Set<string> {
  const open = new Set<string>()
  for (const { value } of tables.pins.getRange()) if (value.blobs === undefined && ownerLives(tables, value.owner, now)) open.add(value.dataset)
  return open
}

// Owner names are `<process>` or `<process>#<n>` for the n-th work of a process.
function ownerLives(tables: Tables, owner: string, now: number): boolean {
  const alive = isAlive(owner.split('#', 1)[0]!)
  if (alive === false) return false
  const record = tables.owners.get(owner)
  // A process may live on without the work that held this (its cache was closed in the middle of a build); the fencing token guards a work that
  // was merely slow to say that it lives.
  if (alive === true) return record === undefined || record.expires + STALLED_MS > now
  return record !== undefined && record.expires > now
}

function holds(tables: Tables, lease: { readonly range: Uint8Array; readonly owner: string; readonly token: number }): boolean {
  const held = tables.leases.get(buffer(lease.range))
  return held?.owner === lease.owner && held.token === lease.token
}

// A file that was announced and never became visible may be a blob by now: `orphans` asks the next sweep to look.
function forget(tables: Tables, owner: string): string[] {
  const names: string[] = []
  for (const { key, value } of tables.pending.getRange()) if (value.owner === owner) names.push(key as string)
  if (names.length > 0) tables.counters.put('orphans', 1)
  for (const name of names) tables.pending.remove(name)
  const ranges: Buffer[] = []
  for (const { key, value } of tables.leases.getRange()) if (value.owner === owner) ranges.push(Buffer.from(key as Buffer))
  for (const range of ranges) tables.leases.remove(range)
  const pins: string[] = []
  for (const { key, value } of tables.pins.getRange()) if (value.owner === owner) pins.push(key as string)
  for (const pin of pins) tables.pins.remove(pin)
  tables.owners.remove(owner)
  return names
}
