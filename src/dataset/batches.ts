import { inStage } from '../core/stages.js'
import { byteCount, type FieldSpecs } from '../core/tensor.js'
import type { BatchPlan } from './batch-options.js'
import type { Order } from './order.js'

/** `ids` and `indices` of its items, and one entry per field: a tensor [n, …] for `stack`, whatever `collate` makes otherwise. */
export type Batch = {
  /** Human names of its items. */
  readonly ids: readonly string[]
  /** Their indices in the dataset or view. */
  readonly indices: Float64Array
} & { readonly [field: string]: any }

/** A batch without its names. */
export type BatchFields = Record<string, unknown>

/** Items that batches are made of: those that are in a cache, those that are computed when somebody asks, or some of these. */
export interface Batched {
  readonly length: number
  readonly fields: FieldSpecs
  /** True where items take long to be had: batches are made one by one, and no more of them ahead than were asked for. */
  readonly isSlow?: boolean
  id(index: number): string
  /** What makes the batches of one epoch, of which at most `buffers` calls are in work or in the consumer's hands at a time. */
  maker(plan: BatchPlan, epoch: Epoch, buffers: number): Maker
}

/** What one reader will ask for. */
export interface Epoch {
  readonly number: number
  readonly order: Order
  /** That of the epoch that most loops go on with; undefined where there is none. */
  readonly next: Order | undefined
}

export interface Maker {
  /** So many batches of consecutive positions of the epoch, `size` items each, the last as many as are left: at once where they need no work. `turn` counts the calls of an epoch. */
  make(indices: Float64Array, batches: number, turn: number): BatchFields[] | Promise<BatchFields[]>
  /** Nobody waits for what is in work. */
  stop?(): void
  /** Nobody asks again, and nothing is in work. */
  end?(): void
}

/** The items of each of so many batches. */
export function partsOf(indices: Float64Array, size: number, batches: number): Float64Array[] {
  return Array.from({ length: batches }, (_, k) => partOf(indices, size, k, batches))
}

function partOf(indices: Float64Array, size: number, k: number, batches: number): Float64Array {
  return indices.subarray(k * size, k === batches - 1 ? indices.length : (k + 1) * size)
}

/** The batch with its names, in the list that was asked for it. */
function named(items: Batched, indices: Float64Array, fields: BatchFields): Batch {
  let ids: string[] | undefined
  // Names are made when somebody asks: most training loops do not.
  return Object.assign(Object.defineProperty({ indices }, 'ids', { enumerable: true, get: () => ids ??= Array.from(indices, (index) => items.id(index)) }), fields) as unknown as Batch
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

/** Hands out the first `count` batches of an epoch, `prefetch` of them in work ahead of the consumer. Batches that are views need no work and are made when their turn comes. */
export async function * batches(items: Batched, plan: BatchPlan, epoch: Epoch, count: number): AsyncGenerator<Batch, void, undefined> {
  const { size, prefetch, signal } = plan
  const { order } = epoch
  const bytes = plan.shuffle && plan.collate === 'stack' && plan.augment.length === 0 && prefetch > 0 && items.isSlow !== true ? Math.max(1, batchBytes(items, plan)) : Infinity
  const group = Math.max(1, Math.min(GROUP_MAX, Math.floor(GATHER_BYTES / bytes)))
  const ahead = Math.max(Math.ceil(prefetch / group), Math.min(GATHERS_AHEAD, Math.floor(BYTES_AHEAD / (group * bytes))))
  // Those ahead and the one being consumed.
  const maker = items.maker(plan, epoch, ahead + 1)
  const queue: { readonly indices: Float64Array; readonly made: BatchFields[] | Promise<BatchFields[]> }[] = []
  let next = 0
  let later: NodeJS.Immediate | undefined
  const fill = (upTo: number): void => {
    for (; next < count && queue.length < upTo; next += group) {
      const stop = Math.min(count, next + group)
      const indices = order.indices(next * size, stop === count ? order.length : stop * size)
      const made = attempted(() => maker.make(indices, stop - next, next / group))
      // A failure is reported when its turn comes; until then it must not count as unhandled.
      if (made instanceof Promise) made.catch(() => undefined)
      queue.push({ indices, made })
    }
  }
  try {
    while (next < count || queue.length > 0) {
      signal?.throwIfAborted()
      // The very first batch is made alone: the consumer waits for it, and those behind it would only be in its way.
      fill(1)
      const { indices, made: first } = queue.shift()!
      const made = first instanceof Promise ? await inStage('wait', 0, () => first) : first
      // What comes behind is asked for while the consumer works, if it lets the event loop turn, and not while it waits (0.1 to 0.2 ms); but never is nothing under way.
      if (queue.length === 0) fill(ahead)
      else later = setImmediate(() => fill(ahead))
      for (let k = 0; k < made.length; k++) {
        signal?.throwIfAborted()
        yield named(items, made.length === 1 ? indices : partOf(indices, size, k, made.length), made[k]!)
        if (later === undefined) continue
        clearImmediate(later)
        later = undefined
        fill(ahead)
      }
    }
  } finally {
    clearImmediate(later)
    maker.stop?.()
    await Promise.allSettled(queue.map(({ made }) => made))
    maker.end?.()
  }
}

/** What fails at once fails when its turn comes as well: nobody would catch it where batches are asked for between two turns of a loop. */
function attempted<T>(make: () => T | Promise<T>): T | Promise<T> {
  try {
    return make()
  } catch (error) {
    return Promise.reject(error as Error)
  }
}

function batchBytes({ fields: specs }: Batched, { fields, size }: BatchPlan): number {
  return size * fields.reduce((sum, field) => sum + byteCount(specs[field]!.dtype, specs[field]!.shape as number[]), 0)
}
