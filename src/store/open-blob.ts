import { availableParallelism } from 'node:os'
import { DTYPES, type DType } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import { byteCount, typedArray, type Tensor } from '../core/tensor.js'
import type { MappedFile, VerifiedBlob } from '../native/addon.js'
import { native } from '../native/load.js'
import { readSafetensorsHeader } from '../sources/safetensors-header.js'
import { OWN } from './shard-format.js'

/** The longest ArrayBuffer of Node 20 is a little over 4 GiB. */
const WHOLE_BYTES_MAX = 2 ** 32 - 1

export interface StoredTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Byte offset in the file. */
  readonly offset: number
  readonly bytes: number
}

/**
 * A blob of the store, mapped. Its bytes are checked against the chunk checksums the first time they are touched in this process; the
 * header is checked on opening.
 */
export class OpenBlob {
  readonly digest: string
  readonly path: string
  readonly bytes: number
  /** Number of the file that is mapped: another may take its name. */
  readonly inode: bigint
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly verified: VerifiedBlob
  readonly #file: MappedFile
  #whole: ArrayBuffer | undefined

  private constructor(digest: string, file: MappedFile, verified: VerifiedBlob, tensors: ReadonlyMap<string, StoredTensor>, metadata: Readonly<Record<string, string>>) {
    this.digest = digest
    this.path = file.path
    this.bytes = file.size
    this.inode = file.stat.ino
    this.#file = file
    this.verified = verified
    this.tensors = tensors
    this.metadata = metadata
  }

  /** Maps the file and checks its size and header. */
  static async open(path: string, digest: string, record: { bytes: number; chunkBytes: number }, checksums: Uint8Array): Promise<OpenBlob> {
    const file = new (native().MappedFile)(path)
    try {
      if (file.size !== record.bytes) throw new IntegrityError(path, `has ${file.size} bytes, ${record.bytes} were written`)
      const verified = new (native().VerifiedBlob)(file, checksums, record.chunkBytes)
      await ensure(verified, path, 0, Math.min(8, file.size))
      const length = Number(new DataView(file.view(0, 8)).getBigUint64(0, true))
      if (length > file.size - 8) throw new IntegrityError(path, `declares a header of ${length} bytes`)
      await ensure(verified, path, 0, 8 + length)
      const { tensors, metadata } = storedTensors(file)
      return new OpenBlob(digest, file, verified, tensors, metadata)
    } catch (error) {
      file.close()
      throw error
    }
  }

  /** True when the range can be read without checking anything first. */
  isVerified(offset: number, bytes: number): boolean {
    return bytes === 0 || this.verified.isVerified(offset, bytes)
  }

  /** Checks the chunks of a range that were not checked before, on a thread. Rejects with IntegrityError. */
  ensure(offset: number, bytes: number): Promise<void> {
    return ensure(this.verified, this.path, offset, bytes)
  }

  /** A view of elements of a tensor: `bytes` bytes from `offset` of the file. The range must have been checked. */
  view(dtype: DType, shape: readonly number[], offset: number): Tensor {
    const bytes = byteCount(dtype, shape)
    // One buffer for the whole blob: a buffer per item would make the garbage collector believe in gigabytes of garbage.
    if (this.bytes <= WHOLE_BYTES_MAX) return { dtype, shape, data: typedArray(dtype, this.#whole ??= this.#file.view(0, this.bytes), offset, bytes) }
    return { dtype, shape, data: typedArray(dtype, this.#file.view(offset, bytes), 0, bytes) }
  }

  /** A whole tensor, checked. */
  async tensor(name: string): Promise<Tensor> {
    const stored = this.tensors.get(name)
    if (stored === undefined) throw new IntegrityError(this.path, `holds no tensor ${name}`)
    await this.ensure(stored.offset, stored.bytes)
    return this.view(stored.dtype, stored.shape, stored.offset)
  }

  /** One of our own tensors. */
  own(name: string): Promise<Tensor> {
    return this.tensor(OWN + name)
  }

  close(): void {
    this.#file.close()
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

function storedTensors(file: MappedFile): { tensors: Map<string, StoredTensor>; metadata: Readonly<Record<string, string>> } {
  const header = readSafetensorsHeader(file)
  const tensors = new Map<string, StoredTensor>()
  for (const [name, { dtype, shape, offset, bytes }] of Object.entries(header.tensors)) {
    if (dtype === undefined) throw new IntegrityError(file.path, `tensor ${name} has an unknown dtype`)
    const note = header.metadata[`dtype.${name}`]
    const complex = (note === 'complex64' || note === 'complex128') && DTYPES[note].size === 2 * DTYPES[dtype].size && shape.at(-1) === 2
    tensors.set(name, { dtype: complex ? note : dtype, shape: complex ? shape.slice(0, -1) : shape, offset, bytes })
  }
  return { tensors, metadata: header.metadata }
}
