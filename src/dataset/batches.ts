import { boolean, checkOptions, number, show } from '../core/options.js'
import { seedOf } from '../core/seed.js'
import { inStage } from '../core/stages.js'
import { byteCount, type FieldSpecs } from '../core/tensor.js'
import { native } from '../native/load.js'
import type { CollateFunction } from './collate.js'
import { graphFields, type GraphFields } from './graphs.js'

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

/** Checked, with all defaults. */
export interface BatchPlan {
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

export function checkBatchOptions(given: BatchOptions, specs: FieldSpecs): BatchPlan {
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
    seed: given.seed === undefined ? 0n : seedOf(where, given.seed),
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

/** Items that batches are made of: those that are in a cache, or those that are computed when somebody asks. */
export interface Batched {
  readonly length: number
  readonly fields: FieldSpecs
  /** True where items take long to be had: batches are made one by one, and no more of them ahead than were asked for. */
  readonly isSlow?: boolean
  id(index: number): string
  /** What makes the batches of one epoch, of which at most `buffers` calls are in work or in the consumer's hands at a time. */
  maker(plan: BatchPlan, buffers: number): Maker
}

export interface Maker {
  /** Batches of `size` for consecutive positions of the epoch: at once where they need no work. `turn` counts the calls of an epoch. */
  make(indices: Float64Array, turn: number): Batch[] | Promise<Batch[]>
  /** Nobody waits for what is in work. */
  stop?(): void
  /** Nobody asks again, and nothing is in work. */
  end?(): void
}

/** A batch without its fields. */
export function newBatch(items: Batched, indices: Float64Array): Record<string, unknown> {
  let ids: string[] | undefined
  // Names are made when somebody asks: most training loops do not.
  return Object.defineProperty({ indices }, 'ids', { enumerable: true, get: () => ids ??= Array.from(indices, (index) => items.id(index)) })
}

/** The indices of consecutive positions of the epoch. */
export function orderOf({ shuffle, seed, epoch }: BatchPlan, length: number, first: number, stop: number): Float64Array {
  const indices = new Float64Array(stop - first)
  if (shuffle) native().shuffleIndices(length, seed, epoch, first, indices)
  else for (let i = 0; i < indices.length; i++) indices[i] = first + i
  return indices
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
export async function * batches(items: Batched, plan: BatchPlan): AsyncGenerator<Batch, void, undefined> {
  const { size, dropLast, prefetch, signal } = plan
  const { length } = items
  const count = dropLast ? Math.floor(length / size) : Math.ceil(length / size)
  const bytes = plan.shuffle && plan.collate === 'stack' && prefetch > 0 && items.isSlow !== true ? Math.max(1, batchBytes(items, plan)) : Infinity
  const group = Math.max(1, Math.min(GROUP_MAX, Math.floor(GATHER_BYTES / bytes)))
  const ahead = Math.max(Math.ceil(prefetch / group), Math.min(GATHERS_AHEAD, Math.floor(BYTES_AHEAD / (group * bytes))))
  // Those ahead and the one being consumed.
  const maker = items.maker(plan, ahead + 1)
  const queue: (Batch[] | Promise<Batch[]>)[] = []
  let next = 0
  const fill = (upTo: number): void => {
    for (; next < count && queue.length < upTo; next += group) {
      const made = maker.make(orderOf(plan, length, next * size, Math.min(length, (next + group) * size, count * size)), next / group)
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
      const made = first instanceof Promise ? await inStage('wait', 0, () => first) : first
      fill(ahead)
      for (const batch of made) {
        signal?.throwIfAborted()
        yield batch
      }
    }
  } finally {
    maker.stop?.()
    await Promise.allSettled(queue)
    maker.end?.()
  }
}

function batchBytes({ fields: specs }: Batched, { fields, size }: BatchPlan): number {
  return size * fields.reduce((sum, field) => sum + byteCount(specs[field]!.dtype, specs[field]!.shape as number[]), 0)
}
