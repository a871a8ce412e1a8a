import { rmSync, statSync } from 'node:fs'
import { HASH_BYTES } from '../core/keys.js'
import { sha256, toHex } from '../core/hash.js'
import type { Codec } from './compression.js'
import { unpackChanges } from './entry-batch.js'
import { decodeEntry, glance, namespaceRange, type Entry } from './entry.js'
import { blobPath, layoutOf, type Layout } from './layout.js'
import type { Tables } from './tables.js'

/** A blob that came with a change: its file is there. */
export interface ValueBlob {
  readonly digest: Uint8Array
  readonly bytes: number
  readonly codec: Codec | undefined
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
/** Parts of counts that may wait for being summed up. */
export const TALLY_PARTS = 64

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Entries, bytes and blobs stay as what is counted says, because every change of entries goes through here. */
class Ledger {
  readonly #tables: Tables
  readonly #changes = new Map<number, { entries: number; bytes: number; used: number | undefined }>()
  /** Entries went because of what they were made from. */
  cascaded = false

  constructor(tables: Tables) {
    this.#tables = tables
  }

  /** `used`: when it was put, if it was. */
  count(key: Buffer, entries: number, bytes: number, used?: number): void {
    const id = key.readUInt32BE(0)
    const change = this.#changes.get(id) ?? { entries: 0, bytes: 0, used: undefined }
    this.#changes.set(id, { entries: change.entries + entries, bytes: change.bytes + bytes, used: used ?? change.used })
  }

