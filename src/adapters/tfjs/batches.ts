import { boolean, checkOptions } from '../../core/options.js'
import { elementsOf, type BatchSource, type Element, type Elements, type TfBatchOptions } from './elements.js'
import type { TensorFlow } from './namespace.js'

export interface TfBatchesOptions extends TfBatchOptions {
  /** The tensors are the caller's to dispose. Default false: they live for one turn of the loop. */
  readonly keep?: boolean
}

/**
 * Batches of one epoch as tensors of TensorFlow.js, for a loop of one's own. They are disposed when the loop asks for the next batch and when it ends, by `break`, an error or whatever else; those marked with
 * `tf.keep(tensor)` stay. Throws TypeError at once for wrong options, and in the loop for a value that does not fit.
 */
export function tfBatches<T extends TensorFlow, const O extends TfBatchesOptions>(tf: T, dataset: BatchSource, options: O): AsyncGenerator<Element<T, O>, void, undefined> {
  const where = 'tfBatches'
  if (typeof options !== 'object' || options === null) checkOptions(where, options, ['size', 'xs', 'ys', 'keep'])
  const { keep: asked, ...rest } = options
  const keep = boolean(where, 'keep', asked, false)
  const elements = elementsOf(where, tf, dataset, rest)
  return turns(dataset, elements, keep) as AsyncGenerator<Element<T, O>, void, undefined>
}

async function * turns(dataset: BatchSource, elements: Elements, keep: boolean): AsyncGenerator<Record<string, unknown>, void, undefined> {
  for await (const batch of dataset.batches(elements.batches)) {
    const { element, tensors } = elements.of(batch)
    // Names are made when somebody asks; a tidy or a dispose that goes through the element does not meet them.
    Object.defineProperties(element, { ids: { get: () => batch.ids }, indices: { value: batch.indices } })
    try {
      yield element
    } finally {
      if (!keep) for (const tensor of tensors) if (!tensor.kept) tensor.dispose()
    }
  }
}
