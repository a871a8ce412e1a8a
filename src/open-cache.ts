import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkNamespace, KeyValue } from './cache/key-value.js'
import { MemoryTier } from './cache/memory.js'
import { Scope, type ScopeOptions } from './cache/scope.js'
import { Tally } from './cache/tally.js'
import { checkCacheOptions, FINGERPRINTS, type CacheOptions, type CheckedCacheOptions, type Fingerprint } from './cache/options.js'
import { StoreError } from './core/errors.js'
import { fromHex } from './core/hash.js'
import { bytes, checkOptions, choice, duration, number, show } from './core/options.js'
import { build, type BuildReport, type Progress } from './dataset/build.js'
import { Dataset } from './dataset/dataset.js'
import { fingerprintOf } from './dataset/fingerprint.js'
import { Manifest } from './dataset/manifest.js'
import type { Device, DeviceSource } from './devices/device.js'
import { checkDeviceChoice, deviceSource, type DeviceChoice } from './devices/select.js'
import type { Recipe } from './ops/recipe.js'
import type { Source } from './sources/source.js'
import { Store } from './store/store.js'
import type { Pruned, Usage } from './store/upkeep.js'

export interface DatasetOptions {
  /** Label for people and the command line; not part of any key. */
  readonly name?: string
  /** `/`-separated label under which it is listed. */
  readonly namespace?: string
  /**
   * Where missing items are computed: `auto` (default; a real GPU if there is one), `cpu`, `webgpu`, `webgpu:<part of an adapter's name>`, or a device made by
   * the caller, who closes it. The bytes are the same. It is opened when something has to be computed.
   */
  readonly device?: DeviceChoice | Device
  /** Ranges of items in work at the same time; default: one per core. */
  readonly jobs?: number
  readonly onProgress?: (progress: Progress) => void
  readonly signal?: AbortSignal
}

export interface PruneOptions {
  /** What datasets and values may take: bytes, or `50GB`. What was used longest ago goes first. */
  readonly maxSize?: number | string
  /** What was not used for so long goes: `30d`, milliseconds. */
  readonly olderThan?: number | string
  /** Only of this namespace and those below it; then also what is marked `keep`, and what was put and cannot be computed again. */
  readonly namespace?: string
  /** Says what would go; removes nothing. Default false. */
  readonly dryRun?: boolean
}

export interface FingerprintOptions {
  /** `content`: SHA-256 of its bytes; `stat`: of path, size and time of change, without reading it; `combined`: of both. Default: what `openCache` was given, or `content`. */
  readonly mode?: Fingerprint
  readonly signal?: AbortSignal
}

export interface Space {
  /** Free bytes of the disk, and all of them. */
  readonly free: number
  readonly total: number
  /** Bytes of datasets and values. */
  readonly used: number
  /** Whether `required` bytes fit, with `minFree` left. */
  readonly fits: boolean
}

const DATASET_OPTIONS = ['name', 'namespace', 'device', 'jobs', 'onProgress', 'signal']

/** A cache directory, opened: datasets, and values by key. Close it when done: `await cache.close()` or `await using`. */
export class Cache extends KeyValue {
  readonly #options: CheckedCacheOptions
  readonly #open = new Set<Dataset>()
  readonly #devices = new Map<string, ReturnType<typeof deviceSource>>()
  readonly #building = new Set<Promise<unknown>>()
  readonly #closing = new AbortController()

  /** Where datasets lie while nothing else is to be written. */
  #passing: Promise<Store> | undefined

  /** @internal Use `openCache`. */
  constructor(store: Store | undefined, options: CheckedCacheOptions) {
    super({ store, enabled: options.enabled, memory: new MemoryTier(options.memory), expiresIn: options.expiresIn, tally: new Tally(), flights: new Map() }, '')
    this.#options = options
  }

  /** Folder of the cache; null when nothing is written. */
  get dir(): string | null {
    return this.room.store === undefined ? null : this.#options.dir
  }

  /** @internal The store, for the command line. */
  get store(): Store {
    if (this.room.store === undefined) throw new TypeError('a cache without a folder has no store')
    return this.room.store
  }

