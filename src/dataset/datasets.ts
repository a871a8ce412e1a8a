import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Fingerprint } from '../cache/options.js'
import type { Events } from '../core/events.js'
import { fromHex } from '../core/hash.js'
import { checkOptions, number, show } from '../core/options.js'
import type { Device, DeviceSource } from '../devices/device.js'
import { checkDeviceChoice, deviceSource, type DeviceChoice } from '../devices/select.js'
import type { Recipe } from '../ops/recipe.js'
import type { Source } from '../sources/source.js'
import { checkCompression, type Compression, type CompressionOption } from '../store/compression.js'
import { Store } from '../store/store.js'
import { Stores } from '../store/stores.js'
import { build, type BuildReport, type Progress } from './build.js'
import { Dataset } from './dataset.js'
import { LiveDataset } from './live.js'
import { Manifest } from './manifest.js'
import { Residency } from './residency.js'
import { allDatasets, datasetsNamed, labelOf, type FoundDataset } from './named.js'
import { checkVerifyOptions, sumVerifications, verify, type Verification, type VerifyOptions } from './verify.js'

/** Options of `cache.dataset`. None of them is part of a key, unless bytes may depend on the device. */
export interface DatasetOptions {
  /** True, the default: what is missing is computed and stored. For false see `LiveOptions`. */
  readonly cache?: true
  /** Label for people and the command line; not part of any key. */
  readonly name?: string
  /** `/`-separated label under which it is listed. In a scope it lies below the scope's. */
  readonly namespace?: string
  /**
   * Where missing items are computed: `auto` (default; a real GPU if there is one), `cpu`, `webgpu`, `webgpu:<part of an adapter's name>`, or a device made by
   * the caller, who closes it. The bytes are the same. It is opened when something has to be computed.
   */
  readonly device?: DeviceChoice | Device
  /** Ranges of items in work at the same time; default: one per core. */
  readonly jobs?: number
  /** Called as items are found and computed. */
  readonly onProgress?: (progress: Progress) => void
  /** How its shards are written: `none`, `lz4`, `zstd`, `gzip`, or `{ codec, level, shuffle }`; default: what `openCache` was given. Those that are there stay as they are. */
  readonly compression?: CompressionOption
  /** Aborted: the build ends and rejects with its reason; what it finished is kept. */
  readonly signal?: AbortSignal
}

/** Of a dataset that is computed when it is read, and stored nowhere. */
export interface LiveOptions extends Pick<DatasetOptions, 'name' | 'device' | 'signal'> {
  /** Nothing is looked up and nothing is stored. */
  readonly cache: false
}

export const LIVE_OPTIONS = ['cache', 'name', 'device', 'signal']
export const DATASET_OPTIONS = ['cache', 'name', 'namespace', 'device', 'jobs', 'onProgress', 'compression', 'signal']

export interface DatasetsOptions {
  readonly fingerprint: Fingerprint
  /** Bytes of items in work while a dataset is built. */
  readonly memoryBudget: number
  /** Bytes of shards that stay mapped in. */
  readonly residencyBytes: number
  readonly compression: Compression | undefined
  readonly minFree: number
  readonly events: Events
  /** What was handed out is hashed again when it is handed out next. */
  readonly check: boolean
}

/** The datasets of a cache: builds and opens them, and closes what is open with the cache. */
export class Datasets {
  readonly #stores: Stores | undefined
  readonly #options: DatasetsOptions
  readonly #residency: Residency
  readonly #open = new Set<{ close(): Promise<void> }>()
  readonly #devices = new Map<string, ReturnType<typeof deviceSource>>()
  readonly #building = new Set<Promise<unknown>>()
  readonly #closing = new AbortController()
  /** Where they lie while nothing else is to be written. */
  #passing: Promise<Store> | undefined

  constructor(stores: Stores | undefined, options: DatasetsOptions) {
    this.#stores = stores
    this.#options = options
    this.#residency = new Residency(options.residencyBytes)
  }

  /** `options` are those of `Shelf.dataset`, their namespace being the whole. With `relabels` a dataset that is there gets the name and namespace. */
  async dataset(source: Source, recipe: Recipe, options: DatasetOptions, relabels: boolean): Promise<Dataset> {
    const where = 'dataset'
    checkOptions(where, options, DATASET_OPTIONS)
    const { name, namespace = '' } = checked(source, recipe, options)
    const device = this.#device(options.device)
    const jobs = number(where, 'jobs', options.jobs, { integer: true, min: 1, max: 256 }, availableParallelism())
    const compression = options.compression === undefined ? this.#options.compression : checkCompression(where, options.compression)
    const store = await this.#storeOf(namespace)
    const run = (signal: AbortSignal | undefined): Promise<{ manifest: Manifest; report: BuildReport }> => this.untilClosed(signal, (either) => build({
      store, source, recipe, name, namespace, jobs, compression, signal: either,
      device,
      fingerprint: this.#options.fingerprint,
      memoryBytes: this.#options.memoryBudget,
      onProgress: options.onProgress,
    }))
    const { manifest, report } = await run(options.signal)
    if (relabels) await store.relabel(fromHex(manifest.facts.key), name, namespace)
    return this.#opened(store, manifest, report, async () => (await run(undefined)).manifest)
  }

