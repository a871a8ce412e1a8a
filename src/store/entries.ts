import { StoreError } from '../core/errors.js'
import type { Events } from '../core/events.js'
import { fromHex } from '../core/hash.js'
import type { Codec, Compression } from './compression.js'
import { ChangeBatch } from './entry-batch.js'
import { OUTCOME, type ValueBlob } from './entry-transactions.js'
import { decodeEntry, entryKey, lookupKey, namespaceRange, type Entry } from './entry.js'
import { codecOfMagic } from './frame-scan.js'
import type { Layout } from './layout.js'
import type { OpenBlob } from './open-blob.js'
import { isAlive, ownerName, thisProcess } from '../core/owner.js'
import { Seen } from './seen.js'
import type { NamespaceRecord, Tables } from './tables.js'
import type { EncodedBlob } from './shard-format.js'
import { writeBlobFile } from './write-blob.js'
import type { Writer } from './writer.js'

/** Changes of one transaction: bounds what waits for a commit, and what a commit holds. */
const CHANGES_MAX = 4096
const CHANGE_BYTES_MAX = 8 * 2 ** 20
/** Changes worth a transaction of their own: so many are sent while the thread is still at the one before, and do not wait for the end of the turn. */
const EARLY_BYTES = 2 ** 20
const UNDER_WAY_MAX = 2
/** Checksum chunk of values' files. */
const CHUNK_BYTES = 2 ** 18
/** When entries were last read is written this often, of so many at most. */
const TOUCH_MS = 5_000
const TOUCH_ENTRIES = 262_144
/** When something was last read is known to so much. */
export const TOUCHED_MS = 60_000
/** Entries removed, and files collected, in one transaction. */
const CLEAR_STEP = 4096
/** How long a value in memory, or what a look-up sees, may outlive a change by another process. */
const LOOK_MS = 5
const COLLECT_STEP = 1024
/** Namespaces of the cache's own begin with it, which no caller's can: nobody lists them, and they go when everything does. */
export const HIDDEN = '\0'
const COLLECT_AGAIN_MS = 3_000

/** What the entries need of the store they are in. */
export interface EntryHost {
  readonly layout: Layout
  readonly readonly: boolean
  readonly events: Events
  readonly tables: Tables
  readonly writer: Writer
  /** Called before every read. */
  fresh(): void
  blob(digest: string): Promise<OpenBlob>
  tmpName(owner: string): string
  newOwner(): string
  /** Undefined when so many bytes may be written, or resolves when they may. */
  admit(bytes: number): Promise<void> | undefined
}

export interface NamespaceFacts extends NamespaceRecord {
  readonly id: number
}

/** Changes that go together, and who waits for them. */
class Commit {
  readonly changes: ChangeBatch
  readonly blobs: ValueBlob[] = []
  /** For each change what is called with its outcome, and what with an error. */
  readonly waiting: ((result: never) => void)[] = []

  constructor(memory: ArrayBuffer | undefined) {
    this.changes = new ChangeBatch(memory)
  }

  get full(): boolean {
    return this.changes.count >= CHANGES_MAX || this.changes.size >= CHANGE_BYTES_MAX
  }
}

/**
 * Key-value entries of a store: small values in the index, larger ones in files. Reads are plain look-ups; changes that come while a commit is under way are
 * committed together by one of the next, so that many at once cost little more than one.
 */
