import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { byteCount } from '../core/tensor.js'
import { dataOf, isRagged, rowOf, type Rows } from '../core/rows.js'
import type { DeviceSource } from '../devices/device.js'
import { giveBack, itemTensor } from '../native/fresh.js'
import { native } from '../native/load.js'
import { checkRecipe } from '../ops/compile.js'
import type { ItemRows, ItemSequence } from '../ops/op.js'
import type { Recipe } from '../ops/recipe.js'
import type { Source } from '../sources/source.js'
import { sequenced } from './arrange.js'
import { batches, checkBatchOptions, newBatch, type Batch, type Batched, type BatchOptions, type BatchPlan, type Maker } from './batches.js'
import { collated, type Item } from './collate.js'
import { Executor } from './execute.js'
import { assembleGraphs, numberingBytes, SOURCE } from './graphs.js'
import { itemsAsRows, mapped } from './sequence.js'

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
  #closed = false

  private constructor(request: LiveRequest, items: ItemSequence, fields: FieldSpecs, constants: Readonly<Record<string, Tensor>>) {
    this.#request = request
    this.#items = items
    this.fields = fields
    this.constants = constants
  }

  /** @internal Rejects with RecipeError where the recipe does not fit the source. */
  static async open(request: LiveRequest): Promise<LiveDataset> {
    const { source, recipe, device, signal } = request
    const fields = checkRecipe(recipe, source.fields)
    const { sequence, segments, place } = await sequenced(source, recipe, device, signal, undefined)
    const rest = recipe.ops.slice(place + 1)
    const items = rest.length === 0 ? sequence : mapped(sequence, new Executor(segments, device), rest)
    const constants: Record<string, Tensor> = {}
    for (const [name, constant] of Object.entries(source.constants)) constants[name] = await constant.read()
    return new LiveDataset(request, items, fields, constants)
  }

  /** Number of items. */
  get length(): number {
    return this.#items.length
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
    return new LiveMaker(this, plan, buffers, (indices) => this.#rows(indices, plan.fields, plan.signal), (index) => this.#item(index, plan.fields, plan.signal))
  }

  /** What was handed out stays valid. Does not close the source. */
  async close(): Promise<void> {
    this.#closed = true
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
    const { gather } = this.#items
    const some = async (part: Float64Array): Promise<ItemRows> => {
      if (gather !== undefined) return gather.call(this.#items, part, names, signal)
      const items: Readonly<Record<string, Tensor>>[] = []
      for (const index of part) items.push(await this.#items.read(index, names, signal))
      return itemsAsRows(items, names)
    }
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

/** Batches of items that are computed now: together where their fields may differ in axis 0 at most, otherwise one by one. */
class LiveMaker implements Maker {
  readonly #items: LiveDataset
  readonly #plan: BatchPlan
  readonly #buffers: number
  readonly #rows: (indices: Float64Array) => Promise<ItemRows>
  readonly #item: (index: number) => Promise<Item>
  readonly #isUniform: boolean
  /** With `reuse`: by turn what goes back when the consumer has moved on. */
  readonly #own = new Map<number, readonly ArrayBuffer[]>()

  constructor(items: LiveDataset, plan: BatchPlan, buffers: number, rows: (indices: Float64Array) => Promise<ItemRows>, item: (index: number) => Promise<Item>) {
    this.#items = items
    this.#plan = plan
    this.#buffers = buffers
    this.#rows = rows
    this.#item = item
    this.#isUniform = plan.fields.every((name) => !items.fields[name]!.shape.slice(1).includes(null))
  }

  async make(indices: Float64Array, turn: number): Promise<Batch[]> {
    const { size, reuse } = this.#plan
    if (reuse) {
      this.#own.get(turn - this.#buffers)?.forEach(giveBack)
      this.#own.delete(turn - this.#buffers)
    }
    const made: Batch[] = []
    for (let from = 0; from < indices.length; from += size) made.push(await this.#batch(indices.subarray(from, from + size), turn))
    return made
  }

  async #batch(indices: Float64Array, turn: number): Promise<Batch> {
    const { graph, collate, fields: names, reuse } = this.#plan
    if (!this.#isUniform) return collated(this.#items, indices, await Promise.all(Array.from(indices, (index) => this.#item(index))), this.#plan)
    const { fields, own = [] } = await this.#rows(indices)
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
