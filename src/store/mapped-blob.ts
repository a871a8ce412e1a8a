import { availableParallelism } from 'node:os'
import type { DType } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import { byteCount, bytesOf, typedArray, type Tensor } from '../core/tensor.js'
import type { MappedFile, VerifiedBlob } from '../native/addon.js'
import { native } from '../native/load.js'
import { OpenBlob, type WholeBlob } from './open-blob.js'
import { headerEnd, storedTensors } from './stored-tensors.js'

/** The longest ArrayBuffer of Node 20 is a little over 4 GiB. */
const WHOLE_BYTES_MAX = 2 ** 32 - 1

/** A blob that is mapped as it is. Its bytes are checked against the chunk checksums the first time they are touched in this process. */
export class MappedBlob extends OpenBlob {
  readonly verified: VerifiedBlob
  readonly #file: MappedFile
  #whole: ArrayBuffer | undefined
  #closed = false

  private constructor(digest: string, file: MappedFile, verified: VerifiedBlob) {
    super({ digest, path: file.path, inode: file.stat.ino, ...storedTensors(file) })
    this.#file = file
    this.verified = verified
  }

  /** Maps the file and checks its size and header. */
  static async open(path: string, digest: string, record: { bytes: number; chunkBytes: number }, checksums: Uint8Array): Promise<MappedBlob> {
    const file = new (native().MappedFile)(path)
    try {
      if (file.size !== record.bytes) throw new IntegrityError(path, `has ${file.size} bytes, ${record.bytes} were written`)
      const verified = new (native().VerifiedBlob)(file, checksums, record.chunkBytes)
      await ensure(verified, path, 0, Math.min(8, file.size))
      await ensure(verified, path, 0, headerEnd(path, file.size, new Uint8Array(file.view(0, 8))))
      return new MappedBlob(digest, file, verified)
    } catch (error) {
      file.close()
      throw error
    }
  }

  override ready(dtype: DType, shape: readonly number[], offset: number): Tensor | undefined {
    const bytes = byteCount(dtype, shape)
    return bytes === 0 || this.verified.isVerified(offset, bytes) ? this.#view(dtype, shape, offset, bytes) : undefined
  }

  /** A view: nothing is copied. */
  override async read(dtype: DType, shape: readonly number[], offset: number): Promise<Tensor> {
    const bytes = byteCount(dtype, shape)
    await this.prepare(offset, bytes)
    return this.#view(dtype, shape, offset, bytes)
  }

  override async readInto(offset: number, out: Uint8Array): Promise<void> {
    out.set(bytesOf((await this.read('uint8', [out.byteLength], offset)).data))
  }

  /** Checks the chunks of a range that were not checked before, on threads. */
  override prepare(offset: number, bytes: number): Promise<void> {
    return ensure(this.verified, this.path, offset, bytes)
  }

  override announce(offset: number, bytes: number): void {
    this.#within(offset, bytes, (from, length) => this.#file.advise(from, length, 'willneed'))
  }

  override drop(offset: number, bytes: number): void {
    this.#within(offset, bytes, (from, length) => this.#file.drop(from, length))
  }

  override async whole(): Promise<WholeBlob> {
    await this.prepare(0, this.#file.size)
    return { path: this.path, metadata: this.metadata, tensors: this.tensors, heldBytes: 0, view: (dtype, shape, offset) => this.#view(dtype, shape, offset, byteCount(dtype, shape)) }
  }

  override rest(): void {
    if (!this.#closed) this.#file.drop(0, this.#file.size)
  }

  override close(): void {
    this.#closed = true
    this.#file.close()
  }

  #within(offset: number, bytes: number, work: (offset: number, length: number) => void): void {
    const length = Math.min(bytes, this.#file.size - offset)
    if (!this.#closed && length > 0) work(offset, length)
  }

  #view(dtype: DType, shape: readonly number[], offset: number, bytes: number): Tensor {
    // One buffer for the whole blob: a buffer per item would make the garbage collector believe in gigabytes of garbage.
    if (this.#file.size <= WHOLE_BYTES_MAX) return { dtype, shape, data: typedArray(dtype, this.#whole ??= this.#file.view(0, this.#file.size), offset, bytes) }
    return { dtype, shape, data: typedArray(dtype, this.#file.view(offset, bytes), 0, bytes) }
  }
}

/** A thread is worth starting for this many bytes, which takes it about 0.3 ms. A multiple of every chunk size, so that no chunk is checked twice. */
const PIECE_BYTES = 2 ** 21

async function ensure(verified: VerifiedBlob, path: string, offset: number, bytes: number): Promise<void> {
  if (bytes === 0 || verified.isVerified(offset, bytes)) return
  // Threads side by side: one checks 6 GB/s, of which a third is bringing the pages in.
  const pieces: Promise<number>[] = []
  const piece = Math.max(1, Math.ceil(bytes / PIECE_BYTES / availableParallelism())) * PIECE_BYTES
  for (let from = offset; from < offset + bytes;) {
    const to = Math.min(offset + bytes, Math.floor(from / PIECE_BYTES) * PIECE_BYTES + piece)
    pieces.push(verified.verify(from, to - from))
    from = to
  }
  const damaged = (await Promise.all(pieces)).find((at) => at >= 0)
  if (damaged !== undefined) throw new IntegrityError(path, `the chunk at byte ${damaged} is damaged`)
}
