import { existsSync } from 'node:fs'
import { freemem, totalmem } from 'node:os'
import { dirname, resolve } from 'node:path'
import { checkBackupOptions, type BackupOptions } from './cache/backup.js'
import { Dependents } from './cache/dependents.js'
import { attachLog } from './cache/log.js'
import { MemoryTier } from './cache/memory.js'
import { checkNamespace } from './cache/namespace.js'
import { checkCacheOptions, FINGERPRINTS, type CacheOptions, type CheckedCacheOptions, type Fingerprint } from './cache/options.js'
import { Remote } from './cache/remote.js'
import { Seals } from './cache/seals.js'
import { Slabs } from './cache/slab.js'
import { Tally } from './cache/tally.js'
import { StoreError } from './core/errors.js'
import { Events } from './core/events.js'
import { boolean, bytes, checkOptions, choice, duration, number, show } from './core/options.js'
import type { Dataset } from './dataset/dataset.js'
import { Datasets } from './dataset/datasets.js'
import { fingerprintOf } from './dataset/fingerprint.js'
import type { Verification, VerifyOptions } from './dataset/verify.js'
import { Scope, type ScopeOptions } from './scope.js'
import { Shelf } from './shelf.js'
import { backupStore, type BackedUp } from './store/backup.js'
import { diskSpace } from './store/space.js'
import { Store } from './store/store.js'
import { Stores } from './store/stores.js'
import { sumPruned, sumUsage, type Pruned, type Usage } from './store/upkeep.js'

/** Options of `cache.prune`. */
export interface PruneOptions {
  /** What datasets and values may take, on each drive: bytes, or `50GB`. What was used longest ago goes first. */
  readonly maxSize?: number | string
  /** What was not used for so long goes: `30d`, milliseconds. */
  readonly olderThan?: number | string
  /** Only of this namespace and those below it; then also what is marked `keep`, and what was put and cannot be computed again. */
  readonly namespace?: string
  /** Damaged files that were set aside, too: alone, nothing else. On all drives. Default false. */
  readonly quarantine?: boolean
  /** Says what would go; removes nothing. Default false. */
  readonly dryRun?: boolean
}

/** Options of `cache.space`. */
export interface SpaceOptions {
  /** Bytes, or `50GB`. Default 0. */
  readonly required?: number | string
  /** Of the drive that this namespace lies on. */
  readonly namespace?: string
}

/** Options of `cache.fingerprint`. */
export interface FingerprintOptions {
  /** `content`: SHA-256 of its bytes; `stat`: of path, size and time of change, without reading it; `combined`: of both. Default: what `openCache` was given, or `content`. */
  readonly mode?: Fingerprint
  /** Aborted: rejects with its reason. */
  readonly signal?: AbortSignal
}

/** What `cache.space` found. */
export interface Space {
  /** Free bytes of the disk; of memory for a cache without a folder. */
  readonly free: number
  /** All bytes of the disk, or of memory for a cache without a folder. */
  readonly total: number
  /** Bytes of datasets and values. */
  readonly used: number
  /** Whether `required` bytes fit, with `minFree` left and below `maxSize`. */
  readonly fits: boolean
}

/** A cache directory, opened: datasets, and values by key. Close it when done: `await cache.close()` or `await using`. */
export class Cache extends Shelf {
  readonly #dir: string | null
  readonly #fingerprint: Fingerprint

  /** @internal Use `openCache`. */
  constructor(stores: Stores | undefined, options: CheckedCacheOptions, events: Events) {
    const tally = new Tally(events, stores)
    const memory = new MemoryTier(options.memory, tally, options.check ? new Seals() : undefined)
    super(
      { stores, enabled: options.enabled, memory, dependents: new Dependents(memory), expiresIn: options.expiresIn, compression: options.compression, remote: stores === undefined || options.readonly || options.remote === undefined ? undefined : new Remote(options.remote), tally, flights: new Map(), slabs: new Slabs() },
      '', new Datasets(stores, { ...options, events }),
    )
    this.#dir = options.dir
    this.#fingerprint = options.fingerprint
  }

  /** Folder of the cache; null when nothing is written. */
  get dir(): string | null {
    return this.room.stores === undefined ? null : this.#dir
  }

