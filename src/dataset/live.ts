import { basename } from 'node:path'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { byteCount } from '../core/tensor.js'
import { frame } from '../core/keys.js'
import { sha256, toHex } from '../core/hash.js'
import { dataOf } from '../core/rows.js'
import type { DeviceSource } from '../devices/device.js'
import { allowItems, giveBack, itemTensor } from '../native/fresh.js'
import { checkRecipe } from '../ops/compile.js'
import { rowsAt, type ItemRows, type ItemSequence } from '../ops/op.js'
import { recipeKeyData, type Recipe } from '../ops/recipe.js'
import type { Following, Source } from '../sources/source.js'
import { sequenced } from './arrange.js'
import type { BatchOptions, BatchPlan } from './batch-options.js'
import { partsOf, type BatchFields, type Epoch, type Maker } from './batches.js'
import { collated, type Item } from './collate.js'
import { Executor } from './execute.js'
import { followEpoch } from './follow.js'
import { ItemList } from './item-list.js'
import type { BatchIterator } from './iterator.js'
import { batchOfRows, isUniform } from './rows-maker.js'
import { mapped } from './sequence.js'

export interface LiveRequest {
  readonly source: Source
  readonly recipe: Recipe
  readonly device: DeviceSource
  readonly name: string
  /** Bytes of items in work at a time. */
  readonly memoryBytes: number
  readonly signal: AbortSignal | undefined
  readonly onClose: () => void
}

/**
 * The items of a source after a recipe, computed when they are asked for and kept nowhere: for recipes that cost less than reading their results from a disk. Items, batches and their order are
 * those of the dataset that a cache would have. The source must stay open and unchanged; damage and change are errors.
 */
export class LiveDataset extends ItemList {
  readonly #request: LiveRequest
  readonly #items: ItemSequence
  /** dtype and shape of each field of an item; null marks extents that differ between items. */
  readonly fields: FieldSpecs
  /** Tensors that belong to the dataset and not to an item. */
  readonly constants: Readonly<Record<string, Tensor>>
  readonly #arranged: readonly ItemSequence[]
  /** Of an epoch that was read to its end: what it would go on with counts until the next one begins. */
  #past: Following | undefined
  #binding: string | undefined
  #closed = false

  private constructor(request: LiveRequest, items: ItemSequence, arranged: readonly ItemSequence[], fields: FieldSpecs, constants: Readonly<Record<string, Tensor>>) {
    super()
    this.#request = request
    this.#items = items
    this.#arranged = arranged
    this.fields = fields
    this.constants = constants
  }

  /** @internal Rejects with RecipeError where the recipe does not fit the source. */
  static async open(request: LiveRequest): Promise<LiveDataset> {
    const { source, recipe, device, signal } = request
    const fields = checkRecipe(recipe, source.fields)
    const { sequence, segments, arranged, place } = await sequenced(source, recipe, device, signal, undefined)
    const rest = recipe.ops.slice(place + 1)
    const items = rest.length === 0 ? sequence : mapped(sequence, new Executor(segments, device), rest)
    const constants: Record<string, Tensor> = {}
    for (const [name, constant] of Object.entries(source.constants)) constants[name] = await constant.read()
    return new LiveDataset(request, items, arranged, fields, constants)
  }

  /** Number of items. */
  get length(): number {
    return this.#items.length
  }

  /** @internal Files that are elsewhere are fetched by their order, not by how many batches are in work. */
  override get isSlow(): boolean {
    return this.#request.source.follow !== undefined
  }

  /** Name it was given, for messages. */
  get name(): string {
    return this.#request.name
  }

  /** @internal What is known without reading: nothing here has been hashed. */
  get binding(): string {
    const { source, recipe } = this.#request
    const files = source.files.map(({ path, size }) => ({ name: basename(path), size }))
    return this.#binding ??= toHex(sha256(frame({ live: 1, recipe: recipeKeyData(recipe, undefined), reader: { ...source.reader }, digest: source.digest, files, length: this.length, fields: this.fields })))
  }

  /** @internal */
  get isStored(): boolean {
    return false
  }

  /** Human name of an item. */
  id(index: number): string {
    this.#checkOpen()
    this.checkIndex(index)
    return this.#items.id(index)
  }

  /** One item: its name and its fields, computed now. */
  override async get(index: number, options: { readonly signal?: AbortSignal } = {}): Promise<Item> {
    this.#checkOpen()
    return super.get(index, options)
  }

  /** Batches in order, or in the order that `seed` and `epoch` choose: those of a cached dataset, to the byte. */
  override batches(options: BatchOptions): BatchIterator {
    this.#checkOpen()
    return super.batches(options)
  }

