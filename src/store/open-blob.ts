import type { DType } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import type { Tensor } from '../core/tensor.js'
import type { VerifiedBlob } from '../native/addon.js'
import { OWN } from './shard-format.js'

export interface StoredTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Byte offset in the plain file. */
  readonly offset: number
  readonly bytes: number
}

/** All tensors of a blob, with nothing left to be read or checked. */
export interface WholeBlob {
  readonly path: string
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** The memory that its views show; for a mapped file no memory of this process. */
  readonly heldBytes: number
  /** Elements from `offset` of the plain file on. */
  view(dtype: DType, shape: readonly number[], offset: number): Tensor
}

/**
 * A blob of the store: a safetensors file, mapped as it is (`MappedBlob`) or in compressed frames (`FramedBlob`). Offsets are those of the plain file. Its header was checked when it was
 * opened; everything else is checked when it is first touched in this process.
 */
export abstract class OpenBlob {
  readonly digest: string
  readonly path: string
  /** Number of the file that is open: another may take its name. */
  readonly inode: bigint
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, StoredTensor>

  protected constructor({ digest, path, inode, metadata, tensors }: Pick<OpenBlob, 'digest' | 'path' | 'inode' | 'metadata' | 'tensors'>) {
    this.digest = digest
    this.path = path
    this.inode = inode
    this.metadata = metadata
    this.tensors = tensors
  }

  /** For native code that reads rows where they lie; undefined when they do not lie anywhere as they are. */
  abstract readonly verified: VerifiedBlob | undefined

  /** Elements from `offset` on, when nothing has to be read or checked for them. */
  abstract ready(dtype: DType, shape: readonly number[], offset: number): Tensor | undefined

  /** The same, read and checked. Rejects with IntegrityError. */
  abstract read(dtype: DType, shape: readonly number[], offset: number): Promise<Tensor>

  /** Fills `out` with the bytes from `offset` on. Rejects with IntegrityError. */
  abstract readInto(offset: number, out: Uint8Array): Promise<void>

  /** Reads and checks what will be wanted soon. Rejects with IntegrityError. */
  abstract prepare(offset: number, bytes: number): Promise<void>

  /** Has the system read what will be wanted soon, without waiting for it. */
  abstract announce(offset: number, bytes: number): void

  /** Lets go of the memory of what was read from the file. Views of it stay valid: it is brought in again when it is touched. */
  abstract drop(offset: number, bytes: number): void

  abstract whole(): Promise<WholeBlob>

  /** Lets go of what it can have again from the file: it will not be read soon. Frames go by themselves, when others come. */
  rest(): void {}

  abstract close(): void

  /** A whole tensor. */
  async tensor(name: string): Promise<Tensor> {
    const stored = this.tensors.get(name)
    if (stored === undefined) throw new IntegrityError(this.path, `holds no tensor ${name}`)
    return this.ready(stored.dtype, stored.shape, stored.offset) ?? this.read(stored.dtype, stored.shape, stored.offset)
  }

  /** One of our own tensors. */
  own(name: string): Promise<Tensor> {
    return this.tensor(OWN + name)
  }

  /** Where the rows of a tensor end. */
  endOf(name: string): number {
    const { offset, bytes } = this.tensors.get(name)!
    return offset + bytes
  }
}
