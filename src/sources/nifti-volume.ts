import { stat } from 'node:fs/promises'
import { DTYPES, sizeOf, type DType } from '../core/dtype.js'
import { FileError, FormatError, UnsupportedError } from '../core/errors.js'
import { bytesOf, type Tensor } from '../core/tensor.js'
import { giveBack, isPooled, itemTensor, POOLED_BYTES_MIN } from '../native/fresh.js'
import type { PlacedElements } from '../native/addon.js'
import { native } from '../native/load.js'
import { brief } from './brief.js'
import type { StoredBytes } from './bytes.js'
import type { OpenFile } from './file.js'
import type { GzipFiles } from './gzip-files.js'
import { NIFTI_HEADER_BYTES, readNiftiHeader, type NiftiHeader } from './nifti-header.js'
import { exactBytes } from './npy-header.js'
import { product, READ_BYTES_MAX } from './ranges.js'
import type { Notes } from './source.js'
import { VolumeFile } from './volume-file.js'
import { boxesOf, itemShapeOf, layoutOf, type AxisOptions, type VolumeBox } from './volume-axes.js'

export interface VolumeForm extends AxisOptions {
  /** False: the numbers as they are stored. */
  readonly scaled: boolean
  readonly dtype: 'float32' | 'float64' | undefined
}

/**
 * Of a compressed volume one piece is inflated while the one before is converted. It has so many steps of the last axis that is none of 1, so that rows of the result are written by whole cache lines, unless that would be more than a
 * cache holds several times over. Smaller ones cost more calls than they save: 256³ int16 take 110 ms in pieces of 1 MiB, 85 in those of 4 to 16.
 */
const PIECE_STEPS = 64
const PIECE_BYTES_MIN = 4 * 2 ** 20
const PIECE_BYTES_MAX = 32 * 2 ** 20
/** From here on what holds a piece is worth being used again, even where it is smaller than what is kept. */
const FRAME_BYTES = 64 * 2 ** 10
/** What is read and converted between two looks at the signal. Of slices of 1024 × 1024 int16 it holds 64, so that rows of the result are written by whole cache lines. */
const STEP_BYTES = 128 * 2 ** 20
/** The shortest header, for files that end there. */
const HEADER_BYTES_MIN = 348

/** One NIfTI image: a `.nii` file, or a `.hdr` and its `.img`, each compressed or not. */
export class NiftiVolume {
  readonly header: NiftiHeader
  /** The file that was asked for first in messages; of a pair, header and data. */
  readonly files: readonly VolumeFile[]

  private constructor(header: NiftiHeader, files: readonly VolumeFile[]) {
    this.header = header
    this.files = files
  }

  /** Reads the header. Rejects with FileError, FormatError. */
  static async open(path: string): Promise<NiftiVolume> {
    const isPair = /\.(hdr|img)(\.gz)?$/i.test(path)
    const first = await VolumeFile.open(isPair ? await partnerOf(path, 'hdr') : path)
    const header = readNiftiHeader(first.path, await first.start([NIFTI_HEADER_BYTES, HEADER_BYTES_MIN]))
    if (header.single === isPair) throw new FormatError({ file: first.path, place: 'NIfTI header, magic', expected: isPair ? 'that of a pair (ni1 or ni2) in a .hdr' : 'that of a single file (n+1 or n+2)', found: isPair ? 'that of a single file' : 'that of a pair, whose data lies in another file' })
    const files = isPair ? [first, await VolumeFile.open(await partnerOf(path, 'img'))] : [first]
    if (header.dtype !== undefined) files.at(-1)!.checkHolds(header.dataOffset + header.dataBytes)
    return new NiftiVolume(header, files)
  }

  get path(): string {
    return this.files[0]!.path
  }

  /** dtype and shape of what `read` gives. Throws UnsupportedError when its elements are not read, or not in this form. */
  spec(form: VolumeForm): { dtype: DType; shape: readonly number[] } {
    const { dtype: stored, scale } = this.header
    const fail = (reason: string): never => { throw new UnsupportedError({ file: this.path, place: 'data', reason }) }
    if (stored === undefined) return fail(this.header.reason!)
    const isScaled = form.scaled && scale !== undefined
    if (DTYPES[stored].kind === 'complex') {
      if (isScaled) fail(`it holds ${stored} numbers with scl_slope ${scale.slope} and scl_inter ${scale.inter}, which readers do not agree on; scaled: false gives the stored numbers`)
      if (form.dtype !== undefined) fail(`it holds ${stored} numbers, which are no ${form.dtype}`)
    }
    const dtype = form.dtype ?? (isScaled && stored !== 'float64' ? 'float32' : stored)
    if (form.frames === true && this.header.shape.slice(4).some((extent) => extent > 1)) fail(`frames are those of a fourth axis, and [${this.header.shape.join(', ')}] has one behind it`)
    const { shape } = layoutOf(itemShapeOf(this.header.shape, form), form)
    const bytes = exactBytes(dtype, shape)
    if (bytes === undefined || bytes > READ_BYTES_MAX) fail(`one item is at most 4 GiB, and [${shape.join(', ')}] of ${dtype} is more`)
    return { dtype, shape }
  }

  /** How many frames its fourth axis has; undefined when it has none. */
  get frames(): number | undefined {
    return this.header.shape[3]
  }

