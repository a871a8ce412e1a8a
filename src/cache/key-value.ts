import { setTimeout as sleep } from 'node:timers/promises'
import { DiskFullError, IntegrityError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import { boolean, checkOptions, duration, number, show } from '../core/options.js'
import { isBelow } from '../store/entries.js'
import { checkCompression, type Compression, type CompressionOption } from '../store/compression.js'
import type { Entry } from '../store/entry.js'
import { encodeBlob } from '../store/shard-format.js'
import { POLL_MS, type Store } from '../store/store.js'
import type { MemoryTier, Remembered } from './memory.js'
import { checkMetadata, decodeMetadata, encodeMetadata, type Metadata } from './metadata.js'
import { Tally, type CacheStats } from './tally.js'
import { sizeOfValue, type Value } from './value.js'
import { valueFrom, valueTensors } from './value-blob.js'
import { decodeSmall, encodeSmall } from './value-small.js'

export interface WhereOptions {
  /** `/`-separated label; default: the top. In a scope it lies below the scope's. */
  readonly namespace?: string
  readonly signal?: AbortSignal
}

export interface PutOptions extends WhereOptions {
  readonly metadata?: Metadata
  /** `24h`, `30m`, milliseconds; default: what `openCache` was given, or never. */
  readonly expiresIn?: string | number
  readonly expiresAt?: Date | number
  /** Pruned only when asked for by name. Default false. */
  readonly keep?: boolean
  /** How it is kept when it is larger than 32 KiB; default: what `openCache` was given. */
  readonly compression?: CompressionOption
  /** Digests (64 hex digits) of what it was made from, a dataset's or another value's: when that is replaced or removed, so is this. */
  readonly dependsOn?: readonly string[]
}

export interface GetOptions extends WhereOptions {
  /** Says whether what is there still holds; anything but true is a miss. Always called when it is given. */
  readonly validate?: (metadata: Metadata) => boolean | Promise<boolean>
}

export interface ComputeOptions extends PutOptions, GetOptions {
  /** Computes also when there is a value. Default false. */
  readonly force?: boolean
}

export interface Hit<T = Value> {
  /** To be read only: the next hit may be the same object, and large arrays are views of a file. */
  readonly value: T
  readonly metadata: Metadata
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
  readonly store: Store | undefined
  /** False: nothing is kept, everything is computed. */
  readonly enabled: boolean
  readonly memory: MemoryTier
  /** Milliseconds; Infinity: never. */
  readonly expiresIn: number
  readonly compression: Compression | undefined
  readonly tally: Tally
  /** Computations under way, by name. */
  readonly flights: Map<string, Flight>
}

const PUT_OPTIONS = ['namespace', 'signal', 'metadata', 'expiresIn', 'expiresAt', 'keep', 'compression', 'dependsOn']
const GET_OPTIONS = ['namespace', 'signal', 'validate']
const COMPUTE_OPTIONS = [...PUT_OPTIONS, 'validate', 'force']
const WHERE_OPTIONS = ['namespace', 'signal']
/** Values of files are views: what the memory tier pays for one is the tree around them. */
const VIEW_BYTES = 1024

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
  async put(key: string, value: Value, options: PutOptions = {}): Promise<void> {
    const where = 'put'
    checkOptions(where, options, PUT_OPTIONS)
    const place = this.#place(where, key, options)
    await this.#put(where, place, value, this.#facts(where, options, NaN))
  }

  /** What is kept under the key, or undefined: nothing, something that has expired, or that `validate` does not accept. */
  async get<T = Value>(key: string, options: GetOptions = {}): Promise<Hit<T> | undefined> {
    checkOptions('get', options, GET_OPTIONS)
    options.signal?.throwIfAborted()
    const found = await this.#find(this.#place('get', key, options), options.validate)
    return found === undefined ? undefined : hitOf(found)
  }

  /** The hits among these keys, in their order. */
  async getMany<T = Value>(keys: readonly string[], options: GetOptions = {}): Promise<Map<string, Hit<T>>> {
    checkOptions('getMany', options, GET_OPTIONS)
    const hits = new Map<string, Hit<T>>()
    for (const [k, found] of (await Promise.all(keys.map((key) => this.#find(this.#place('getMany', key, options), options.validate)))).entries()) if (found !== undefined) hits.set(keys[k]!, hitOf(found))
    return hits
  }

  /** True when `get` would give something, as far as is known without `validate`. */
  async has(key: string, options: WhereOptions = {}): Promise<boolean> {
    checkOptions('has', options, WHERE_OPTIONS)
    const place = this.#place('has', key, options)
    if (!this.room.enabled) return false
    const now = Date.now()
    const expires = this.#remembered(place)?.expires ?? this.room.store?.entries.get(place.namespace, place.key)?.expires
    return expires !== undefined && expires > now
  }

  /** True when there was one. */
  async delete(key: string, options: WhereOptions = {}): Promise<boolean> {
    checkOptions('delete', options, WHERE_OPTIONS)
    const place = this.#place('delete', key, options)
    const removed = await this.room.store?.entries.remove(place.namespace, place.key)
    // Afterwards: who read meanwhile has put it back.
    const held = this.room.memory.delete(place.name)
    return removed ?? held
  }

  /** Removes everything of a namespace and of those below it; without one, of this one. Gives how many entries. */
  async clear(options: WhereOptions = {}): Promise<number> {
    checkOptions('clear', options, WHERE_OPTIONS)
    const namespace = this.#below('clear', options.namespace)
    const removed = await this.room.store?.entries.clear(namespace)
    const forgotten = this.forget(namespace)
    return removed ?? forgotten
  }

  /** @internal Takes a namespace out of memory; gives how many values. */
  protected forget(namespace: string): number {
    const { memory } = this.room
    let removed = 0
    for (const name of Array.from(memory.keys())) {
      if (!isBelow(name.slice(0, name.indexOf('\0')), namespace)) continue
      memory.delete(name)
      removed++
    }
    return removed
  }

  /** Names of the entries of a namespace that have not expired; without one, of this one. Those of namespaces below it are their own. */
  async * keys(options: WhereOptions = {}): AsyncGenerator<string> {
    checkOptions('keys', options, WHERE_OPTIONS)
    const namespace = this.#below('keys', options.namespace)
    const { store, memory } = this.room
    const now = Date.now()
    if (store === undefined) {
      const prefix = `${namespace}\0`
      for (const name of Array.from(memory.keys())) if (name.startsWith(prefix) && memory.get(name)!.expires > now) yield name.slice(prefix.length)
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
    for (let under = flights.get(place.name); under !== undefined && !force; under = flights.get(place.name)) {
      try {
        const { value, metadata } = await abortable(under.made, signal)
        if (options.validate === undefined || await options.validate(metadata) === true) return value as T
      } catch (error) {
        signal?.throwIfAborted()
        // Whoever began it gave up; that is no reason for us to.
        if (under.signal?.aborted !== true) throw error
      }
      if (flights.get(place.name) === under) break
    }
    const flight: Flight = { made: this.#compute(place, compute, facts, options), signal }
    flights.set(place.name, flight)
    const done = (): void => { if (flights.get(place.name) === flight) flights.delete(place.name) }
    flight.made.then(done, done)
    return (await flight.made).value as T
  }

  /** Hits, misses, bytes and what they saved, of values and of datasets, since the cache directory was made; `session` has those of this process. */
  async stats(): Promise<CacheStats> {
    const { tally, memory } = this.room
    return tally.read(memory)
  }

  /** @internal Called before something is kept. */
  protected async prepare(): Promise<void> {}

  // --- looking up -------------------------------------------------------------------------------------------------------

  async #find(place: Place, validate: GetOptions['validate'], counted = true): Promise<Remembered | undefined> {
    const { tally, enabled } = this.room
    if (!enabled) return undefined
    const inMemory = this.#remembered(place)
    const found = inMemory ?? await this.#read(place)
    const holds = found !== undefined && found.expires > Date.now() && (validate === undefined || await validate(found.metadata) === true)
    if (!holds) {
      if (counted) tally.miss(place, found === undefined ? undefined : inMemory === undefined ? 'disk' : 'memory')
      return undefined
    }
    if (counted) tally.hit(inMemory === undefined ? 'disk' : 'memory', place, found)
    return found
  }

  #remembered({ name }: Place): Remembered | undefined {
    const { memory, store } = this.room
    if (store?.entries.changedByOthers() === true) memory.clear('')
    const found = memory.get(name)
    if (found !== undefined) store?.entries.touch(name, Date.now())
    return found
  }

  /** From the store, into memory. Damage is noticed, moved aside, and a miss. */
  async #read(place: Place): Promise<Remembered | undefined> {
    const { store, memory } = this.room
    if (store === undefined) return undefined
    const entry = store.entries.get(place.namespace, place.key)
    if (entry === undefined) return undefined
    const { created, expires, seconds } = entry
    const metadata = entry.metadata === '' ? NOTHING : decodeMetadata(entry.metadata, store.layout.index)
    let found: Remembered
    if (entry.small !== undefined) {
      const bytes = entry.bytes
      found = { value: decodeSmall(entry.small, store.layout.index), metadata, created, expires, seconds, bytes, size: bytes }
    } else {
      const digest = toHex(entry.blob!)
      const read = await readBlob(store, digest)
      if (read === undefined) return undefined
      found = { value: read.value, metadata, created, expires, seconds, bytes: VIEW_BYTES + read.heldBytes, size: entry.bytes }
      // It may have been replaced meanwhile: then it is not to be remembered.
      const now = store.entries.get(place.namespace, place.key)
      if (now?.blob === undefined || toHex(now.blob) !== digest || now.created !== created) return found
    }
    memory.set(place.name, found)
    store.entries.touch(place.name, Date.now())
    return found
  }

  // --- keeping ----------------------------------------------------------------------------------------------------------

  async #put(where: string, place: Place, value: unknown, facts: Facts): Promise<void> {
    const { store, memory, enabled, tally } = this.room
    const root = `${where}: value`
    const small = encodeSmall(value, undefined, root)
    if (!enabled) return
    const { metadata, compression, ...rest } = facts
    await this.prepare()
    if (store === undefined) {
      // What is remembered is what was encoded: the caller may go on writing to the value's memory.
      const whole = small ?? encodeSmall(value, Infinity, root)!
      memory.set(place.name, { value: decodeSmall(whole), metadata, created: facts.created, expires: facts.expires, seconds: facts.seconds, bytes: sizeOfValue(value), size: whole.byteLength })
      tally.put(place, whole.byteLength)
      return
    }
    const entry: Omit<Entry, 'small' | 'blob' | 'bytes'> = { key: place.key, metadata: Object.keys(metadata).length === 0 ? '' : encodeMetadata(metadata), ...rest }
    if (small !== undefined) {
      await store.entries.put(place.namespace, { ...entry, bytes: small.byteLength, small, blob: undefined })
      // Afterwards: who read meanwhile has remembered the value before.
      memory.delete(place.name)
      tally.put(place, small.byteLength)
      return
    }
    const { tensors, metadata: notes } = valueTensors(value, root)
    const bytes = await store.entries.putBlob(place.namespace, entry, encodeBlob(tensors, notes, compression), compression)
    memory.delete(place.name)
    tally.put(place, bytes)
  }

  async #compute<T extends Value>(place: Place, compute: (context: { readonly signal: AbortSignal | undefined }) => T | Promise<T>, facts: Facts, { signal, validate }: ComputeOptions): Promise<Made> {
    const { store } = this.room
    if (store === undefined || store.readonly) return this.#computeHere(place, compute, facts, signal)
    const owner = store.newOwner()
    const range = sha256('value', place.name)
    const asked = Date.now()
    try {
      while (await store.claim(range, owner, []) === undefined) {
        await sleep(POLL_MS, undefined, { signal })
        const found = await this.#find(place, validate, false)
        if (found !== undefined && found.created >= asked) return found
      }
      // Its last holder may have been done with it just now.
      const found = await this.#find(place, validate, false)
      if (found !== undefined && found.created >= asked) return found
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
    if (this.room.store?.readonly === true) return made
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
    const below = this.#below(where, namespace)
    return { namespace: below, key, name: `${below}\0${key}` }
  }

  #below(where: string, namespace: unknown): string {
    if (namespace === undefined || namespace === '') return this.namespace
    const below = checkNamespace(where, namespace)
    return this.namespace === '' ? below : `${this.namespace}/${below}`
  }

  #facts(where: string, options: PutOptions, seconds: number): Facts {
    const { expiresAt, dependsOn = [] } = options
    const created = Date.now()
    if (expiresAt !== undefined && options.expiresIn !== undefined) throw new TypeError(`${where}: give expiresIn or expiresAt, not both`)
    let expires = created + (options.expiresIn === undefined ? this.room.expiresIn : duration(where, 'expiresIn', options.expiresIn))
    if (expiresAt !== undefined) {
      const at = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt
      expires = number(where, 'expiresAt', at)
    }
    if (!Array.isArray(dependsOn) || dependsOn.some((digest) => typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest))) throw new TypeError(`${where}: dependsOn must be a list of digests of 64 hex digits, not ${show(dependsOn)}`)
    return {
      created, expires, seconds, keep: boolean(where, 'keep', options.keep, false), dependsOn: dependsOn.map((digest) => Buffer.from(digest as string, 'hex')),
      compression: options.compression === undefined ? this.room.compression : checkCompression(where, options.compression),
      metadata: options.metadata === undefined ? NOTHING : checkMetadata(where, options.metadata),
    }
  }
}

interface Made {
  readonly value: unknown
  readonly metadata: Metadata
}

/** The promise's result, or the signal's reason when that comes first. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

const NOTHING: Metadata = Object.freeze({})

interface Place {
  readonly namespace: string
  readonly key: string
  /** Both, for maps. */
  readonly name: string
}

interface Facts extends Pick<Entry, 'created' | 'expires' | 'seconds' | 'keep' | 'dependsOn'> {
  readonly metadata: Metadata
  readonly compression: Compression | undefined
}

/** Parts of at least one character between single slashes, none of them `.` or `..`. */
export function checkNamespace(where: string, namespace: unknown): string {
  const fits = typeof namespace === 'string' && Buffer.byteLength(namespace) <= 512 && namespace.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !/\p{Cc}/u.test(part))
  if (!fits) throw new TypeError(`${where}: namespace must be names between slashes, such as generated/cycle_003, not ${show(namespace)}`)
  return namespace as string
}

function hitOf<T>({ value, metadata, created, expires }: Remembered): Hit<T> {
  return { value: value as T, metadata, created: new Date(created), expires: expires === Infinity ? undefined : new Date(expires) }
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

