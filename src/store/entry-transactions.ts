import { rmSync, statSync } from 'node:fs'
import { HASH_BYTES } from '../core/keys.js'
import { sha256 } from '../core/hash.js'
import { unpackChanges } from './entry-batch.js'
import { decodeEntry, glance, namespaceRange, type Entry } from './entry.js'
import { blobPath, layoutOf } from './layout.js'
import type { NamespaceRecord, Tables } from './tables.js'

/** A blob that came with a change: its file is there. */
export interface ValueBlob {
  readonly digest: Uint8Array
  readonly bytes: number
  readonly chunkBytes: number
  readonly checksums: Uint8Array
  /** Its name in tmp/ before the rename. */
  readonly pending: string
}

/** What became of a change. `lost`: the blob's file was collected meanwhile, and must be written again; nothing changed. */
export const OUTCOME = { absent: 0, present: 1, lost: 2 } as const

/** A file system's clock may lag behind the processor's by some ticks. */
const CLOCK_LAG_MS = 2_000
const FILE = 'the index'

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Entries, bytes and blobs stay as what is counted says, because every change of entries goes through here. */
class Ledger {
  readonly #tables: Tables
  readonly #changes = new Map<number, { entries: number; bytes: number }>()

  constructor(tables: Tables) {
    this.#tables = tables
  }

  count(key: Buffer, entries: number, bytes: number): void {
    const id = key.readUInt32BE(0)
    const change = this.#changes.get(id) ?? { entries: 0, bytes: 0 }
    this.#changes.set(id, { entries: change.entries + entries, bytes: change.bytes + bytes })
  }

