import { boolean, checkOptions, number, show } from '../core/options.js'
import { rowsOf } from '../core/rows.js'
import { byteCount, tensorIn, type FieldSpecs, type Tensor } from '../core/tensor.js'
import { native } from '../native/load.js'
import { pad, stack, type CollateFunction, type Item } from './collate.js'
import type { Dataset } from './dataset.js'
import { align, assembleGraphs, graphFields, numberingBytes, SOURCE, type GraphFields } from './graphs.js'
import type { Shards, Span } from './shards.js'

export interface BatchOptions {
  /** Items per batch. */
  readonly size: number
  /** Another order in every epoch, computed from `seed` and `epoch`; default false. Needs a seed: no seed, no shuffle. */
  readonly shuffle?: boolean
  /** An integer from 0 to 2^64 - 1 (as a bigint beyond 2^53). */
  readonly seed?: number | bigint
  /** From 0; default 0. */
  readonly epoch?: number
  /** Leaves out a last batch that is not full; default false. */
  readonly dropLast?: boolean
  /** Batches that are prepared ahead; default 2, so that one is ready and one in work. */
  readonly prefetch?: number
  /**
   * How items become a batch: `stack` (default; equal shapes), `pad` (zeros at the end of each axis, true shapes in `<field>_shape`), `list`
   * (arrays of tensors), `graph` (as PyTorch Geometric: fields that differ in length are concatenated, `edge_index` int32 [2, edges] with the nodes of the graphs before
   * added, `batch` int32 [nodes], `ptr` int32 [graphs + 1]), or a function from the items to the batch's fields.
   */
  readonly collate?: 'stack' | 'pad' | 'list' | 'graph' | CollateFunction
  /** For `graph`: the field with one row per node; default `numbers`. */
  readonly nodeField?: string
  /** Fields to read; default all. */
  readonly fields?: readonly string[]
  /** Recycles a batch's memory at the next step: faster, and only for consumers that keep nothing. Default false. */
  readonly reuse?: boolean
  readonly signal?: AbortSignal
}

/** `ids` and `indices` of its items, and one entry per field: a tensor [n, …] for `stack`, whatever `collate` makes otherwise. */
export type Batch = { readonly ids: readonly string[]; readonly indices: Float64Array } & { readonly [field: string]: any }

interface Checked {
  readonly size: number
  readonly shuffle: boolean
  readonly seed: bigint
  readonly epoch: number
  readonly dropLast: boolean
  readonly prefetch: number
  readonly collate: 'stack' | 'pad' | 'list' | 'graph' | CollateFunction
  readonly graph: GraphFields | undefined
  readonly fields: readonly string[]
  readonly reuse: boolean
  readonly signal: AbortSignal | undefined
}

const OPTIONS = ['size', 'shuffle', 'seed', 'epoch', 'dropLast', 'prefetch', 'collate', 'nodeField', 'fields', 'reuse', 'signal']

export function checkBatchOptions(given: BatchOptions, specs: FieldSpecs): Checked {
  const where = 'batches'
  checkOptions(where, given, OPTIONS)
  const shuffle = boolean(where, 'shuffle', given.shuffle, false)
  if (shuffle && given.seed === undefined) throw new TypeError('batches: shuffle needs a seed, so that the order can be had again')
  const collate = given.collate ?? 'stack'
  if (typeof collate !== 'function' && !['stack', 'pad', 'list', 'graph'].includes(collate)) {
    throw new TypeError(`batches: collate must be stack, pad, list, graph or a function, not ${show(collate)}`)
  }
  const fields = given.fields ?? Object.keys(specs)
  for (const field of fields) {
    if (!Object.hasOwn(specs, field)) throw new TypeError(`batches: the dataset has no field ${show(field)}; it has ${Object.keys(specs).join(', ')}`)
  }
  if (collate === 'pad') {
    for (const field of fields) {
      if (fields.includes(`${field}_shape`)) throw new TypeError(`batches: collate 'pad' puts the true shapes of ${field} into ${field}_shape, but the dataset has a field of that name; leave it out, or choose collate 'list'`)
    }
  }
  if (collate === 'stack') {
    for (const field of fields) {
      if (specs[field]!.shape.includes(null)) throw new TypeError(`batches: field ${field} has shapes that differ between items; choose collate 'pad' or 'list', or name other fields`)
    }
  }
  return {
    size: number(where, 'size', given.size, { integer: true, min: 1 }),
    shuffle,
    seed: seed(given.seed),
    epoch: number(where, 'epoch', given.epoch, { integer: true, min: 0, max: 2 ** 32 - 1 }, 0),
    dropLast: boolean(where, 'dropLast', given.dropLast, false),
    prefetch: number(where, 'prefetch', given.prefetch, { integer: true, min: 0, max: 1024 }, 2),
    collate,
    graph: collate === 'graph' ? graphFields(specs, fields, given.nodeField ?? 'numbers') : undefined,
    fields,
    reuse: boolean(where, 'reuse', given.reuse, false),
    signal: given.signal,
  }
}