  /** @internal The store, for the command line. */
  get store(): Store {
    return this.stores.main
  }

  /** @internal All of them, for the command line. */
  get stores(): Stores {
    if (this.room.stores === undefined) throw new TypeError('a cache without a folder has no store')
    return this.room.stores
  }

  /**
   * A namespace that is emptied when it is disposed: `await using cycle = cache.scope('generated/cycle_003')`. Its methods are those of the cache; names of namespaces
   * are below its own.
   */
  scope(name: string, options: ScopeOptions = {}): Scope {
    checkOptions('scope', options, ['keepLast'])
    const namespace = checkNamespace('scope', name)
    if (options.keepLast !== undefined) number('scope', 'keepLast', options.keepLast, { integer: true, min: 1 })
    return new Scope(this.room, namespace, this.datasets, options)
  }

  /** Removes what was used longest ago, or too long ago. What is open in any process stays, and so does what cannot be made again, unless its namespace is named. */
  async prune(options: PruneOptions): Promise<Pruned> {
    const where = 'prune'
    checkOptions(where, options, ['maxSize', 'olderThan', 'namespace', 'quarantine', 'dryRun'])
    const aside = boolean(where, 'quarantine', options.quarantine, false)
    const isAsked = options.maxSize !== undefined || options.olderThan !== undefined || options.namespace !== undefined
    if (!isAsked && !aside) throw new TypeError('prune: give maxSize, olderThan, a namespace, or quarantine')
    const request = {
      maxBytes: options.maxSize === undefined ? undefined : bytes(where, 'maxSize', options.maxSize),
      olderThan: options.olderThan === undefined ? undefined : duration(where, 'olderThan', options.olderThan),
      namespace: options.namespace === undefined ? undefined : checkNamespace(where, options.namespace),
      dryRun: options.dryRun, now: Date.now(),
    }
    const pruned: Pruned[] = []
    if (isAsked) for (const store of this.room.stores?.below(request.namespace ?? '') ?? []) pruned.push(await store.upkeep.prune(request))
    // Memory alone lets go by itself.
    if (isAsked && this.room.stores !== undefined) this.room.memory.clear()
    const all = this.room.stores?.all ?? []
    const done = isAsked ? sumPruned(pruned) : { ...sumPruned([]), left: all.reduce((sum, { upkeep }) => sum + upkeep.bytes, 0) }
    if (!aside) return done
    const gone = all.map(({ upkeep }) => upkeep.emptyQuarantine(request.dryRun === true))
    return { ...done, bytes: gone.reduce((sum, { bytes }) => sum + bytes, done.bytes), quarantined: gone.reduce((sum, { files }) => sum + files, 0) }
  }

  /**
   * Reads what is in the cache again and compares it with its checksums, follows every dataset and value to its bytes, and, as asked, computes items again (`recompute`) and mends what is
   * damaged (`fix`). Damage is in what it gives, not thrown. Others may read and write meanwhile.
   */
  async verify(options: VerifyOptions = {}): Promise<Verification> {
    return this.datasets.verify(this.room.stores?.all ?? [], options)
  }

  /**
   * A copy of the cache as it is now, in a folder of its own, while others read and write. Into a folder that holds an older backup only what is new is brought. `restoreCache` makes a
   * cache of it again. Rejects with StoreError when the folder cannot be used, DiskFullError when there is no room.
   */
  async backup(target: string, options: BackupOptions = {}): Promise<BackedUp> {
    const { link, onProgress } = checkBackupOptions('backup', target, options)
    const namespace = options.namespace === undefined ? '' : checkNamespace('backup', options.namespace)
    return this.datasets.untilClosed(options.signal, (signal) => backupStore(this.stores.of(namespace), { target: resolve(target), link, onProgress, signal }))
  }

  /** What each namespace takes that holds something or is a scope, and when it was last used; from the index, no file is looked at. */
  usage(): Usage[] {
    return sumUsage((this.room.stores?.all ?? []).map((store) => store.upkeep.usage()))
  }

