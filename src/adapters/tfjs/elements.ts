import { boolean, checkOptions, choice, show } from '../../core/options.js'
import type { FieldSpecs } from '../../core/tensor.js'
import type { BatchOptions } from '../../dataset/batch-options.js'
import type { Batch } from '../../dataset/batches.js'
import type { TfDType } from './convert.js'
import { checkNamespace, type TensorFlow, type TensorOf, type TfTensor } from './namespace.js'
import { fieldsIn, selected, type Selected, type Selection } from './selection.js'
import { DTYPES_TO, isTensor, made } from './to-tensor.js'

/** What batches come from: a dataset of a cache, one without a cache, or whatever else has these. */
export interface BatchSource {
  /** Number of items. */
  readonly length: number
  /** dtype and shape of each field of an item. */
  readonly fields: FieldSpecs
  /** One epoch. */
  batches(options: BatchOptions): AsyncIterable<Batch>
}

/** Options of batches as tensors: those of `batches`, and what becomes of a batch. */
export interface TfBatchOptions extends BatchOptions {
  /** Elements are `{ xs, ys }`, as `model.fitDataset` takes them, rather than a tensor by field; only the fields that are named are read. */
  readonly xs?: Selection
  /** Goes with `xs`. */
  readonly ys?: Selection
  /** By field another dtype than the one `toTensor` chooses. */
  readonly dtypes?: Readonly<Record<string, TfDType>>
  /** As for `toTensor`. Default false, with `reuse` true: what is converted gets an array of its own anyway, so `reuse` is worth it where that is most of a batch. */
  readonly copy?: boolean
}

/** Tensors by field; `ids` and `indices` of the items are there beside them, not enumerable. */
export type TfBatch<X> = TfNames & { readonly [field: string]: X }

/** Which items a batch has. */
export interface TfNames {
  /** Human names, made when somebody asks. */
  readonly ids: readonly string[]
  /** Places in the dataset. */
  readonly indices: Float64Array
}

/** Options that choose what a model is given. */
export interface TfInputs<S> {
  /** Fields. */
  readonly xs: S
}

/** Options that say how items become a batch. */
export interface TfCollate<C> {
  /** As of `batches`. */
  readonly collate: C
}

/** As `model.fitDataset` takes them. */
export interface TfPair<X, Y> {
  /** What the model is given. */
  readonly xs: X
  /** What it should give. */
  readonly ys: Y
}

/** What one batch becomes with these options. */
export type Element<T extends TensorFlow, O extends TfBatchOptions> =
  O extends TfInputs<infer S> ? TfPair<Selected<S, TensorOf<T>>, Selected<O['ys'], TensorOf<T>>>
  : O extends TfCollate<'list'> ? TfBatch<readonly TensorOf<T>[]>
  : O extends TfCollate<(...items: any[]) => any> ? TfBatch<any>
  : TfBatch<TensorOf<T>>

/** Options that were checked, and what is done with each batch. */
export interface Elements {
  /** For `dataset.batches`. */
  readonly batches: BatchOptions
  /** Batches of an epoch. */
  readonly length: number
  /** Puts the tensors of a batch in their places, and gives all of them. When one fails, none is left. */
  into(element: Record<string, unknown>, batch: Batch): TfTensor[]
}

/** `aliases`: whether `reuse` with `copy: false` may be asked for. */
export function elementsOf(where: string, tf: TensorFlow, dataset: BatchSource, options: TfBatchOptions, aliases: boolean): Elements {
  checkNamespace(where, tf)
  if (typeof dataset?.batches !== 'function') throw new TypeError(`${where}: expected a dataset, not ${show(dataset)}`)
  if (typeof options !== 'object' || options === null) checkOptions(where, options, ['size', 'xs', 'ys'])
  const { xs, ys, dtypes = {}, copy: asked, ...given } = options
  const copy = boolean(where, 'copy', asked, given.reuse === true)
  if (given.reuse === true && !copy && !aliases) throw new TypeError(`${where}: with reuse the memory of a batch is written over while tf.data may still have its tensors: leave out copy: false, or reuse`)
  if (xs === undefined && ys !== undefined) throw new TypeError(`${where}: ys needs xs`)
  // One that is named twice becomes one tensor.
  const named = [...new Set([...fieldsIn(where, 'xs', xs), ...fieldsIn(where, 'ys', ys)])]
  // With other ways to collate a batch has fields of other names.
  const isStacked = (given.collate ?? 'stack') === 'stack'
  const batches = xs !== undefined && isStacked && given.fields === undefined ? { ...given, fields: named } : given
  const known = isStacked ? batches.fields ?? Object.keys(dataset.fields) : undefined
  checkOptions(`${where}: dtypes`, dtypes, known ?? Object.keys(dtypes))
  for (const [field, dtype] of Object.entries(dtypes)) choice(`${where}: dtypes`, field, dtype, DTYPES_TO)
  // What is wrong with its own options is found now, and not by the first step.
  const tried = dataset.batches(batches)
  const { length = (given.dropLast === true ? Math.floor : Math.ceil)(dataset.length / given.size) } = tried as { readonly length?: number }
  void tried[Symbol.asyncIterator]().return?.()
  if (known !== undefined) for (const field of named) has(where, field, known)

  const take = (field: string, value: unknown, tensors: TfTensor[]): unknown => {
    if (Array.isArray(value)) return value.map((part: unknown) => take(field, part, tensors))
    if (!isTensor(value)) return value
    const tensor = made(`${where}: field ${field}`, tf, value, dtypes[field], copy)
    tensors.push(tensor)
    return tensor
  }

  return {
    batches, length,
    into(element, batch) {
      if (known === undefined) for (const field of named) has(where, field, fieldsOf(batch))
      const tensors: TfTensor[] = []
      try {
        if (xs === undefined) {
          for (const field of known ?? fieldsOf(batch)) element[field] = take(field, batch[field], tensors)
        } else {
          const values = new Map(named.map((field) => [field, take(field, batch[field], tensors)]))
          element.xs = selected(xs, values)
          if (ys !== undefined) element.ys = selected(ys, values)
        }
        return tensors
      } catch (error) {
        for (const tensor of tensors) tensor.dispose()
        throw error
      }
    },
  }
}

function fieldsOf(batch: Batch): string[] {
  return Object.keys(batch).filter((name) => name !== 'ids' && name !== 'indices')
}

function has(where: string, field: string, known: readonly string[]): void {
  if (!known.includes(field)) throw new TypeError(`${where}: batches have no field ${show(field)}; they have ${known.join(', ')}`)
}
