import type { DType } from '../core/dtype.js'
import { FormatError, UnsupportedError } from '../core/errors.js'
import { brief } from './brief.js'
import { MappedBytes, type StoredBytes } from './bytes.js'
import { OpenFile, type FileOptions } from './file.js'
import { StoredArray, UnusableArray } from './lazy.js'
import { readNpyHeader } from './npy-header.js'
import { readSafetensorsHeader, safetensorsHeaderBytes, type SafetensorsTensor } from './safetensors-header.js'
import type { StoredFile } from './stored-file.js'
import { isText, readTexts } from './texts.js'
import { openZipMember } from './zip-member.js'
import { readZipDirectory, type ZipMember } from './zip.js'

export type ArrayFormat = 'npy' | 'npz' | 'safetensors'

/** What a file's headers say about one array. */
export interface ArrayInfo {
  readonly name: string
  /** Undefined when the array cannot be read; `unusable` says why. */
  readonly dtype: DType | undefined
  /** The element type as the file names it. */
  readonly type: string
  readonly shape: readonly number[] | undefined
  readonly order: 'C' | 'Fortran'
  readonly byteOrder: 'little' | 'big'
  readonly compressed: boolean
  /** Bytes of the array's part of the file. */
  readonly storedBytes: number
  /** True when reading rows copies nothing. */
  readonly mappable: boolean
  readonly unusable: string | undefined
  /** What a small array of text says; `unusable` says that it is no array here. */
  readonly texts?: readonly string[]
}

export interface ArrayEntry {
  readonly info: ArrayInfo
  readonly array: StoredArray | UnusableArray
  /** Of a small array of text, which is no array here: what it says. Undefined for others. */
  texts?(): Promise<readonly string[]>
}

/** Arrays of a file by name. Headers inside a .npz are read when their array is asked for. */
export interface NamedArrays {
  /** In file order. */
  readonly names: readonly string[]
  /** Rejects with FormatError when the array's header is damaged; an array that is sound but not supported is an UnusableArray. */
  entry(name: string): Promise<ArrayEntry>
  /** Size and CRC-32 of what is stored under a name, as the directory of a .npz has them: when they are what they were in another file, a label needs not be inflated again. */
  mark?(name: string): string | undefined
}

/** A .npy, .npz or .safetensors file, opened. */
export interface ArrayFile extends NamedArrays {
  readonly format: ArrayFormat
  readonly file: OpenFile
  readonly metadata: Readonly<Record<string, string>>
}

/** Name of the only array of a .npy file. */
export const NPY_ARRAY = 'data'

/** Opens a file, by its first bytes when `format` is left out. Rejects with FileError, FormatError. */
export async function openArrayFile(path: string | URL, format?: ArrayFormat, options?: FileOptions): Promise<ArrayFile> {
  const file = OpenFile.open(path, options)
  try {
    if (file.size === 0) throw new FormatError({ file: file.path, place: 'size', expected: 'an array file', found: 'an empty file' })
    const opened = await OPENERS[format ?? await formatOf(file)](file)
    file.assertUnchanged()
    return opened
  } catch (error) {
    file.close()
    throw error
  }
}

async function formatOf(file: OpenFile): Promise<ArrayFormat> {
  const first = Buffer.from(await file.header(0, Math.min(9, file.size)))
  if (first.subarray(0, 6).equals(Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]))) return 'npy'
  // PK\3\4, or PK\5\6 for an archive without members.
  if (first.subarray(0, 2).toString('latin1') === 'PK') return 'npz'
  if (first.length === 9 && first[8] === 0x7b) return 'safetensors'
  const byName = /\.(npy|npz|safetensors)$/i.exec(file.path)?.[1]?.toLowerCase()
  if (byName !== undefined) return byName as ArrayFormat
  throw new FormatError({ file: file.path, place: 'first bytes', expected: 'a .npy, .npz or .safetensors file', found: brief(first.toString('latin1')) })
}

const OPENERS: Readonly<Record<ArrayFormat, (file: OpenFile) => Promise<ArrayFile>>> = {
  npy: async (file) => ({ format: 'npy', file, metadata: {}, ...await npyArrays(file) }), npz: async (file) => ({ format: 'npz', file, metadata: {}, ...await npzArrays(file) }), safetensors: openSafetensors,
}

