import { elementsOf, type BatchSource, type TfBatchOptions } from './elements.js'
import { Loop } from './loop.js'
import type { TensorFlowWithData } from './namespace.js'

/** Options of `toTfDataset`. */
export interface TfDatasetOptions extends TfBatchOptions {
  /** Of the first iteration; each one that follows counts up. Default 0. */
  readonly epoch?: number
}

/** `tf.data.Dataset` of a namespace, whose elements are batches. */
export type TfDatasetOf<T extends TensorFlowWithData> = ReturnType<T['data']['generator']> & {
  /** Ends all iterations under way, for when one was left in the middle: tf.data tells nobody. Iterations that begin later are not concerned. */
  stop(): Promise<void>
}

/**
 * A `tf.data.Dataset` over batches, for `model.fitDataset`. With `xs` and `ys` its elements are `{ xs, ys }`, otherwise tensors by field. Each iteration is an epoch of its own, beginning with `options.epoch`: in another
 * order if it is shuffled. `size` is the number of batches of this rank. `fitDataset` and `evaluateDataset` dispose what they take; after `forEachAsync` or `iterator()` the tensors are the caller's.
 *
 * Nothing is read before the first element is asked for. tf.data does not say when somebody leaves an iteration in the middle (`take`, `batchesPerEpoch`, an error in a callback): until it is collected, or `stop()`
 * is called, the batches prepared ahead stay, of which there are as many as without TensorFlow.js; there are no tensors among them. Throws TypeError at once for wrong options; errors of reading reject where the element
 * is asked for.
 */
export function toTfDataset<T extends TensorFlowWithData>(tf: T, dataset: BatchSource, options: TfDatasetOptions): TfDatasetOf<T> {
  const where = 'toTfDataset'
  const elements = elementsOf(where, tf, dataset, options, false)
  if (typeof tf.data?.generator !== 'function') throw new TypeError(`${where}: tf has no tf.data: give the namespace of @tensorflow/tfjs, @tensorflow/tfjs-node or @tensorflow/tfjs-node-gpu`)
  const { epoch: first = 0 } = elements.batches
  let begun = 0
  const running = new Set<Loop>()
  const made = tf.data.generator(() => {
    // fitDataset makes an iterator that it never uses: an epoch begins with its first element.
    const loop = new Loop(() => dataset.batches({ ...elements.batches, epoch: first + begun++ }), elements, true, (ended) => running.delete(ended))
    running.add(loop)
    const handle = { next: () => loop.next() }
    abandoned.register(handle, loop)
    return handle
  })
  return Object.assign(made, {
    size: elements.length,
    async stop() {
      await Promise.all([...running].map((loop) => loop.return()))
    },
  }) as TfDatasetOf<T>
}

/** Ends iterations whose iterator nobody has any more, which nobody can be told about. */
const abandoned = new FinalizationRegistry<Loop>((loop) => { loop.return().catch(() => undefined) })
