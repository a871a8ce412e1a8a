import { checkOptions, show } from '../core/options.js'
import type { Rows } from '../core/rows.js'
import { byteCount, type FieldSpecs, type LazyTensor, type Tensor } from '../core/tensor.js'
import { MemoryTensor } from '../sources/memory.js'
import { checkFields, checkRange } from '../sources/names.js'
import type { ItemRun, ReadOptions, Source } from '../sources/source.js'
import type { Item } from './collate.js'
import { Dataset } from './dataset.js'
import { ItemList } from './item-list.js'
import { isUniform } from './rows-maker.js'
import type { Shards } from './shards.js'

/** Options of `fromDataset`. */
export interface FromDatasetOptions {
  /** Fields its items have; default all. */
  readonly fields?: readonly string[]
}

/**
 * A cached dataset, or a view of some, as a source, to compute more from what has been computed: its items with their ids, those of a dataset as views of its shards, and its constants. What is asked of it is
 * found again by the dataset's digest, or what the view is made from, without reading an item; an item of a view is the one of its dataset and not computed twice. The dataset must stay open while the source is in use; closing the source does
 * not close it. Throws TypeError, also for views of datasets without a cache.
 */
export function fromDataset(dataset: ItemList, options: FromDatasetOptions = {}): Source {
  checkOptions('fromDataset', options, ['fields'])
  if (!(dataset instanceof ItemList)) throw new TypeError(`fromDataset: expected a dataset, not ${show(dataset)}; one comes from await cache.dataset(source, recipe)`)
  if (!dataset.isStored) throw new TypeError('fromDataset: the items are not in a cache (cache: false); give their source and a longer recipe')
  const names = options.fields ?? Object.keys(dataset.fields)
  if (!Array.isArray(names) || options.fields?.length === 0 || new Set(names).size !== names.length) throw new TypeError(`fromDataset: fields must be a list of different names, not ${show(names)}`)
  for (const name of names) {
    if (!Object.hasOwn(dataset.fields, name)) throw new TypeError(`fromDataset: the dataset has no field ${show(name)}; it has ${Object.keys(dataset.fields).join(', ')}`)
  }
  return new DatasetSource(dataset, Object.fromEntries(names.map((name) => [name, dataset.fields[name]!])))
}

class DatasetSource implements Source {
  readonly reader = { name: 'dataset', version: 1 }
  readonly length: number
  readonly fields: FieldSpecs
  readonly constants: Readonly<Record<string, LazyTensor>>
  readonly description: Source['description']
  readonly selection: unknown
  readonly files = []
  readonly digest: string
  readonly #items: ItemList
  #closed = false

  constructor(list: ItemList, fields: FieldSpecs) {
    this.#items = list
    this.length = list.length
    this.fields = fields
    this.constants = Object.fromEntries(Object.entries(list.constants).map(([name, tensor]) => [name, new MemoryTensor(tensor)]))
    this.description = list instanceof Dataset ? { type: 'dataset', name: list.name, key: list.key, digest: list.digest, fields: Object.keys(fields) } : { type: 'view', digest: list.binding, fields: Object.keys(fields) }
    this.selection = { fields }
    this.digest = list.binding
  }

  id(index: number): string {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    return this.#items.id(index)
  }

  async * read(start: number, stop: number, { fields, signal }: ReadOptions): AsyncGenerator<ItemRun> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    signal?.throwIfAborted()
    for (let at = start; at < stop;) {
      if (this.#closed) throw new TypeError('read: the source has been closed')
      signal?.throwIfAborted()
      const list = this.#items
      // Read again whole, and perhaps of another length, where damage was met and healed.
      const run = list instanceof Dataset ? await list.healed((shards) => this.#run(shards, at, stop, fields)) : await this.#rows(at, stop, fields, signal)
      yield run
      at += run.count
    }
  }

  release(): void {}

  assertUnchanged(): void {}

  close(): void {
    this.#closed = true
  }

  async #run(shards: Shards, start: number, stop: number, names: readonly string[]): Promise<ItemRun> {
    if (!isUniform(this.fields, names)) return aloneAs(start, names, await shards.item(start, names))
    const count = shards.follow(start, stop) - start
    const fields = await Promise.all(names.map(async (name): Promise<[string, Rows]> => {
      if (this.fields[name]!.shape[0] !== null) return [name, await shards.view(name, start, count)]
      const { tensor: { dtype, shape, data }, offsets } = await shards.span(name, start, count)
      return [name, { dtype, tail: shape.slice(1), offsets: offsets(), data }]
    }))
    return { start, count, fields: Object.fromEntries(fields) }
  }

  /** Of a view, copied where items do not lie together. */
  async #rows(start: number, stop: number, names: readonly string[], signal: AbortSignal | undefined): Promise<ItemRun> {
    if (!isUniform(this.fields, names)) return aloneAs(start, names, await this.#items.item(start, names, signal))
    const bytes = names.reduce((sum, name) => sum + byteCount(this.fields[name]!.dtype, this.fields[name]!.shape.map((extent) => extent ?? EXTENT_GUESS)), 0)
    const count = Math.max(1, Math.min(stop - start, STEP_ITEMS, Math.floor(STEP_BYTES / Math.max(1, bytes))))
    const { fields } = await this.#items.rows(Float64Array.from({ length: count }, (_, k) => start + k), names, signal)
    return { start, count, fields }
  }
}

/** Items of a view that are read at a time, at most. */
const STEP_ITEMS = 1024
const STEP_BYTES = 8 * 2 ** 20
/** Of an extent that differs between items. */
const EXTENT_GUESS = 64

function aloneAs(start: number, names: readonly string[], item: Item): ItemRun {
  const rows = (name: string): Tensor => {
    const tensor = item[name] as Tensor
    return { ...tensor, shape: [1, ...tensor.shape] }
  }
  return { start, count: 1, fields: Object.fromEntries(names.map((name) => [name, rows(name)])) }
}
