import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { onAbort } from '../core/abort.js'
import { DiskFullError, IntegrityError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import { boolean, callable, checkOptions, lifetime, number, show } from '../core/options.js'
import { checkCompression, type Compression, type CompressionOption } from '../store/compression.js'
import { isBelow, TOUCHED_MS } from '../store/entries.js'
import { entryDigest, type Entry } from '../store/entry.js'
import { encodeBlob } from '../store/shard-format.js'
import { POLL_MS, type Store } from '../store/store.js'
import type { Stores } from '../store/stores.js'
import { digestOfValue, type Dependents } from './dependents.js'
import type { MemoryTier, Remembered } from './memory.js'
import { checkNamespace } from './namespace.js'
import { checkMetadata, decodeMetadata, encodeMetadata, type Metadata } from './metadata.js'
import type { Slabs } from './slab.js'
import type { Remote } from './remote.js'
import { Tally, type CacheStats } from './tally.js'
import { sizeOfValue, type Value } from './value.js'
import { valueFrom, valueTensors, type ValueParts } from './value-blob.js'
import { checkSmall, decodeSmall, encodeSmall, encodeSmallOnce } from './value-small.js'

/** Where a value lies. */
export interface WhereOptions {
  /** `/`-separated label; default: the top. In a scope it lies below the scope's. */
  readonly namespace?: string
  /** Aborted: rejects with its reason. Others who wait for the same value still get it. */
  readonly signal?: AbortSignal
}

/** Where a value is put, for how long, and what is noted beside it. */
export interface PutOptions extends WhereOptions {
  /** Noted beside the value, for `validate`; no part of the key. Default: nothing. */
  readonly metadata?: Metadata
  /** `24h`, `30m`, milliseconds, or `never`; default: what `openCache` was given, or never. */
  readonly expiresIn?: string | number
  /** A date, or milliseconds since 1970. */
  readonly expiresAt?: Date | number
  /** Pruned only when asked for by name. Default false. */
  readonly keep?: boolean
  /** How it is kept when it is larger than 32 KiB; default: what `openCache` was given. */
  readonly compression?: CompressionOption
  /** Digests (64 hex digits) of what it was made from, a dataset's or another value's: when that is replaced or removed, so is this. */
  readonly dependsOn?: readonly string[]
}

/** Where a value is looked up, and whether it still holds. */
export interface GetOptions extends WhereOptions {
  /** Says whether what is there still holds; anything but true is a miss. Always called when it is given. */
  readonly validate?: (metadata: Metadata) => boolean | Promise<boolean>
}

/** Of `getOrCompute`: those of looking up, and those of putting what was computed. */
export interface ComputeOptions extends PutOptions, GetOptions {
  /** Computes also when there is a value. Default false. */
  readonly force?: boolean
}

/** A value that was there. */
export interface Hit<T = Value> {
  /** To be read only: the next hit may be the same object, large arrays are views of a file, and small ones share a buffer with others. */
  readonly value: T
  /** What was noted when it was put. */
  readonly metadata: Metadata
  /** When it was put. */
  readonly created: Date
  /** Undefined when it does not expire. */
  readonly expires: Date | undefined
}

/** One computation that several wait for. */
interface Flight {
  readonly made: Promise<Made>
  readonly signal: AbortSignal | undefined
}

/** What all namespaces of a cache share. */
export interface Room {
  /** Undefined when values live in memory only. */
  readonly stores: Stores | undefined
  /** False: nothing is kept, everything is computed. */
  readonly enabled: boolean
  readonly memory: MemoryTier
  /** Milliseconds; Infinity: never. */
  readonly expiresIn: number
  readonly compression: Compression | undefined
  /** Undefined when there is none, or nothing may be written. */
  readonly remote: Remote | undefined
  readonly tally: Tally
  /** What memory knows of what was made from what; asked where there is no store. */
  readonly dependents: Dependents
  /** Computations under way, by namespace and key. */
  readonly flights: Map<string, Flight>
  /** Where the arrays of small values are copied to. */
  readonly slabs: Slabs
}

const PUT_OPTIONS = ['namespace', 'signal', 'metadata', 'expiresIn', 'expiresAt', 'keep', 'compression', 'dependsOn']
const GET_OPTIONS = ['namespace', 'signal', 'validate']
const COMPUTE_OPTIONS = [...PUT_OPTIONS, 'validate', 'force']
const WHERE_OPTIONS = ['namespace', 'signal']
/** Values of files are views: what the memory tier pays for one is the tree around them. */
const VIEW_BYTES = 1024
/** And of one whose arrays are in a slab. */
const TREE_BYTES = 512
const NO_OPTIONS = Object.freeze({})
const INDEPENDENT: readonly string[] = []

/** Values by key: in memory, and in the store beside it. */
export class KeyValue {
  /** Label under which its entries lie; '' is the top. */
  readonly namespace: string
  /** @internal */
  protected readonly room: Room

  /** @internal */
  constructor(room: Room, namespace: string) {
    this.room = room
    this.namespace = namespace
  }

  /**
   * Keeps a value: any tree of plain data whose leaves may also be typed arrays, tensors and bytes. Resolves when it is durable; many at once are
   * committed together. An entry of that key is replaced. Rejects with DiskFullError when there is no room.
   */
  put(key: string, value: Value, options: PutOptions = NO_OPTIONS): Promise<void> {
    const where = 'put'
    try {
      if (options !== NO_OPTIONS) {
        checkOptions(where, options, PUT_OPTIONS)
        options.signal?.throwIfAborted()
      }
      return this.#put(where, this.#place(where, key, options), value, this.#facts(where, options, NaN))
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  /** What is kept under the key, or undefined: nothing, something that has expired, or that `validate` does not accept. */
  async get<T = Value>(key: string, options: GetOptions = NO_OPTIONS): Promise<Hit<T> | undefined> {
    if (options !== NO_OPTIONS) checkOptions('get', options, GET_OPTIONS)
    callable('get', 'validate', options.validate, true)
    options.signal?.throwIfAborted()
    const place = this.#place('get', key, options)
    const now = this.#find(place, options.validate)
    const found = now instanceof Promise ? await now : now
    return found === undefined ? undefined : hitOf(found)
  }

  /** The hits among these keys, in their order. */
  async getMany<T = Value>(keys: readonly string[], options: GetOptions = {}): Promise<Map<string, Hit<T>>> {
    checkOptions('getMany', options, GET_OPTIONS)
    if (!Array.isArray(keys)) throw new TypeError(`getMany: keys must be a list of texts, not ${show(keys)}`)
    callable('getMany', 'validate', options.validate, true)
    const hits = new Map<string, Hit<T>>()
    options.signal?.throwIfAborted()
    const found = keys.map((key) => this.#find(this.#place('getMany', key, options), options.validate))
    // Most are there already, and waiting for what is no promise costs as much as for one.
    for (let k = 0; k < keys.length; k++) {
      const now = found[k]
      const hit = now instanceof Promise ? await now : now
      if (hit !== undefined) hits.set(keys[k]!, hitOf(hit))
    }
    return hits
  }

  /** True when `get` would give something, as far as is known without `validate`. */
  async has(key: string, options: WhereOptions = {}): Promise<boolean> {
    checkOptions('has', options, WHERE_OPTIONS)
    const place = this.#place('has', key, options)
    if (!this.room.enabled) return false
    const now = Date.now()
    const expires = this.#remembered(place, now)?.expires ?? place.store?.entries.get(place.namespace, place.key)?.expires
    return expires === undefined ? this.#fetch(place) : expires > now
  }

  /** True when there was one. */
  async delete(key: string, options: WhereOptions = {}): Promise<boolean> {
    checkOptions('delete', options, WHERE_OPTIONS)
    const place = this.#place('delete', key, options)
    const removed = await place.store?.entries.remove(place.namespace, place.key)
    // Afterwards: who read meanwhile has put it back.
    const held = place.store === undefined ? this.room.dependents.delete(place.namespace, place.key) : this.room.memory.delete(place.namespace, place.key)
    await this.remote?.delete(place.namespace, place.key)
    return removed ?? held
  }

  /** SHA-256, 64 hex digits, of what is kept under a key: of its file, or of how it lies in the index. For `dependsOn`. Undefined when there is nothing. */
  async digest(key: string, options: WhereOptions = {}): Promise<string | undefined> {
    checkOptions('digest', options, WHERE_OPTIONS)
    const { namespace, store } = this.#place('digest', key, options)
    const now = Date.now()
    if (store === undefined) {
      const held = this.room.memory.peek(namespace, key)
      return held === undefined || held.expires <= now ? undefined : digestOfValue(held.value)
    }
    const entry = store.entries.get(namespace, key)
    return entry === undefined || entry.expires <= now ? undefined : entryDigest(entry)
  }

  /** Removes everything of a namespace and of those below it; without one, of this one. Gives how many entries. */
  async clear(options: WhereOptions = {}): Promise<number> {
    checkOptions('clear', options, WHERE_OPTIONS)
    const namespace = this.below('clear', options.namespace)
    const { stores } = this.room
    let removed = 0
    for (const store of stores?.below(namespace) ?? []) removed += await store.entries.clear(namespace)
    const forgotten = this.forget(namespace)
    await this.remote?.clear(namespace)
    return stores === undefined ? forgotten : removed
  }

  /** @internal Takes a namespace out of memory; gives how many values. */
  protected forget(namespace: string): number {
    const { dependents, stores, memory } = this.room
    if (stores === undefined) return memory.namespaces().filter((name) => isBelow(name, namespace)).reduce((sum, name) => sum + memory.keys(name).filter((key) => dependents.delete(name, key)).length, 0)
    return this.room.memory.clear((name) => isBelow(name, namespace))
  }

  /** Names of the entries of a namespace that have not expired; without one, of this one. Those of namespaces below it are their own. */
  async * keys(options: WhereOptions = {}): AsyncGenerator<string> {
    checkOptions('keys', options, WHERE_OPTIONS)
    const namespace = this.below('keys', options.namespace)
    const { stores, memory } = this.room
    const store = stores?.of(namespace)
    const now = Date.now()
    if (store === undefined) {
      for (const key of memory.keys(namespace)) if ((memory.peek(namespace, key)?.expires ?? now) > now) yield key
      return
    }
    for (const { key } of store.entries.keys(namespace, now)) {
      options.signal?.throwIfAborted()
      yield key
    }
  }

  /**
   * What is kept under the key; or else what `compute` gives, kept from then on. Of many who ask at the same time, in any number of processes, one computes and the
   * others get its result. When it cannot be kept, because the disk is full, it is given all the same and a warning says so once.
   */
  async getOrCompute<T extends Value>(key: string, compute: (context: { readonly signal: AbortSignal | undefined }) => T | Promise<T>, options: ComputeOptions = {}): Promise<T> {
    const where = 'getOrCompute'
    checkOptions(where, options, COMPUTE_OPTIONS)
    callable(where, 'compute', compute)
    callable(where, 'validate', options.validate, true)
    const { signal } = options
    signal?.throwIfAborted()
    const force = boolean(where, 'force', options.force, false)
    const place = this.#place(where, key, options)
    const facts = this.#facts(where, options, NaN)
    if (!this.room.enabled) return compute({ signal })
    if (!force) {
      const found = await this.#find(place, options.validate)
      if (found !== undefined) return found.value as T
    }
    const { flights } = this.room
    const name = nameOf(place)
    const inside = computing.getStore() ?? NOWHERE
    if (inside.has(name)) throw new TypeError(`${where}: ${show(key)} is asked for by what computes it, and would wait for itself`)
    for (let under = flights.get(name); under !== undefined && !force; under = flights.get(name)) {
      try {
        const { value, metadata } = await abortable(under.made, signal)
        if (options.validate === undefined || await options.validate(metadata) === true) return value as T
      } catch (error) {
        signal?.throwIfAborted()
        // Whoever began it gave up; that is no reason for us to.
        if (under.signal?.aborted !== true) throw error
      }
      if (flights.get(name) === under) break
    }
    const flight: Flight = { made: computing.run(new Set([...inside, name]), () => this.#compute(place, compute, facts, options)), signal }
    flights.set(name, flight)
    const done = (): void => { if (flights.get(name) === flight) flights.delete(name) }
    flight.made.then(done, done)
    // Whoever gives up does not wait; what is being computed is kept for the next.
    return (await abortable(flight.made, signal)).value as T
  }

  /** Hits, misses, bytes and what they saved, of values and of datasets, since the cache directory was made; `session` has those of this process. */
  async stats(): Promise<CacheStats> {
    const { tally, memory } = this.room
    return tally.read(memory)
  }

  /** @internal The remote tier, where what is kept here belongs there, too. */
  protected get remote(): Remote | undefined {
    return this.room.remote
  }

  /** @internal Called before something is kept; a promise when that has to wait. */
  protected prepare(): Promise<void> | undefined {
    return undefined
  }

  // --- looking up -------------------------------------------------------------------------------------------------------

  /** A promise only where something has to be waited for: what is in memory or in the index is there at once. */
  #find(place: Place, validate: GetOptions['validate'], counted = true): Remembered | undefined | Promise<Remembered | undefined> {
    if (!this.room.enabled) return undefined
    const now = Date.now()
    const inMemory = this.#remembered(place, now)
    if (inMemory !== undefined) return this.#judged('memory', place, inMemory, now, validate, counted)
    const found = this.#read(place, now)
    return found instanceof Promise ? found.then((found) => this.#judged('disk', place, found, Date.now(), validate, counted)) : this.#judged('disk', place, found, now, validate, counted)
  }

  #judged(tier: 'memory' | 'disk', place: Place, found: Remembered | undefined, now: number, validate: GetOptions['validate'], counted: boolean): Remembered | undefined | Promise<Remembered | undefined> {
    if (found === undefined || found.expires <= now || validate === undefined) return this.#counted(tier, place, found, found !== undefined && found.expires > now, counted)
    const holds = validate(found.metadata)
    if (typeof holds === 'boolean') return this.#counted(tier, place, found, holds, counted)
    return Promise.resolve(holds).then((holds) => this.#counted(tier, place, found, holds === true, counted))
  }

  #counted(tier: 'memory' | 'disk', place: Place, found: Remembered | undefined, holds: boolean, counted: boolean): Remembered | undefined {
    if (counted) {
      if (holds) this.room.tally.hit(tier, place, found!)
      else this.room.tally.miss(place, found === undefined ? undefined : tier)
    }
    return holds ? found : undefined
  }

  #remembered({ namespace, key, store }: Place, now: number): Remembered | undefined {
    const { memory } = this.room
    if (store?.entries.changedByOthers() === true) memory.clear()
    const found = memory.get(namespace, key)
    if (found !== undefined && now - found.noted >= TOUCHED_MS) {
      found.noted = now
      store?.entries.touch(namespace, key, now)
    }
    return found
  }

  /** From the store, into memory. Damage is noticed, moved aside, and a miss. */
  #read(place: Place, now: number, fetches = true): Remembered | undefined | Promise<Remembered | undefined> {
    const { memory, slabs } = this.room
    const { namespace, key, store } = place
    if (store === undefined) return undefined
    let entry: Entry | undefined
    try {
      entry = store.entries.read(namespace, key, now, checkSmall)
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error
      return this.#lost(place, error)
    }
    if (entry === undefined) return this.remote === undefined || !fetches ? undefined : this.#fetch(place).then((found) => found ? this.#read(place, Date.now(), false) : undefined)
    const { created, expires, seconds, bytes: size, small } = entry
    const metadata = entry.metadata === '' ? NOTHING : decodeMetadata(entry.metadata, store.layout.index)
    if (small === undefined) return this.#readBlob(store, place, entry, metadata)
    const value = decodeSmall(small, store.layout.index, { checked: true, slabs })
    const slab = slabs.last
    const found: Remembered = { value, metadata, created, expires, seconds, size, bytes: slab === undefined ? size : TREE_BYTES, slab, noted: now, hit: undefined }
    memory.set(namespace, key, found)
    return found
  }

  /** A small value is not what was written: there is nothing to be moved aside, so it is removed. */
  async #lost({ namespace, key, store }: Place, error: IntegrityError): Promise<undefined> {
    const name = namespace === '' ? key : `${namespace}/${key}`
    process.emitWarning(`tensorcache: ${error.message}; value ${name} is lost`, { code: 'TENSORCACHE_DAMAGE' })
    store!.events.publish('damage', () => ({ what: 'value', digest: '', reason: `${name}: ${error.message}` }))
    await store!.entries.lose(namespace, key, ({ small }) => {
      try {
        if (small !== undefined) checkSmall(small, '')
        return false
      } catch {
        return true
      }
    })
    return undefined
  }

  async #readBlob(store: Store, { namespace, key }: Place, { blob, created, expires, seconds, bytes: size }: Entry, metadata: Metadata): Promise<Remembered | undefined> {
    const digest = toHex(blob!)
    const read = await readBlob(store, digest)
    if (read === undefined) {
      await store.entries.lose(namespace, key, (held) => held.blob !== undefined && toHex(held.blob) === digest)
      return undefined
    }
    const found: Remembered = { value: read.value, metadata, created, expires, seconds, size, bytes: VIEW_BYTES + read.heldBytes, slab: undefined, noted: Date.now(), hit: undefined }
    // It may have been replaced meanwhile: then it is not to be remembered.
    const now = store.entries.get(namespace, key)
    if (now?.blob !== undefined && toHex(now.blob) === digest && now.created === created) this.room.memory.set(namespace, key, found)
    return found
  }

  /** From the remote tier into the store; true when it is there now. */
  async #fetch({ store, namespace, key }: Place): Promise<boolean> {
    const found = await this.remote?.fetch(namespace, key)
    if (found === undefined || store === undefined || found.entry.expires <= Date.now()) return false
    try {
      await store.entries.adopt(namespace, found.entry, found.file)
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error
      return false
    }
    return true
  }

  // --- keeping ----------------------------------------------------------------------------------------------------------

  /** What is encoded here is the value as it is now: the caller may go on writing to its memory. Nothing that waits holds it, so that what is put in bulk is collected young. */
  #put(where: string, place: Place, value: unknown, facts: Facts): Promise<void> {
    const { enabled } = this.room
    const { store } = place
    const root = `${where}: value`
    const small = encodeSmallOnce(value, root)
    if (!enabled) return Promise.resolve()
    const ready = this.prepare()
    if (store === undefined) {
      this.#keepHere(place, small ?? encodeSmall(value, Infinity, root)!, sizeOfValue(value), facts)
      return Promise.resolve()
    }
    if (small === undefined) {
      const parts = valueTensors(value, root)
      // It is hashed and written on threads, while the caller may go on; what was computed nobody else has yet.
      const tensors = where === 'put' ? parts.tensors.map((tensor) => ({ ...tensor, data: tensor.data.map((piece) => piece.slice()) })) : parts.tensors
      return this.#putBlob(store, place, { ...parts, tensors }, facts, ready)
    }
    if (ready === undefined) return this.#putSmall(store, place, small, facts)
    const kept = Uint8Array.from(small)
    return ready.then(() => this.#putSmall(store, place, kept, facts))
  }

  #keepHere({ namespace, key }: Place, encoded: Uint8Array, bytes: number, { metadata, created, expires, seconds, dependsOn }: Facts): void {
    this.room.dependents.put(namespace, key, encoded, dependsOn)
    const value = decodeSmall(encoded, 'value', { checked: true })
    this.room.memory.set(namespace, key, { value, metadata, created, expires, seconds, size: encoded.byteLength, bytes, slab: undefined, noted: created, hit: undefined })
    this.room.tally.put({ namespace, key }, encoded.byteLength)
  }

  #putSmall(store: Store, { namespace, key }: Place, small: Uint8Array, { metadata, created, expires, seconds, keep, dependsOn }: Facts): Promise<void> {
    const bytes = small.byteLength
    return store.entries.put(namespace, { key, created, expires, seconds, bytes, keep, metadata: textOf(metadata), dependsOn, small, blob: undefined }, () => this.#isKept(store, namespace, key, bytes))
  }

  async #putBlob(store: Store, { namespace, key }: Place, { tensors, metadata: notes }: ValueParts, { metadata, created, expires, seconds, keep, compression, dependsOn }: Facts, ready: Promise<void> | undefined): Promise<void> {
    await ready
    const bytes = await store.entries.putBlob(namespace, { key, created, expires, seconds, keep, metadata: textOf(metadata), dependsOn }, encodeBlob(tensors, notes, compression), compression)
    this.#isKept(store, namespace, key, bytes)
  }

  /** Once it is durable: who read meanwhile has remembered the value before. */
  #isKept(store: Store, namespace: string, key: string, bytes: number): void {
    this.room.memory.delete(namespace, key)
    this.room.tally.put({ namespace, key }, bytes)
    this.remote?.push(store, namespace, key)
  }

  async #compute<T extends Value>(place: Place, compute: (context: { readonly signal: AbortSignal | undefined }) => T | Promise<T>, facts: Facts, { signal, validate, force = false }: ComputeOptions): Promise<Made> {
    const { store } = place
    if (store === undefined || store.readonly) return this.#computeHere(place, compute, facts, signal)
    const owner = store.newOwner()
    const range = sha256('value', nameOf(place))
    const asked = Date.now()
    // With `force` only what was made after we asked will do.
    const made = async (): Promise<Remembered | undefined> => {
      const found = await this.#find(place, validate, false)
      return found !== undefined && (!force || found.created >= asked) ? found : undefined
    }
    try {
      while (await store.claim(range, owner, []) === undefined) {
        await sleep(POLL_MS, undefined, { signal })
        const found = await made()
        if (found !== undefined) return found
      }
      // Its last holder may have been done with it just now.
      const found = await made()
      if (found !== undefined) return found
      return await this.#computeHere(place, compute, facts, signal)
    } finally {
      await store.retire(owner)
    }
  }

  async #computeHere<T extends Value>(place: Place, compute: (context: { readonly signal: AbortSignal | undefined }) => T | Promise<T>, facts: Facts, signal: AbortSignal | undefined): Promise<Made> {
    const began = performance.now()
    const value = await compute({ signal })
    const seconds = (performance.now() - began) / 1000
    this.room.tally.computed(place, seconds)
    const made = { value, metadata: facts.metadata }
    if (place.store?.readonly === true) return made
    try {
      await this.#put('getOrCompute', place, value, { ...facts, created: Date.now(), seconds })
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error
      this.room.tally.notKept(error)
    }
    return made
  }

  // --- options ----------------------------------------------------------------------------------------------------------

  #place(where: string, key: unknown, { namespace }: WhereOptions): Place {
    if (typeof key !== 'string') throw new TypeError(`${where}: key must be a text, not ${show(key)}; keyOf(config) makes one of plain data`)
    // They would all become the same replacement character.
    if (!(key as string & { isWellFormed(): boolean }).isWellFormed()) throw new TypeError(`${where}: key holds half of a surrogate pair, which no file and no index can: ${show(key)}`)
    const below = this.below(where, namespace)
    return { namespace: below, key, store: this.room.stores?.of(below) }
  }

  /** @internal A namespace below this one, checked. */
  protected below(where: string, namespace: unknown): string {
    if (namespace === undefined || namespace === '') return this.namespace
    const below = checkNamespace(where, namespace)
    return this.namespace === '' ? below : `${this.namespace}/${below}`
  }

  #facts(where: string, options: PutOptions, seconds: number): Facts {
    const { expiresAt, dependsOn = INDEPENDENT } = options
    const created = Date.now()
    if (expiresAt !== undefined && options.expiresIn !== undefined) throw new TypeError(`${where}: give expiresIn or expiresAt, not both`)
    let expires = created + lifetime(where, 'expiresIn', options.expiresIn, this.room.expiresIn)
    if (expiresAt !== undefined) {
      const at = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt
      expires = number(where, 'expiresAt', at)
    }
    if (!Array.isArray(dependsOn) || dependsOn.some((digest) => typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest))) throw new TypeError(`${where}: dependsOn must be a list of digests of 64 hex digits, not ${show(dependsOn)}`)
    return {
      created, expires, seconds, keep: boolean(where, 'keep', options.keep, false), dependsOn: dependsOn === INDEPENDENT ? [] : dependsOn.map((digest) => Buffer.from(digest as string, 'hex')),
      compression: options.compression === undefined ? this.room.compression : checkCompression(where, options.compression),
      metadata: options.metadata === undefined ? NOTHING : checkMetadata(where, options.metadata),
    }
  }
}

