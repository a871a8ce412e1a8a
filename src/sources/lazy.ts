import { DTYPES, sizeOf, type DType, type TypedArray } from '../core/dtype.js'
import { bytesOf, type LazyTensor, type NonFinite, type RowRange, type Tensor } from '../core/tensor.js'
import { native } from '../native/load.js'
import type { StoredBytes } from './bytes.js'
import { CastTensor, type ElementReader } from './cast.js'
import { freshBytes } from '../native/fresh.js'
import { checkReadBytes, numbers, product, type ReadOptions, rowsOf } from './ranges.js'
import { SlicedTensor } from './slice.js'

/** How an array lies in its file. */
export interface StoredLayout {
  /** For messages: `array x`. */
  readonly place: string
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly fortran: boolean
  /** Bytes whose order is reversed; 1 when none. */
  readonly swapUnit: number
  /** First byte of the data in `bytes`. */
  readonly offset: number
}

/** Rows of a Fortran-ordered array that are brought together at a time. */
const FORTRAN_WINDOW_BYTES = 64 * 2 ** 20

/**
 * An array in a file. Rows are views of mapped memory where the stored bytes are what was asked for (C order, little-endian, not
 * compressed, at a multiple of their element's size); otherwise they are copied, swapped, transposed or inflated on a thread.
 */
export class StoredArray implements LazyTensor, ElementReader {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly layout: StoredLayout
  readonly bytes: StoredBytes
  readonly #rowBytes: number

  constructor(bytes: StoredBytes, layout: StoredLayout) {
    this.dtype = layout.dtype
    this.shape = Object.freeze([...layout.shape])
    this.layout = layout
    this.bytes = bytes
    this.#rowBytes = product(this.shape.slice(1)) * sizeOf(this.dtype)
  }

  async read(range?: RowRange, options: ReadOptions = {}): Promise<Tensor> {
    const { start, stop, shape } = rowsOf(this, range)
    const bytes = checkReadBytes(this, product(shape) * sizeOf(this.dtype))
    options.signal?.throwIfAborted()
    const data = this.layout.fortran
      ? await this.#rowsOfFortran(start, stop, bytes)
      : await this.#stretch(start * this.#rowBytes, bytes, options)
    options.signal?.throwIfAborted()
    this.bytes.file.assertUnchanged()
    return { dtype: this.dtype, shape, data } as Tensor
  }

