import { frame } from '../core/keys.js'
import { sha256, toHex } from '../core/hash.js'
import { checkOptions, number, show } from '../core/options.js'
import { shapeOf } from '../core/rows.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import type { ItemRows } from '../ops/op.js'
import { checkBatchOptions, type BatchOptions, type BatchPlan } from './batch-options.js'
import type { Batched, Epoch, Maker } from './batches.js'
import type { Item } from './collate.js'
import { BatchIterator } from './iterator.js'
import { keptBy, type FilterOptions } from './filter.js'
import { RowsMaker } from './rows-maker.js'
import { assignParts, type SplitOptions } from './split.js'

/** Items `start … stop`, every `step`-th of them. */
export interface IndexRange {
  /** Default 0. */
  readonly start?: number
  /** Exclusive; default: to the end. */
  readonly stop?: number
  /** Default 1. */
  readonly step?: number
}

/** Items whose lengths are looked up at a time. */
const STEP_ITEMS = 4096

/**
 * An ordered list of items that batches are made of: a dataset, or a view of one or several. Views hold indices, not items: they cost a few bytes per item, read what is asked of them from what they are
 * views of, and live as long as that is open.
 */
export abstract class ItemList implements Batched {
  /** Number of items. */
  abstract get length(): number
  /** dtype and shape of each field of an item; null marks extents that differ between items. */
  abstract get fields(): FieldSpecs
  /** Tensors that belong to the list and not to an item. */
  abstract get constants(): Readonly<Record<string, Tensor>>
  /** @internal Says which data, for states of iterators: 64 hex digits. */
  abstract get binding(): string
  /** @internal Whether all its items are in a cache: then `binding` says which bytes, not only which data. */
  abstract get isStored(): boolean
  /** @internal Items in any order, with repetitions: of fields that differ in axis 0 at most. To be read only. */
  abstract rows(indices: Float64Array, fields: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows>
  /** @internal One item with these fields. */
  abstract item(index: number, fields: readonly string[], signal: AbortSignal | undefined): Promise<Item>
  /** Human name of an item. */
  abstract id(index: number): string

  /** @internal */
  get isSlow(): boolean {
    return false
  }

  /** One item: its name and its fields. Rejects with RangeError where there is none. */
  async get(index: number, options: { readonly signal?: AbortSignal } = {}): Promise<Item> {
    this.checkIndex(index)
    return this.item(index, Object.keys(this.fields), options.signal)
  }

  /** Batches in order, or in the order that `seed` and `epoch` choose. */
  batches(options: BatchOptions): BatchIterator {
    return new BatchIterator(this, checkBatchOptions(options, this.fields, this.length))
  }

  /** The items at these indices, in this order, with repetitions if there are any; or those of a range. Throws TypeError. */
  select(indices: Iterable<number> | IndexRange): ItemList {
    if (typeof indices !== 'object' || indices === null) throw new TypeError(`select: expected indices, or a range { start, stop, step }, not ${show(indices)}`)
    const chosen = Symbol.iterator in indices ? Float64Array.from(indices) : inRange(indices, this.length)
    const bad = chosen.findIndex((index) => !Number.isSafeInteger(index) || index < 0 || index >= this.length)
    if (bad >= 0) throw new TypeError(`select: index ${chosen[bad]} (number ${bad}) is outside 0 to ${this.length - 1}`)
    return new Selection(this, chosen)
  }

  /** The items for which `keep` is true, in their order. Reads all of them once, with the `fields` that were asked for. */
  async filter(keep: (item: Item, index: number) => boolean | Promise<boolean>, options: FilterOptions = {}): Promise<ItemList> {
    return new Selection(this, await keptBy(this, keep, options))
  }

  /**
   * Parts with about these fractions of the items, which sum up to 1: `split({ train: 0.8, val: 0.1, test: 0.1 }, { seed: 42 })`. Which part an item is in is decided by its id and the seed alone (or by what `by` says in place of
   * the id: items of one patient stay together), so it stays there when items are added, removed or put in another order. The parts' sizes are therefore near the fractions, not equal to them. Rejects with TypeError.
   */
  async split<Name extends string>(fractions: Readonly<Record<Name, number>>, options: SplitOptions): Promise<Readonly<Record<Name, ItemList>>> {
    const parts = await assignParts(this, fractions, options)
    return Object.fromEntries(Object.entries<Float64Array>(parts).map(([name, indices]) => [name, new Selection(this, indices)])) as unknown as Record<Name, ItemList>
  }

  /** @internal */
  maker(plan: BatchPlan, _epoch: Epoch, _buffers: number): Maker {
    return new RowsMaker(this, plan)
  }

  /** @internal Extent of each item on axis 0 of a field. */
  async lengths(field: string, signal?: AbortSignal): Promise<Float64Array> {
    const { shape } = this.fields[field]!
    const lengths = new Float64Array(this.length)
    if (shape[0] !== null) return lengths.fill(shape[0]!)
    const isRagged = !shape.slice(1).includes(null)
    for (let at = 0; at < this.length; at += STEP_ITEMS) {
      const indices = Float64Array.from({ length: Math.min(STEP_ITEMS, this.length - at) }, (_, k) => at + k)
      if (isRagged) {
        const rows = (await this.rows(indices, [field], signal)).fields[field]!
        indices.forEach((index, k) => { lengths[index] = shapeOf(rows, k)[0]! })
      } else {
        for (const index of indices) lengths[index] = ((await this.item(index, [field], signal))[field] as Tensor).shape[0]!
      }
    }
    return lengths
  }

  /** @internal */
  protected checkIndex(index: number): void {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new RangeError(`dataset: index ${index} is outside 0 to ${this.length - 1}`)
  }
}

/** Some items of a list. */
class Selection extends ItemList {
  readonly #of: ItemList
  readonly #indices: Float64Array
  #binding: string | undefined

