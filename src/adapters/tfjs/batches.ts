import { boolean, checkOptions } from '../../core/options.js'
import type { BatchIterator, BatchState } from '../../dataset/iterator.js'
import { elementsOf, type BatchSource, type Element, type TfBatchOptions } from './elements.js'
import { Loop } from './loop.js'
import type { TensorFlow } from './namespace.js'

/** Options of `tfBatches`. */
export interface TfBatchesOptions extends TfBatchOptions {
  /** The tensors are the caller's to dispose. Default false: they live for one turn of the loop. */
  readonly keep?: boolean
}

/** Batches as tensors, and where they are in the epoch. */
export interface TfBatches<E> extends AsyncIterableIterator<E> {
  /** As of the iterator of the dataset: what comes after the batch that was handed out last. */
  state(): BatchState
  /** Goes on from there; before the first batch is asked for. Gives itself. */
  restore(state: BatchState): this
}

/**
 * Batches of one epoch as tensors of TensorFlow.js, for a loop of one's own. They are disposed when the loop asks for the next batch and when it ends, by `break`, an error or whatever else; those marked with
 * `tf.keep(tensor)` stay. Throws TypeError at once for wrong options, and in the loop for a value that does not fit.
 *
 * `reuse: true` with `copy: false` makes no arrays at all, for loops that keep nothing of a batch: on the CPU backend `reshape` and `clone` of a tensor are the same memory, which later batches are written to.
 */
export function tfBatches<T extends TensorFlow, const O extends TfBatchesOptions>(tf: T, dataset: BatchSource, options: O): TfBatches<Element<T, O>> {
  const where = 'tfBatches'
  if (typeof options !== 'object' || options === null) checkOptions(where, options, ['size', 'xs', 'ys', 'keep'])
  const { keep: asked, ...rest } = options
  const keep = boolean(where, 'keep', asked, false)
  const elements = elementsOf(where, tf, dataset, rest, !keep)
  const batches = dataset.batches(elements.batches)
  const stateful = (name: string): BatchIterator => {
    if (typeof (batches as Partial<BatchIterator>).restore !== 'function') throw new TypeError(`${where}: what the batches come from has no ${name}()`)
    return batches as BatchIterator
  }
  const loop = new Loop(() => batches, elements, keep)
  return Object.assign(loop as AsyncIterableIterator<unknown> as AsyncIterableIterator<Element<T, O>>, {
    state: () => stateful('state').state(),
    restore(this: TfBatches<Element<T, O>>, state: BatchState) {
      stateful('restore').restore(state)
      return this
    },
  })
}