function seed(value: number | bigint | undefined): bigint {
  if (value === undefined) return 0n
  const big = typeof value === 'bigint' ? value : BigInt(number('batches', 'seed', value, { integer: true, min: 0 }))
  if (big < 0n || big >= 2n ** 64n) throw new TypeError(`batches: seed must be from 0 to 2^64 - 1, not ${show(value)}`)
  return big
}

/** Bytes that one threaded copy should move: enough to hide the cost of a call, few enough to stay in a processor's cache. */
const GATHER_BYTES = 2 ** 20
/** Batches gathered by one copy at most. */
const GROUP_MAX = 16

/**
 * Copies under way besides the one being consumed, as long as they are small together: with fewer, a thread idles while a result travels back to the event
 * loop; with many more, the buffers no longer fit a cache.
 */
const GATHERS_AHEAD = 6
const BYTES_AHEAD = GATHERS_AHEAD * GATHER_BYTES

/** Hands out batches, `prefetch` of them in work ahead of the consumer. Batches that are views need no work and are made when their turn comes. */
export async function * batches(dataset: Dataset, options: Checked): AsyncGenerator<Batch, void, undefined> {
  const { size, dropLast, prefetch, signal } = options
  const count = dropLast ? Math.floor(dataset.length / size) : Math.ceil(dataset.length / size)
  const stackable = options.collate === 'stack'
  const bytes = options.shuffle && stackable && prefetch > 0 ? Math.max(1, batchBytes(dataset, options)) : Infinity
  const group = Math.max(1, Math.min(GROUP_MAX, Math.floor(GATHER_BYTES / bytes)))
  const ahead = Math.max(Math.ceil(prefetch / group), Math.min(GATHERS_AHEAD, Math.floor(BYTES_AHEAD / (group * bytes))))
  // Those ahead and the one being consumed.
  const maker = stackable ? new StackMaker(dataset, options, ahead + 1) : options.graph === undefined ? new ItemMaker(dataset, options) : new GraphMaker(dataset, options.graph)
  const queue: (Batch[] | Promise<Batch[]>)[] = []
  let next = 0
  const fill = (length: number): void => {
    for (; next < count && queue.length < length; next += group) {
      const made = make(maker, dataset, options, next, Math.min(count, next + group), next / group)
      // A failure is reported when its turn comes; until then it must not count as unhandled.
      if (made instanceof Promise) made.catch(() => undefined)
      queue.push(made)
    }
  }
  try {
    while (next < count || queue.length > 0) {
      signal?.throwIfAborted()
      // The very first batch is made alone: the consumer waits for it, and those behind it would only be in its way.
      fill(1)
      const first = queue.shift()!
      const made = first instanceof Promise ? await first : first
      fill(ahead)
      for (const batch of made) {
        signal?.throwIfAborted()
        yield batch
      }
    }
  } finally {
    await Promise.allSettled(queue)
  }
}

function batchBytes(dataset: Dataset, { fields, size }: Checked): number {
  return size * fields.reduce((sum, field) => sum + byteCount(dataset.fields[field]!.dtype, dataset.fields[field]!.shape as number[]), 0)
}