  close(): void {
    let total = this.#tables.counters.get('value-bytes') ?? 0
    for (const [id, { entries, bytes }] of this.#changes) {
      const held = this.#tables.namespaces.get(id) ?? { name: '', entries: 0, bytes: 0 }
      this.#tables.namespaces.put(id, { ...held, entries: held.entries + entries, bytes: held.bytes + bytes })
      total += bytes
    }
    if (this.#changes.size > 0) this.#tables.counters.put('value-bytes', total)
  }
}

export const entryTransactions = {
  /** The number of a namespace, which is made when it is not there. With an owner it is a scope. */
  namespace(tables: Tables, { name, owner }: { name: string; owner: string | undefined }): number {
    for (const { key, value } of tables.namespaces.getRange()) {
      if (value.name !== name) continue
      if (owner !== undefined && value.owner !== owner) tables.namespaces.put(key, { ...value, owner })
      return key
    }
    const id = (tables.counters.get('namespace') ?? 0) + 1
    tables.counters.put('namespace', id)
    tables.namespaces.put(id, { name, entries: 0, bytes: 0, ...(owner !== undefined && { owner }) })
    return id
  },

  /** Announces files that will be written for values. */
  announce(tables: Tables, { pending, owner, now }: { pending: readonly string[]; owner: string; now: number }): void {
    for (const name of pending) tables.pending.put(name, { owner, since: now })
  },

  /** Puts and removes entries. Gives one outcome each: whether an entry of that key was there. */
  change(tables: Tables, { packed, blobs, dir, now }: { packed: Uint8Array; blobs: readonly ValueBlob[]; dir: string; now: number }): Uint8Array {
    const layout = layoutOf(dir)
    const come = new Map(blobs.map((blob) => [buffer(blob.digest).toString('hex'), blob]))
    const ledger = new Ledger(tables)
    const outcomes: number[] = []
    for (const { key, record } of unpackChanges(packed)) {
      if (record === undefined) {
        outcomes.push(remove(tables, ledger, key) ? OUTCOME.present : OUTCOME.absent)
        continue
      }
      const entry = decodeEntry(record, FILE)
      if (entry.blob !== undefined && !hold(tables, entry, come, layout, now)) {
        outcomes.push(OUTCOME.lost)
        continue
      }
      outcomes.push(remove(tables, ledger, key, record) ? OUTCOME.present : OUTCOME.absent)
      tables.entries.put(key, record)
      for (const digest of entry.dependsOn) tables.dependents.put(Buffer.concat([digest, key]), EMPTY)
      ledger.count(key, 1, entry.bytes)
    }
    for (const { pending } of blobs) tables.pending.remove(pending)
    ledger.close()
    return Uint8Array.from(outcomes)
  },

  /** Removes up to `limit` entries of a namespace; gives how many. */
  clear(tables: Tables, { namespace, limit }: { namespace: number; limit: number }): number {
    const ledger = new Ledger(tables)
    const keys = Array.from(tables.entries.getKeys({ ...namespaceRange(namespace), limit }), (key) => Buffer.from(key as Buffer))
    for (const key of keys) remove(tables, ledger, key)
    ledger.close()
    return keys.length
  },

  /** Removes what was made from things with these digests, and what was made from that; gives how many entries. */
  invalidate(tables: Tables, { digests }: { digests: readonly Uint8Array[] }): number {
    const ledger = new Ledger(tables)
    const removed = digests.reduce((sum, digest) => sum + removeDependents(tables, ledger, buffer(digest)), 0)
    ledger.close()
    return removed
  },

  /** Notes when entries were read: packed as `u32 bytes of the key · key · u32 seconds`. */
  touch(tables: Tables, { packed }: { packed: Uint8Array }): void {
    const bytes = buffer(packed)
    for (let at = 0; at < bytes.length;) {
      const end = at + 4 + bytes.readUInt32LE(at)
      const key = bytes.subarray(at + 4, end)
      if (tables.entries.get(key) !== undefined) tables.uses.put(key, bytes.subarray(end, end + 4))
      at = end + 4
    }
  },

  /** Forgets a namespace without entries, when `owner` is who it belongs to; gives false when there are some again. */
  dropNamespace(tables: Tables, { namespace, owner }: { namespace: number; owner: string | undefined }): boolean {
    const held = tables.namespaces.get(namespace)
    if (held === undefined || held.owner !== owner) return true
    if (held.entries > 0) return false
    tables.namespaces.remove(namespace)
    return true
  },

  /**
   * Removes files of blobs that nothing holds, up to `limit`; gives how many are left. A writer announces its file before it makes it, and the rename gives it a new
   * ctime: a file that is younger than some announcement may be about to be used, and waits.
   */
  collect(tables: Tables, { dir, limit }: { dir: string; limit: number }): number {
    const layout = layoutOf(dir)
    let oldest = Infinity
    for (const { value } of tables.pending.getRange()) oldest = Math.min(oldest, value.since)
    let left = 0
    const digests = Array.from(tables.trash.getKeys({ limit }), (key) => Buffer.from(key as Buffer))
    for (const digest of digests) {
      const path = blobPath(layout, digest.toString('hex'))
      if (tables.blobs.get(digest) === undefined) {
        if ((statSync(path, { throwIfNoEntry: false })?.ctimeMs ?? 0) > oldest - CLOCK_LAG_MS) {
          left++
          continue
        }
        rmSync(path, { force: true })
      }
      tables.trash.remove(digest)
    }
    return left + (digests.length === limit ? 1 : 0)
  },
} as const

const EMPTY = Buffer.alloc(0)

/** Takes a hold of an entry's blob; false when neither its record nor its file is there. */
function hold(tables: Tables, { blob }: Entry, come: ReadonlyMap<string, ValueBlob>, layout: ReturnType<typeof layoutOf>, now: number): boolean {
  const digest = Buffer.from(blob!)
  const held = tables.blobs.get(digest)
  if (held !== undefined) {
    tables.blobs.put(digest, { ...held, refs: (held.refs ?? 0) + 1 })
    return true
  }
  const facts = come.get(digest.toString('hex'))
  if (facts === undefined || statSync(blobPath(layout, digest.toString('hex')), { throwIfNoEntry: false }) === undefined) return false
  const id = (tables.counters.get('blob') ?? 0) + 1
  tables.counters.put('blob', id)
  tables.blobs.put(digest, { id, kind: 'value', bytes: facts.bytes, chunkBytes: facts.chunkBytes, rows: 0, refs: 1, created: now })
  tables.blobIds.put(id, digest)
  tables.checksums.put(digest, buffer(facts.checksums))
  tables.trash.remove(digest)
  return true
}

/** Lets go of a blob that an entry held. */
function letGo(tables: Tables, digest: Buffer): void {
  const held = tables.blobs.get(digest)
  if (held === undefined) return
  const refs = (held.refs ?? 1) - 1
  if (refs > 0 || held.kind !== 'value') {
    tables.blobs.put(digest, { ...held, refs })
    return
  }
  tables.blobs.remove(digest)
  tables.blobIds.remove(held.id)
  tables.checksums.remove(digest)
  tables.trash.put(digest, EMPTY)
}

/** False when there was none. `instead` takes its place: what was made from the same value stays. */
function remove(tables: Tables, ledger: Ledger, key: Buffer, instead?: Buffer): boolean {
  const found = tables.entries.get(key)
  if (found === undefined) return false
  const held = Buffer.from(found)
  const entry = decodeEntry(held, FILE)
  ledger.count(key, -1, -glance(held).bytes)
  tables.entries.remove(key)
  if (instead === undefined) tables.uses.remove(key)
  for (const digest of entry.dependsOn) tables.dependents.remove(Buffer.concat([digest, key]))
  if (entry.blob !== undefined) letGo(tables, Buffer.from(entry.blob))
  // Nothing is made from most values, and most caches know of no dependents at all.
  if (hasDependents(tables)) {
    const digest = digestOf(entry)
    const same = instead !== undefined && digestOf(decodeEntry(instead, FILE)).equals(digest)
    if (!same) removeDependents(tables, ledger, digest)
  }
  return true
}

function hasDependents(tables: Tables): boolean {
  for (const _ of tables.dependents.getKeys({ limit: 1 })) return true
  return false
}

function removeDependents(tables: Tables, ledger: Ledger, digest: Buffer): number {
  const end = Buffer.concat([digest, Buffer.alloc(8, 0xff)])
  const keys = Array.from(tables.dependents.getKeys({ start: digest, end }), (key) => Buffer.from((key as Buffer).subarray(HASH_BYTES)))
  return keys.reduce((sum, key) => sum + (remove(tables, ledger, key) ? 1 : 0), 0)
}

function digestOf({ small, blob }: Entry): Buffer {
  return Buffer.from(blob ?? sha256(small!))
}

export type { NamespaceRecord }
