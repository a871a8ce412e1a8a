import type { DType } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import { byteCount, bytesOf, typedArray, type Tensor } from '../core/tensor.js'
import type { MappedFile } from '../native/addon.js'
import { freshBytes, freshTensor } from '../native/fresh.js'
import { native } from '../native/load.js'
import type { Shuffled } from './compression.js'
import type { FrameCache } from './frame-cache.js'
import { FrameReader } from './frame-reader.js'
import { readFrameIndex } from './frame-scan.js'
import { OpenBlob, type StoredTensor, type WholeBlob } from './open-blob.js'
import { headerEnd, storedTensors } from './stored-tensors.js'

/** A blob in compressed frames. What is read is a copy; each frame is checked by its own checksum when it is decompressed. */
export class FramedBlob extends OpenBlob {
  readonly verified = undefined
  readonly #file: MappedFile
  readonly #reader: FrameReader
  #closed = false

  private constructor(digest: string, file: MappedFile, reader: FrameReader, header: { tensors: ReadonlyMap<string, StoredTensor>; metadata: Readonly<Record<string, string>> }) {
    super({ digest, path: file.path, inode: file.stat.ino, ...header })
    this.#file = file
    this.#reader = reader
  }

  /** Maps the file, finds its frames and checks its header. Throws IntegrityError or FormatError. */
  static async open(path: string, digest: string, record: { bytes: number }, cache: FrameCache): Promise<FramedBlob> {
    const file = new (native().MappedFile)(path)
    try {
      if (file.size !== record.bytes) throw new IntegrityError(path, `has ${file.size} bytes, ${record.bytes} were written`)
      const reader = new FrameReader(file, readFrameIndex(file), { cache })
      const { shuffled, ...header } = await readHeader(path, reader)
      reader.declareShuffled(shuffled)
      return new FramedBlob(digest, file, reader, header)
    } catch (error) {
      file.close()
      throw error
    }
  }

  /** Nothing lies anywhere as it is: even what is at hand has to be copied. */
  override ready(): undefined {
    return undefined
  }

  override async read(dtype: DType, shape: readonly number[], offset: number): Promise<Tensor> {
    const tensor = freshTensor(dtype, shape)
    await this.#reader.read(offset, bytesOf(tensor.data))
    return tensor
  }

  override readInto(offset: number, out: Uint8Array): Promise<void> {
    return this.#reader.read(offset, out)
  }

  override prepare(offset: number, bytes: number): Promise<void> {
    return this.#reader.prepare(offset, bytes)
  }

  override announce(offset: number, bytes: number): void {
    if (!this.#closed) this.#reader.announce(offset, bytes)
  }

  /** Of the compressed file: what is decompressed belongs to whoever asked for it, or to the store's cache. */
  override drop(offset: number, bytes: number): void {
    if (!this.#closed) this.#reader.drop(offset, bytes)
  }

  override async whole(): Promise<WholeBlob> {
    const { bytes } = this.#reader
    const plain = freshBytes(bytes)
    await this.#reader.read(0, plain)
    return { path: this.path, metadata: this.metadata, tensors: this.tensors, heldBytes: bytes, view: (dtype, shape, offset) => ({ dtype, shape, data: typedArray(dtype, plain.buffer, offset, byteCount(dtype, shape)) }) }
  }

  override close(): void {
    this.#closed = true
    this.#reader.forget()
    this.#file.close()
  }
}

async function readHeader(path: string, reader: FrameReader): Promise<{ tensors: ReadonlyMap<string, StoredTensor>; metadata: Readonly<Record<string, string>>; shuffled: Shuffled[] }> {
  const first = new Uint8Array(Math.min(8, reader.bytes))
  await reader.read(0, first)
  const bytes = new Uint8Array(headerEnd(path, reader.bytes, first))
  await reader.read(0, bytes)
  return storedTensors({ path, size: reader.bytes, view: (offset, length) => bytes.buffer.slice(offset, offset + length) })
}