export class Entries {
  readonly #host: EntryHost
  readonly #ids = new Map<string, number>()
  readonly #making = new Map<string, Promise<number>>()
  #changes: number
  #lookedAt = 0
  #queue: Commit[] = []
  readonly #underWay = new Set<Promise<void>>()
  #sending = false
  /** Memory of batches that are committed. */
  #spare: ArrayBuffer[] = []
  /** Namespaces that were found in this snapshot. */
  readonly #found = new Map<string, number>()
  readonly #seen = new Seen()
  /** Read, and not yet written down. */
  #toWrite: { readonly namespace: string; readonly key: string; readonly now: number }[] = []
  /** The snapshot that look-ups see: since when (ms since 1970), and after how many of our transactions. */
  #snapshotAt = -Infinity
  #snapshotAfter = -1
  #turning = false
  readonly #touchedKeys = new Map<string, number>()
  #touching: NodeJS.Timeout | undefined
  #collecting = false
  #collectAgain: NodeJS.Timeout | undefined
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
  get(namespace: string, key: string, now = Date.now()): Entry | undefined {
    this.#look(now)
    const known = this.#ids.get(namespace)
    const record = known === undefined ? undefined : this.#record(known, key)
    if (record !== undefined) return decodeEntry(record, this.#host.layout.index, key)
    // Another process may have emptied and forgotten the namespace, and made it again.
    const id = this.#idOf(namespace)
    if (id === undefined || id === known) return undefined
    const found = this.#record(id, key)
    return found === undefined ? undefined : decodeEntry(found, this.#host.layout.index, key)
  }

  /**
   * The same for whoever is going to use the value, which is noted. `check` throws when a small value is not what was written; it is called once per record and process, because
   * what has been checked and not been replaced since is that still.
   */
  read(namespace: string, key: string, now: number, check: (small: Uint8Array, file: string) => void): Entry | undefined {
    const entry = this.get(namespace, key, now)
    if (entry === undefined) return undefined
    const slot = this.#seen.slot(namespace, key)
    if (entry.small !== undefined && !this.#seen.isChecked(slot, entry)) {
      check(entry.small, this.#host.layout.index)
      this.#seen.setChecked(slot, entry)
    }
    this.#note(slot, namespace, key, now)
    return entry
  }

  #record(id: number, key: string): Buffer | undefined {
    return this.#host.tables.entries.getBinaryFast(lookupKey(id, key)) as Buffer | undefined
  }

  /**
   * Look-ups of one turn of the event loop share a snapshot, as long as no transaction of ours ends and for so many ms at most: news from outside come with another turn. Renewing it
   * for each costs more than the look-up.
   */
  #look(now: number): void {
    const age = now - this.#snapshotAt
    const { settled } = this.#host.writer
    if (age >= 0 && age < LOOK_MS && settled === this.#snapshotAfter) return
    this.#host.fresh()
    this.#snapshotAt = now
    this.#snapshotAfter = settled
    this.#found.clear()
    if (this.#turning) return
    this.#turning = true
    setImmediate(() => {
      this.#turning = false
      this.#snapshotAt = -Infinity
    })
  }

  /** Entries of a namespace that have not expired at `now` (ms since 1970), in the order of the index. */
  * keys(namespace: string, now: number): Generator<{ readonly key: string; readonly entry: Entry }> {
    const id = this.#idOf(namespace)
    if (id === undefined) return
    for (const { key: indexKey, value } of this.#host.tables.entries.getRange(namespaceRange(id))) {
      const entry = decodeEntry(value, this.#host.layout.index, indexKey as Buffer)
      if (entry.expires > now) yield { key: entry.key, entry }
    }
  }

  /** All but hidden ones. */
  namespaces(): NamespaceFacts[] {
    return this.#allNamespaces().filter(({ name }) => !name.startsWith(HIDDEN))
  }

  #allNamespaces(): NamespaceFacts[] {
    this.#host.fresh()
    return Array.from(this.#host.tables.namespaces.getRange(), ({ key, value }) => ({ id: key as number, ...value }))
  }

  /** Resolves when it is durable, after `done` was called. `bytes` of a small value are its encoding's, which is copied before this returns. */
  put(namespace: string, entry: Entry, done: () => void): Promise<void> {
    const id = this.#host.readonly ? undefined : this.#idOf(namespace)
    const wait = id === undefined ? this.#idFor(namespace) : undefined
    const admitted = this.#host.admit(entry.bytes)
    if (wait === undefined && admitted === undefined) return this.#put(id!, entry, done)
    const kept = { ...entry, small: entry.small && Uint8Array.from(entry.small) }
    return Promise.all([wait ?? id!, admitted]).then(([made]) => this.#put(made, kept, done))
  }

  #put(id: number, entry: Entry, done: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const commit = this.#open()
      commit.changes.put(lookupKey(id, entry.key), entry)
      commit.waiting.push(() => { done(); resolve() }, reject)
      this.#added(commit)
    })
  }

  /** The same of a value in a file, which is written now; gives its size. */
  async putBlob(namespace: string, entry: Omit<Entry, 'small' | 'blob' | 'bytes'>, value: EncodedBlob, compression: Compression | undefined, codec?: Codec): Promise<number> {
    const key = entryKey(await this.#idFor(namespace), entry.key)
    const { layout, writer, admit } = this.#host
    for (;;) {
      const owner = this.#owner ??= this.#host.newOwner()
      const pending = this.#host.tmpName(owner)
      await writer.run('announce', { pending: [pending], owner, now: Date.now() })
      const written = await writeBlobFile(layout, pending, value, { chunkBytes: CHUNK_BYTES, compression, admit, ...(codec !== undefined && { codec }) }).catch(async (error: unknown) => {
        // Otherwise files of others would wait for this one to appear before they go.
        await writer.run('renounce', { pending: [pending] }).catch(() => undefined)
        throw error
      })
      const outcome = await this.#change((changes) => changes.put(key, { ...entry, bytes: written.bytes, small: undefined, blob: written.sha256 }), { digest: written.sha256, bytes: written.bytes, codec: written.codec, chunkBytes: written.chunkBytes, checksums: written.checksums, pending })
      // Somebody collected the file of an earlier, equal value between the rename and the commit.
      if (outcome !== OUTCOME.lost) return written.bytes
    }
  }

  /** Takes over an entry of another store, with the file of its value when that is in one. */
  async adopt(namespace: string, entry: Entry, file: Uint8Array | undefined): Promise<void> {
    if (file === undefined) await this.put(namespace, entry, () => undefined)
    else await this.putBlob(namespace, entry, { parts: [file], shuffled: [] }, undefined, codecOfMagic(new DataView(file.buffer, file.byteOffset, file.byteLength).getUint32(0, true)))
  }

  /** Removes an entry whose bytes turned out damaged, when `isDamaged` still says so. What was made from it stays: that was made from sound ones. */
  async lose(namespace: string, key: string, isDamaged: (entry: Entry) => boolean): Promise<void> {
    const id = this.#host.readonly ? undefined : this.#idOf(namespace)
    const at = id === undefined ? undefined : entryKey(id, key)
    const record = at === undefined ? undefined : this.#host.tables.entries.get(at)
    if (at === undefined || record === undefined) return
    let entry: Entry | undefined
    try {
      entry = decodeEntry(record, this.#host.layout.index, key)
    } catch {
      // A record that cannot be read is damaged whatever is asked.
    }
    if (entry !== undefined && !isDamaged(entry)) return
    await this.#host.writer.run('dropEntries', { entries: [{ key: at, record: Uint8Array.from(record) }] }, { entries: 4, payload: 0 })
  }

  /** True when there was one. */
  async remove(namespace: string, key: string): Promise<boolean> {
    this.#expectWritable()
    const id = this.#idOf(namespace)
    if (id === undefined) return false
    const removed = await this.#change((changes) => changes.remove(entryKey(id, key)), undefined) === OUTCOME.present
    this.#collectSoon()
    return removed
  }

  /** Removes the entries of a namespace and of those below it; gives how many, without hidden ones. */
  async clear(namespace: string): Promise<number> {
    let removed = 0
    for (const { id, name } of this.#allNamespaces()) {
      if (!isBelow(name, namespace)) continue
      for (;;) {
        const step = await this.#host.writer.run('clear', { namespace: id, limit: CLEAR_STEP }, { entries: 3 * CLEAR_STEP, payload: 0 })
        this.#ours(step.changes)
        removed += name.startsWith(HIDDEN) ? 0 : step.removed
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

  /** Makes a namespace, which belongs to this process until it is forgotten when it is a scope. */
  async own(namespace: string, isScope: boolean): Promise<void> {
    this.#ids.set(namespace, await this.#host.writer.run('namespace', { name: namespace, owner: isScope ? ownerName(thisProcess()) : undefined }))
  }

  /** Namespaces whose owners are gone. */
  abandoned(): NamespaceFacts[] {
    return this.namespaces().filter(({ owner }) => owner !== undefined && isAlive(owner) === false)
  }

  /** Forgets namespaces without entries. */
  async forget(list: readonly NamespaceFacts[]): Promise<void> {
    for (const { id, name, owner } of list) {
      await this.#host.writer.run('dropNamespace', { namespace: id, owner })
      this.#ids.delete(name)
      this.#found.delete(name)
    }
  }

  /** Removes files that nothing holds any more, as far as nobody can be about to use them. */
  async collect(): Promise<void> {
    for (let left = Infinity; ;) {
      const now = await this.#host.writer.run('collect', { dir: this.#host.layout.dir, limit: COLLECT_STEP })
      if (now === 0) return
      if (now >= left) return this.#collectLater()
      left = now
    }
  }

  /** What is left may be about to be used by somebody who is writing now. */
  #collectLater(): void {
    this.#collectAgain ??= setTimeout(() => {
      this.#collectAgain = undefined
      this.collect().catch(() => undefined)
    }, COLLECT_AGAIN_MS).unref()
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
  touch(namespace: string, key: string, now: number): void {
    this.#note(this.#seen.slot(namespace, key), namespace, key, now)
  }

  #note(slot: number, namespace: string, key: string, now: number): void {
    if (this.#host.readonly || !this.#seen.touch(slot, now, TOUCHED_MS) || this.#toWrite.length >= TOUCH_ENTRIES) return
    this.#toWrite.push({ namespace, key, now })
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
      ...this.#toWrite.flatMap(({ namespace, key, now }) => {
        const id = this.#ids.get(namespace)
        return id === undefined ? [] : touchOf(entryKey(id, key), now)
      }),
    ]
    this.#toWrite = []
    this.#touchedKeys.clear()
    if (parts.length === 0) return
    await this.#host.writer.run('touch', { packed: Buffer.concat(parts) }, { entries: parts.length, payload: parts.length * 64 }).catch(() => undefined)
  }

  /** What was asked for is committed. */
  async drain(): Promise<void> {
    clearTimeout(this.#collectAgain)
    while (this.#sending || this.#underWay.size > 0) await Promise.all(this.#underWay)
    await this.flushTouches()
  }

  // --- namespaces -------------------------------------------------------------------------------------------------------

  #idOf(namespace: string): number | undefined {
    this.#look(Date.now())
    const found = this.#found.get(namespace)
    if (found !== undefined) return found
    const known = this.#ids.get(namespace)
    // Another process may have emptied and forgotten it, and made it again.
    if (known !== undefined && this.#host.tables.namespaces.get(known)?.name === namespace) {
      this.#found.set(namespace, known)
      return known
    }
    for (const { key, value } of this.#host.tables.namespaces.getRange()) {
      if (value.name !== namespace) continue
      this.#ids.set(namespace, key as number)
      this.#found.set(namespace, key as number)
      return key as number
    }
    this.#ids.delete(namespace)
    return undefined
  }

  async #idFor(namespace: string): Promise<number> {
    this.#expectWritable()
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

  #expectWritable(): void {
    if (this.#host.readonly) throw new StoreError(this.#host.layout.dir, 'is opened read-only')
  }

  // --- changes ----------------------------------------------------------------------------------------------------------

  #change(write: (changes: ChangeBatch) => void, blob: ValueBlob | undefined): Promise<number> {
    return new Promise((resolve, reject) => {
      const commit = this.#open()
      write(commit.changes)
      if (blob !== undefined) commit.blobs.push(blob)
      commit.waiting.push(resolve, reject)
      this.#added(commit)
    })
  }

  /** The commit that the next change goes into. */
  #open(): Commit {
    const last = this.#queue.at(-1)
    if (last !== undefined && !last.full) return last
    const commit = new Commit(this.#spare.pop())
    this.#queue.push(commit)
    return commit
  }

  #added({ changes }: Commit): void {
    if (changes.size >= EARLY_BYTES) this.#send()
    else this.#sendSoon()
  }

  /** All that is asked for in this turn of the event loop goes together. */
  #sendSoon(): void {
    if (this.#sending) return
    this.#sending = true
    queueMicrotask(() => {
      this.#sending = false
      this.#send()
    })
  }

  /** Sends what waits, as far as the thread is not busy; a second transaction only when it is a large one. */
  #send(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const busy = this.#underWay.size
      if (busy >= UNDER_WAY_MAX || (busy > 0 && next.changes.size < EARLY_BYTES)) return
      this.#queue.shift()
      const done = this.#commit(next).finally(() => {
        this.#underWay.delete(done)
        // Those whose promises were just resolved may come with more.
        if (this.#queue.length > 0) this.#sendSoon()
      })
      this.#underWay.add(done)
    }
  }

  async #commit({ changes, blobs, waiting }: Commit): Promise<void> {
    const payload = changes.size + blobs.reduce((sum, { checksums }) => sum + checksums.byteLength + 512, 0)
    const { writer, layout } = this.#host
    try {
      const packed = changes.packed()
      const size = { entries: 3 * changes.count + 4 * blobs.length, payload }
      const made = await writer.run('change', { packed, blobs, dir: layout.dir, now: Date.now() }, size, packed.buffer as ArrayBuffer)
      this.#ours(made.changes, made.cascaded)
      for (let k = 0; k < waiting.length; k += 2) waiting[k]!(made.outcomes[k / 2] as never)
    } catch (error) {
      for (let k = 1; k < waiting.length; k += 2) waiting[k]!(error as never)
    }
    if (writer.returned !== undefined && this.#spare.length < UNDER_WAY_MAX + 1) this.#spare.push(writer.returned)
    writer.returned = undefined
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
