import { DTYPES } from '../core/dtype.js'
import { stackRows } from '../core/rows.js'
import { emptyTensor, type Tensor } from '../core/tensor.js'
import type { BatchPlan } from './batch-options.js'
import type { BatchFields } from './batches.js'

/** One item of a dataset: its fields and its human name. */
export type Item = {
  /** Human name. */
  readonly id: string
} & { readonly [field: string]: Tensor | string }

/** The fields of a batch from its items, which have those that were asked for. It may take its time: the next batches are prepared meanwhile. */
export type CollateFunction = (items: readonly Item[]) => Readonly<Record<string, unknown>> | Promise<Readonly<Record<string, unknown>>>

/** A batch of whole items, as `collate` has it. */
export async function collated(items: readonly Item[], { collate, fields }: Pick<BatchPlan, 'collate' | 'fields'>): Promise<BatchFields> {
  if (typeof collate === 'function') return { ...await collate(items) }
  const batch: BatchFields = {}
  const ids = items.map(({ id }) => id)
  for (const field of fields) {
    const tensors = items.map((item) => item[field] as Tensor)
    if (collate === 'list') {
      batch[field] = tensors
    } else if (collate === 'pad') {
      const { padded, shapes } = pad(field, tensors, ids)
      batch[field] = padded
      batch[`${field}_shape`] = shapes
    } else {
      batch[field] = stack(field, tensors, ids)
    }
  }
  return batch
}

/** Puts tensors of equal dtype and shape along a new axis 0. */
export function stack(field: string, tensors: readonly Tensor[], ids: readonly string[]): Tensor {
  const first = tensors[0]!
  tensors.forEach((tensor, i) => {
    if (tensor.dtype !== first.dtype || !sameShape(tensor.shape, first.shape)) {
      throw new TypeError(`batches: collate 'stack' needs equal shapes, but field ${field} is ${show(first)} in item ${ids[0]} and ${show(tensor)} in item ${ids[i]}; use collate 'pad' or 'list'`)
    }
  })
  return stackRows(tensors)
}

/**
 * Pads with zeros at the end of every axis to the largest extent in the batch; `<field>_shape` int64 [n, rank] has the true shapes.
 */
export function pad(field: string, tensors: readonly Tensor[], ids: readonly string[]): { padded: Tensor; shapes: Tensor<'int64'> } {
  const first = tensors[0]!
  const rank = first.shape.length
  const shapes = emptyTensor('int64', [tensors.length, rank])
  const extent = Array.from<number>({ length: rank }).fill(0)
  tensors.forEach((tensor, i) => {
    if (tensor.dtype !== first.dtype || tensor.shape.length !== rank) {
      throw new TypeError(`batches: collate 'pad' needs equal dtypes and ranks, but field ${field} is ${show(first)} in item ${ids[0]} and ${show(tensor)} in item ${ids[i]}; use collate 'list'`)
    }
    tensor.shape.forEach((size, k) => {
      extent[k] = Math.max(extent[k]!, size)
      shapes.data[i * rank + k] = BigInt(size)
    })
  })
  const padded = emptyTensor(first.dtype, [tensors.length, ...extent])
  const perItem = padded.data.length / Math.max(tensors.length, 1)
  const unit = DTYPES[first.dtype].kind === 'complex' ? 2 : 1
  tensors.forEach((tensor, i) => copyInto(padded, i * perItem, extent, tensor, unit))
  return { padded, shapes }
}

// Row by row along the last axis; rows are contiguous on both sides.
function copyInto(target: Tensor, base: number, extent: readonly number[], source: Tensor, unit: number): void {
  const rank = source.shape.length
  const length = (rank === 0 ? 1 : source.shape[rank - 1]!) * unit
  if (source.data.length === 0) return
  const rows = source.data.length / length
  for (let row = 0; row < rows; row++) {
    let rest = row
    let stride = rank === 0 ? 0 : extent[rank - 1]! * unit
    let offset = base
    for (let k = rank - 2; k >= 0; k--) {
      offset += (rest % source.shape[k]!) * stride
      rest = Math.floor(rest / source.shape[k]!)
      stride *= extent[k]!
    }
    (target.data as Uint8Array).set((source.data as Uint8Array).subarray(row * length, (row + 1) * length), offset)
  }
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, k) => extent === b[k])
}

function show(tensor: Tensor): string {
  return `${tensor.dtype} [${tensor.shape.join(', ')}]`
}