function make(maker: Maker, dataset: Dataset, options: Checked, from: number, to: number, turn: number): Batch[] | Promise<Batch[]> {
  const { size, shuffle, seed: chosen, epoch } = options
  const first = from * size
  const indices = new Float64Array(Math.min(dataset.length, to * size) - first)
  if (shuffle) native().shuffleIndices(dataset.length, chosen, epoch, first, indices)
  else for (let i = 0; i < indices.length; i++) indices[i] = first + i
  // The turn chooses the recycled buffer, so that a second attempt after damage uses the same one.
  const made = maker.ready(dataset.shards, indices) ?? dataset.healed((shards) => maker.make(shards, indices, turn))
  return dataset.checked ? checked(dataset, indices, made) : made
}

async function checked(dataset: Dataset, indices: Float64Array, made: Batch[] | Promise<Batch[]>): Promise<Batch[]> {
  const batches = await made
  await dataset.assertUnwritten(indices)
  return batches
}

interface Maker {
  /** The same as `make`, when nothing has to be waited for; undefined otherwise. */
  ready(shards: Shards, indices: Float64Array): Batch[] | undefined
  /** Batches of `size` for consecutive positions; `turn` counts the calls of an epoch. */
  make(shards: Shards, indices: Float64Array, turn: number): Promise<Batch[]>
}

function newBatch(dataset: Dataset, indices: Float64Array): Record<string, unknown> {
  let ids: string[] | undefined
  // Names are made when somebody asks: most training loops do not.
  return Object.defineProperty({ indices }, 'ids', { enumerable: true, get: () => ids ??= Array.from(indices, (index) => dataset.id(index)) })
}

/** Fixed-shape fields: rows that follow one another in a shard are a view, all others a threaded copy. */
class StackMaker implements Maker {
  readonly #dataset: Dataset
  readonly #options: Checked
  readonly #recycled: ArrayBuffer[]

  constructor(dataset: Dataset, options: Checked, buffers: number) {
    this.#dataset = dataset
    this.#options = options
    this.#recycled = options.reuse ? Array.from({ length: buffers }, () => new ArrayBuffer(0)) : []
  }