  /**
   * A namespace that is emptied when it is disposed: `await using cycle = cache.scope('generated/cycle_003')`. Its methods are those of the cache; names of namespaces
   * are below its own.
   */
  scope(name: string, options: ScopeOptions = {}): Scope {
    checkOptions('scope', options, ['keepLast'])
    const namespace = checkNamespace('scope', name)
    if (options.keepLast !== undefined) number('scope', 'keepLast', options.keepLast, { integer: true, min: 1 })
    return new Scope(this.room, namespace, options)
  }

  /** Removes what was used longest ago, or too long ago. What is open in any process stays, and so does what cannot be made again, unless its namespace is named. */
  async prune(options: PruneOptions): Promise<Pruned> {
    const where = 'prune'
    checkOptions(where, options, ['maxSize', 'olderThan', 'namespace', 'dryRun'])
    if (options.maxSize === undefined && options.olderThan === undefined && options.namespace === undefined) throw new TypeError('prune: give maxSize, olderThan or a namespace')
    const pruned = await this.store.upkeep.prune({
      maxBytes: options.maxSize === undefined ? undefined : bytes(where, 'maxSize', options.maxSize),
      olderThan: options.olderThan === undefined ? undefined : duration(where, 'olderThan', options.olderThan),
      namespace: options.namespace === undefined ? undefined : checkNamespace(where, options.namespace),
      dryRun: options.dryRun, now: Date.now(),
    })
    this.room.memory.clear('')
    return pruned
  }

  /** What each namespace takes, and when it was last used; from the index, no file is looked at. */
  usage(): Usage[] {
    return this.store.upkeep.usage()
  }

