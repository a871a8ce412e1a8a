import { boolean, checkOptions, choice, show } from '../../core/options.js'
import { isPlainObject } from '../../core/plain.js'
import type { FieldSpecs } from '../../core/tensor.js'
import type { Batch, BatchOptions } from '../../dataset/batches.js'
import type { TfDType } from './convert.js'
import { checkNamespace, type TensorFlow, type TensorOf, type TfTensor } from './namespace.js'
import { DTYPES_TO, isTensor, made } from './to-tensor.js'

/** What batches come from: a dataset of a cache, one without a cache, or whatever else has these. */
export interface BatchSource {
  readonly length: number
  readonly fields: FieldSpecs
  batches(options: BatchOptions): AsyncIterable<Batch>
}

/** A field, several in this order, or several by the name of a model's input or output. */
export type Selection = string | readonly string[] | Readonly<Record<string, string>>

export interface TfBatchOptions extends BatchOptions {
  /** Elements are `{ xs, ys }`, as `model.fitDataset` takes them, rather than a tensor by field; only the fields that are named are read. */
  readonly xs?: Selection
  /** Goes with `xs`. */
  readonly ys?: Selection
  /** By field another dtype than the one `toTensor` chooses. */
  readonly dtypes?: Readonly<Record<string, TfDType>>
  /** As for `toTensor`. Default false, with `reuse` true. */
  readonly copy?: boolean
}

/** Tensors by field; `ids` and `indices` of the items are there beside them, not enumerable. */
export type TfBatch<X> = { readonly ids: readonly string[]; readonly indices: Float64Array } & { readonly [field: string]: X }

type Selected<S, X> = S extends string ? X : S extends readonly string[] ? X[] : S extends object ? { [K in keyof S]: X } : undefined

/** What one batch becomes with these options. */
export type Element<T extends TensorFlow, O extends TfBatchOptions> =
  O extends { readonly xs: infer S } ? { readonly xs: Selected<S, TensorOf<T>>; readonly ys: Selected<O['ys'], TensorOf<T>> }
  : O extends { readonly collate: 'list' } ? TfBatch<readonly TensorOf<T>[]>
  : O extends { readonly collate: (...items: any[]) => any } ? TfBatch<any>
  : TfBatch<TensorOf<T>>

/** Options that were checked, and what is done with each batch. */
export interface Elements {
  /** For `dataset.batches`. */
  readonly batches: BatchOptions
  /** The tensors of a batch in their places, and all of them. When one fails, none is left. */
  of(batch: Batch): { element: Record<string, unknown>; tensors: TfTensor[] }
}

export function elementsOf(where: string, tf: TensorFlow, dataset: BatchSource, options: TfBatchOptions): Elements {
  checkNamespace(where, tf)
  if (typeof dataset?.batches !== 'function') throw new TypeError(`${where}: expected a dataset, not ${show(dataset)}`)
  if (typeof options !== 'object' || options === null) checkOptions(where, options, ['size', 'xs', 'ys'])
  const { xs, ys, dtypes = {}, copy: asked, ...given } = options
  const copy = boolean(where, 'copy', asked, given.reuse === true)
  if (given.reuse === true && !copy) throw new TypeError(`${where}: with reuse the memory of a batch is written over while its tensors may still be there: leave out copy: false, or reuse`)
  if (xs === undefined && ys !== undefined) throw new TypeError(`${where}: ys needs xs`)
  const places = [...placesOf(where, 'xs', xs), ...placesOf(where, 'ys', ys)]
  const named = [...new Set(places.map(({ field }) => field))]
  // With other ways to collate a batch has fields of other names.
  const isStacked = (given.collate ?? 'stack') === 'stack'
  const batches = xs !== undefined && isStacked && given.fields === undefined ? { ...given, fields: named } : given
  const known = isStacked ? batches.fields ?? Object.keys(dataset.fields) : undefined
  checkOptions(`${where}: dtypes`, dtypes, known ?? Object.keys(dtypes))
  for (const [field, dtype] of Object.entries(dtypes)) choice(`${where}: dtypes`, field, dtype, DTYPES_TO)
  // What is wrong with its own options is found now, and not by the first step.
  void dataset.batches(batches)[Symbol.asyncIterator]().return?.()
  if (known !== undefined) for (const field of named) has(where, field, known)

  const tensorsOf = (batch: Batch, fields: readonly string[], tensors: TfTensor[]): Map<string, unknown> => {
    const take = (field: string, value: unknown): unknown => {
      if (Array.isArray(value)) return value.map((part: unknown) => take(field, part))
      if (!isTensor(value)) return value
      const tensor = made(`${where}: field ${field}`, tf, value, dtypes[field], copy)
      tensors.push(tensor)
      return tensor
    }
    return new Map(fields.map((field) => [field, take(field, batch[field])]))
  }

  return {
    batches,
    of(batch) {
      const there = Object.keys(batch).filter((name) => name !== 'ids' && name !== 'indices')
      for (const field of named) has(where, field, there)
      const tensors: TfTensor[] = []
      try {
        const values = tensorsOf(batch, xs === undefined ? there : named, tensors)
        if (xs === undefined) return { element: Object.fromEntries(values), tensors }
        const element = { xs: empty(xs), ...ys !== undefined && { ys: empty(ys) } } as Record<string, any>
        for (const { side, name, field } of places) {
          if (name === undefined) element[side] = values.get(field)
          else element[side][name] = values.get(field)
        }
        return { element, tensors }
      } catch (error) {
        for (const tensor of tensors) tensor.dispose()
        throw error
      }
    },
  }
}

interface Place { readonly side: 'xs' | 'ys'; readonly name: string | number | undefined; readonly field: string }

function placesOf(where: string, side: 'xs' | 'ys', of: Selection | undefined): Place[] {
  if (of === undefined) return []
  if (typeof of === 'string') return [{ side, name: undefined, field: of }]
  const isList = Array.isArray(of)
  const fields = typeof of === 'object' && of !== null && (isList || isPlainObject(of)) ? Object.entries(of) : []
  if (fields.length === 0 || fields.some(([, field]) => typeof field !== 'string')) throw new TypeError(`${where}: ${side} must be a field, a list of fields, or fields by name, not ${show(of)}`)
  return fields.map(([name, field]) => ({ side, name: isList ? Number(name) : name, field: field as string }))
}

function empty(of: Selection): unknown {
  return Array.isArray(of) ? [] : {}
}

function has(where: string, field: string, known: readonly string[]): void {
  if (!known.includes(field)) throw new TypeError(`${where}: batches have no field ${show(field)}; they have ${known.join(', ')}`)
}