  /** @internal */
  override maker(plan: BatchPlan, epoch: Epoch, buffers: number): Maker {
    const { source, recipe } = this.#request
    const following = followEpoch({ source, recipe, arranged: this.#arranged }, epoch, plan.fields)
    this.#past?.end()
    this.#past = undefined
    // Memory of batches that are done is for the next ones.
    const disallow = allowItems(this.#request.memoryBytes, true)
    const stop = new AbortController()
    const signal = plan.signal === undefined ? stop.signal : AbortSignal.any([plan.signal, stop.signal])
    return new LiveMaker(this, plan, {
      buffers, following,
      rows: (indices) => this.rows(indices, plan.fields, signal),
      item: (index) => this.item(index, plan.fields, signal),
      stop: () => stop.abort(new Error('nobody waits for it')),
      ended: (made) => {
        disallow()
        if (made < epoch.order.length || this.#closed) return following?.end()
        this.#past?.end()
        this.#past = following
      },
    })
  }

  /** What was handed out stays valid. Does not close the source. */
  async close(): Promise<void> {
    this.#closed = true
    this.#past?.end()
    this.#request.onClose()
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal */
  async item(index: number, names: readonly string[], signal: AbortSignal | undefined): Promise<Item> {
    this.#checkOpen()
    return { id: this.#items.id(index), ...await this.#items.read(index, names, signal) }
  }

  /** @internal Items as one run, put together of parts where all at once would be more than the budget allows. */
  async rows(indices: Float64Array, names: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows> {
    this.#checkOpen()
    const some = (part: Float64Array): Promise<ItemRows> => rowsAt(this.#items, part, names, signal)
    const fixed = names.every((name) => !this.fields[name]!.shape.includes(null))
    const bytes = fixed ? names.reduce((sum, name) => sum + byteCount(this.fields[name]!.dtype, this.fields[name]!.shape as number[]), 0) : 0
    const step = Math.max(1, Math.floor(this.#request.memoryBytes / 8 / Math.max(1, bytes)))
    if (step >= indices.length) return some(indices)
    const whole = Object.fromEntries(names.map((name) => [name, itemTensor(this.fields[name]!.dtype, [indices.length, ...this.fields[name]!.shape as number[]])]))
    for (let at = 0; at < indices.length; at += step) {
      const { fields, own = [] } = await some(indices.subarray(at, at + step))
      for (const name of names) {
        const data = dataOf(fields[name]!) as Uint8Array
        ;(whole[name]!.data as Uint8Array).set(data, at * (whole[name]!.data.length / indices.length))
      }
      own.forEach(giveBack)
    }
    return { count: indices.length, fields: whole }
  }

  #checkOpen(): void {
    if (this.#closed) throw new TypeError('The dataset is closed')
  }
}

interface LiveWork {
  readonly buffers: number
  readonly following: Following | undefined
  rows(indices: Float64Array): Promise<ItemRows>
  item(index: number): Promise<Item>
  stop(): void
  /** After so many positions of the epoch. */
  ended(made: number): void
}

/** Batches of items that are computed now: together where their fields may differ in axis 0 at most, otherwise one by one. */
class LiveMaker implements Maker {
  readonly #items: LiveDataset
  readonly #plan: BatchPlan
  readonly #work: LiveWork
  /** With `reuse`: by turn what goes back when the consumer has moved on. */
  readonly #own = new Map<number, readonly ArrayBuffer[]>()
  #position = 0

  constructor(items: LiveDataset, plan: BatchPlan, work: LiveWork) {
    this.#items = items
    this.#plan = plan
    this.#work = work
  }

  async make(indices: Float64Array, batches: number, turn: number): Promise<BatchFields[]> {
    const { buffers, following } = this.#work
    if (this.#plan.reuse) {
      this.#own.get(turn - buffers)?.forEach(giveBack)
      this.#own.delete(turn - buffers)
    }
    const first = this.#position
    const stop = this.#position += indices.length
    following?.begin(stop)
    try {
      return await this.#batches(indices, batches, turn)
    } finally {
      following?.done(first, stop)
    }
  }

  stop(): void {
    this.#work.stop()
  }

  end(): void {
    this.#work.ended(this.#position)
  }

  async #batches(indices: Float64Array, batches: number, turn: number): Promise<BatchFields[]> {
    const made: BatchFields[] = []
    for (const part of partsOf(indices, this.#plan.size, batches)) made.push(await this.#batch(part, turn))
    return made
  }

  async #batch(indices: Float64Array, turn: number): Promise<BatchFields> {
    const { fields, reuse } = this.#plan
    if (!isUniform(this.#items.fields, fields)) return collated(await Promise.all(Array.from(indices, (index) => this.#work.item(index))), this.#plan)
    const rows = await this.#work.rows(indices)
    if (reuse) this.#own.set(turn, [...this.#own.get(turn) ?? [], ...rows.own ?? []])
    return batchOfRows(indices, rows, this.#items, this.#plan)
  }
}
