import type { DType, TypedArray } from '../core/dtype.js'
import { sizeOf } from '../core/dtype.js'
import { bytesOf } from '../core/tensor.js'
import { declareShuffled, shuffleElement, type Compression, type Shuffled } from './compression.js'

/**
 * Blobs are safetensors files, exactly to the specification: tensors without holes, largest elements first, data from a 4,096-byte boundary
 * (the header is padded with spaces). docs/formats/store.md has the whole layout.
 */
const DATA_ALIGNMENT = 4096
/** The limit of the reference implementation. */
const HEADER_BYTES_MAX = 100_000_000

/** Names of our own tensors begin with this, so that no field can collide with them. */
export const OWN = 'tensorcache.'

export interface BlobTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  /** The elements, in pieces that follow one another. */
  readonly data: readonly TypedArray[]
}

const NAMES: { readonly [D in DType]: string } = {
  bool: 'BOOL', int8: 'I8', uint8: 'U8', int16: 'I16', uint16: 'U16', int32: 'I32', uint32: 'U32', int64: 'I64', uint64: 'U64',
  float16: 'F16', bfloat16: 'BF16', float32: 'F32', float64: 'F64',
  // Complex numbers have no name there; they are stored as [..., 2] and the metadata says so.
  complex64: 'F32', complex128: 'F64',
}

/** A plain file as parts that follow one another, and which of its bytes are to be shuffled when it is compressed. */
export interface EncodedBlob {
  readonly parts: readonly Uint8Array[]
  readonly shuffled: readonly Shuffled[]
}

/** A blob's plain file. `compression` is how it is going to be written: shuffled tensors are declared as bytes. */
export function encodeBlob(tensors: readonly BlobTensor[], metadata: Readonly<Record<string, string>>, compression?: Compression): EncodedBlob {
  const { header, order, shuffled } = encodeBlobHeader(tensors, metadata, compression?.shuffle)
  const parts: Uint8Array[] = [header]
  for (const { name, dtype, shape, data } of order) {
    const bytes = shape.reduce((product, extent) => product * extent, sizeOf(dtype))
    const given = data.reduce((sum, piece) => sum + piece.byteLength, 0)
    if (given !== bytes) throw new RangeError(`${name}: ${bytes} bytes declared, ${given} given`)
    for (const piece of data) parts.push(bytesOf(piece))
  }
  return { parts, shuffled }
}

/** The header, and the order in which the tensors' bytes follow it. */
export function encodeBlobHeader<T extends { readonly name: string; readonly dtype: DType; readonly shape: readonly number[] }>(tensors: readonly T[], metadata: Readonly<Record<string, string>>, shuffle = false): { header: Uint8Array; order: T[]; shuffled: Shuffled[] } {
  const order = [...tensors].sort((a, b) => storedSize(b.dtype) - storedSize(a.dtype) || (a.name < b.name ? -1 : 1))
  const notes: Record<string, string> = { ...metadata }
  const entries: Record<string, unknown> = { __metadata__: notes }
  const shuffled: Shuffled[] = []
  let offset = 0
  for (const tensor of order) {
    const { name, dtype, shape } = tensor
    const end = offset + shape.reduce((product, extent) => product * extent, sizeOf(dtype))
    const element = shuffle ? shuffleElement(dtype) : undefined
    if (element === undefined) {
      if (isComplex(dtype)) notes[`dtype.${name}`] = dtype
      entries[name] = { dtype: NAMES[dtype], shape: isComplex(dtype) ? [...shape, 2] : shape, data_offsets: [offset, end] }
    } else {
      const { note: [key, note], ...declared } = declareShuffled(tensor)
      notes[key] = note
      entries[name] = { dtype: NAMES[declared.dtype], shape: declared.shape, data_offsets: [offset, end] }
      shuffled.push({ begin: offset, end, element })
    }
    offset = end
  }
  const json = Buffer.from(JSON.stringify(entries))
  const padded = Math.ceil((8 + json.length) / DATA_ALIGNMENT) * DATA_ALIGNMENT - 8
  if (padded > HEADER_BYTES_MAX) throw new RangeError(`a blob header of ${padded} bytes is over the limit of ${HEADER_BYTES_MAX}`)
  const header = Buffer.alloc(8 + padded, 0x20)
  header.writeBigUInt64LE(BigInt(padded), 0)
  json.copy(header, 8)
  return { header, order, shuffled: shuffled.map(({ begin, end, element }) => ({ begin: begin + header.length, end: end + header.length, element })) }
}

function isComplex(dtype: DType): boolean {
  return dtype === 'complex64' || dtype === 'complex128'
}

function storedSize(dtype: DType): number {
  return isComplex(dtype) ? sizeOf(dtype) / 2 : sizeOf(dtype)
}

/** Checksum chunk for rows of this size: a power of two from 64 KiB to 1 MiB, so that one row costs about one chunk. */
export function chunkBytesFor(rowBytes: number): number {
  let chunk = 2 ** 16
  while (chunk < rowBytes && chunk < 2 ** 20) chunk *= 2
  return chunk
}
