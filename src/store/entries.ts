import { StoreError } from '../core/errors.js'
import type { Events } from '../core/events.js'
import { fromHex } from '../core/hash.js'
import type { Compression } from './compression.js'
import { ChangeBatch } from './entry-batch.js'
import { OUTCOME, type ValueBlob } from './entry-transactions.js'
import { decodeEntry, entryKey, namespaceRange, type Entry } from './entry.js'
import type { Layout } from './layout.js'
import type { OpenBlob } from './open-blob.js'
import { isAlive, ownerName, thisProcess } from './owner.js'
import type { NamespaceRecord, Tables } from './tables.js'
import type { EncodedBlob } from './shard-format.js'
import { writeBlobFile } from './write-blob.js'
import type { Writer } from './writer.js'

/** Changes of one transaction: bounds what waits for a commit, and what a commit holds. */
const CHANGES_MAX = 4096
const CHANGE_BYTES_MAX = 8 * 2 ** 20
/** Checksum chunk of values' files. */
const CHUNK_BYTES = 2 ** 18
/** When entries were last read is written this often; so many of them are kept in mind. */
const TOUCH_MS = 5_000
const TOUCH_ENTRIES = 262_144
/** When something was last read is known to so much. */
const TOUCHED_MS = 60_000
/** Entries removed, and files collected, in one transaction. */
const CLEAR_STEP = 4096
/** How long a value in memory may outlive a change by another process. */
const LOOK_MS = 5
const COLLECT_STEP = 1024

/** What the entries need of the store they are in. */
export interface EntryHost {
  readonly layout: Layout
  readonly readonly: boolean
  readonly minFree: number
  readonly events: Events
  readonly tables: Tables
  readonly writer: Writer
  /** Called before every read. */
  fresh(): void
  blob(digest: string): Promise<OpenBlob>
  tmpName(owner: string): string
  newOwner(): string
}

export interface NamespaceFacts extends NamespaceRecord {
  readonly id: number
}

/** Changes that go together, and who waits for them. */
class Commit {
  readonly changes = new ChangeBatch()
  readonly blobs: ValueBlob[] = []
  readonly waiting: { resolve(outcome: number): void; reject(error: Error): void }[] = []

  get full(): boolean {
    return this.changes.count >= CHANGES_MAX || this.changes.size >= CHANGE_BYTES_MAX
  }
}

/**
 * Key-value entries of a store: small values in the index, larger ones in files. Reads are plain look-ups; changes that come while a commit is under way are
 * committed together by the next, so that many at once cost little more than one.
 */
export class Entries {
  readonly #host: EntryHost
  readonly #ids = new Map<string, number>()
  readonly #making = new Map<string, Promise<number>>()
  #changes: number
  #lookedAt = 0
  #queue: Commit[] = []
  #flushing: Promise<void> | undefined
  /** When entries were read, by `namespace\0key`; and those of which it is still to be written. */
  readonly #touched = new Map<string, number>()
  #toWrite: string[] = []
  readonly #touchedKeys = new Map<string, number>()
  #touching: NodeJS.Timeout | undefined
  #collecting = false
  #owner: string | undefined

  constructor(host: EntryHost) {
    this.#host = host
    this.#changes = host.tables.counters.get('changes') ?? 0
  }

