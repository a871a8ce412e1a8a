import { rowsOf, type Rows } from '../core/rows.js'
import { byteCount, tensorIn, type FieldSpecs, type Tensor } from '../core/tensor.js'
import { freshTensor } from '../native/fresh.js'
import { native } from '../native/load.js'
import type { ItemRows } from '../ops/op.js'
import type { BatchPlan } from './batch-options.js'
import { partsOf, type BatchFields, type Maker } from './batches.js'
import { collated } from './collate.js'
import type { Dataset } from './dataset.js'
import { align, assembleGraphs, numberingBytes, SOURCE, type GraphFields } from './graphs.js'
import type { Shards, Span } from './shards.js'

/** Makes the batches of a dataset from its shards. */
export function cachedMaker(dataset: Dataset, plan: BatchPlan, buffers: number): Maker {
  const maker: ShardMaker = plan.collate === 'stack' ? new StackMaker(dataset.fields, plan, buffers) : plan.graph === undefined ? new ItemMaker(plan) : new GraphMaker(dataset.fields, plan.graph)
  return {
    make(indices, batches, turn) {
      // The turn chooses the recycled buffer, so that a second attempt after damage uses the same one.
      const made = maker.ready(dataset.shards, indices, batches) ?? dataset.healed((shards) => maker.make(shards, indices, batches, turn))
      return dataset.checked ? checked(dataset, indices, made) : made
    },
  }
}

async function checked(dataset: Dataset, indices: Float64Array, made: BatchFields[] | Promise<BatchFields[]>): Promise<BatchFields[]> {
  const batches = await made
  await dataset.assertUnwritten(indices)
  return batches
}

interface ShardMaker {
  /** The same as `make`, when nothing has to be waited for; undefined otherwise. */
  ready(shards: Shards, indices: Float64Array, batches: number): BatchFields[] | undefined
  make(shards: Shards, indices: Float64Array, batches: number, turn: number): Promise<BatchFields[]>
}

/** Fixed-shape fields: rows that follow one another in a shard are a view, all others a threaded copy. */
class StackMaker implements ShardMaker {
  readonly #specs: FieldSpecs
  readonly #plan: BatchPlan
  readonly #recycled: ArrayBuffer[]

  constructor(specs: FieldSpecs, plan: BatchPlan, buffers: number) {
    this.#specs = specs
    this.#plan = plan
    this.#recycled = plan.reuse ? Array.from({ length: buffers }, () => new ArrayBuffer(0)) : []
  }

  ready(shards: Shards, indices: Float64Array, batches: number): BatchFields[] | undefined {
    if (batches > 1 || !shards.consecutive(indices)) return undefined
    const batch: BatchFields = {}
    for (const field of this.#plan.fields) {
      const view = shards.readyView(field, indices[0]!, indices.length)
      if (view === undefined) return undefined
      batch[field] = view
    }
    return [batch]
  }

  async make(shards: Shards, indices: Float64Array, batches: number, turn: number): Promise<BatchFields[]> {
    const { size, fields } = this.#plan
    const made = Array.from({ length: batches }, (): BatchFields => ({}))
    const memory = shards.consecutive(indices) ? undefined : this.#memory(indices.length, turn)
    let offset = 0
    for (const field of fields) {
      const whole = memory === undefined ? await shards.view(field, indices[0]!, indices.length) : await this.#gathered(shards, field, indices, memory, offset)
      offset += align(whole.data.byteLength)
      made.forEach((batch, k) => { batch[field] = batches === 1 ? whole : rowsOf(whole, k * size, k === batches - 1 ? indices.length : (k + 1) * size) })
    }
    return made
  }

  async #gathered(shards: Shards, field: string, indices: Float64Array, memory: ArrayBuffer, offset: number): Promise<Tensor> {
    const { dtype, shape } = this.#specs[field]!
    const tensor = tensorIn(memory, offset, dtype, [indices.length, ...shape as number[]])
    await shards.gather(field, indices, tensor)
    return tensor
  }

  #memory(rows: number, turn: number): ArrayBuffer {
    let bytes = 0
    for (const field of this.#plan.fields) {
      const { dtype, shape } = this.#specs[field]!
      bytes += align(byteCount(dtype, shape as number[]) * rows)
    }
    if (this.#recycled.length === 0) return native().pooledBuffer(bytes)
    const slot = turn % this.#recycled.length
    if (this.#recycled[slot]!.byteLength < bytes) this.#recycled[slot] = native().pooledBuffer(bytes)
    return this.#recycled[slot]!
  }
}

