import type { DType } from '../core/dtype.js'
import type { LazyTensor, NonFinite, RowRange, Tensor } from '../core/tensor.js'
import { type ReadOptions, rowsOf } from './ranges.js'

/** Rows `start … stop` of another array; nothing is read until they are asked for, and then no others are. */
export class SlicedTensor implements LazyTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly #of: LazyTensor
  readonly #start: number

  private constructor(of: LazyTensor, start: number, shape: readonly number[]) {
    this.dtype = of.dtype
    this.shape = Object.freeze([...shape])
    this.#of = of
    this.#start = start
  }

  static of(array: LazyTensor, range: RowRange): SlicedTensor {
    const { start, shape } = rowsOf(array, range)
    return new SlicedTensor(array, start, shape)
  }

  read(range?: RowRange, options?: ReadOptions): Promise<Tensor> {
    return this.#of.read(this.#inside(range), options)
  }

  cast(dtype: DType, options?: { nonFinite?: NonFinite }): LazyTensor {
    return new SlicedTensor(this.#of.cast(dtype, options), this.#start, this.shape)
  }

  slice(range: RowRange): LazyTensor {
    return new SlicedTensor(this.#of, this.#inside(range).start, rowsOf(this, range).shape)
  }

  #inside(range: RowRange | undefined): RowRange {
    const { start, stop } = rowsOf(this, range)
    return { start: this.#start + start, stop: this.#start + stop }
  }
}
