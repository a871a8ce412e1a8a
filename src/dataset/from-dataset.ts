import { checkOptions, show } from '../core/options.js'
import type { Rows } from '../core/rows.js'
import type { FieldSpec, FieldSpecs, LazyTensor, Tensor } from '../core/tensor.js'
import { MemoryTensor } from '../sources/memory.js'
import { checkFields, checkRange } from '../sources/names.js'
import type { ItemRun, ReadOptions, Source } from '../sources/source.js'
import { Dataset } from './dataset.js'
import type { Shards } from './shards.js'

/** Options of `fromDataset`. */
export interface FromDatasetOptions {
  /** Fields its items have; default all. */
  readonly fields?: readonly string[]
}

/**
 * A cached dataset as a source, to compute more from what has been computed: its items with their ids, as views of its shards, and its constants. What is asked of it is
 * found again by the dataset's digest, without reading an item. The dataset must stay open while the source is in use; closing the source does not close it. Throws TypeError.
 */
export function fromDataset(dataset: Dataset, options: FromDatasetOptions = {}): Source {
  checkOptions('fromDataset', options, ['fields'])
  if (!(dataset instanceof Dataset)) throw new TypeError(`fromDataset: expected a dataset, not ${show(dataset)}; one comes from await cache.dataset(source, recipe)`)
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
  readonly #dataset: Dataset
  #closed = false

  constructor(dataset: Dataset, fields: FieldSpecs) {
    this.#dataset = dataset
    this.length = dataset.length
    this.fields = fields
    this.constants = Object.fromEntries(Object.entries(dataset.constants).map(([name, tensor]) => [name, new MemoryTensor(tensor)]))
    this.description = { type: 'dataset', name: dataset.name, key: dataset.key, digest: dataset.digest, fields: Object.keys(fields) }
    this.selection = { fields }
    this.digest = dataset.digest
  }

  id(index: number): string {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    return this.#dataset.id(index)
  }

  async * read(start: number, stop: number, { fields, signal }: ReadOptions): AsyncGenerator<ItemRun> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    signal?.throwIfAborted()
    for (let at = start; at < stop;) {
      if (this.#closed) throw new TypeError('read: the source has been closed')
      signal?.throwIfAborted()
      // Read again whole, and perhaps of another length, where damage was met and healed.
      const run = await this.#dataset.healed((shards) => this.#run(shards, at, stop, fields))
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
    if (names.some((name) => layoutOf(this.fields[name]!) === 'varied')) {
      const item = await shards.item(start, names)
      const rows = (name: string): Tensor => {
        const tensor = item[name] as Tensor
        return { ...tensor, shape: [1, ...tensor.shape] }
      }
      return { start, count: 1, fields: Object.fromEntries(names.map((name) => [name, rows(name)])) }
    }
    const count = shards.follow(start, stop) - start
    const fields = await Promise.all(names.map(async (name): Promise<[string, Rows]> => {
      if (layoutOf(this.fields[name]!) === 'fixed') return [name, await shards.view(name, start, count)]
      const { tensor: { dtype, shape, data }, offsets } = await shards.span(name, start, count)
      return [name, { dtype, tail: shape.slice(1), offsets: offsets(), data }]
    }))
    return { start, count, fields: Object.fromEntries(fields) }
  }
}

/** As shards may hold it: `ragged` differs in axis 0 at most. */
function layoutOf({ shape }: FieldSpec): 'fixed' | 'ragged' | 'varied' {
  const first = shape.indexOf(null)
  return first < 0 ? 'fixed' : first === 0 && shape.lastIndexOf(null) === 0 ? 'ragged' : 'varied'
}