  /** True when another process may have changed entries since this was asked for last; at most so often it is looked at. */
  changedByOthers(): boolean {
    const now = performance.now()
    if (now - this.#lookedAt < LOOK_MS) return false
    this.#lookedAt = now
    this.#host.fresh()
    const changes = this.#host.tables.counters.get('changes') ?? 0
    const others = changes !== this.#changes
    this.#changes = changes
    return others
  }

  /** A transaction of ours was number `changes`. Where others came between, the difference stays to be noticed. */
  #ours(changes: number, cascaded = false): void {
    if (changes === this.#changes + 1) this.#changes = changes
    // Nobody knows which entries went with it.
    if (cascaded) [this.#changes, this.#lookedAt] = [-1, -Infinity]
  }

  /** Views of memory that the next look-up writes over: take what is needed at once. Expired ones are given, too. */
  get(namespace: string, key: string): Entry | undefined {
    this.#host.fresh()
    const known = this.#ids.get(namespace)
    const record = known === undefined ? undefined : this.#record(known, key)
    if (record !== undefined) return decodeEntry(record, this.#host.layout.index)
    // Another process may have emptied and forgotten the namespace, and made it again.
    const id = this.#idOf(namespace)
    if (id === undefined || id === known) return undefined
    const found = this.#record(id, key)
    return found === undefined ? undefined : decodeEntry(found, this.#host.layout.index)
  }

  #record(id: number, key: string): Buffer | undefined {
    return this.#host.tables.entries.getBinaryFast(entryKey(id, key)) as Buffer | undefined
  }

  /** Entries of a namespace that have not expired at `now` (ms since 1970), in the order of the index. */
  * keys(namespace: string, now: number): Generator<{ readonly key: string; readonly entry: Entry }> {
    const id = this.#idOf(namespace)
    if (id === undefined) return
    for (const { value } of this.#host.tables.entries.getRange(namespaceRange(id))) {
      const entry = decodeEntry(value, this.#host.layout.index)
      if (entry.expires > now) yield { key: entry.key, entry }
    }
  }

  namespaces(): NamespaceFacts[] {
    this.#host.fresh()
    return Array.from(this.#host.tables.namespaces.getRange(), ({ key, value }) => ({ id: key as number, ...value }))
  }

  /** Resolves when it is durable; true when another value took its place. `bytes` of a small value are its encoding's. */
  async put(namespace: string, entry: Entry): Promise<boolean> {
    const key = entryKey(await this.#idFor(namespace), entry.key)
    return await this.#change((changes) => changes.put(key, entry), undefined) === OUTCOME.present
  }

  /** The same of a value in a file, which is written now; gives its size. */
  async putBlob(namespace: string, entry: Omit<Entry, 'small' | 'blob' | 'bytes'>, value: EncodedBlob, compression: Compression | undefined): Promise<number> {
    const key = entryKey(await this.#idFor(namespace), entry.key)
    const { layout, minFree, events, writer } = this.#host
    for (;;) {
      const owner = this.#owner ??= this.#host.newOwner()
      const pending = this.#host.tmpName(owner)
      await writer.run('announce', { pending: [pending], owner, now: Date.now() })
      const written = await writeBlobFile(layout, pending, value, { chunkBytes: CHUNK_BYTES, minFree, events, compression }).catch(async (error: unknown) => {
        // Otherwise files of others would wait for this one to appear before they go.
        await writer.run('renounce', { pending: [pending] }).catch(() => undefined)
        throw error
      })
      const outcome = await this.#change((changes) => changes.put(key, { ...entry, bytes: written.bytes, small: undefined, blob: written.sha256 }), { digest: written.sha256, bytes: written.bytes, codec: written.codec, chunkBytes: written.chunkBytes, checksums: written.checksums, pending })
      // Somebody collected the file of an earlier, equal value between the rename and the commit.
      if (outcome !== OUTCOME.lost) return written.bytes
    }
  }

  /** True when there was one. */
  async remove(namespace: string, key: string): Promise<boolean> {
    const id = this.#idOf(namespace)
    if (id === undefined) return false
    const removed = await this.#change((changes) => changes.remove(entryKey(id, key)), undefined) === OUTCOME.present
    this.#collectSoon()
    return removed
  }

  /** Removes the entries of a namespace and of those below it; gives how many. */
  async clear(namespace: string): Promise<number> {
    let removed = 0
    for (const { id, name } of this.namespaces()) {
      if (!isBelow(name, namespace)) continue
      for (;;) {
        const step = await this.#host.writer.run('clear', { namespace: id, limit: CLEAR_STEP }, { entries: 3 * CLEAR_STEP, payload: 0 })
        this.#ours(step.changes)
        removed += step.removed
        if (step.removed < CLEAR_STEP) break
      }
    }
    await this.collect()
    return removed
  }

  /** Removes what was made from things with these digests (64 hex digits), and what was made from that; gives how many entries. */
  async invalidate(digests: readonly string[]): Promise<number> {
    const { removed, changes } = await this.#host.writer.run('invalidate', { digests: digests.map(fromHex) }, { entries: 1024, payload: 0 })
    this.#ours(changes, removed > 0)
    await this.collect()
    return removed
  }

  /** A namespace that belongs to this process until `release`. */
  async own(namespace: string): Promise<void> {
    this.#ids.set(namespace, await this.#host.writer.run('namespace', { name: namespace, owner: ownerName(thisProcess()) }))
  }

  /** Empties a namespace with all below it and forgets it. */
  async release(namespace: string): Promise<void> {
    await this.clear(namespace)
    await this.#forget(this.namespaces().filter(({ name }) => isBelow(name, namespace)))
  }

  /** Does so with namespaces whose owners are gone. */
  async sweep(): Promise<void> {
    const dead = this.namespaces().filter(({ owner }) => owner !== undefined && isAlive(owner) === false)
    for (const { name } of dead) await this.clear(name)
    await this.#forget(dead)
    for (const _ of this.#host.tables.trash.getKeys({ limit: 1 })) await this.collect()
  }

  async #forget(list: readonly NamespaceFacts[]): Promise<void> {
    for (const { id, name, owner } of list) {
      await this.#host.writer.run('dropNamespace', { namespace: id, owner })
      this.#ids.delete(name)
    }
  }

  /** Removes files that nothing holds any more, as far as nobody can be about to use them. */
  async collect(): Promise<void> {
    for (let left = Infinity; ;) {
      const now = await this.#host.writer.run('collect', { dir: this.#host.layout.dir, limit: COLLECT_STEP })
      if (now === 0 || now >= left) return
      left = now
    }
  }

  #collectSoon(): void {
    if (this.#collecting) return
    this.#collecting = true
    setImmediate(() => {
      this.#collecting = false
      if (this.#queue.length === 0) this.collect().catch(() => undefined)
    })
  }

  /** Notes that an entry was read. */
  touch(name: string, now: number): void {
    const before = this.#touched.get(name)
    if ((before !== undefined && now - before < TOUCHED_MS) || this.#host.readonly) return
    if (this.#touched.size >= TOUCH_ENTRIES) this.#touched.clear()
    this.#touched.set(name, now)
    this.#toWrite.push(name)
    this.#touching ??= setTimeout(() => void this.flushTouches(), TOUCH_MS).unref()
  }

  /** The same of what has a key of its own: a dataset. */
  touchKey(key: Uint8Array, now: number): void {
    if (this.#host.readonly) return
    // Writing starts a thread: not worth it for a minute's difference.
    const before = this.#host.tables.uses.get(Buffer.from(key))
    if (before === undefined || now - before.readUInt32BE(0) * 1000 > TOUCHED_MS) this.#touchedKeys.set(Buffer.from(key).toString('hex'), now)
  }

  /** Writes down what was read. Failures are no harm: prune then knows less. */
  async flushTouches(): Promise<void> {
    clearTimeout(this.#touching)
    this.#touching = undefined
    const parts = [
      ...Array.from(this.#touchedKeys, ([hex, now]) => touchOf(Buffer.from(hex, 'hex'), now)),
      ...this.#toWrite.map((name) => {
        const end = name.indexOf('\0')
        const id = this.#ids.get(name.slice(0, end))
        return id === undefined ? [] : touchOf(entryKey(id, name.slice(end + 1)), this.#touched.get(name) ?? Date.now())
      }).flat(),
    ]
    this.#toWrite = []
    this.#touchedKeys.clear()
    if (parts.length === 0) return
    await this.#host.writer.run('touch', { packed: Buffer.concat(parts) }, { entries: parts.length, payload: parts.length * 64 }).catch(() => undefined)
  }

  /** What was asked for is committed. */
  async drain(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing
    await this.flushTouches()
  }

  // --- namespaces -------------------------------------------------------------------------------------------------------

  #idOf(namespace: string): number | undefined {
    this.#host.fresh()
    const known = this.#ids.get(namespace)
    // Another process may have emptied and forgotten it, and made it again.
    if (known !== undefined && this.#host.tables.namespaces.get(known)?.name === namespace) return known
    for (const { key, value } of this.#host.tables.namespaces.getRange()) {
      if (value.name !== namespace) continue
      this.#ids.set(namespace, key as number)
      return key as number
    }
    this.#ids.delete(namespace)
    return undefined
  }

  async #idFor(namespace: string): Promise<number> {
    if (this.#host.readonly) throw new StoreError(this.#host.layout.dir, 'is opened read-only')
    const known = this.#idOf(namespace)
    if (known !== undefined) return known
    const making = this.#making.get(namespace) ?? this.#host.writer.run('namespace', { name: namespace, owner: undefined })
    this.#making.set(namespace, making)
    try {
      const id = await making
      this.#ids.set(namespace, id)
      return id
    } finally {
      this.#making.delete(namespace)
    }
  }

  // --- changes ----------------------------------------------------------------------------------------------------------

  #change(write: (changes: ChangeBatch) => void, blob: ValueBlob | undefined): Promise<number> {
    return new Promise((resolve, reject) => {
      let commit = this.#queue.at(-1)
      if (commit === undefined || commit.full) this.#queue.push(commit = new Commit())
      write(commit.changes)
      if (blob !== undefined) commit.blobs.push(blob)
      commit.waiting.push({ resolve, reject })
      this.#flushing ??= this.#flush()
    })
  }

  async #flush(): Promise<void> {
    // All that is asked for in this turn of the event loop goes together.
    await Promise.resolve()
    for (let commit = this.#queue.shift(); commit !== undefined; commit = this.#queue.shift()) {
      const { changes, blobs, waiting } = commit
      const payload = changes.size + blobs.reduce((sum, { checksums }) => sum + checksums.byteLength + 512, 0)
      try {
        const packed = changes.packed()
        const size = { entries: 3 * changes.count + 4 * blobs.length, payload }
        const made = await this.#host.writer.run('change', { packed, blobs, dir: this.#host.layout.dir, now: Date.now() }, size, [packed.buffer as ArrayBuffer])
        this.#ours(made.changes, made.cascaded)
        waiting.forEach(({ resolve }, k) => resolve(made.outcomes[k]!))
      } catch (error) {
        for (const { reject } of waiting) reject(error as Error)
      }
    }
    // At once: whoever comes next finds an empty queue that nobody is at.
    this.#flushing = undefined
  }
}

/** `u32 bytes of the key · key · u32 seconds` */
function touchOf(key: Buffer, now: number): Buffer {
  const part = Buffer.allocUnsafe(8 + key.length)
  part.writeUInt32LE(key.length)
  key.copy(part, 4)
  part.writeUInt32BE(Math.floor(now / 1000), 4 + key.length)
  return part
}

/** A namespace means itself and all below it; '' means all. */
export function isBelow(name: string, namespace: string): boolean {
  return namespace === '' || name === namespace || name.startsWith(`${namespace}/`)
}