  constructor(of: ItemList, indices: Float64Array) {
    super()
    // A selection of a selection asks the list itself.
    this.#of = of instanceof Selection ? of.#of : of
    this.#indices = of instanceof Selection ? of.#mapped(indices) : indices
  }

  get length(): number {
    return this.#indices.length
  }

  get fields(): FieldSpecs {
    return this.#of.fields
  }

  get constants(): Readonly<Record<string, Tensor>> {
    return this.#of.constants
  }

  get binding(): string {
    return this.#binding ??= toHex(sha256(frame({ view: 'select', of: this.#of.binding }), this.#indices))
  }

  get isStored(): boolean {
    return this.#of.isStored
  }

  override get isSlow(): boolean {
    return this.#of.isSlow
  }

  id(index: number): string {
    this.checkIndex(index)
    return this.#of.id(this.#indices[index]!)
  }

  item(index: number, fields: readonly string[], signal: AbortSignal | undefined): Promise<Item> {
    return this.#of.item(this.#indices[index]!, fields, signal)
  }

  rows(indices: Float64Array, fields: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows> {
    return this.#of.rows(this.#mapped(indices), fields, signal)
  }

  override maker(plan: BatchPlan, { number, order, next }: Epoch, buffers: number): Maker {
    const mapped = (of: Epoch['order']): Epoch['order'] => ({ length: of.length, indices: (first, stop) => this.#mapped(of.indices(first, stop)) })
    const maker = this.#of.maker(plan, { number, order: mapped(order), next: next && mapped(next) }, buffers)
    return {
      make: (indices, batches, turn) => maker.make(this.#mapped(indices), batches, turn),
      stop: () => maker.stop?.(),
      end: () => maker.end?.(),
    }
  }

  override async lengths(field: string, signal?: AbortSignal): Promise<Float64Array> {
    const lengths = await this.#of.lengths(field, signal)
    return this.#indices.map((index) => lengths[index]!)
  }

  #mapped(indices: Float64Array): Float64Array {
    return indices.map((index) => this.#indices[index]!)
  }
}

function inRange(range: IndexRange, length: number): Float64Array {
  const where = 'select'
  checkOptions(where, range, ['start', 'stop', 'step'])
  const start = number(where, 'start', range.start, { integer: true, min: 0, max: length }, 0)
  const stop = number(where, 'stop', range.stop, { integer: true, min: 0 }, length)
  const step = number(where, 'step', range.step, { integer: true, min: 1 }, 1)
  if (stop > length || stop < start) throw new TypeError(`${where}: stop must be from ${start} to ${length}, not ${show(range.stop)}`)
  return Float64Array.from({ length: Math.ceil((stop - start) / step) }, (_, k) => start + k * step)
}