/** Graphs: items that follow one another in a shard are views, and only what numbers their nodes is made; others are a threaded copy. */
class GraphMaker implements ShardMaker {
  readonly #specs: FieldSpecs
  readonly #graph: GraphFields

  constructor(specs: FieldSpecs, graph: GraphFields) {
    this.#specs = specs
    this.#graph = graph
  }

  ready(shards: Shards, indices: Float64Array): BatchFields[] | undefined {
    const { ragged, fixed } = this.#graph
    const [first, count] = [indices[0]!, indices.length]
    if (!shards.consecutive(indices)) return undefined
    const spans = new Map<string, Span>()
    const fields = new Map<string, Tensor>()
    for (const field of ragged) {
      const span = shards.readySpan(field, first, count)
      if (span === undefined) return undefined
      spans.set(field, span)
      fields.set(field, span.tensor)
    }
    for (const field of fixed) {
      const view = shards.readyView(field, first, count)
      if (view === undefined) return undefined
      fields.set(field, view)
    }
    return [this.#consecutive(indices, spans, fields)]
  }

  async make(shards: Shards, indices: Float64Array): Promise<BatchFields[]> {
    const runs = shards.runs(indices, RUNS_MAX)
    if (runs === undefined) return [await this.#gathered(shards, indices)]
    const parts = await Promise.all(runs.map(([start, stop]) => this.#read(shards, indices[start]!, stop - start)))
    return [parts.length === 1 ? this.#consecutive(indices, parts[0]!.spans, parts[0]!.fields) : this.#joined(indices, parts)]
  }

  async #read(shards: Shards, first: number, count: number): Promise<Run> {
    const { ragged, fixed } = this.#graph
    const fields = new Map<string, Tensor>()
    const spans = new Map<string, Span>()
    await Promise.all([
      ...ragged.map(async (field) => {
        const span = await shards.span(field, first, count)
        spans.set(field, span)
        fields.set(field, span.tensor)
      }),
      ...fixed.map(async (field) => { fields.set(field, await shards.view(field, first, count)) }),
    ])
    return { count, spans, fields }
  }

  #consecutive(indices: Float64Array, spans: ReadonlyMap<string, Span>, fields: ReadonlyMap<string, Tensor>): BatchFields {
    const memory = native().pooledBuffer(roughly(this.#numberingBytes(indices.length, (field) => fields.get(field)!.shape[0]!)))
    const batch: BatchFields = {}
    assembleGraphs(batch, this.#graph, indices.length, fields, (field) => spans.get(field)!.offsets(), memory, 0)
    return batch
  }

  /** Where a shard ends in the middle of a batch: few runs, copied here. */
  #joined(indices: Float64Array, runs: readonly Run[]): BatchFields {
    const { fields, memory, numbering } = this.#allocate(indices.length, (field) => runs.reduce((sum, run) => sum + run.fields.get(field)!.shape[0]!, 0))
    for (const [field, { data }] of fields) {
      let at = 0
      for (const run of runs) {
        const part = run.fields.get(field)!.data as Uint8Array
        ;(data as Uint8Array).set(part, at)
        at += part.length
      }
    }
    const offsets = (field: string): Float64Array => {
      const all = new Float64Array(indices.length + 1)
      let at = 0
      for (const { count, spans } of runs) {
        const before = all[at]!
        all.set(spans.get(field)!.offsets().map((offset) => before + offset), at)
        at += count
      }
      return all
    }
    const batch: BatchFields = {}
    assembleGraphs(batch, this.#graph, indices.length, fields, offsets, memory, numbering)
    return batch
  }

  async #gathered(shards: Shards, indices: Float64Array): Promise<BatchFields> {
    const offsets = new Map(await Promise.all(this.#graph.ragged.map(async (field) => [field, await shards.offsets(field, indices)] as const)))
    const { fields, memory, numbering } = this.#allocate(indices.length, (field) => offsets.get(field)!.at(-1)!)
    await Promise.all(Array.from(fields, ([field, tensor]) => offsets.has(field) ? shards.gatherSpan(field, indices, tensor) : shards.gather(field, indices, tensor)))
    const batch: BatchFields = {}
    assembleGraphs(batch, this.#graph, indices.length, fields, (field) => offsets.get(field)!, memory, numbering)
    return batch
  }

  /** Room for the fields of so many graphs, `rows` of each that is ragged, and from byte `numbering` on for what numbers them. */
  #allocate(graphs: number, rows: (field: string) => number): { fields: ReadonlyMap<string, Tensor>; memory: ArrayBuffer; numbering: number } {
    const { ragged, fixed } = this.#graph
    const places = [...ragged, ...fixed].map((field, k) => {
      const { dtype, shape } = this.#specs[field]!
      const whole = k < ragged.length ? [rows(field), ...shape.slice(1) as number[]] : [graphs, ...shape as number[]]
      return { field, dtype, shape: whole, bytes: align(byteCount(dtype, whole)) }
    })
    const numbering = places.reduce((sum, { bytes }) => sum + bytes, 0)
    const memory = native().pooledBuffer(roughly(numbering + this.#numberingBytes(graphs, rows)))
    let offset = 0
    const fields = new Map(places.map(({ field, dtype, shape, bytes }) => [field, tensorIn(memory, (offset += bytes) - bytes, dtype, shape)]))
    return { fields, memory, numbering }
  }

  #numberingBytes(graphs: number, rows: (field: string) => number): number {
    return numberingBytes(graphs, rows(this.#graph.nodes), this.#graph.edges ? rows(SOURCE) : 0)
  }
}

/** Shards that a batch may be put together from on this thread; with more, items are copied one by one on others. */
const RUNS_MAX = 4

/** Graphs that follow one another in a shard. */
interface Run {
  readonly count: number
  readonly spans: ReadonlyMap<string, Span>
  readonly fields: ReadonlyMap<string, Tensor>
}

/** Rounded up by an eighth at most, so that batches of about one size find each other's memory in the pool. */
function roughly(bytes: number): number {
  const step = Math.max(4096, 2 ** (Math.floor(Math.log2(Math.max(1, bytes))) - 3))
  return Math.ceil(bytes / step) * step
}

/** Everything else: items are read one by one, as views, and put together in JavaScript. */
class ItemMaker implements ShardMaker {
  readonly #plan: BatchPlan

  constructor(plan: BatchPlan) {
    this.#plan = plan
  }

  ready(): undefined {
    return undefined
  }

  async make(shards: Shards, indices: Float64Array, batches: number): Promise<BatchFields[]> {
    const { size, fields } = this.#plan
    const made: BatchFields[] = []
    for (const part of partsOf(indices, size, batches)) {
      made.push(await collated(await Promise.all(Array.from(part, (index) => shards.item(index, fields))), this.#plan))
    }
    return made
  }
}

/** Items in any order as rows: views where they follow one another in a shard, copies otherwise. */
export async function rowsIn(shards: Shards, specs: FieldSpecs, indices: Float64Array, names: readonly string[]): Promise<ItemRows> {
  const isRun = indices.length > 0 && shards.consecutive(indices)
  const fields = await Promise.all(names.map(async (name): Promise<[string, Rows]> => {
    const { dtype, shape } = specs[name]!
    if (shape[0] !== null) {
      if (isRun) return [name, await shards.view(name, indices[0]!, indices.length)]
      const into = freshTensor(dtype, [indices.length, ...shape as number[]])
      await shards.gather(name, indices, into)
      return [name, into]
    }
    const tail = shape.slice(1) as number[]
    if (isRun) {
      const { tensor, offsets } = await shards.span(name, indices[0]!, indices.length)
      return [name, { dtype, tail, offsets: offsets(), data: tensor.data }]
    }
    const offsets = await shards.offsets(name, indices)
    const into = freshTensor(dtype, [offsets.at(-1)!, ...tail])
    await shards.gatherSpan(name, indices, into)
    return [name, { dtype, tail, offsets, data: into.data }]
  }))
  return { count: indices.length, fields: Object.fromEntries(fields) }
}