  /** Of `Shelf.dataset` with `cache: false`. */
  async live(source: Source, recipe: Recipe, options: LiveOptions): Promise<LiveDataset> {
    checkOptions('dataset', options, LIVE_OPTIONS)
    const { name } = checked(source, recipe, options)
    const device = this.#device(options.device)
    const dataset = await this.untilClosed(options.signal, (signal) => LiveDataset.open({
      source, recipe, device, name, signal,
      memoryBytes: this.#options.memoryBudget,
      onClose: () => this.#open.delete(dataset),
    }))
    this.#open.add(dataset)
    return dataset
  }

  /** By key, or by name. */
  async open(wanted: string): Promise<Dataset | undefined> {
    if (typeof wanted !== 'string' || wanted === '') throw new TypeError(`openDataset: expected a key of 64 hex digits, or the name of a dataset, not ${show(wanted)}`)
    const began = performance.now()
    const found = await this.#find(wanted)
    if (found === undefined) return undefined
    const { store, record } = found
    const manifest = await Manifest.read(await store.blob(record.manifest))
    const report = { items: manifest.length, hits: manifest.length, computed: 0, skipped: 0, cuts: [], seconds: (performance.now() - began) / 1000, bytes: 0, secondsSaved: record.seconds ?? 0 }
    return this.#opened(store, manifest, report)
  }

  async #find(wanted: string): Promise<Omit<FoundDataset, 'key'> | undefined> {
    const stores = this.#stores?.all ?? [await this.#storeOf('')]
    if (/^[0-9a-f]{64}$/.test(wanted)) {
      for (const store of stores) {
        const record = store.datasetRecord(fromHex(wanted))
        if (record !== undefined) return { store, record }
      }
    }
    const named = datasetsNamed(allDatasets(stores), wanted)
    if (named.length > 1) throw new TypeError(`openDataset: ${show(wanted)} is the name of ${named.length} datasets; say which: ${named.map(({ record }) => labelOf(record)).join(', ')}`)
    return named[0]
  }

  /** `Cache.verify`, of all stores. */
  async verify(stores: readonly Store[], options: VerifyOptions): Promise<Verification> {
    const checked = checkVerifyOptions(options)
    const { memoryBudget: memoryBytes, fingerprint } = this.#options
    return this.untilClosed(options.signal, async (signal) => {
      const found: Verification[] = []
      for (const store of stores) found.push(await verify({ store, options, checked, deviceOf: (choice) => this.#device(choice), jobs: checked.jobs ?? availableParallelism(), memoryBytes, fingerprint, signal }))
      return sumVerifications(found)
    })
  }

  /** Ends builds that are under way (what they finished is kept, `reason` is why) and closes what is open. */
  async close(reason: Error): Promise<void> {
    this.#closing.abort(reason)
    await Promise.allSettled(this.#building)
    for (const dataset of this.#open) await dataset.close()
    for (const device of this.#devices.values()) await device.close()
    this.#devices.clear()
    const passing = await this.#passing?.catch(() => undefined)
    await passing?.close()
    if (passing !== undefined) await rm(passing.layout.dir, { recursive: true, force: true })
  }

  /** The cache's, or a folder that goes with the cache. */
  #storeOf(namespace: string): Promise<Store> {
    if (this.#stores !== undefined) return Promise.resolve(this.#stores.of(namespace))
    const { minFree } = this.#options
    return this.#passing ??= mkdtemp(join(tmpdir(), 'tensorcache-')).then((dir) => Store.open({ dir, readonly: false, minFree, events: this.#options.events }))
  }

  async #opened(store: Store, manifest: Manifest, report: BuildReport, rebuild?: () => Promise<Manifest>): Promise<Dataset> {
    const dataset = await Dataset.open(store, manifest, report, { rebuild, onClose: () => this.#open.delete(dataset), check: this.#options.check, residency: this.#residency })
    this.#open.add(dataset)
    this.#told(manifest, report)
    return dataset
  }

  #told({ facts: { name, namespace, key } }: Manifest, { items, hits, computed, seconds, bytes, secondsSaved }: BuildReport): void {
    const { events } = this.#options
    if (computed === 0) events.publish('reuse', () => ({ name, namespace, key, items, seconds, secondsSaved }))
    else events.publish('build', () => ({ name, namespace, key, items, hits, computed, seconds, bytes, secondsSaved }))
  }

  /** Work that ends when the cache is closed. */
  async untilClosed<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
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
      device = deviceSource(choice, { verdicts: { read: async () => (await this.#storeOf('')).verdicts(), write: async (learned) => (await this.#storeOf('')).judge(learned) } })
      this.#devices.set(choice, device)
    }
    return device
  }
}

function checked<O extends Pick<DatasetOptions, 'name'>>(source: Source, recipe: Recipe, options: O): O & { readonly name: string } {
  if (typeof source?.read !== 'function') throw new TypeError(`dataset: expected a source, not ${show(source)}; sources are opened with await: await npz('train.npz')`)
  if (!Array.isArray(recipe?.ops)) throw new TypeError(`dataset: expected a recipe, not ${show(recipe)}; make one with recipe([…])`)
  const { name = '' } = options
  if (typeof name !== 'string') throw new TypeError(`dataset: name must be a text, not ${show(name)}`)
  return { ...options, name }
}
