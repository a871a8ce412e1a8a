import { IntegrityError } from '../core/errors.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import type { ItemRows } from '../ops/op.js'
import type { Store } from '../store/store.js'
import type { BatchPlan } from './batch-options.js'
import type { Epoch, Maker } from './batches.js'
import type { BuildReport } from './build.js'
import type { Item } from './collate.js'
import { ItemList } from './item-list.js'
import { cachedMaker, rowsIn } from './makers.js'
import type { Manifest, Provenance } from './manifest.js'
import type { Residency } from './residency.js'
import { Shards } from './shards.js'
import { assertUnwritten } from './unwritten.js'

interface DatasetHooks {
  /** Computes again what was damaged; without it damage is an error. */
  readonly rebuild?: (() => Promise<Manifest>) | undefined
  readonly onClose?: (() => void) | undefined
  /** Hashes items again before they are handed out. */
  readonly check?: boolean | undefined
  /** Shared by the datasets of a cache; without it all that was read stays mapped in. */
  readonly residency?: Residency | undefined
}

/**
 * An ordered list of items in the cache, made by one source and one recipe. Items and batches are views of mapped memory where they can
 * be; treat them as read-only. While it is open, no process prunes its shards.
 */
export class Dataset extends ItemList {
  readonly #store: Store
  readonly #rebuild: (() => Promise<Manifest>) | undefined
  readonly #onClose: (() => void) | undefined
  readonly #check: boolean
  readonly #residency: Residency | undefined
  /** Bytes of shards that stay mapped in until it is closed. */
  #kept = 0
  readonly #give: () => void
  #shards: Shards
  #pin: string | undefined
  #healing: Promise<void> | undefined
  /** Hits, computed items, seconds and bytes of the call that opened it. */
  readonly report: BuildReport

  private constructor(store: Store, manifest: Manifest, report: BuildReport, { rebuild, onClose, check, residency }: DatasetHooks) {
    super()
    this.#store = store
    const bytes = residency === undefined ? 0 : manifest.rows.blobs.reduce((sum, digest) => sum + (store.blobBytes(digest) ?? 0), 0)
    if (residency?.take(bytes) === true) this.#kept = bytes
    else this.#residency = residency
    this.#give = () => residency?.give(this.#kept)
    this.#shards = new Shards(store, manifest, this.#residency)
    this.#rebuild = rebuild
    this.#onClose = onClose
    this.#check = check === true
    this.report = report
  }

  /** @internal */
  static async open(store: Store, manifest: Manifest, report: BuildReport, hooks: DatasetHooks = {}): Promise<Dataset> {
    const dataset = new Dataset(store, manifest, report, hooks)
    dataset.#pin = await store.pin(manifest.facts.key)
    return dataset
  }

  /** Number of items. */
  get length(): number {
    return this.#manifest.length
  }

  /** dtype and shape of each field of an item; null marks extents that differ between items. */
  get fields(): FieldSpecs {
    return this.#manifest.facts.fields
  }

  /** Tensors that belong to the dataset and not to an item. */
  get constants(): Readonly<Record<string, Tensor>> {
    return this.#manifest.constants
  }

  /** Says which result: SHA-256 of the recipe and the identities of all items, 64 hex digits. */
  get key(): string {
    return this.#manifest.facts.key
  }

  /** Says which bytes: SHA-256 over all items' fields and the constants, 64 hex digits; the same on every device. */
  get digest(): string {
    return this.#manifest.facts.digest
  }

  /** Name it was made under; empty when it was given none. */
  get name(): string {
    return this.#manifest.facts.name
  }

  /** How it was made; not part of the key. */
  get provenance(): Provenance {
    return this.#manifest.facts.provenance
  }

  /** @internal */
  get binding(): string {
    return this.digest
  }

  /** @internal */
  get isStored(): boolean {
    return true
  }

  /** Human name of an item. */
  id(index: number): string {
    this.checkIndex(index)
    return this.#manifest.id(index)
  }