  /** Room on the disk of the cache, or of a namespace that has a drive of its own. */
  async space(options: SpaceOptions = {}): Promise<Space> {
    checkOptions('space', options, ['required', 'namespace'])
    const required = bytes('space', 'required', options.required, 0)
    const namespace = options.namespace === undefined ? '' : checkNamespace('space', options.namespace)
    if (this.room.stores === undefined) return { free: freemem(), total: totalmem(), used: this.room.memory.bytes, fits: required <= freemem() }
    const store = this.stores.of(namespace)
    const { free, total } = await diskSpace(store.layout.dir)
    const used = store.upkeep.bytes
    return { free, total, used, fits: free - required >= store.minFree && used + required <= store.maxSize }
  }

  /**
   * What a file is told apart by, 64 hex digits, for keys: `keyOf(config, { content: await cache.fingerprint('corpus.txt') })`. A digest is remembered by the file's device, inode, size and times, so that a file
   * that is as it was is not read again. Rejects with FileError, and with SourceChangedError when it is written meanwhile.
   */
  async fingerprint(path: string | URL, options: FingerprintOptions = {}): Promise<string> {
    const where = 'fingerprint'
    checkOptions(where, options, ['mode', 'signal'])
    if (typeof path !== 'string' && !(path instanceof URL)) throw new TypeError(`${where}: path must be a string or a file: URL, not ${show(path)}`)
    const mode = choice(where, 'mode', options.mode, FINGERPRINTS, this.#fingerprint)
    return this.datasets.untilClosed(options.signal, (signal) => fingerprintOf(this.room.stores?.main, path, mode, signal))
  }

  /**
   * Removes what was made (`dependsOn`) from things with these digests of 64 hex digits, and what was made from that. Happens by itself when such a thing is replaced or
   * removed on the same drive; this is for what lies elsewhere. Gives how many entries.
   */
  async invalidate(...digests: readonly string[]): Promise<number> {
    for (const digest of digests) if (!/^[0-9a-f]{64}$/.test(digest)) throw new TypeError(`invalidate: digest must be 64 hex digits, not ${show(digest)}`)
    let removed = 0
    if (this.room.stores === undefined) for (const digest of digests) removed += this.room.dependents.cascade(digest)
    for (const { entries } of this.room.stores?.all ?? []) removed += await entries.invalidate(digests)
    return removed
  }

  /**
   * A dataset that is in the cache already, by its key, its name or `namespace/name` (of several made under one name the newest); `undefined` when it is not. Without its source it can be
   * read but damage cannot heal itself. Rejects with TypeError when datasets of several namespaces have the name.
   */
  openDataset(keyOrName: string): Promise<Dataset | undefined> {
    return this.datasets.open(keyOrName)
  }

  /** Ends builds that are under way (what they finished is kept), closes the datasets and the index. Views that were handed out stay valid. */
  async close(): Promise<void> {
    await this.datasets.close(new StoreError(this.#dir ?? 'the cache', 'is closed'))
    const { stores, tally, remote } = this.room
    await remote?.drain()
    // What was counted is not worth an error.
    await tally.flush().catch(() => undefined)
    await stores?.close()
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Opens a cache directory, making it when it is not there. No server, no configuration. Rejects with StoreError when the folder cannot be used. */
export async function openCache(options: CacheOptions = {}): Promise<Cache> {
  const checked = checkCacheOptions(options)
  const { readonly, drives } = checked
  const dir = checked.enabled ? checked.dir : null
  const events = new Events(dir)
  attachLog(events, checked.log)
  if (dir === null) return new Cache(undefined, checked, events)
  const opened: Store[] = []
  const open = async (facts: { dir: string; minFree: number; maxSize: number }): Promise<Store> => {
    const store = await Store.open({ ...facts, readonly, events })
    opened.push(store)
    return store
  }
  try {
    const main = await open({ ...checked, dir })
    const more: { namespace: string; store: Store }[] = []
    for (const { namespace, ...drive } of drives) {
      // A drive that is not mounted is an empty folder of another one, or none: nothing is to be written there.
      if (!existsSync(dirname(drive.dir))) throw new StoreError(drive.dir, `is to hold namespace ${namespace}, but ${dirname(drive.dir)} is not there`)
      // Nothing was ever kept there, and nothing is going to be.
      if (readonly && Store.stateOf(drive.dir) === 'none') continue
      more.push({ namespace, store: await open(drive) })
    }
    return new Cache(new Stores(main, more), checked, events)
  } catch (error) {
    for (const store of opened) await store.close()
    throw error
  }
}