  /** The whole volume in C order. */
  async read(form: VolumeForm, signal?: AbortSignal): Promise<Tensor> {
    const { dataOffset, dataBytes } = this.header
    const file = this.files.at(-1)!
    return await file.reading(dataOffset + dataBytes, (bytes, mapped) => file.isGzip ? this.#inflate(bytes, dataOffset, form, signal) : this.#place(mapped, dataOffset, form, signal))
  }

  /** One 3-D frame, for a form with `frames`: no more is read than that, and of a compressed file what lies between it and the resume point before it. */
  async readFrame(frame: number, form: VolumeForm, { gzips, notes, signal }: { readonly gzips: GzipFiles; readonly notes: Notes | undefined; readonly signal: AbortSignal }): Promise<Tensor> {
    const { dtype, dataOffset, dataBytes, shape } = this.header
    const file = this.files.at(-1)!
    const end = dataOffset + dataBytes
    const offset = dataOffset + frame * product(itemShapeOf(shape, form)) * sizeOf(dtype!)
    return file.isGzip ? await gzips.reading(file, end, notes, (bytes) => this.#inflate(bytes, offset, form, signal)) : await file.reading(end, (_, mapped) => this.#place(mapped, offset, form, signal))
  }

  /** What lies at `dataOffset` of a file as it is. */
  async #place(file: OpenFile, dataOffset: number, form: VolumeForm, signal: AbortSignal | undefined): Promise<Tensor> {
    const { size, out, elements, boxes, strides } = this.#placing(form, STEP_BYTES)
    for (const { extents, offset, first, count } of boxes) {
      signal?.throwIfAborted()
      await file.place({ offset: dataOffset + first * size, length: count * size }, bytesOf(out.data), elements, extents, strides, offset)
    }
    signal?.throwIfAborted()
    return out
  }

  /** What lies at `dataOffset` of an inflated file; memory beside the result is bounded by two pieces. */
  async #inflate(bytes: Pick<StoredBytes, 'read'>, dataOffset: number, form: VolumeForm, signal: AbortSignal | undefined): Promise<Tensor> {
    const { size, out, elements, boxes, strides } = this.#placing(form, this.#pieceBytes(form))
    const largest = boxes.reduce((most, { count }) => Math.max(most, count), 0) * size
    const room = largest < FRAME_BYTES ? largest : Math.max(POOLED_BYTES_MIN, largest)
    const buffers: Tensor[] = []
    const load = async (k: number): Promise<Uint8Array | undefined> => {
      const box = boxes[k]
      if (box === undefined) return undefined
      signal?.throwIfAborted()
      const { data } = buffers[k % 2] ??= itemTensor('uint8', [room])
      const buffer = bytesOf(data).subarray(0, box.count * size)
      await bytes.read(dataOffset + box.first * size, buffer, 1, signal)
      return buffer
    }
    let coming = load(0)
    try {
      for (const [k, { extents, offset }] of boxes.entries()) {
        const source = (await coming)!
        coming = load(k + 1)
        // Reported when its turn comes; until then it must not count as unhandled.
        coming.catch(() => {})
        await native().placeBox(source, bytesOf(out.data), elements, extents, strides, offset)
      }
      await coming
      return out
    } finally {
      // Nobody writes there any more.
      await coming.catch(() => {})
      for (const buffer of buffers) if (isPooled(buffer)) giveBack(buffer.data.buffer as ArrayBuffer)
    }
  }

  #pieceBytes(form: VolumeForm): number {
    const shape = itemShapeOf(this.header.shape, form)
    const last = shape.findLastIndex((extent) => extent > 1)
    const step = product(shape.slice(0, Math.max(0, last))) * sizeOf(this.header.dtype!)
    return Math.min(PIECE_BYTES_MAX, Math.max(PIECE_BYTES_MIN, PIECE_STEPS * step))
  }

  /** The result, not yet filled, and the boxes of at most `stepBytes` in which it is. */
  #placing(form: VolumeForm, stepBytes: number): { size: number; out: Tensor; elements: PlacedElements; boxes: readonly VolumeBox[]; strides: readonly number[] } {
    const { dtype: stored, scale, bigEndian } = this.header
    const shape = itemShapeOf(this.header.shape, form)
    const spec = this.spec(form)
    const { strides } = layoutOf(shape, form)
    const size = sizeOf(stored!)
    return {
      size,
      out: itemTensor(spec.dtype, spec.shape),
      elements: { from: DTYPES[stored!].code, to: DTYPES[spec.dtype].code, swapped: bigEndian, ...(form.scaled && scale) },
      boxes: boxesOf(shape, strides, Math.max(1, Math.floor(stepBytes / size))),
      strides,
    }
  }

  assertUnchanged(): void {
    for (const file of this.files) file.assertUnchanged()
  }
}

/** The `.hdr` or `.img` of a pair, compressed or not, in the case in which the other is written. */
async function partnerOf(path: string, wanted: 'hdr' | 'img'): Promise<string> {
  const [, stem, suffix, gz = ''] = /^(.*)\.(hdr|img)(\.gz)?$/is.exec(path)!
  if (suffix!.toLowerCase() === wanted) return path
  const name = `${stem}.${suffix === suffix!.toUpperCase() ? wanted.toUpperCase() : wanted}`
  for (const candidate of gz === '' ? [name, `${name}.gz`] : [`${name}${gz}`, name]) if (await stat(candidate).then(() => true, () => false)) return candidate
  throw new FileError(path, `its .${wanted} is missing: there is no ${brief(name)}`)
}