  /** Rows in any order, each to its place (in rows) in `out`. */
  async gather(rows: Float64Array, places: Float64Array, out: TypedArray, signal?: AbortSignal): Promise<void> {
    if (this.#rowBytes === 0 || rows.length === 0) return
    if (this.layout.fortran) await this.#gatherFortran(rows, places, bytesOf(out), signal)
    else await this.bytes.readRows(this.layout.offset, this.#rowBytes, rows, places, bytesOf(out), this.layout.swapUnit, signal)
    signal?.throwIfAborted()
    this.bytes.file.assertUnchanged()
  }

  /** Rows `start … stop` (0 and 1 of a 0-d array) in C order, little-endian, into `out`, which they fill. */
  async readInto(start: number, stop: number, out: Uint8Array, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.layout.fortran) await this.#placeFortran(start, stop, out)
    else await this.bytes.read(this.layout.offset + start * this.#rowBytes, out, this.layout.swapUnit, signal)
    signal?.throwIfAborted()
    this.bytes.file.assertUnchanged()
  }

  /** Rows of such an array lie all over the file, and each read passes over all of it: as many at a time as bounded memory holds. */
  async #gatherFortran(rows: Float64Array, places: Float64Array, out: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const step = Math.max(1, Math.floor(FORTRAN_WINDOW_BYTES / this.#rowBytes))
    const order = Uint32Array.from(rows, (_, k) => k).sort((a, b) => rows[a]! - rows[b]!)
    const last = rows[order.at(-1)!]!
    for (let next = 0; next < order.length;) {
      const start = rows[order[next]!]!
      const { data } = await this.read({ start, stop: Math.min(last + 1, start + step) }, { signal })
      const window = bytesOf(data)
      for (; next < order.length && rows[order[next]!]! < start + step; next++) {
        const at = (rows[order[next]!]! - start) * this.#rowBytes
        out.set(window.subarray(at, at + this.#rowBytes), places[order[next]!]! * this.#rowBytes)
      }
    }
  }

  cast(dtype: DType, options?: { nonFinite?: NonFinite }): LazyTensor {
    return CastTensor.of(this, dtype, options)
  }

  slice(range: RowRange): LazyTensor {
    return SlicedTensor.of(this, range)
  }

  get fortran(): boolean {
    return this.layout.fortran
  }

  get where(): string {
    return `${this.bytes.file.path}: ${this.layout.place}`
  }

  /** True when rows are views of the file. */
  get mappable(): boolean {
    const { fortran, swapUnit, offset, dtype } = this.layout
    return !fortran && swapUnit === 1 && this.bytes.view(offset, 0, DTYPES[dtype].array.BYTES_PER_ELEMENT) !== undefined
  }

  assertUnchanged(): void {
    this.bytes.file.assertUnchanged()
  }

  async elements(first: number, count: number, scratch: () => ArrayBuffer, signal?: AbortSignal): Promise<{ data: TypedArray; done(): Promise<void> }> {
    const size = sizeOf(this.dtype)
    const from = this.layout.offset + first * size
    const stored = this.layout.swapUnit === 1 ? this.bytes.view(from, count * size, DTYPES[this.dtype].array.BYTES_PER_ELEMENT) : undefined
    if (stored !== undefined) return { data: numbers(this.dtype, stored), done: () => this.bytes.passed(from, count * size) }
    const out = new Uint8Array(scratch(), 0, count * size)
    await this.bytes.read(from, out, this.layout.swapUnit, signal)
    return { data: numbers(this.dtype, out), done: async () => {} }
  }

  populate(first: number, count: number): Promise<void> {
    const size = sizeOf(this.dtype)
    return this.bytes.populate(this.layout.offset + first * size, count * size)
  }

  /** Tells that rows are not needed again soon. */
  release(start: number, stop: number): void {
    if (this.layout.fortran || this.shape.length === 0) return
    this.bytes.release(this.layout.offset + start * this.#rowBytes, (stop - start) * this.#rowBytes)
  }

  async #stretch(offset: number, length: number, options: ReadOptions): Promise<TypedArray> {
    const from = this.layout.offset + offset
    if (options.copy !== true && this.layout.swapUnit === 1) {
      const stored = this.bytes.view(from, length, DTYPES[this.dtype].array.BYTES_PER_ELEMENT)
      if (stored !== undefined) {
        await this.bytes.ready(from, length)
        return numbers(this.dtype, stored)
      }
    }
    const out = freshBytes(length)
    await this.bytes.read(from, out, this.layout.swapUnit, options.signal)
    return numbers(this.dtype, out)
  }

  async #rowsOfFortran(start: number, stop: number, length: number): Promise<TypedArray> {
    const out = freshBytes(length)
    await this.#placeFortran(start, stop, out)
    return numbers(this.dtype, out)
  }

  async #placeFortran(start: number, stop: number, out: Uint8Array): Promise<void> {
    await this.bytes.readFortran(this.layout.offset, this.shape, sizeOf(this.dtype), start, stop, out)
    if (this.layout.swapUnit > 1) await native().copySwapped(out, this.layout.swapUnit, out)
  }
}

/** An array that is listed but not read. Any use of it throws the UnsupportedError or FormatError that says why. */
export class UnusableArray implements LazyTensor {
  readonly error: Error

  constructor(error: Error) {
    this.error = error
  }

  get dtype(): DType {
    throw this.error
  }

  get shape(): readonly number[] {
    throw this.error
  }

  async read(): Promise<Tensor> {
    throw this.error
  }

  cast(): LazyTensor {
    throw this.error
  }

  slice(): LazyTensor {
    throw this.error
  }
}