/** The one array of a .npy file. */
export async function npyArrays(file: StoredFile): Promise<NamedArrays> {
  const entry = await npyEntry(NPY_ARRAY, 'array data', new MappedBytes(file, 'array data', 0, file.size), file.size)
  return { names: [NPY_ARRAY], entry: async () => entry }
}

async function npyEntry(name: string, place: string, bytes: StoredBytes, storedBytes: number): Promise<ArrayEntry> {
  const { file } = bytes
  const header = await readNpyHeader(file.path, place, bytes.size, (length) => bytes.peek(length))
  const { dtype, shape, fortran, swapUnit, dataOffset: offset } = header
  const common = { name, type: header.descr, shape, order: fortran ? 'Fortran' : 'C', byteOrder: swapUnit > 1 ? 'big' : 'little', compressed: bytes.deflated, storedBytes } as const
  if (dtype === undefined) {
    return { info: { ...common, dtype, mappable: false, unusable: header.reason }, array: new UnusableArray(new UnsupportedError({ file: file.path, place, reason: header.reason! })), ...(isText(header) && { texts: () => readTexts(bytes, place, header) }) }
  }
  const array = new StoredArray(bytes, { place, dtype, shape, fortran, swapUnit, offset })
  return { info: { ...common, dtype, mappable: array.mappable, unusable: undefined }, array }
}

/** NumPy names the member of array x `x.npy`; members of other names hold no arrays. */
export async function npzArrays(file: StoredFile): Promise<NamedArrays> {
  const members = new Map<string, ZipMember>()
  for (const member of await readZipDirectory(file)) {
    const name = member.name.replace(/\.npy$/, '')
    if (members.has(name)) throw new FormatError({ file: file.path, place: `zip member ${brief(member.name)}`, expected: 'each array once', found: `${brief(name)} twice` })
    members.set(name, member)
  }
  const read = async (name: string): Promise<ArrayEntry> => {
    const member = members.get(name)!
    const place = `array ${brief(name)}`
    try {
      if (!member.name.endsWith('.npy')) throw new UnsupportedError({ file: file.path, place, reason: `zip member ${brief(member.name)} is not a .npy file` })
      return await npyEntry(name, place, await openZipMember(file, member), member.storedBytes)
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error
      return { info: unusableInfo(name, error, { compressed: member.method !== 0, storedBytes: member.storedBytes }), array: new UnusableArray(error) }
    }
  }
  const entries = new Map<string, Promise<ArrayEntry>>()
  const entry = (name: string): Promise<ArrayEntry> => {
    let found = entries.get(name)
    if (found === undefined) entries.set(name, found = read(name))
    return found
  }
  const mark = (name: string): string | undefined => {
    const member = members.get(name)
    return member === undefined ? undefined : `${member.bytes}:${member.crc}`
  }
  return { names: [...members.keys()], entry, mark }
}

/** What is said about an array that cannot be described. */
export function unusableInfo(name: string, error: Error, known: Partial<ArrayInfo> = {}): ArrayInfo {
  return { name, dtype: undefined, type: '?', shape: undefined, order: 'C', byteOrder: 'little', compressed: false, storedBytes: 0, mappable: false, unusable: error.message, ...known }
}

async function openSafetensors(file: OpenFile): Promise<ArrayFile> {
  await file.populate(0, Math.min(8, file.size))
  await file.populate(0, safetensorsHeaderBytes(file))
  const { tensors, metadata } = readSafetensorsHeader(file)
  return { format: 'safetensors', file, names: Object.keys(tensors), metadata, entry: async (name) => safetensorsEntry(file, name, tensors[name]!) }
}

function safetensorsEntry(file: OpenFile, name: string, tensor: SafetensorsTensor): ArrayEntry {
  const { dtype, shape, offset } = tensor
  const place = `tensor ${brief(name)}`
  const common = { name, type: tensor.type, shape, order: 'C', byteOrder: 'little', compressed: false, storedBytes: tensor.bytes } as const
  if (dtype === undefined) {
    const error = new UnsupportedError({ file: file.path, place, reason: `elements of type ${tensor.type} are not read` })
    return { info: { ...common, dtype, mappable: false, unusable: error.message }, array: new UnusableArray(error) }
  }
  const array = new StoredArray(new MappedBytes(file, place, offset, tensor.bytes), { place, dtype, shape, fortran: false, swapUnit: 1, offset: 0 })
  return { info: { ...common, dtype, mappable: array.mappable, unusable: undefined }, array }
}
