import { DTYPES, isDType, isReal, type DType, type TypedArray } from '../core/dtype.js'
import { show } from '../core/options.js'
import type { NonFinite, RowRange } from '../core/tensor.js'

/** The most a typed array holds on Node 20. */
export const READ_BYTES_MAX = 2 ** 32

export interface ReadOptions { signal?: AbortSignal | undefined; copy?: boolean | undefined }

/** Checks a row range of an array; left out, it is everything. */
export function rowsOf(tensor: { readonly shape: readonly number[] }, range: RowRange | undefined): { start: number; stop: number; shape: readonly number[] } {
  const { shape } = tensor
  if (range === undefined) return { start: 0, stop: shape[0] ?? 1, shape }
  if (shape.length === 0) throw new TypeError('a 0-d array has no rows: read() it without a range')
  const { start, stop } = range
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(stop) || start < 0 || stop < start || stop > shape[0]!) {
    throw new TypeError(`range must be { start, stop } with 0 <= start <= stop <= ${shape[0]}, not { start: ${show(start)}, stop: ${show(stop)} }`)
  }
  return { start, stop, shape: [stop - start, ...shape.slice(1)] }
}

export function checkReadBytes(tensor: { readonly dtype: DType; readonly shape: readonly number[] }, bytes: number): number {
  if (bytes > READ_BYTES_MAX) throw new RangeError(`one read gives at most 4 GiB, not ${bytes} bytes: read [${tensor.shape.join(', ')}] of ${tensor.dtype} by ranges of rows`)
  return bytes
}

export function checkCast(from: DType, to: DType, options: { nonFinite?: NonFinite } = {}): NonFinite {
  if (!isDType(to)) throw new TypeError(`cast: ${show(to)} is not a dtype; known are ${Object.keys(DTYPES).join(', ')}`)
  const nonFinite = options.nonFinite ?? 'error'
  if (!['error', 'zero', 'keep'].includes(nonFinite)) throw new TypeError(`cast: nonFinite must be one of error, zero, keep, not ${show(nonFinite)}`)
  if (isReal(from) !== isReal(to)) throw new TypeError(`cast: ${from} cannot be cast to ${to}: complex and real numbers do not convert into each other`)
  return nonFinite
}

/** A typed array over bytes that lie at a multiple of its element size. */
export function numbers(dtype: DType, bytes: Uint8Array): TypedArray {
  const { array } = DTYPES[dtype]
  return new array(bytes.buffer, bytes.byteOffset, bytes.byteLength / array.BYTES_PER_ELEMENT)
}

export function product(extents: readonly number[]): number {
  return extents.reduce((all, extent) => all * extent, 1)
}
