import type { DType } from '../core/dtype.js'
import { DTYPES, isDType, sizeOf } from '../core/dtype.js'
import { FormatError, MissingDependencyError } from '../core/errors.js'
import { boolean, checkOptions, choice, number, show } from '../core/options.js'
import { byteCount } from '../core/tensor.js'
import { native } from '../native/load.js'

/** Codes that native code knows. */
const CODECS = {
  lz4: { code: 0, levels: 12, level: 1 },
  zstd: { code: 1, levels: 19, level: 3 },
  gzip: { code: 2, levels: 9, level: 6 },
} as const satisfies Readonly<Record<Codec, unknown>>

/** Compression of stored files. */
export type Codec = 'lz4' | 'zstd' | 'gzip'

/** Plain bytes of a frame: all but the last have so many. */
export const FRAME_BYTES = 2 ** 20

/** A codec and how it is to work. */
export interface CompressionOptions {
  /** `none`: as it is, to be mapped. */
  readonly codec: Codec | 'none'
  /** As of the codec's own tool: lz4 1 … 12 (default 1; from 3 on the slow compressor), zstd 1 … 19 (3), gzip 1 … 9 (6). */
  readonly level?: number
  /** Byte shuffle of elements of 2, 4 and 8 bytes. Other programs then see such tensors as bytes. Default false. */
  readonly shuffle?: boolean
}

/** The name of a codec, or how it is to work. */
export type CompressionOption = CompressionOptions['codec'] | CompressionOptions

/** Checked, with defaults filled in. */
export interface Compression {
  readonly codec: Codec
  readonly level: number
  readonly shuffle: boolean
}

/** `undefined` for none. Throws when what the codec needs is not on this machine. */
export function checkCompression(where: string, value: unknown): Compression | undefined {
  if (value === undefined) return undefined
  const given = typeof value === 'string' ? { codec: value } : value
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new TypeError(`${where}: compression must be the name of a codec or an object, not ${show(value)}`)
  checkOptions(`${where}: compression`, given, ['codec', 'level', 'shuffle'])
  const { codec: name, level, shuffle } = given as Record<string, unknown>
  const codec = choice(where, typeof value === 'string' ? 'compression' : 'compression.codec', name, ['none', 'lz4', 'zstd', 'gzip'])
  if (codec === 'none') {
    if (level !== undefined || shuffle !== undefined) throw new TypeError(`${where}: compression.${level === undefined ? 'shuffle' : 'level'} says nothing without a codec`)
    return undefined
  }
  const facts = CODECS[codec]
  const checked = {
    codec,
    level: number(where, 'compression.level', level, { integer: true, min: 1, max: facts.levels }, facts.level),
    shuffle: boolean(where, 'compression.shuffle', shuffle, false),
  }
  codeOf(codec)
  return checked
}

/** The number by which native code knows the codec. Throws when it is missing. */
export function codeOf(codec: Codec): number {
  const missing = native().missingCodec(CODECS[codec].code)
  if (missing !== undefined) throw new MissingDependencyError(missing)
  return CODECS[codec].code
}

/** Where the frames of a compressed file lie. */
export interface FrameIndex {
  readonly codec: Codec
  /** Size of the plain file. */
  readonly bytes: number
  /** Byte of the compressed file at which each frame ends. The first begins at 0, each other where the one before ends. */
  readonly ends: Float64Array
}

/** A file of no bytes is one frame without any. */
export function frameCount(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / FRAME_BYTES))
}

// --- byte shuffle --------------------------------------------------------------------------------------------------------

/** Bytes of the plain file that are elements of 2, 4 or 8 bytes, shuffled in each frame by itself. */
export interface Shuffled {
  readonly begin: number
  readonly end: number
  readonly element: number
}

/** Bytes per element to shuffle by, the parts of a complex number being elements; `undefined` where there is nothing to shuffle. */
export function shuffleElement(dtype: DType): number | undefined {
  const size = DTYPES[dtype].kind === 'complex' ? sizeOf(dtype) / 2 : sizeOf(dtype)
  return size > 1 ? size : undefined
}

/** What a safetensors header says of a shuffled tensor: so many bytes, and in the metadata what they were. */
export function declareShuffled({ name, dtype, shape }: { readonly name: string; readonly dtype: DType; readonly shape: readonly number[] }): { dtype: 'uint8'; shape: [number]; note: [key: string, value: string] } {
  return { dtype: 'uint8', shape: [byteCount(dtype, shape)], note: [`shuffle.${name}`, JSON.stringify({ dtype, shape })] }
}

interface Stored { readonly dtype: DType; readonly shape: readonly number[]; readonly offset: number; readonly bytes: number }

/** The tensors as they were before they were shuffled, and where their bytes lie. */
export function readShuffled(file: string, stored: ReadonlyMap<string, Stored>, metadata: Readonly<Record<string, string>>): { tensors: Map<string, Stored>; shuffled: Shuffled[] } {
  const tensors = new Map(stored)
  const shuffled: Shuffled[] = []
  for (const [key, note] of Object.entries(metadata)) {
    if (!key.startsWith('shuffle.')) continue
    const name = key.slice('shuffle.'.length)
    const tensor = stored.get(name)
    const facts = parsed(note)
    const element = facts && shuffleElement(facts.dtype)
    if (tensor === undefined || facts === undefined || element === undefined || tensor.dtype !== 'uint8' || byteCount(facts.dtype, facts.shape) !== tensor.bytes) {
      throw new FormatError({ file, place: `metadata ${key}`, expected: 'dtype and shape of the bytes of a uint8 tensor', found: note.slice(0, 100) })
    }
    tensors.set(name, { ...tensor, ...facts })
    shuffled.push({ begin: tensor.offset, end: tensor.offset + tensor.bytes, element })
  }
  return { tensors, shuffled: shuffled.sort((a, b) => a.begin - b.begin || a.end - b.end) }
}

function parsed(note: string): { dtype: DType; shape: readonly number[] } | undefined {
  let facts: { dtype?: unknown; shape?: unknown } | null
  try {
    facts = JSON.parse(note) as typeof facts
  } catch {
    return undefined
  }
  if (typeof facts !== 'object' || facts === null || !isDType(facts.dtype) || !Array.isArray(facts.shape)) return undefined
  return facts.shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0) ? { dtype: facts.dtype, shape: facts.shape as number[] } : undefined
}

/** As native code takes them. */
export function shuffledTriples(shuffled: readonly Shuffled[]): Float64Array {
  return Float64Array.from(shuffled.flatMap(({ begin, end, element }) => [begin, end, element]))
}
