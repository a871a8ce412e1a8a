import { arrayDType, DTYPES, dtypeOf, sizeOf, type DType, type DTypeArrays, type TypedArray } from './dtype.js'

/**
 * A dense array as plain data: C order, little-endian. `data` may be a view of mapped memory, so treat it as
 * read-only: a stray write cannot reach a file, but later readers of the same mapping would see it.
 */
export interface Tensor<D extends DType = DType> {
  /** Type of its elements. */
  readonly dtype: D
  /** Extents of its axes; [] is a single number. */
  readonly shape: readonly number[]
  /** `product(shape)` elements, twice as many numbers for complex dtypes. */
  readonly data: DTypeArrays[D]
}

/** Rows of axis 0: `start` inclusive, `stop` exclusive. */
export interface RowRange {
  /** First row, from 0. */
  readonly start: number
  /** Row behind the last. */
  readonly stop: number
}

/** dtype and shape of one field of an item; `null` marks an extent that differs between items. */
export interface FieldSpec {
  /** Type of its elements. */
  readonly dtype: DType
  /** Extents of its axes; null where they differ between items. */
  readonly shape: readonly (number | null)[]
}

/** dtype and shape of each field, by name. */
export type FieldSpecs = Readonly<Record<string, FieldSpec>>

/** Fields of one item, and what is in those that ops decide by, where that is known. */
export type ItemSpecs = Readonly<Record<string, FieldSpec & {
  /** What it holds: of affines, whatever ops decide by. */
  readonly value?: Tensor
}>>

/** An array that is known by dtype and shape and read only where it is asked for. */
export interface LazyTensor {
  /** Type that elements have when they are read. */
  readonly dtype: DType
  /** Extents of its axes. */
  readonly shape: readonly number[]
  /**
   * Reads rows of axis 0 (everything when left out; a 0-d array takes no range). The result is a view of mapped
   * memory when the stored bytes already are what was asked for, and a fresh array otherwise; `copy` asks for a fresh one.
   */
  read(range?: RowRange, options?: { signal?: AbortSignal; copy?: boolean }): Promise<Tensor>
  /** The same array with another dtype, converted row range by row range when it is read. */
  cast(dtype: DType, options?: { nonFinite?: NonFinite }): LazyTensor
  /** Rows of axis 0 as an array of their own; they are read when they are asked for, and no others. Throws TypeError where there are none such. */
  slice(range: RowRange): LazyTensor
}

/** What to do with NaN and infinity: refuse them, replace them by zero, or let them pass (casts and moves only). */
export type NonFinite = 'error' | 'zero' | 'keep'

/** Number of elements, or `undefined` when the product is not an exact integer. */
export function elementCount(shape: readonly number[]): number | undefined {
  let count = 1
  for (const extent of shape) {
    if (!Number.isSafeInteger(extent) || extent < 0) return undefined
    count *= extent
  }
  // A zero extent makes the array empty whatever the others are, but the product of the others must still be sane.
  return Number.isSafeInteger(count) ? count : undefined
}

/** Bytes of a tensor of this dtype and shape. Throws when the product leaves the exact integers. */
export function byteCount(dtype: DType, shape: readonly number[]): number {
  const count = elementCount(shape)
  const bytes = count === undefined ? NaN : count * sizeOf(dtype)
  if (!Number.isSafeInteger(bytes)) throw new RangeError(`shape [${shape.join(', ')}] of ${dtype} is too large`)
  return bytes
}

/** A typed array for `dtype` over `bytes` bytes of `buffer`; `offset` must be a multiple of the array's element size. */
export function typedArray<D extends DType>(dtype: D, buffer: ArrayBufferLike, offset: number, bytes: number): DTypeArrays[D] {
  const { array } = DTYPES[dtype]
  return new array(buffer, offset, bytes / array.BYTES_PER_ELEMENT) as DTypeArrays[D]
}

/** A zeroed tensor that owns its memory. */
export function emptyTensor<D extends DType>(dtype: D, shape: readonly number[]): Tensor<D> {
  const bytes = byteCount(dtype, shape)
  return { dtype, shape, data: typedArray(dtype, new ArrayBuffer(bytes), 0, bytes) }
}

/** The bytes of an array, without copying. */
export function bytesOf(data: TypedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

/** A tensor over `memory`, from byte `offset` on. */
export function tensorIn(memory: ArrayBuffer, offset: number, dtype: DType, shape: readonly number[]): Tensor {
  return { dtype, shape, data: typedArray(dtype, memory, offset, byteCount(dtype, shape)) } as Tensor
}

/** Why a dtype, a shape and an array do not make a tensor, if so. */
export function tensorFault({ dtype, shape, data }: { readonly dtype: DType; readonly shape: readonly unknown[]; readonly data: ArrayBufferView }): string | undefined {
  const count = elementCount(shape as number[])
  if (count === undefined) return `has the shape [${shape.map(String).join(', ')}], which is none`
  if (dtypeOf(data) !== arrayDType(dtype)) return `is a ${dtype} tensor, whose data lies in a ${DTYPES[dtype].array.name}, not in a ${data.constructor.name}`
  const numbers = DTYPES[dtype].kind === 'complex' ? 2 * count : count
  const given = (data as TypedArray).length
  return given === numbers ? undefined : `is a ${dtype} tensor of shape [${shape.join(', ')}], whose data are ${numbers} numbers, not ${given}`
}