  /** Room on the disk of the cache. */
  async space({ required = 0 }: { readonly required?: number | string } = {}): Promise<Space> {
    const needed = bytes('space', 'required', required)
    const { bavail, blocks, bsize } = await statfs(this.store.layout.dir)
    return { free: bavail * bsize, total: blocks * bsize, used: this.store.upkeep.bytes, fits: bavail * bsize - needed >= this.#options.minFree }
  }

  /**
   * What a file is told apart by, 64 hex digits, for keys: `keyOf(config, { content: await cache.fingerprint('corpus.txt') })`. A digest is remembered by the file's device, inode, size and times, so that a file
   * that is as it was is not read again. Rejects with FileError, and with SourceChangedError when it is written meanwhile.
   */
  async fingerprint(path: string | URL, options: FingerprintOptions = {}): Promise<string> {
    const where = 'fingerprint'
    checkOptions(where, options, ['mode', 'signal'])
    if (typeof path !== 'string' && !(path instanceof URL)) throw new TypeError(`${where}: path must be a string or a file: URL, not ${show(path)}`)
    const mode = choice(where, 'mode', options.mode, FINGERPRINTS, this.#options.fingerprint)
    return this.#untilClosed(options.signal, (signal) => fingerprintOf(this.room.store, path, mode, signal))
  }

  /**
   * Removes what was made (`dependsOn`) from things with these digests of 64 hex digits, and what was made from that. Happens by itself when such a thing is replaced or
   * removed here; this is for what lies elsewhere. Gives how many entries.
   */
  async invalidate(...digests: readonly string[]): Promise<number> {
    for (const digest of digests) if (!/^[0-9a-f]{64}$/.test(digest)) throw new TypeError(`invalidate: digest must be 64 hex digits, not ${show(digest)}`)
    return await this.room.store?.entries.invalidate(digests) ?? 0
  }

  /**
   * The dataset that a source and a recipe ask for. What is in the cache is mapped; what is missing is computed and stored. Several processes
   * may ask for the same one at the same time: each item is computed once. When a build is killed, what was finished is kept.
   *
   * Rejects with RecipeError before anything is read, NonFiniteError or ItemError for an item that cannot be made, SourceChangedError when a file
   * is written meanwhile, DiskFullError when there is no room.
   */
  async dataset(source: Source, recipe: Recipe, options: DatasetOptions = {}): Promise<Dataset> {
    checkOptions('dataset', options, DATASET_OPTIONS)
    if (typeof source?.read !== 'function') throw new TypeError(`dataset: expected a source, not ${show(source)}; sources are opened with await: await npz('train.npz')`)
    if (!Array.isArray(recipe?.ops)) throw new TypeError(`dataset: expected a recipe, not ${show(recipe)}; make one with recipe([…])`)
    const name = text('name', options.name)
    const namespace = text('namespace', options.namespace)
    const device = this.#device(options.device)
    const jobs = number('dataset', 'jobs', options.jobs, { integer: true, min: 1, max: 256 }, availableParallelism())
    const store = await this.#datasets()
    const run = (signal: AbortSignal | undefined): Promise<{ manifest: Manifest; report: BuildReport }> => this.#untilClosed(signal, (either) => build({
      store, source, recipe, name, namespace, jobs, signal: either,
      device,
      fingerprint: this.#options.fingerprint,
      memoryBytes: this.#options.memoryBudget,
      onProgress: options.onProgress,
    }))
    const { manifest, report } = await run(options.signal)
    return this.#opened(store, manifest, report, async () => (await run(undefined)).manifest)
  }

  /**
   * A dataset that is in the cache already, by its key; `undefined` when it is not. Without its source it can be read but damage
   * cannot heal itself.
   */
  async openDataset(key: string): Promise<Dataset | undefined> {
    if (!/^[0-9a-f]{64}$/.test(key)) throw new TypeError(`openDataset: key must be 64 hex digits, not ${show(key)}`)
    const began = performance.now()
    const store = await this.#datasets()
    const record = store.datasetRecord(fromHex(key))
    if (record === undefined) return undefined
    const manifest = await Manifest.read(await store.blob(record.manifest))
    const report = { items: manifest.length, hits: manifest.length, computed: 0, skipped: 0, cuts: [], seconds: (performance.now() - began) / 1000, bytes: 0 }
    return this.#opened(store, manifest, report)
  }

  /** Ends builds that are under way (what they finished is kept), closes the datasets and the index. Views that were handed out stay valid. */
  async close(): Promise<void> {
    this.#closing.abort(new StoreError(this.#options.dir ?? 'the cache', 'is closed'))
    await Promise.allSettled(this.#building)
    for (const dataset of this.#open) await dataset.close()
    for (const device of this.#devices.values()) await device.close()
    this.#devices.clear()
    const passing = await this.#passing?.catch(() => undefined)
    await passing?.close()
    if (passing !== undefined) await rm(passing.layout.dir, { recursive: true, force: true })
    const { store, tally } = this.room
    // What was counted is not worth an error.
    await tally.flush(store).catch(() => undefined)
    await store?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** The store that datasets lie in: the cache's, or a folder that goes with the cache. */
  #datasets(): Promise<Store> {
    if (this.room.store !== undefined) return Promise.resolve(this.room.store)
    const { minFree } = this.#options
    return this.#passing ??= mkdtemp(join(tmpdir(), 'tensorcache-')).then((dir) => Store.open({ dir, readonly: false, minFree }))
  }

  async #opened(store: Store, manifest: Manifest, report: BuildReport, rebuild?: () => Promise<Manifest>): Promise<Dataset> {
    const dataset = await Dataset.open(store, manifest, report, { rebuild, onClose: () => this.#open.delete(dataset) })
    this.#open.add(dataset)
    return dataset
  }

  async #untilClosed<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const working = work(signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]))
    this.#building.add(working)
    try {
      return await working
    } finally {
      this.#building.delete(working)
    }
  }

  #device(chosen: DeviceChoice | Device | undefined): DeviceSource {
    if (typeof chosen === 'object' && typeof chosen.prepare === 'function') return { exact: chosen.exact, open: () => Promise.resolve(chosen) }
    const choice = checkDeviceChoice('dataset', chosen)
    let device = this.#devices.get(choice)
    if (device === undefined) {
      device = deviceSource(choice, { verdicts: { read: async () => (await this.#datasets()).verdicts(), write: async (learned) => (await this.#datasets()).judge(learned) } })
      this.#devices.set(choice, device)
    }
    return device
  }
}

/** Opens a cache directory, making it when it is not there. No server, no configuration. Rejects with StoreError when the folder cannot be used. */
export async function openCache(options: CacheOptions = {}): Promise<Cache> {
  const checked = checkCacheOptions(options)
  const { dir, enabled } = checked
  return new Cache(dir === null || !enabled ? undefined : await Store.open({ ...checked, dir }), checked)
}

function text(name: string, value: unknown): string {
  if (value === undefined) return ''
  if (typeof value !== 'string') throw new TypeError(`dataset: ${name} must be a text, not ${show(value)}`)
  return value
}
