import { DTYPES } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import type { MappedFile } from '../native/addon.js'
import { readSafetensorsHeader } from '../sources/safetensors-header.js'
import { readShuffled, type Shuffled } from './compression.js'
import type { StoredTensor } from './open-blob.js'

/** Where the header of a blob ends, from its first 8 bytes. */
export function headerEnd(path: string, size: number, first: Uint8Array): number {
  if (first.byteLength < 8) throw new IntegrityError(path, `has ${size} bytes`)
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true))
  if (length > size - 8) throw new IntegrityError(path, `declares a header of ${length} bytes`)
  return 8 + length
}

/** What a blob's header says of its tensors: complex ones are pairs there, and shuffled ones bytes. */
export function storedTensors(file: Pick<MappedFile, 'path' | 'size' | 'view'>): { tensors: ReadonlyMap<string, StoredTensor>; metadata: Readonly<Record<string, string>>; shuffled: Shuffled[] } {
  const header = readSafetensorsHeader(file)
  const tensors = new Map<string, StoredTensor>()
  for (const [name, { dtype, shape, offset, bytes }] of Object.entries(header.tensors)) {
    if (dtype === undefined) throw new IntegrityError(file.path, `tensor ${name} has an unknown dtype`)
    const note = header.metadata[`dtype.${name}`]
    const complex = (note === 'complex64' || note === 'complex128') && DTYPES[note].size === 2 * DTYPES[dtype].size && shape.at(-1) === 2
    tensors.set(name, { dtype: complex ? note : dtype, shape: complex ? shape.slice(0, -1) : shape, offset, bytes })
  }
  return { ...readShuffled(file.path, tensors, header.metadata), metadata: header.metadata }
}
