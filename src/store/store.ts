import { randomBytes } from 'node:crypto'
import { renameSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { DiskFullError, FormatError, IntegrityError, LeaseLostError, StoreError } from '../core/errors.js'
import { Events } from '../core/events.js'
import { fromHex, toHex } from '../core/hash.js'
import { HASH_BYTES } from '../core/keys.js'
import { Admission } from './admission.js'
import { Audit } from './audit.js'
import { Entries, type EntryHost } from './entries.js'
import { TALLY_PARTS } from './entry-transactions.js'
import { assertIndexFile, indexState, warnOfLostIndex } from './index-file.js'
import { blobPath, layoutOf, prepareLayout, type Layout } from './layout.js'
import { FRAME_BYTES, type Compression } from './compression.js'
import { FrameCache } from './frame-cache.js'
import { FramedBlob } from './framed-blob.js'
import { MappedBlob } from './mapped-blob.js'
import { StoreNotes } from './notes.js'
import type { OpenBlob } from './open-blob.js'
import { ownerName, thisProcess } from '../core/owner.js'
import type { EncodedBlob } from './shard-format.js'
import { writeBlobFile, type WrittenBlob } from './write-blob.js'
import { reserveIndex } from './space.js'
import { openTables, type BlobRecord, type DatasetRecord, type Tables } from './tables.js'
import { assertFinished } from './unfinished.js'
import { Upkeep } from './upkeep.js'
import { Writer } from './writer.js'

export interface StoreOptions {
  readonly dir: string
  readonly readonly: boolean
  /** Bytes that stay free on the disk. */
  readonly minFree: number
  /** Bytes that datasets and values may take. Default: no limit. */
  readonly maxSize?: number
  /** Told what happens here; default: the process's channels alone. */
  readonly events?: Events
}

/** Work that this process holds: nobody else computes it until it is released or its owner dies. */
export interface Lease {
  readonly range: Uint8Array
  readonly owner: string
  readonly token: number
}

/** Row `row` of shard `blob` holds the item. */
export interface ItemPlace {
  readonly blob: Buffer
  readonly row: number
}

/** Heartbeats are sent this often while a lease is held: several fit into the time a silent owner is believed. */
const HEARTBEAT_MS = 4_000
/** Decompressed frames that are kept for reading on. */
const FRAMES_KEPT_BYTES = 128 * FRAME_BYTES
/** How often a lease that another process holds is asked for again. */
export const POLL_MS = 50

/**
 * A cache directory: immutable blobs beside an LMDB index. Many processes may use one at the same time. It knows keys, bytes and leases, but not
 * what a recipe or a dataset is.
 */
export class Store {
  readonly layout: Layout
  readonly readonly: boolean
  readonly minFree: number
  readonly maxSize: number
  readonly events: Events
  readonly #tables: Tables
  readonly #writer: Writer
  readonly #blobs = new Map<string, Promise<OpenBlob>>()
  readonly #frames = new FrameCache(FRAMES_KEPT_BYTES)
  readonly #owners = new Set<string>()
  #heartbeat: NodeJS.Timeout | undefined
  #works = 0
  #closed = false
  /** Key-value entries. */
  readonly entries: Entries
  readonly upkeep: Upkeep
  /** For sources. */
  readonly notes: StoreNotes
  readonly #admission: Admission
  readonly audit: Audit
  /** What other rooms of the store need of this one. */
  readonly host: EntryHost

  private constructor(options: StoreOptions, layout: Layout, tables: Tables, writer: Writer) {
    this.layout = layout
    this.readonly = options.readonly
    this.minFree = options.minFree
    this.maxSize = options.maxSize ?? Infinity
    this.events = options.events ?? new Events(options.dir)
    this.#tables = tables
    this.#writer = writer
    const host: EntryHost = this.host = {
      layout, readonly: options.readonly, events: this.events, tables, writer,
      fresh: () => this.#fresh(), blob: (digest) => this.blob(digest), tmpName: (owner) => this.tmpName(owner), newOwner: () => this.newOwner(), admit: (bytes) => this.#admission.admit(bytes),
    }
    this.entries = new Entries(host)
    this.upkeep = new Upkeep(host, this.entries)
    this.notes = new StoreNotes(host, this.entries, (digest) => this.readFile(digest))
    this.#admission = new Admission(this, this.upkeep)
    this.audit = new Audit(host)
  }

  /** What is in this folder: a store, nothing, or the blobs of one whose index is lost. */
  static stateOf(dir: string): 'there' | 'none' | 'lost' {
    return indexState(layoutOf(dir))
  }

  static async open(options: StoreOptions): Promise<Store> {
    const layout = layoutOf(options.dir)
    assertFinished(layout)
    if (!options.readonly) prepareLayout(layout)
    const writer = new Writer(layout, options.readonly)
    const state = indexState(layout)
    if (state !== 'there') {
      if (options.readonly) throw new StoreError(options.dir, state === 'none' ? 'holds no cache, and is opened read-only' : 'has blobs and no index, and is opened read-only; tensorcache reindex makes the index from the blobs')
      warnOfLostIndex(layout)
      await writer.run('initialise', undefined)
    }
    assertIndexFile(layout)
    const tables = openTables(layout, { readOnly: options.readonly })
    // Whoever made the file may have been killed before it wrote the format.
    if (!options.readonly && tables.counters.get('format') === undefined) await writer.run('initialise', undefined)
    const store = new Store(options, layout, tables, writer)
    if (!options.readonly && store.#leftovers()) await store.sweep()
    if (!options.readonly && store.#scopesLeft()) await store.upkeep.sweepScopes()
    return store
  }

  // --- reading the index ------------------------------------------------------------------------------------------------

  /** Where items are, in the order of `keys` (32 bytes each); `undefined` for those that are not stored. */
  lookup(keys: Uint8Array): (ItemPlace | undefined)[] {
    this.#fresh()
    const places: (ItemPlace | undefined)[] = []
    const digests = new Map<number, Buffer | undefined>()
    for (let at = 0; at < keys.byteLength; at += 32) {
      const entry = this.#tables.items.get(Buffer.from(keys.buffer, keys.byteOffset + at, 32))
      if (entry === undefined) {
        places.push(undefined)
        continue
      }
      const id = entry.readUInt32LE(0)
      if (!digests.has(id)) {
        const digest = this.#tables.blobIds.get(id)
        digests.set(id, digest === undefined ? undefined : Buffer.from(digest))
      }
      const blob = digests.get(id)
      places.push(blob === undefined ? undefined : { blob, row: entry.readUInt32LE(4) })
    }
    return places
  }

  datasetRecord(key: Uint8Array): DatasetRecord | undefined {
    this.#fresh()
    const record = this.#tables.datasets.get(asBuffer(key))
    return record !== undefined && this.#tables.blobs.get(fromHex(record.manifest)) !== undefined ? record : undefined
  }

  * datasets(): Generator<{ key: string; record: DatasetRecord }> {
    this.#fresh()
    for (const { key, value } of this.#tables.datasets.getRange()) yield { key: toHex(key as Buffer), record: value }
  }

  * blobs(): Generator<{ digest: string; record: BlobRecord }> {
    this.#fresh()
    for (const { key, value } of this.#tables.blobs.getRange()) yield { digest: toHex(key as Buffer), record: value }
  }

  * pins(): Generator<{ owner: string; dataset: string; since: number }> {
    this.#fresh()
    for (const { value } of this.#tables.pins.getRange()) yield value
  }

  request(key: Uint8Array): Buffer | undefined {
    this.#fresh()
    const dataset = this.#tables.requests.get(asBuffer(key))
    return dataset === undefined ? undefined : Buffer.from(dataset)
  }

  fileDigest(stat: string): string | undefined {
    this.#fresh()
    const digest = this.#tables.files.get(stat)
    return digest === undefined ? undefined : toHex(digest)
  }

  /** Verdicts on GPUs, by what they are about. */
  verdicts(): Record<string, boolean> {
    this.#fresh()
    return Object.fromEntries(Array.from(this.#tables.verdicts.getRange(), ({ key, value }) => [key as string, value]))
  }

  async judge(verdicts: Readonly<Record<string, boolean>>): Promise<void> {
    if (!this.readonly) await this.#writer.run('judge', { verdicts })
  }

  hasBlob(digest: string): boolean {
    return this.blobBytes(digest) !== undefined
  }

  /** Size of a blob, undefined when it is not in the index. */
  blobBytes(digest: string): number | undefined {
    this.#fresh()
    return this.#tables.blobs.get(fromHex(digest))?.bytes
  }

  /** How many rows a shard has, and what making it took in seconds, when that is known. */
  blobCost(digest: string): { readonly rows: number; readonly seconds?: number } | undefined {
    return this.#tables.blobs.get(fromHex(digest))
  }

  // --- blobs ------------------------------------------------------------------------------------------------------------

  /** Opens a blob once per process. Rejects with IntegrityError when it is missing or its header is damaged; it is then in quarantine. */
  async blob(digest: string): Promise<OpenBlob> {
    let opening = this.#blobs.get(digest)
    if (opening === undefined) {
      opening = this.#openBlob(digest)
      this.#blobs.set(digest, opening)
      const failed = opening
      failed.catch(() => { if (this.#blobs.get(digest) === failed) this.#blobs.delete(digest) })
    }
    return opening
  }

  async #openBlob(digest: string): Promise<OpenBlob> {
    this.#fresh()
    const key = fromHex(digest)
    const record = this.#tables.blobs.get(key)
    const checksums = this.#tables.checksums.get(key)
    const path = blobPath(this.layout, digest)
    if (record === undefined || checksums === undefined) throw new IntegrityError(path, 'is not in the index')
    try {
      return await (record.codec === undefined ? MappedBlob.open(path, digest, record, Buffer.from(checksums)) : FramedBlob.open(path, digest, record, this.#frames))
    } catch (cause) {
      // Only what says that the file is wrong counts as damage: too many open files or no memory do not.
      const damaged = cause instanceof IntegrityError || cause instanceof FormatError || (cause as NodeJS.ErrnoException).code === 'ENOENT'
      if (!damaged) throw cause
      const reason = cause instanceof IntegrityError ? cause : new IntegrityError(path, `cannot be opened (${(cause as Error).message})`, { cause })
      await this.quarantine({ digest, inode: undefined }, reason.message)
      throw reason
    }
  }

  /** The file of a blob, compressed or not; undefined when it is not there. Its bytes are not checked. */
  async readFile(digest: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(blobPath(this.layout, digest))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  /**
   * Moves a damaged blob aside; its items are misses from now on. `inode` is the file that was found damaged, when that is known: where another
   * process has put a sound one in its place, that one stays, and this process maps it when it asks again.
   */
  async quarantine({ digest, inode }: { readonly digest: string; readonly inode: bigint | undefined }, reason: string): Promise<void> {
    this.#blobs.delete(digest)
    const damage = (record: BlobRecord | undefined): void => { if (record !== undefined) this.events.publish('damage', () => ({ what: record.kind, digest, reason })) }
    if (this.readonly) return damage(this.#tables.blobs.get(fromHex(digest)))
    const path = blobPath(this.layout, digest)
    const there = statSync(path, { bigint: true, throwIfNoEntry: false })
    if (there !== undefined && inode !== undefined && there.ino !== inode) return
    try {
      if (there !== undefined) renameSync(path, join(this.layout.quarantine, digest))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    const dropped = await this.#writer.run('dropBlob', { digest: fromHex(digest) })
    damage(dropped)
    if (dropped !== undefined) process.emitWarning(`tensorcache: ${reason}; moved to quarantine, its items are computed again when they are needed`, { code: 'TENSORCACHE_DAMAGE' })
  }

  /** Writes a blob and makes its items visible. `keys` holds 32 bytes per row; `done` gives the lease back with it. */
  async publishShard(shard: EncodedBlob, { chunkBytes, compression, seconds }: { chunkBytes: number; compression?: Compression | undefined; seconds?: () => number }, keys: Uint8Array, lease: Lease, pending: string, done: boolean): Promise<WrittenBlob> {
    const written = await writeBlobFile(this.layout, pending, shard, { chunkBytes, compression, admit: (bytes) => this.#admission.admit(bytes) })
    const rows = keys.byteLength / 32
    const spent = seconds?.()
    const visible = await this.#writer.run('publishShard', {
      digest: written.sha256, bytes: written.bytes, codec: written.codec, chunkBytes, checksums: written.checksums, seconds: spent, keys, lease, done, pending, now: Date.now(),
    }, { entries: rows + 8, payload: rows * 48 + written.checksums.byteLength })
    if (visible === undefined) throw new LeaseLostError(`shard ${written.digest}`)
    this.events.publish('shard', () => ({ digest: written.digest, items: rows, bytes: written.bytes, seconds: spent ?? NaN }))
    return written
  }

  /** Writes a dataset's manifest. Gives the digest of the one that counts: this one, or one that another process made meanwhile. `stale` names one to be replaced. */
  async publishManifest(encoded: EncodedBlob, dataset: Uint8Array, facts: Omit<DatasetRecord, 'manifest' | 'created' | 'shards'>, shards: readonly string[], owner: string, stale: string | undefined): Promise<string> {
    const pending = this.tmpName(owner)
    const chunkBytes = 2 ** 18
    let lease: Lease | undefined
    while ((lease = await this.claim(dataset, owner, [pending])) === undefined) {
      const held = this.datasetRecord(dataset)
      if (held !== undefined && held.manifest !== stale) return held.manifest
      await setTimeout(POLL_MS)
    }
    const written = await writeBlobFile(this.layout, pending, encoded, { chunkBytes, admit: (bytes) => this.#admission.admit(bytes) })
    const now = Date.now()
    const counts = await this.#writer.run('publishManifest', {
      digest: written.sha256, bytes: written.bytes, chunkBytes, checksums: written.checksums, dataset, lease,
      record: { ...facts, manifest: written.digest, created: now }, shards: Buffer.concat(shards.map(fromHex)), stale, pending, now,
    }, { entries: 16, payload: written.checksums.byteLength + 32_768 + 16 * shards.length })
    if (counts === undefined) throw new LeaseLostError(`manifest ${written.digest}`)
    return counts
  }

  /** Lists a dataset under the name and in the namespace that it was asked for last. */
  async relabel(dataset: Uint8Array, name: string, namespace: string): Promise<void> {
    const record = this.datasetRecord(dataset)
    const differs = record !== undefined && ((name !== '' && name !== record.name) || (namespace !== '' && namespace !== record.namespace))
    if (differs && !this.readonly) await this.#writer.run('relabel', { dataset, name, namespace })
  }

  /** Tells that something will be written soon. */
  expectWrites(): void {
    if (!this.readonly) this.#writer.warm()
  }

  async remember(memo: { request?: Uint8Array; dataset?: Uint8Array; files?: readonly { stat: string; digest: Uint8Array }[] }): Promise<void> {
    if (!this.readonly) await this.#writer.run('remember', memo)
  }

  /** Identities of items by their witnesses, where they are remembered. */
  identities(witnesses: Uint8Array): (Uint8Array | undefined)[] {
    this.#fresh()
    const table = this.#tables.witnesses
    return Array.from({ length: witnesses.byteLength / HASH_BYTES }, (_, k) => {
      const found = table.get(asBuffer(witnesses.subarray(k * HASH_BYTES, (k + 1) * HASH_BYTES)))
      return found === undefined ? undefined : Uint8Array.from(found)
    })
  }

  async rememberIdentities(witnesses: Uint8Array, identities: Uint8Array): Promise<void> {
    const entries = witnesses.byteLength / HASH_BYTES
    if (!this.readonly && entries > 0) await this.#writer.run('witness', { witnesses, identities }, { entries, payload: entries * 2 * HASH_BYTES })
  }

  /** Counts of what the cache was good for, of all processes. */
  tallies(): Record<string, number> {
    this.#fresh()
    const prefix = 'tally:'
    const sums: Record<string, number> = Object.fromEntries(Array.from(this.#tables.counters.getRange({ start: prefix, end: 'tally;' }), ({ key, value }) => [(key as string).slice(prefix.length), value]))
    for (const { value } of this.#tables.tallies.getRange()) for (const [name, count] of Object.entries(value)) sums[name] = (sums[name] ?? 0) + count
    return sums
  }

  /** Adds to them. As long as this process has written nothing else a plain put of its part does, as of a pin: starting the writer thread takes longer than a look into the cache. A transaction sums the parts up later. */
  async tally(added: Readonly<Record<string, number>>): Promise<void> {
    if (this.readonly || this.#closed) return
    const { tallies } = this.#tables
    if (this.#writer.running || (tallies.getStats() as { entryCount: number }).entryCount >= TALLY_PARTS) {
      await this.#writer.run('tally', { added }, { entries: 2 * TALLY_PARTS, payload: 4096 })
    } else {
      reserveIndex(this.layout, this.#tables, 4, 4096)
      await tallies.put(`${ownerName(thisProcess())}/${randomBytes(4).toString('hex')}`, added)
    }
  }

  // --- leases -----------------------------------------------------------------------------------------------------------

  /** A new owner of leases: one per piece of work, so that two builds in one process do not share theirs. */
  newOwner(): string {
    return `${ownerName(thisProcess())}#${this.#works++}-${randomBytes(4).toString('hex')}`
  }

  /** A file name in tmp/ for this owner. */
  tmpName(owner: string): string {
    return `${owner.replace('#', '-')}-${randomBytes(8).toString('hex')}`
  }

  /** Takes the work, or gives undefined while a living owner has it. */
  async claim(range: Uint8Array, owner: string, pending: readonly string[]): Promise<Lease | undefined> {
    if (this.readonly) throw new StoreError(this.layout.dir, 'is opened read-only, and what was asked for is not in it')
    this.#owners.add(owner)
    this.#beat()
    const token = await this.#writer.run('claim', { range, owner, pending, now: Date.now() })
    if (token === undefined) return undefined
    return { range, owner, token }
  }

  /** Gives work back; `unused` is the pending name of a file that was never made. Never rejects, so that it hides no other error: what cannot be given back is taken over once its owner is silent. */
  async release(lease: Lease, unused: string | undefined): Promise<void> {
    await this.#writer.run('release', { lease, unused }).catch(() => undefined)
  }

  /** Lets go of everything the owner holds; never rejects, as `release`. */
  async retire(owner: string): Promise<void> {
    // An owner that never claimed anything left no trace in the index.
    if (!this.#owners.delete(owner)) return
    if (this.#owners.size === 0) {
      clearInterval(this.#heartbeat)
      this.#heartbeat = undefined
    }
    if (!this.#closed) await this.#writer.run('retire', { owner }).catch(() => undefined)
  }

  /**
   * Keeps every shard of a dataset from being pruned while it is open. A plain asynchronous put: it decides nothing, so it needs no transaction on the
   * writer thread, whose start would be most of the time of opening a dataset.
   */
  async pin(dataset: string): Promise<string> {
    const owner = ownerName(thisProcess())
    this.entries.touchKey(fromHex(dataset), Date.now())
    const name = `${dataset}/${owner}/${randomBytes(4).toString('hex')}`
    if (!this.readonly) {
      reserveIndex(this.layout, this.#tables, 4, 4096)
      await this.#tables.pins.put(name, { owner, dataset, since: Date.now() })
    }
    return name
  }

  /** Keeps shards from being pruned until their owner retires. Never rejects: what is pruned meanwhile is computed again. */
  async hold(owner: string, blobs: readonly string[]): Promise<void> {
    if (this.readonly) return
    this.#owners.add(owner)
    this.#beat()
    try {
      reserveIndex(this.layout, this.#tables, 4, 4096 + 80 * blobs.length)
      await this.#tables.pins.put(`hold/${owner}/${randomBytes(4).toString('hex')}`, { owner, dataset: '', blobs, since: Date.now() })
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error
    }
  }

  async unpin(name: string): Promise<void> {
    if (this.readonly || this.#closed) return
    try {
      reserveIndex(this.layout, this.#tables, 4, 4096)
    } catch (error) {
      // A pin that stays is swept when this process is gone.
      if (error instanceof DiskFullError) return
      throw error
    }
    await this.#tables.pins.remove(name)
  }

  #beat(): void {
    this.#heartbeat ??= setInterval(() => {
      for (const owner of this.#owners) this.#writer.run('heartbeat', { owner, now: Date.now() }).catch(() => undefined)
    }, HEARTBEAT_MS).unref()
  }

  // --- upkeep -----------------------------------------------------------------------------------------------------------

  /** Removes what dead processes left: unfinished files, leases, pins, and blobs that never became visible. */
  async sweep(): Promise<void> {
    await this.#writer.run('sweep', { dir: this.layout.dir, now: Date.now() })
  }

  #leftovers(): boolean {
    if (this.#tables.counters.get('orphans') !== undefined) return true
    for (const _ of this.#tables.pending.getKeys({ limit: 1 })) return true
    for (const _ of this.#tables.leases.getKeys({ limit: 1 })) return true
    for (const _ of this.#tables.pins.getKeys({ limit: 1 })) return true
    return false
  }

  #scopesLeft(): boolean {
    for (const { value } of this.#tables.namespaces.getRange()) if (value.owner !== undefined) return true
    for (const _ of this.#tables.trash.getKeys({ limit: 1 })) return true
    return false
  }

  async close(): Promise<void> {
    if (this.#closed) return
    clearInterval(this.#heartbeat)
    await this.entries.drain()
    await this.#writer.close()
    this.#closed = true
    for (const opening of this.#blobs.values()) (await opening.catch(() => undefined))?.close()
    this.#blobs.clear()
    await this.#tables.root.close()
  }

  // Another process may have committed since; a read transaction is otherwise kept until the event loop turns.
  #fresh(): void {
    if (this.#closed) throw new StoreError(this.layout.dir, 'is closed')
    this.#tables.root.resetReadTxn()
    if (this.#writer.isBroken) this.#expectReadable()
  }

  /** After some failures LMDB lets a process read what was committed, after others nothing. */
  #expectReadable(): void {
    try {
      this.#tables.counters.get('format')
    } catch (cause) {
      throw new StoreError(this.layout.dir, `the index cannot be read in this process any more, because writing to it failed (${(cause as Error).message}); what was committed is there for others`, { cause })
    }
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
