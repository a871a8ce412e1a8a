import { availableParallelism } from 'node:os'
import { DTYPES, sizeOf, type DType, type TypedArray } from '../core/dtype.js'
import { NonFiniteError } from '../core/errors.js'
import { emptyTensor, type LazyTensor, type NonFinite, type RowRange, type Tensor } from '../core/tensor.js'
import type { NativeProgram } from '../native/addon.js'
import { native } from '../native/load.js'
import { freshTensor } from '../native/fresh.js'
import { checkCast, checkReadBytes, product, type ReadOptions, rowsOf } from './ranges.js'
import { SlicedTensor } from './slice.js'

/** What a cast reads from: an array that gives stretches of its elements. */
export interface ElementReader {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Stretches of a Fortran-ordered array do not lie together: such an array is read by rows. */
  readonly fortran: boolean
  /** File and array, for messages. */
  readonly where: string
  read(range?: RowRange, options?: ReadOptions): Promise<Tensor>
  /**
   * `count` elements from element `first` on, in C order, without asking whether the file has changed. `data` is a view where it can be, and otherwise
   * lies at the start of `scratch`; `done` is to be called when it has been read.
   */
  elements(first: number, count: number, scratch: () => ArrayBuffer, signal?: AbortSignal): Promise<{ data: TypedArray; done(): Promise<void> }>
  /** Brings elements that elements() will give as a view into memory. */
  populate(first: number, count: number): Promise<void>
  assertUnchanged(): void
}

interface CastStep { readonly from: DType; readonly to: DType; readonly nonFinite: NonFinite }

/** Elements that one thread converts at a time. */
const BLOCK = 65_536
/** Elements read and converted in one step: 16 blocks keep a few threads busy and stay in the last-level cache. */
const CHUNK = 16 * BLOCK
/** Rows of a Fortran-ordered array are gathered in pieces this large, because each piece passes over the whole array. */
const FORTRAN_CHUNK_BYTES = 256 * 2 ** 20
const NON_FINITE = { error: 0, zero: 1, keep: 2 } as const