  /**
   * One item: its name and its fields as views. Each part of a shard is checked against its checksum when it is first touched in this process.
   * Damage heals itself while the source can be read; otherwise it is an IntegrityError.
   */
  override async get(index: number): Promise<Item> {
    this.checkIndex(index)
    return this.item(index, Object.keys(this.fields))
  }

  /** @internal */
  async item(index: number, fields: readonly string[]): Promise<Item> {
    const item = await this.healed((shards) => shards.item(index, fields))
    if (this.#check) await this.assertUnwritten([index])
    return item
  }

  /** @internal */
  async rows(indices: Float64Array, fields: readonly string[]): Promise<ItemRows> {
    const rows = await this.healed((shards) => rowsIn(shards, this.fields, indices, fields))
    if (this.#check) await this.assertUnwritten(indices)
    return rows
  }

  /** @internal */
  override maker(plan: BatchPlan, _epoch: Epoch, buffers: number): Maker {
    return cachedMaker(this, plan, buffers)
  }

  /** @internal Without reading what is looked up: where each item begins is in the shards. */
  override async lengths(field: string): Promise<Float64Array> {
    const { shape } = this.fields[field]!
    if (shape[0] !== null || shape.slice(1).includes(null)) return super.lengths(field)
    const offsets = await this.healed((shards) => shards.offsets(field, Float64Array.from({ length: this.length }, (_, index) => index)))
    return offsets.subarray(1).map((end, index) => end - offsets[index]!)
  }

  /** Unpins the shards. Views that were handed out stay valid. */
  async close(): Promise<void> {
    const pin = this.#pin
    this.#pin = undefined
    this.#onClose?.()
    this.#give()
    this.#kept = 0
    if (pin !== undefined) await this.#store.unpin(pin)
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal What is read from now. `healed` says which one a read has to stay with. */
  get shards(): Shards {
    return this.#shards
  }

  /**
   * @internal Runs `read`; damage it meets is mended and it runs again with what is there then: each attempt may meet another damaged shard.
   * A read-only cache cannot mend, but a second look finds what another process has mended.
   */
  async healed<T>(read: (shards: Shards) => Promise<T>): Promise<T> {
    const attempts = this.#store.readonly ? 1 : this.#manifest.rows.blobs.length + 1
    for (let attempt = 0; ; attempt++) {
      const shards = this.#shards
      try {
        return await read(shards)
      } catch (error) {
        if (!(error instanceof IntegrityError) || this.#rebuild === undefined || attempt === attempts) throw error
        // Somebody else may have met the same damage and mended it since.
        if (this.#shards === shards) await this.#heal(this.#rebuild, error)
      }
    }
  }

  /** @internal True: `assertUnwritten` is to be asked before items are handed out. */
  get checked(): boolean {
    return this.#check
  }

  /** @internal Rejects with IntegrityError when somebody has written to what he was handed out to read. */
  assertUnwritten(indices: Iterable<number>): Promise<void> {
    // Nothing to be healed: the file is as it was.
    return assertUnwritten(this.#shards, indices)
  }

  /** Several readers may meet the same damage; it is mended once. */
  async #heal(rebuild: () => Promise<Manifest>, reason: IntegrityError): Promise<void> {
    this.#healing ??= (async () => {
      const began = performance.now()
      try {
        const manifest = await rebuild()
        if (manifest.facts.digest !== this.digest) throw new IntegrityError(reason.file, 'was damaged, and computing it again gives other bytes', { cause: reason })
        this.#shards = new Shards(this.#store, manifest, this.#residency)
        const { name, namespace, key } = manifest.facts
        this.#store.events.publish('heal', () => ({ name, namespace, key, file: reason.file, reason: reason.message, seconds: (performance.now() - began) / 1000 }))
      } catch (cause) {
        throw new IntegrityError(reason.file, `is damaged, and could not be computed again (${(cause as Error).message})`, { cause })
      } finally {
        this.#healing = undefined
      }
    })()
    await this.#healing
  }

  get #manifest(): Manifest {
    return this.#shards.manifest
  }
}
