import { DTYPES, sizeOf } from '../core/dtype.js'
import { FormatError } from '../core/errors.js'
import { native } from '../native/load.js'
import type { ArrayFiles, ArraysFile } from './arrays-file.js'
import { formText, frameIn, isSameForm, type FrameForm } from './frame-form.js'
import { product } from './ranges.js'
import type { FrameRange } from './scene-frames.js'

/** One field of one simulation over its frames. */
export interface Track {
  /** What it is called there. */
  readonly name: string
  readonly form: FrameForm
  readonly files: readonly ArraysFile[]
  /** Whether each frame is read by itself, so that many are better read at the same time. */
  readonly isFramewise: boolean
  /** Frames `first … first + count` (places from 0) in C order into `out`, which they fill. */
  read(first: number, count: number, out: Uint8Array, signal: AbortSignal | undefined): Promise<void>
  /** Plain data that, with the digests of `filesOf`, says what `read` gives. */
  facts(first: number, count: number): unknown
  filesOf(first: number, count: number): readonly ArraysFile[]
}

/** A file for each frame. */
export class FrameTrack implements Track {
  readonly isFramewise = true
  readonly name: string
  readonly form: FrameForm
  readonly files: readonly ArraysFile[]
  readonly #scene: string
  readonly #range: FrameRange
  readonly #array: string | undefined

  private constructor(scene: string, name: string, files: readonly ArraysFile[], range: FrameRange, array: string | undefined, form: FrameForm) {
    this.#scene = scene
    this.name = name
    this.files = files
    this.#range = range
    this.#array = array
    this.form = form
  }

  /** Reads the headers in the first file. `like`: of another simulation. Rejects with FormatError, UnsupportedError. */
  static async open(scene: string, name: string, files: readonly ArraysFile[], range: FrameRange, array: string | undefined, like: FrameForm | undefined): Promise<FrameTrack> {
    const { path } = files[0]!
    const form = await files[0]!.reading(async (arrays) => (await frameIn(path, arrays, array, like)).form)
    return new FrameTrack(scene, name, files, range, array, form)
  }

  async read(first: number, count: number, out: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const bytes = out.byteLength / Math.max(1, count)
    for (let k = 0; k < count; k++) await this.#frame(first + k, out.subarray(k * bytes, (k + 1) * bytes), signal)
  }

  facts(): unknown {
    return ['frames', this.#array ?? null]
  }

  filesOf(first: number, count: number): readonly ArraysFile[] {
    return this.files.slice(first, first + count)
  }

  async #frame(at: number, out: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const file = this.files[at]!
    await file.reading(async (arrays) => {
      const { array, form } = await frameIn(file.path, arrays, this.#array, this.form)
      if (!isSameForm(form, this.form)) {
        const { first, step } = this.#range
        throw new FormatError({ file: file.path, place: `frame ${first + at * step} of ${this.name} in ${this.#scene}`, expected: `${formText(this.form)}, as ${this.files[0]!.path} has${this.form.grid === undefined ? '' : `, of a ${this.form.grid}`}`, found: `${formText(form)}${form.grid === undefined ? '' : ` of a ${form.grid}`}` })
      }
      const rows = array.shape[0] ?? 1
      const { order } = form
      if (order.every((axis, k) => axis === k)) return await array.readInto(0, rows, out, signal)
      const stored = new Uint8Array(out.byteLength)
      await array.readInto(0, rows, stored, signal)
      await moved(stored, array.shape, order, DTYPES[array.dtype].code, out)
    })
  }
}

/** One array whose axis 0 is the frames. */
export class ArrayTrack implements Track {
  readonly isFramewise = false
  readonly name: string
  readonly form: FrameForm
  readonly files: readonly [ArraysFile]
  readonly #range: FrameRange
  readonly #array: string | undefined
  readonly #open: ArrayFiles

  constructor(name: string, file: ArraysFile, range: FrameRange, array: string | undefined, form: FrameForm, open: ArrayFiles) {
    this.name = name
    this.files = [file]
    this.#range = range
    this.#array = array
    this.form = { ...form, shape: form.shape.slice(1) }
    this.#open = open
  }

  async read(first: number, count: number, out: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const [file] = this.files
    const { first: start, step } = this.#range
    await this.#open.reading(file, async (arrays) => {
      const { array } = await frameIn(file.path, arrays, this.#array)
      if (step === 1) return await array.readInto(start + first, start + first + count, out, signal)
      const bytes = product(this.form.shape) * sizeOf(this.form.dtype)
      for (let k = 0; k < count; k++) {
        const row = start + (first + k) * step
        await array.readInto(row, row + 1, out.subarray(k * bytes, (k + 1) * bytes), signal)
      }
    })
  }

  facts(first: number, count: number): unknown {
    const { first: start, step } = this.#range
    return ['array', this.#array ?? null, start + first * step, step, count]
  }

  filesOf(): readonly ArraysFile[] {
    return this.files
  }
}

/** The array in C order with its axes in `order`. */
async function moved(stored: Uint8Array, shape: readonly number[], order: readonly number[], dtype: number, out: Uint8Array): Promise<void> {
  if (stored.byteLength === 0) return
  const strides = shape.map(() => 0)
  order.reduceRight((stride, axis) => { strides[axis] = stride; return stride * shape[axis]! }, 1)
  // Axis 0 is the fastest there, and the last one in C order.
  await native().placeBox(stored, out, { from: dtype, to: dtype, swapped: false }, [...shape].reverse(), strides.reverse(), 0)
}
