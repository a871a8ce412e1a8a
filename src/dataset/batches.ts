import { boolean, checkOptions, number, show } from '../core/options.js'
import { rowsOf } from '../core/rows.js'
import { byteCount, type FieldSpecs, type Tensor } from '../core/tensor.js'
import { native } from '../native/load.js'
import { pad, stack, type CollateFunction, type Item } from './collate.js'
import type { Dataset } from './dataset.js'
import { consecutiveGraphs, gatheredGraphs, graphFields, type GraphFields } from './graphs.js'
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
  const { size, dropLast, prefetch, signal, fields } = options
  const count = dropLast ? Math.floor(dataset.length / size) : Math.ceil(dataset.length / size)
  const stackable = options.collate === 'stack'
  const bytes = options.shuffle && stackable && prefetch > 0 ? Math.max(1, batchBytes(dataset, options)) : Infinity
  const group = Math.max(1, Math.min(GROUP_MAX, Math.floor(GATHER_BYTES / bytes)))
  const ahead = Math.max(Math.ceil(prefetch / group), Math.min(GATHERS_AHEAD, Math.floor(BYTES_AHEAD / (group * bytes))))
  // Those ahead and the one being consumed.
  const maker = stackable ? new StackMaker(dataset, options, ahead + 1) : options.graph === undefined ? new ItemMaker(dataset, options) : new GraphMaker(dataset, options.graph, fields)
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
  return maker.ready(dataset.shards, indices) ?? dataset.healed((shards) => maker.make(shards, indices, turn))
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
      const whole = memory === undefined ? await shards.view(field, indices[0]!, indices.length) : await shards.gather(field, indices, memory, offset)
      offset += align(whole.data.byteLength)
      batches.forEach((batch, k) => { batch[field] = batches.length === 1 ? whole : rowsOf(whole, k * size, Math.min(indices.length, (k + 1) * size)) })
    }
    return batches as Batch[]
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

/** Fields begin on cache lines. */
function align(bytes: number): number {
  return Math.ceil(bytes / 64) * 64
}

/** Graphs: items that follow one another in a shard are views, and only what numbers their nodes is made; others are copied. */
class GraphMaker implements Maker {
  readonly #dataset: Dataset
  readonly #graph: GraphFields
  readonly #fields: readonly string[]

  constructor(dataset: Dataset, graph: GraphFields, fields: readonly string[]) {
    this.#dataset = dataset
    this.#graph = graph
    this.#fields = fields
  }

  ready(shards: Shards, indices: Float64Array): Batch[] | undefined {
    const { ragged, fixed } = this.#graph
    const [first, count] = [indices[0]!, indices.length]
    if (!shards.consecutive(indices)) return undefined
    const spans = new Map<string, Span>()
    const views = new Map<string, Tensor>()
    for (const field of ragged) {
      const span = shards.readySpan(field, first, count)
      if (span === undefined) return undefined
      spans.set(field, span)
    }
    for (const field of fixed) {
      const view = shards.readyView(field, first, count)
      if (view === undefined) return undefined
      views.set(field, view)
    }
    return [this.#consecutive(indices, spans, views)]
  }

  async make(shards: Shards, indices: Float64Array): Promise<Batch[]> {
    if (shards.consecutive(indices)) {
      const read = async <T>(fields: readonly string[], one: (field: string) => Promise<T>): Promise<Map<string, T>> => new Map(await Promise.all(fields.map(async (field) => [field, await one(field)] as const)))
      const spans = await read(this.#graph.ragged, (field) => shards.span(field, indices[0]!, indices.length))
      return [this.#consecutive(indices, spans, await read(this.#graph.fixed, (field) => shards.view(field, indices[0]!, indices.length)))]
    }
    const batch = newBatch(this.#dataset, indices)
    gatheredGraphs(batch, this.#graph, await Promise.all(Array.from(indices, (index) => shards.item(index, this.#fields))))
    return [batch as Batch]
  }

  #consecutive(indices: Float64Array, spans: ReadonlyMap<string, Span>, views: ReadonlyMap<string, Tensor>): Batch {
    const batch = newBatch(this.#dataset, indices)
    consecutiveGraphs(batch, this.#graph, indices.length, (field) => spans.get(field)!, (field) => views.get(field)!)
    return batch as Batch
  }
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
