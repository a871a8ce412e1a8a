import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { byteCount } from '../core/tensor.js'
import { dataOf, isRagged, rowOf, type Rows } from '../core/rows.js'
import type { DeviceSource } from '../devices/device.js'
import { allowItems, giveBack, itemTensor } from '../native/fresh.js'
import { native } from '../native/load.js'
import { checkRecipe } from '../ops/compile.js'
import { rowsAt, type ItemRows, type ItemSequence } from '../ops/op.js'
import type { Recipe } from '../ops/recipe.js'
import type { Following, Source } from '../sources/source.js'
import { sequenced } from './arrange.js'
import { batches, checkBatchOptions, newBatch, type Batch, type Batched, type BatchOptions, type BatchPlan, type Maker } from './batches.js'
import { collated, type Item } from './collate.js'
import { Executor } from './execute.js'
import { followEpoch, positionsOf } from './follow.js'
import { assembleGraphs, numberingBytes, SOURCE } from './graphs.js'
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
export class LiveDataset implements Batched {
  readonly #request: LiveRequest
  readonly #items: ItemSequence
  /** dtype and shape of each field of an item; null marks extents that differ between items. */
  readonly fields: FieldSpecs
  /** Tensors that belong to the dataset and not to an item. */
  readonly constants: Readonly<Record<string, Tensor>>
  readonly #arranged: readonly ItemSequence[]
  /** Of an epoch that was read to its end: what it would go on with counts until the next one begins. */
  #past: Following | undefined
  #closed = false

  private constructor(request: LiveRequest, items: ItemSequence, arranged: readonly ItemSequence[], fields: FieldSpecs, constants: Readonly<Record<string, Tensor>>) {
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
  get isSlow(): boolean {
    return this.#request.source.follow !== undefined
  }

  get name(): string {
    return this.#request.name
  }

  /** Human name of an item. */
  id(index: number): string {
    this.#checkIndex(index)
    return this.#items.id(index)
  }

  /** One item: its name and its fields, computed now. */
  async get(index: number, options: { readonly signal?: AbortSignal } = {}): Promise<Item> {
    this.#checkIndex(index)
    return this.#item(index, Object.keys(this.fields), options.signal)
  }

  /** Batches in order, or in the order that `seed` and `epoch` choose: those of a cached dataset, to the byte. */
  batches(options: BatchOptions): AsyncIterableIterator<Batch> {
    this.#checkOpen()
    return batches(this, checkBatchOptions(options, this.fields))
  }

  /** @internal */
  maker(plan: BatchPlan, buffers: number): Maker {
    const { source, recipe } = this.#request
    const following = followEpoch({ source, recipe, arranged: this.#arranged, length: this.length }, plan)
    this.#past?.end()
    this.#past = undefined
    const positions = positionsOf(plan, this.length)
    // Memory of batches that are done is for the next ones.
    const disallow = allowItems(this.#request.memoryBytes, true)
    const stop = new AbortController()
    const signal = plan.signal === undefined ? stop.signal : AbortSignal.any([plan.signal, stop.signal])
    return new LiveMaker(this, plan, {
      buffers, following,
      rows: (indices) => this.#rows(indices, plan.fields, signal),
      item: (index) => this.#item(index, plan.fields, signal),
      stop: () => stop.abort(new Error('nobody waits for it')),
      ended: (made) => {
        disallow()
        if (made < positions || this.#closed) return following?.end()
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #item(index: number, names: readonly string[], signal: AbortSignal | undefined): Promise<Item> {
    this.#checkOpen()
    return { id: this.#items.id(index), ...await this.#items.read(index, names, signal) }
  }

  /** Items as one run, put together of parts where all at once would be more than the budget allows. */
  async #rows(indices: Float64Array, names: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows> {
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

  #checkIndex(index: number): void {
    this.#checkOpen()
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new RangeError(`dataset: index ${index} is outside 0 to ${this.length - 1}`)
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
  readonly #isUniform: boolean
  /** With `reuse`: by turn what goes back when the consumer has moved on. */
  readonly #own = new Map<number, readonly ArrayBuffer[]>()
  #position = 0

  constructor(items: LiveDataset, plan: BatchPlan, work: LiveWork) {
    this.#items = items
    this.#plan = plan
    this.#work = work
    this.#isUniform = plan.fields.every((name) => !items.fields[name]!.shape.slice(1).includes(null))
  }

  async make(indices: Float64Array, turn: number): Promise<Batch[]> {
    const { buffers, following } = this.#work
    if (this.#plan.reuse) {
      this.#own.get(turn - buffers)?.forEach(giveBack)
      this.#own.delete(turn - buffers)
    }
    const first = this.#position
    const stop = this.#position += indices.length
    following?.begin(stop)
    try {
      return await this.#batches(indices, turn)
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

  async #batches(indices: Float64Array, turn: number): Promise<Batch[]> {
    const { size } = this.#plan
    const made: Batch[] = []
    for (let from = 0; from < indices.length; from += size) made.push(await this.#batch(indices.subarray(from, from + size), turn))
    return made
  }

  async #batch(indices: Float64Array, turn: number): Promise<Batch> {
    const { graph, collate, fields: names, reuse } = this.#plan
    if (!this.#isUniform) return collated(this.#items, indices, await Promise.all(Array.from(indices, (index) => this.#work.item(index))), this.#plan)
    const { fields, own = [] } = await this.#work.rows(indices)
    if (reuse) this.#own.set(turn, [...this.#own.get(turn) ?? [], ...own])
    if (graph !== undefined) return this.#graph(indices, fields)
    if (collate !== 'stack') {
      const items = Array.from(indices, (index, k): Item => ({ id: this.#items.id(index), ...Object.fromEntries(names.map((name) => [name, rowOf(fields[name]!, k)])) }))
      return collated(this.#items, indices, items, this.#plan)
    }
    return Object.assign(newBatch(this.#items, indices), fields) as Batch
  }

  #graph(indices: Float64Array, rows: ItemRows['fields']): Batch {
    const graph = this.#plan.graph!
    const fields = new Map(Object.entries(rows).map(([name, of]): [string, Tensor] => [name, graph.ragged.includes(name) ? joinedRows(of) : of as Tensor]))
    const offsets = (name: string): Float64Array => offsetsOf(rows[name]!)
    const memory = native().pooledBuffer(numberingBytes(indices.length, offsets(graph.nodes).at(-1)!, graph.edges ? offsets(SOURCE).at(-1)! : 0))
    const batch = newBatch(this.#items, indices)
    assembleGraphs(batch, graph, indices.length, fields, offsets, memory, 0)
    return batch as Batch
  }
}

/** All rows of all items as one tensor; those of items that happen to have equally many are a tensor already. */
function joinedRows(rows: Rows): Tensor {
  if (!isRagged(rows)) return { ...rows, shape: [rows.shape[0]! * rows.shape[1]!, ...rows.shape.slice(2)] }
  const { dtype, tail } = rows
  return { dtype, shape: [rows.offsets.at(-1)! - rows.offsets[0]!, ...tail], data: dataOf(rows) } as Tensor
}

function offsetsOf(rows: Rows): Float64Array {
  if (!isRagged(rows)) return Float64Array.from({ length: rows.shape[0]! + 1 }, (_, k) => k * rows.shape[1]!)
  const first = rows.offsets[0]!
  return first === 0 ? rows.offsets : rows.offsets.map((at) => at - first)
}
