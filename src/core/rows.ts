import type { DType, TypedArray } from './dtype.js'
import { emptyTensor, type Tensor } from './tensor.js'

/** One field of several items that differ in axis 0, one after the other: item i is rows `offsets[i] … offsets[i + 1]` of `data`, which is [Σ rows, …tail]. */
export interface Ragged {
  /** Type of its elements. */
  readonly dtype: DType
  /** Extents of the axes behind axis 0, the same for all items. */
  readonly tail: readonly number[]
  /** One more than there are items; the first need not be 0. */
  readonly offsets: Float64Array
  /** The rows of all items, in C order. */
  readonly data: TypedArray
}

/** One field of several items: a tensor [count, …] where their shapes are equal. */
export type Rows = Tensor | Ragged

export function isRagged(rows: Rows): rows is Ragged {
  return 'offsets' in rows
}

/** Rows `start … stop` of axis 0 (items), as a view. */
export function rowsOf<R extends Rows>(rows: R, start: number, stop: number): R
export function rowsOf(rows: Rows, start: number, stop: number): Rows {
  if (isRagged(rows)) return { ...rows, offsets: rows.offsets.subarray(start, stop + 1) }
  const [count, ...shape] = rows.shape as [number, ...number[]]
  const length = count === 0 ? 0 : rows.data.length / count
  return { dtype: rows.dtype, shape: [stop - start, ...shape], data: rows.data.subarray(start * length, stop * length) } as Tensor
}

/** Item `row` alone, as a view. */
export function rowOf(rows: Rows, row: number): Tensor {
  if (!isRagged(rows)) {
    const { dtype, shape, data } = rowsOf(rows, row, row + 1)
    return { dtype, shape: shape.slice(1), data } as Tensor
  }
  const [start, stop] = [rows.offsets[row]!, rows.offsets[row + 1]!]
  return { dtype: rows.dtype, shape: [stop - start, ...rows.tail], data: elementsOf(rows, start, stop) } as Tensor
}

/** Shape of item `row`. */
export function shapeOf(rows: Rows, row: number): readonly number[] {
  return isRagged(rows) ? [rows.offsets[row + 1]! - rows.offsets[row]!, ...rows.tail] : rows.shape.slice(1)
}

/** The elements of all its items, as a view: of a ragged field those between its first and its last offset. */
export function dataOf(rows: Rows): TypedArray {
  return isRagged(rows) ? elementsOf(rows, rows.offsets[0]!, rows.offsets.at(-1)!) : rows.data
}

/** Bytes of the elements of some items' fields. */
export function bytesOfRows({ fields }: { readonly fields: Readonly<Record<string, Rows>> }): number {
  return Object.values(fields).reduce((sum, rows) => sum + dataOf(rows).byteLength, 0)
}

/** Items `start … stop` of a ragged field, which have one shape, as a tensor. */
export function fixedRows(rows: Rows, start: number, stop: number): Tensor {
  if (!isRagged(rows)) return rowsOf(rows, start, stop)
  return { dtype: rows.dtype, shape: [stop - start, ...shapeOf(rows, start)], data: elementsOf(rows, rows.offsets[start]!, rows.offsets[stop]!) } as Tensor
}

/** Stretches `start … stop` of `count` items that have one shape in each of these fields. */
export function equalStretches(fields: readonly Rows[], count: number): [number, number][] {
  const ragged = fields.filter(isRagged)
  const found: [number, number][] = []
  for (let start = 0; start < count;) {
    let stop = ragged.length === 0 ? count : start + 1
    while (stop < count && ragged.every((rows) => shapeOf(rows, stop)[0] === shapeOf(rows, start)[0])) stop++
    found.push([start, stop])
    start = stop
  }
  return found
}

/** Tensors of one dtype and shape along a new axis 0, copied. There must be at least one. */
export function stackRows(tensors: readonly Tensor[]): Tensor {
  const { dtype, shape, data } = tensors[0]!
  const stacked = emptyTensor(dtype, [tensors.length, ...shape])
  tensors.forEach((tensor, i) => (stacked.data as Uint8Array).set(tensor.data as Uint8Array, i * data.length))
  return stacked
}

/** Tensors of one dtype and shape, but for axis 0, one after the other, copied. There must be at least one, of rank 1 or more. */
export function concatRows(tensors: readonly Tensor[]): Ragged {
  const { dtype, shape } = tensors[0]!
  const offsets = new Float64Array(tensors.length + 1)
  tensors.forEach((tensor, i) => { offsets[i + 1] = offsets[i]! + tensor.shape[0]! })
  const tail = shape.slice(1)
  const { data } = emptyTensor(dtype, [offsets.at(-1)!, ...tail])
  let at = 0
  for (const tensor of tensors) {
    (data as Uint8Array).set(tensor.data as Uint8Array, at)
    at += tensor.data.length
  }
  return { dtype, tail, offsets, data }
}

/** Tensors of several items as one field: stacked where they have one shape, ragged where they differ in axis 0. One item is not copied. Throws TypeError where they differ in more. */
export function joinRows(tensors: readonly Tensor[]): Rows {
  const [first] = tensors as [Tensor, ...Tensor[]]
  if (tensors.length === 1) return { ...first, shape: [1, ...first.shape] }
  const other = tensors.find(({ shape }) => shape.length !== first.shape.length || shape.some((extent, axis) => axis > 0 && extent !== first.shape[axis]))
  if (other !== undefined) throw new TypeError(`items of shapes [${first.shape.join(', ')}] and [${other.shape.join(', ')}] are not one field`)
  return tensors.every(({ shape }) => shape[0] === first.shape[0]) ? stackRows(tensors) : concatRows(tensors)
}

function elementsOf({ dtype, tail, data }: Ragged, start: number, stop: number): TypedArray {
  // Complex numbers are two elements of the array.
  const perRow = tail.reduce((product, extent) => product * extent, dtype === 'complex64' || dtype === 'complex128' ? 2 : 1)
  return data.subarray(start * perRow, stop * perRow)
}