  /** Gives the number of transactions that changed entries so far, this one among them. */
  close(): number {
    const changes = (this.#tables.counters.get('changes') ?? 0) + 1
    this.#tables.counters.put('changes', changes)
    let total = this.#tables.counters.get('value-bytes') ?? 0
    for (const [id, { entries, bytes, used }] of this.#changes) {
      const held = this.#tables.namespaces.get(id) ?? { name: '', entries: 0, bytes: 0 }
      this.#tables.namespaces.put(id, { ...held, entries: held.entries + entries, bytes: held.bytes + bytes, ...(used !== undefined && { used }) })
      total += bytes
    }
    if (this.#changes.size > 0) this.#tables.counters.put('value-bytes', total)
    return changes
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

  /** Takes announcements back: those files are not there. What failed after its rename has become an orphan, for which the next sweep looks. */
  renounce(tables: Tables, { pending }: { pending: readonly string[] }): void {
    tables.counters.put('orphans', 1)
    for (const name of pending) tables.pending.remove(name)
  },

  /** Puts and removes entries. Gives one outcome each: whether an entry of that key was there. */
  change(tables: Tables, { packed, blobs, dir, now }: { packed: Uint8Array; blobs: readonly ValueBlob[]; dir: string; now: number }): { outcomes: Uint8Array; cascaded: boolean; changes: number } {
    const layout = layoutOf(dir)
    const come = new Map(blobs.map((blob) => [toHex(blob.digest), blob]))
    const ledger = new Ledger(tables)
    const outcomes: number[] = []
    for (const { key, record } of unpackChanges(packed)) {
      if (record === undefined) {
        outcomes.push(remove(tables, ledger, key) ? OUTCOME.present : OUTCOME.absent)
        continue
      }
      const entry = decodeEntry(record, FILE, '')
      if (entry.blob !== undefined && !isThere(tables, entry.blob, come, layout)) {
        outcomes.push(OUTCOME.lost)
        continue
      }
      outcomes.push(remove(tables, ledger, key, record) ? OUTCOME.present : OUTCOME.absent)
      tables.entries.put(key, record)
      if (entry.blob !== undefined) hold(tables, entry.blob, key, come, now)
      for (const digest of entry.dependsOn) tables.dependents.put(Buffer.concat([digest, key]), EMPTY)
      ledger.count(key, 1, entry.bytes, now)
    }
    for (const { pending } of blobs) tables.pending.remove(pending)
    return { outcomes: Uint8Array.from(outcomes), cascaded: ledger.cascaded, changes: ledger.close() }
  },

  /** Removes up to `limit` entries of a namespace; gives how many. */
  clear(tables: Tables, { namespace, limit }: { namespace: number; limit: number }): { removed: number; changes: number } {
    const ledger = new Ledger(tables)
    const keys = Array.from(tables.entries.getKeys({ ...namespaceRange(namespace), limit }), (key) => Buffer.from(key as Buffer))
    for (const key of keys) remove(tables, ledger, key)
    return { removed: keys.length, changes: ledger.close() }
  },

  /** Removes what was made from things with these digests, and what was made from that; gives how many entries. */
  invalidate(tables: Tables, { digests }: { digests: readonly Uint8Array[] }): { removed: number; changes: number } {
    const ledger = new Ledger(tables)
    const removed = digests.reduce((sum, digest) => sum + removeDependents(tables, ledger, buffer(digest)), 0)
    return { removed, changes: ledger.close() }
  },

  /**
   * Removes entries whose record is still the given one; gives how many. What was made from them stays: it is their bytes that were lost, not what they said.
   * A record that cannot be decoded goes as well; how many bytes it stood for is not known then.
   */
  dropEntries(tables: Tables, { entries }: { entries: readonly { key: Uint8Array; record: Uint8Array }[] }): number {
    const ledger = new Ledger(tables)
    let dropped = 0
    for (const { key: given, record } of entries) {
      const key = buffer(given)
      const held = tables.entries.get(key)
      if (held === undefined || !buffer(record).equals(held)) continue
      dropped++
      if (isEntry(held)) {
        remove(tables, ledger, key, Buffer.from(held))
      } else {
        tables.entries.remove(key)
        ledger.count(key, -1, 0)
      }
      tables.uses.remove(key)
    }
    ledger.close()
    return dropped
  },

  /** Adds to the counts of what the cache was good for, with the parts that wait. */
  tally(tables: Tables, { added }: { added: Readonly<Record<string, number>> }): void {
    const all: Record<string, number> = { ...added }
    const parts = Array.from(tables.tallies.getRange({ limit: TALLY_PARTS }))
    for (const { key, value } of parts) {
      for (const [name, count] of Object.entries(value)) all[name] = (all[name] ?? 0) + count
      tables.tallies.remove(key)
    }
    for (const [name, count] of Object.entries(all)) tables.counters.put(`tally:${name}`, (tables.counters.get(`tally:${name}`) ?? 0) + count)
  },

  /** Notes when entries were read: packed as `u32 bytes of the key · key · u32 seconds`. */
  touch(tables: Tables, { packed }: { packed: Uint8Array }): void {
    const bytes = buffer(packed)
    const spaces = new Map<number, number>()
    for (let at = 0; at < bytes.length;) {
      const end = at + 4 + bytes.readUInt32LE(at)
      const key = bytes.subarray(at + 4, end)
      at = end + 4
      const isEntry = tables.entries.get(key) !== undefined
      if (!isEntry && tables.datasets.get(key) === undefined) continue
      tables.uses.put(key, bytes.subarray(end, end + 4))
      if (isEntry) spaces.set(key.readUInt32BE(0), Math.max(spaces.get(key.readUInt32BE(0)) ?? 0, bytes.readUInt32BE(end) * 1000))
    }
    for (const [id, used] of spaces) {
      const held = tables.namespaces.get(id)
      if (held !== undefined && used > (held.used ?? 0)) tables.namespaces.put(id, { ...held, used })
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

/** True when a blob is in the index, or came with the change and its file was not collected meanwhile. */
function isThere(tables: Tables, blob: Uint8Array, come: ReadonlyMap<string, ValueBlob>, layout: Layout): boolean {
  const digest = toHex(blob)
  return tables.blobs.get(Buffer.from(blob)) !== undefined || (come.has(digest) && statSync(blobPath(layout, digest), { throwIfNoEntry: false }) !== undefined)
}

/** Notes that an entry's value is a blob that is there. */
function hold(tables: Tables, blob: Uint8Array, key: Buffer, come: ReadonlyMap<string, ValueBlob>, now: number): void {
  const digest = Buffer.from(blob)
  tables.holders.put(Buffer.concat([digest, key]), EMPTY)
  if (tables.blobs.get(digest) !== undefined) return
  // What it held before may have been its own blob, which went with it.
  const facts = come.get(toHex(digest))!
  const id = (tables.counters.get('blob') ?? 0) + 1
  tables.counters.put('blob', id)
  tables.blobs.put(digest, { id, kind: 'value', bytes: facts.bytes, ...(facts.codec !== undefined && { codec: facts.codec }), chunkBytes: facts.chunkBytes, rows: 0, created: now })
  tables.blobIds.put(id, digest)
  tables.checksums.put(digest, buffer(facts.checksums))
  tables.trash.remove(digest)
}

/** An entry does not hold its blob any more; the last one takes it along. */
function letGo(tables: Tables, digest: Buffer, key: Buffer): void {
  tables.holders.remove(Buffer.concat([digest, key]))
  for (const _ of tables.holders.getKeys({ ...beginningWith(digest), limit: 1 })) return
  const held = tables.blobs.get(digest)
  if (held === undefined || held.kind !== 'value') return
  tables.blobs.remove(digest)
  tables.blobIds.remove(held.id)
  tables.checksums.remove(digest)
  tables.trash.put(digest, EMPTY)
}

function beginningWith(digest: Buffer): { start: Buffer; end: Buffer } {
  return { start: digest, end: Buffer.concat([digest, Buffer.alloc(8, 0xff)]) }
}

function isEntry(record: Buffer): boolean {
  try {
    decodeEntry(record, FILE, '')
    return true
  } catch {
    return false
  }
}

/** False when there was none. `instead` takes its place: what was made from the same value stays. */
function remove(tables: Tables, ledger: Ledger, key: Buffer, instead?: Buffer): boolean {
  const found = tables.entries.get(key)
  if (found === undefined) return false
  const held = Buffer.from(found)
  const entry = decodeEntry(held, FILE, '')
  ledger.count(key, -1, -glance(held).bytes)
  tables.entries.remove(key)
  if (instead === undefined) tables.uses.remove(key)
  for (const digest of entry.dependsOn) tables.dependents.remove(Buffer.concat([digest, key]))
  if (entry.blob !== undefined) letGo(tables, Buffer.from(entry.blob), key)
  // Nothing is made from most values, and most caches know of no dependents at all.
  if (hasDependents(tables)) {
    const digest = digestOf(entry)
    // What was made from an equal value, whose file it is as well, stays.
    if (entry.blob !== undefined && tables.blobs.get(digest) !== undefined) return true
    const same = instead !== undefined && digestOf(decodeEntry(instead, FILE, '')).equals(digest)
    if (!same) removeDependents(tables, ledger, digest)
  }
  return true
}

function hasDependents(tables: Tables): boolean {
  for (const _ of tables.dependents.getKeys({ limit: 1 })) return true
  return false
}

function removeDependents(tables: Tables, ledger: Ledger, digest: Buffer): number {
  const keys = Array.from(tables.dependents.getKeys(beginningWith(digest)), (key) => Buffer.from((key as Buffer).subarray(HASH_BYTES)))
  if (keys.length > 0) ledger.cascaded = true
  return keys.reduce((sum, key) => sum + (remove(tables, ledger, key) ? 1 : 0), 0)
}

function digestOf({ small, blob }: Entry): Buffer {
  return Buffer.from(blob ?? sha256(small!))
}
