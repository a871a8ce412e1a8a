import { IntegrityError } from '../core/errors.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import type { VerifiedBlob } from '../native/addon.js'
import type { OpenBlob } from '../store/open-blob.js'
import type { Store } from '../store/store.js'
import { batches, checkBatchOptions, type Batch, type BatchOptions } from './batches.js'
import type { BuildReport } from './build.js'
import type { Item } from './collate.js'
import type { Manifest, Provenance } from './manifest.js'
import { readRow, shardField, type ShardField } from './shard-field.js'

/** Shards that are opened at once when many are needed. */
const OPEN_AT_ONCE = 16

interface OpenShard {
  readonly blob: OpenBlob
  readonly fields: Map<string, ShardField>
}

/**
 * An ordered list of items in the cache, made by one source and one recipe. Items and batches are views of mapped memory where they can
 * be; treat them as read-only. While it is open, no process prunes its shards.
 */
export class Dataset {
  readonly #store: Store
  readonly #rebuild: (() => Promise<Manifest>) | undefined
  #manifest: Manifest
  #shards: (OpenShard | undefined)[] = []
  #opening: (Promise<OpenShard> | undefined)[] = []
  #pin: string | undefined
  #healing: Promise<void> | undefined
  /** Hits, computed items, seconds and bytes of the call that opened it. */
  readonly report: BuildReport

  private constructor(store: Store, manifest: Manifest, report: BuildReport, rebuild: (() => Promise<Manifest>) | undefined) {
    this.#store = store
    this.#manifest = manifest
    this.#rebuild = rebuild
    this.report = report
  }

  /** @internal */
  static async open(store: Store, manifest: Manifest, report: BuildReport, rebuild?: () => Promise<Manifest>): Promise<Dataset> {
    const dataset = new Dataset(store, manifest, report, rebuild)
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

  get name(): string {
    return this.#manifest.facts.name
  }

  /** How it was made; not part of the key. */
  get provenance(): Provenance {
    return this.#manifest.facts.provenance
  }

  /** Human name of an item. */
  id(index: number): string {
    this.#check(index)
    return this.#manifest.id(index)
  }

  /**
   * One item: its name and its fields as views. Each part of a shard is checked against its checksum when it is first touched in this process.
   * Damage heals itself while the source can be read; otherwise it is an IntegrityError.
   */
  async get(index: number): Promise<Item> {
    this.#check(index)
    return this.healed(() => this.#read(index))
  }

  /** Batches in order, or in the order that `seed` and `epoch` choose. */
  batches(options: BatchOptions): AsyncIterableIterator<Batch> {
    return batches(this, checkBatchOptions(options, this.fields))
  }

  /** Unpins the shards. Views that were handed out stay valid. */
  async close(): Promise<void> {
    const pin = this.#pin
    this.#pin = undefined
    if (pin !== undefined) await this.#store.unpin(pin)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  // --- for batches.ts -------------------------------------------------------------------------------------------------------

  /** @internal Which shard and row hold each item; replaced as a whole when damage heals. */
  get rows(): Manifest['rows'] {
    return this.#manifest.rows
  }

  /** @internal A shard, if it is open already. */
  openShard(number: number): OpenShard | undefined {
    return this.#shards[number]
  }

  /** @internal A shard, opened. */
  async shard(number: number): Promise<OpenShard> {
    const open = this.#shards[number]
    if (open !== undefined) return open
    const opening = this.#opening[number] ??= this.#openShard(number)
    try {
      return this.#shards[number] = await opening
    } finally {
      this.#opening[number] = undefined
    }
  }

  /** @internal All shards, for tables over the whole dataset. */
  async allShards(): Promise<{ verified: VerifiedBlob[]; shards: OpenShard[] }> {
    const count = this.rows.blobs.length
    const shards: OpenShard[] = []
    for (let from = 0; from < count; from += OPEN_AT_ONCE) {
      shards.push(...await Promise.all(Array.from({ length: Math.min(OPEN_AT_ONCE, count - from) }, (_, k) => this.shard(from + k))))
    }
    return { verified: shards.map(({ blob }) => blob.verified), shards }
  }

  /** @internal */
  quarantine(number: number, reason: string): Promise<void> {
    return this.#store.quarantine(this.rows.blobs[number]!, reason)
  }

  async #openShard(number: number): Promise<OpenShard> {
    const blob = await this.#store.blob(this.rows.blobs[number]!)
    const fields = new Map<string, ShardField>()
    try {
      for (const name of Object.keys(this.fields)) fields.set(name, await shardField(blob, name))
    } catch (error) {
      if (error instanceof IntegrityError) await this.#store.quarantine(blob.digest, error.message)
      throw error
    }
    return { blob, fields }
  }

  async #read(index: number): Promise<Item> {
    const number = this.rows.blobOf[index]!
    const row = this.rows.rowOf[index]!
    const { blob, fields } = this.#shards[number] ?? await this.shard(number)
    const item: Record<string, Tensor | string> = { id: this.#manifest.id(index) }
    try {
      for (const [name, field] of fields) {
        const tensor = readRow(blob, field, row)
        item[name] = tensor instanceof Promise ? await tensor : tensor
      }
    } catch (error) {
      if (error instanceof IntegrityError) await this.#store.quarantine(blob.digest, error.message)
      throw error
    }
    return item as Item
  }

  /** @internal Runs `read`; damage it meets is mended and it runs again: each attempt may meet another damaged shard. */
  async healed<T>(read: () => Promise<T>): Promise<T> {
    for (let attempts = this.rows.blobs.length + 1; ; attempts--) {
      try {
        return await read()
      } catch (error) {
        if (!(error instanceof IntegrityError) || this.#rebuild === undefined || attempts === 0) throw error
        await this.#heal(this.#rebuild, error)
      }
    }
  }

  /** Several readers may meet the same damage; it is mended once. */
  async #heal(rebuild: () => Promise<Manifest>, reason: IntegrityError): Promise<void> {
    this.#healing ??= (async () => {
      try {
        const manifest = await rebuild()
        if (manifest.facts.digest !== this.digest) throw new IntegrityError(reason.file, 'was damaged, and computing it again gives other bytes', { cause: reason })
        this.#manifest = manifest
        this.#shards = []
        this.#opening = []
      } catch (cause) {
        throw new IntegrityError(reason.file, `is damaged, and could not be computed again (${(cause as Error).message})`, { cause })
      } finally {
        this.#healing = undefined
      }
    })()
    await this.#healing
  }

  #check(index: number): void {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new RangeError(`dataset: index ${index} is outside 0 to ${this.length - 1}`)
  }
}