  ready(shards: Shards, indices: Float64Array): Batch[] | undefined {
    const { size, fields } = this.#options
    if (indices.length > size || !shards.consecutive(indices)) return undefined
    const batch = newBatch(this.#dataset, indices)
    for (const field of fields) {
      const view = shards.readyView(field, indices[0]!, indices.length)
      if (view === undefined) return undefined
      batch[field] = view
    }
    return [batch as Batch]
  }

  async make(shards: Shards, indices: Float64Array, turn: number): Promise<Batch[]> {
    const { size, fields } = this.#options
    const batches = Array.from({ length: Math.ceil(indices.length / size) }, (_, k) => newBatch(this.#dataset, indices.subarray(k * size, Math.min(indices.length, (k + 1) * size))))
    const memory = shards.consecutive(indices) ? undefined : this.#memory(indices.length, turn)
    let offset = 0
    for (const field of fields) {
      const whole = memory === undefined ? await shards.view(field, indices[0]!, indices.length) : await this.#gathered(shards, field, indices, memory, offset)
      offset += align(whole.data.byteLength)
      batches.forEach((batch, k) => { batch[field] = batches.length === 1 ? whole : rowsOf(whole, k * size, Math.min(indices.length, (k + 1) * size)) })
    }
    return batches as Batch[]
  }

  async #gathered(shards: Shards, field: string, indices: Float64Array, memory: ArrayBuffer, offset: number): Promise<Tensor> {
    const { dtype, shape } = this.#dataset.fields[field]!
    const tensor = tensorIn(memory, offset, dtype, [indices.length, ...shape as number[]])
    await shards.gather(field, indices, tensor)
    return tensor
  }

  #memory(rows: number, turn: number): ArrayBuffer {
    let bytes = 0
    for (const field of this.#options.fields) {
      const { dtype, shape } = this.#dataset.fields[field]!
      bytes += align(byteCount(dtype, shape as number[]) * rows)
    }
    if (this.#recycled.length === 0) return native().pooledBuffer(bytes)
    const slot = turn % this.#recycled.length
    if (this.#recycled[slot]!.byteLength < bytes) this.#recycled[slot] = native().pooledBuffer(bytes)
    return this.#recycled[slot]!
  }
}

/** Graphs: items that follow one another in a shard are views, and only what numbers their nodes is made; others are a threaded copy. */
class GraphMaker implements Maker {
  readonly #dataset: Dataset
  readonly #graph: GraphFields

  constructor(dataset: Dataset, graph: GraphFields) {
    this.#dataset = dataset
    this.#graph = graph
  }

  ready(shards: Shards, indices: Float64Array): Batch[] | undefined {
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

  async make(shards: Shards, indices: Float64Array): Promise<Batch[]> {
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

  #consecutive(indices: Float64Array, spans: ReadonlyMap<string, Span>, fields: ReadonlyMap<string, Tensor>): Batch {
    const memory = native().pooledBuffer(roughly(this.#numberingBytes(indices.length, (field) => fields.get(field)!.shape[0]!)))
    const batch = newBatch(this.#dataset, indices)
    assembleGraphs(batch, this.#graph, indices.length, fields, (field) => spans.get(field)!.offsets(), memory, 0)
    return batch as Batch
  }

  /** Where a shard ends in the middle of a batch: few runs, copied here. */
  #joined(indices: Float64Array, runs: readonly Run[]): Batch {
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
    const batch = newBatch(this.#dataset, indices)
    assembleGraphs(batch, this.#graph, indices.length, fields, offsets, memory, numbering)
    return batch as Batch
  }

  async #gathered(shards: Shards, indices: Float64Array): Promise<Batch> {
    const offsets = new Map(await Promise.all(this.#graph.ragged.map(async (field) => [field, await shards.offsets(field, indices)] as const)))
    const { fields, memory, numbering } = this.#allocate(indices.length, (field) => offsets.get(field)!.at(-1)!)
    await Promise.all(Array.from(fields, ([field, tensor]) => offsets.has(field) ? shards.gatherSpan(field, indices, tensor) : shards.gather(field, indices, tensor)))
    const batch = newBatch(this.#dataset, indices)
    assembleGraphs(batch, this.#graph, indices.length, fields, (field) => offsets.get(field)!, memory, numbering)
    return batch as Batch
  }

  /** Room for the fields of so many graphs, `rows` of each that is ragged, and from byte `numbering` on for what numbers them. */
  #allocate(graphs: number, rows: (field: string) => number): { fields: ReadonlyMap<string, Tensor>; memory: ArrayBuffer; numbering: number } {
    const { ragged, fixed } = this.#graph
    const places = [...ragged, ...fixed].map((field, k) => {
      const { dtype, shape } = this.#dataset.fields[field]!
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
class ItemMaker implements Maker {
  readonly #dataset: Dataset
  readonly #options: Checked

  constructor(dataset: Dataset, options: Checked) {
    this.#dataset = dataset
    this.#options = options
  }

  ready(): undefined {
    return undefined
  }

  async make(shards: Shards, indices: Float64Array): Promise<Batch[]> {
    const { size, fields, collate } = this.#options
    const made: Batch[] = []
    for (let from = 0; from < indices.length; from += size) {
      const part = indices.subarray(from, Math.min(indices.length, from + size))
      const items = await Promise.all(Array.from(part, (index) => shards.item(index, fields)))
      const batch = newBatch(this.#dataset, part)
      if (typeof collate === 'function') {
        Object.assign(batch, await collate(items))
      } else {
        for (const field of fields) this.#collate(batch, field, items)
      }
      made.push(batch as Batch)
    }
    return made
  }

  #collate(batch: Record<string, unknown>, field: string, items: readonly Item[]): void {
    const tensors = items.map((item) => item[field] as Tensor)
    const ids = items.map(({ id }) => id)
    if (this.#options.collate === 'list') {
      batch[field] = tensors
    } else if (this.#options.collate === 'pad') {
      const { padded, shapes } = pad(field, tensors, ids)
      batch[field] = padded
      batch[`${field}_shape`] = shapes
    } else {
      batch[field] = stack(field, tensors, ids)
    }
  }
}
