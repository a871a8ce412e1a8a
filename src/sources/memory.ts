import { sizeOf, type DType, type TypedArray } from '../core/dtype.js'
import { bytesOf, emptyTensor, type LazyTensor, type NonFinite, type RowRange, type Tensor } from '../core/tensor.js'
import { CastTensor, type ElementReader } from './cast.js'
import { numbers, product, type ReadOptions, rowsOf } from './ranges.js'
import { SlicedTensor } from './slice.js'

/** A tensor that is in memory already, in the form of one that is read from a file. */
export class MemoryTensor implements LazyTensor, ElementReader {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly fortran = false
  readonly where = 'memory'
  readonly #bytes: Uint8Array

  constructor(tensor: Tensor) {
    this.dtype = tensor.dtype
    this.shape = tensor.shape
    this.#bytes = bytesOf(tensor.data)
  }

  async read(range?: RowRange, options: ReadOptions = {}): Promise<Tensor> {
    const { start, shape } = rowsOf(this, range)
    options.signal?.throwIfAborted()
    const data = this.#stretch(start * product(this.shape.slice(1)), product(shape))
    if (options.copy !== true) return { dtype: this.dtype, shape, data } as Tensor
    const out = emptyTensor(this.dtype, shape)
    bytesOf(out.data).set(bytesOf(data))
    return out
  }

  cast(dtype: DType, options?: { nonFinite?: NonFinite }): LazyTensor {
    return CastTensor.of(this, dtype, options)
  }

  slice(range: RowRange): LazyTensor {
    return SlicedTensor.of(this, range)
  }

  async elements(first: number, count: number): Promise<{ data: TypedArray; done(): Promise<void> }> {
    return { data: this.#stretch(first, count), done: async () => {} }
  }

  async populate(): Promise<void> {}

  assertUnchanged(): void {}

  #stretch(first: number, count: number): TypedArray {
    const size = sizeOf(this.dtype)
    return numbers(this.dtype, this.#bytes.subarray(first * size, (first + count) * size))
  }
}