/** Names of the values that the code that is running computes. */
const computing = new AsyncLocalStorage<ReadonlySet<string>>()
const NOWHERE: ReadonlySet<string> = new Set()

interface Made {
  readonly value: unknown
  readonly metadata: Metadata
}

/** The promise's result, or the signal's reason when that comes first. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error)
    promise.then(resolve, reject).finally(onAbort(signal, reject))
  })
}

const NOTHING: Metadata = Object.freeze({})

interface Place {
  readonly namespace: string
  readonly key: string
  /** Where it lies; undefined for memory alone. */
  readonly store: Store | undefined
}

function nameOf({ namespace, key }: Place): string {
  return `${namespace}\0${key}`
}

interface Facts extends Pick<Entry, 'created' | 'expires' | 'seconds' | 'keep' | 'dependsOn'> {
  readonly metadata: Metadata
  readonly compression: Compression | undefined
}

function hitOf<T>(found: Remembered): Hit<T> {
  const { value, metadata, created, expires } = found
  return (found.hit ??= { value: value as T, metadata, created: new Date(created), expires: expires === Infinity ? undefined : new Date(expires) }) as Hit<T>
}

/** As an entry has it: nothing for no metadata. */
function textOf(metadata: Metadata): string {
  return metadata === NOTHING || Object.keys(metadata).length === 0 ? '' : encodeMetadata(metadata)
}

/** Undefined when it turns out damaged; it is then in quarantine. */
async function readBlob(store: Store, digest: string): Promise<{ value: unknown; heldBytes: number } | undefined> {
  try {
    const blob = await store.blob(digest)
    try {
      const whole = await blob.whole()
      return { value: valueFrom(whole), heldBytes: whole.heldBytes }
    } catch (error) {
      if (error instanceof IntegrityError) await store.quarantine(blob, error.message)
      throw error
    }
  } catch (error) {
    if (error instanceof IntegrityError) return undefined
    throw error
  }
}