/** An array seen through one or more conversions, applied in order while it is read; memory beside the result is bounded by one chunk. */
export class CastTensor implements LazyTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly #base: ElementReader
  readonly #steps: readonly CastStep[]

  private constructor(base: ElementReader, steps: readonly CastStep[]) {
    this.dtype = steps.at(-1)!.to
    this.shape = base.shape
    this.#base = base
    this.#steps = steps
  }

  static of(base: ElementReader, to: DType, options?: { nonFinite?: NonFinite }): CastTensor {
    return new CastTensor(base, [{ from: base.dtype, to, nonFinite: checkCast(base.dtype, to, options) }])
  }

  cast(dtype: DType, options?: { nonFinite?: NonFinite }): LazyTensor {
    const nonFinite = checkCast(this.dtype, dtype, options)
    return new CastTensor(this.#base, [...this.#steps, { from: this.dtype, to: dtype, nonFinite }])
  }

  slice(range: RowRange): LazyTensor {
    return SlicedTensor.of(this, range)
  }

  /** Rejects with NonFiniteError when a step that refuses NaN and infinity meets one; its index counts elements of the whole array. */
  async read(range?: RowRange, options: ReadOptions = {}): Promise<Tensor> {
    const { signal } = options
    const { start, shape } = rowsOf(this, range)
    const count = product(shape)
    checkReadBytes(this, count * sizeOf(this.dtype))
    signal?.throwIfAborted()
    const out = freshTensor(this.dtype, shape)
    const first = start * product(this.shape.slice(1))
    const run = new Conversion(this.#steps, out.data)
    if (this.#base.fortran) {
      const rowBytes = Math.max(1, product(this.shape.slice(1)) * sizeOf(this.#base.dtype))
      const rows = Math.max(1, Math.floor(FORTRAN_CHUNK_BYTES / rowBytes))
      for (let row = 0; row < shape[0]!; row += rows) {
        const part = await this.#base.read({ start: start + row, stop: Math.min(start + row + rows, start + shape[0]!) }, { signal })
        await run.convert(part.data, signal)
      }
    } else {
      let buffer: ArrayBuffer | undefined
      const scratch = (): ArrayBuffer => (buffer ??= new ArrayBuffer(Math.min(count, CHUNK) * sizeOf(this.#base.dtype)))
      // Pages come in while the chunk before is converted: a page fault in every thread costs many times as much.
      const populate = (at: number): Promise<void> => {
        const coming = at < count ? this.#base.populate(first + at, Math.min(CHUNK, count - at)) : Promise.resolve()
        // Reported when its turn comes; until then it must not count as unhandled.
        coming.catch(() => {})
        return coming
      }
      let ready = populate(0)
      for (let at = 0; at < count; at += CHUNK) {
        await ready
        ready = populate(at + CHUNK)
        try {
          const part = await this.#base.elements(first + at, Math.min(CHUNK, count - at), scratch, signal)
          await run.convert(part.data, signal)
          await part.done()
        } catch (error) {
          await ready.catch(() => {})
          throw error
        }
      }
    }
    this.#base.assertUnchanged()
    if (run.faults > 0) throw new NonFiniteError({ where: this.#base.where, item: '-', field: `cast to ${this.dtype}`, count: run.faults, index: first + run.firstFault })
    return out
  }
}

/** One read under way: what comes in is converted to the end of what came before. */
class Conversion {
  faults = 0
  firstFault = -1
  readonly #steps: readonly CastStep[]
  readonly #out: TypedArray
  readonly #between: readonly TypedArray[]
  readonly #blocks: readonly NativeProgram[]
  #done = 0

  constructor(steps: readonly CastStep[], out: TypedArray) {
    this.#steps = steps
    this.#out = out
    const elements = out.length / width(steps.at(-1)!.to)
    const largest = Math.min(CHUNK, elements)
    this.#between = steps.slice(0, -1).map((step) => emptyTensor(step.to, [largest]).data)
    this.#blocks = elements >= BLOCK ? steps.map((step) => programOf(step, BLOCK)) : []
  }

  async convert(data: TypedArray, signal?: AbortSignal): Promise<void> {
    const elements = data.length / width(this.#steps[0]!.from)
    for (let at = 0; at < elements; at += CHUNK) {
      const count = Math.min(CHUNK, elements - at)
      let from = part(data, this.#steps[0]!.from, at, count)
      for (const [k, step] of this.#steps.entries()) {
        const last = k === this.#steps.length - 1
        const to = last ? part(this.#out, step.to, this.#done, count) : part(this.#between[k]!, step.to, 0, count)
        await this.#step(k, step, from, to, count)
        signal?.throwIfAborted()
        from = to
      }
      this.#done += count
    }
  }

  async #step(k: number, step: CastStep, from: TypedArray, to: TypedArray, count: number): Promise<void> {
    const whole = Math.floor(count / BLOCK)
    const cut = whole * BLOCK
    if (whole > 0) await this.#run(this.#blocks[k]!, whole, part(from, step.from, 0, cut), part(to, step.to, 0, cut), 0)
    if (cut < count) await this.#run(programOf(step, count - cut), 1, part(from, step.from, cut, count - cut), part(to, step.to, cut, count - cut), cut)
  }

  async #run(program: NativeProgram, count: number, from: TypedArray, to: TypedArray, offset: number): Promise<void> {
    for (const fault of await program.run(count, [from], [to], availableParallelism())) {
      const index = this.#done + offset + fault.item * BLOCK + fault.index
      if (this.faults === 0 || index < this.firstFault) this.firstFault = index
      this.faults += fault.count
    }
  }
}

/** A program of one step over `elements` elements. */
function programOf(step: CastStep, elements: number): NativeProgram {
  return new (native().Program)({
    values: [{ dtype: DTYPES[step.from].code, shape: [elements] }, { dtype: DTYPES[step.to].code, shape: [elements] }],
    inputs: [0],
    outputs: [1],
    steps: [{ kernel: 'cast', in: 0, out: 1, nonFinite: NON_FINITE[step.nonFinite] }],
  })
}

/** Numbers per element: two for complex dtypes. */
function width(dtype: DType): number {
  return sizeOf(dtype) / DTYPES[dtype].array.BYTES_PER_ELEMENT
}

function part(data: TypedArray, dtype: DType, first: number, count: number): TypedArray {
  return data.subarray(first * width(dtype), (first + count) * width(dtype))
}
