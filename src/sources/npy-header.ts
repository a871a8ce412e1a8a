import type { DType } from '../core/dtype.js'
import { sizeOf } from '../core/dtype.js'
import { FormatError } from '../core/errors.js'
import { brief } from './brief.js'
import { LiteralError, parseLiteral, type PyValue } from './py-literal.js'

/**
 * The .npy format, versions 1.0, 2.0 and 3.0: magic, version, length of the header (uint16 or uint32, little-endian), header (a Python
 * dict as Latin-1 or UTF-8 text), data. This file is the one gate: it checks everything a header says before anything else uses it.
 */
export interface NpyHeader {
  /** As written, for messages and `inspect`. */
  readonly descr: string
  /** Undefined when elements of this type are not read; `reason` says why. The array is refused when it is used. */
  readonly dtype: DType | undefined
  readonly reason: string | undefined
  /** Bytes of which the order must be reversed; 1 when none. */
  readonly swapUnit: number
  readonly fortran: boolean
  readonly shape: readonly number[]
  /** Where the data begins. */
  readonly dataOffset: number
}

/** NumPy writes headers of 118 bytes; a structured dtype of thousands of fields still fits. */
export const NPY_HEADER_BYTES_MAX = 2 ** 20
/** NumPy 2 ends at 64 axes. */
export const RANK_MAX = 64
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] // \x93NUMPY
/** Enough for nearly every header, so that one read does. */
const FIRST_BYTES = 512

/** Types of elements by their letter and bytes. */
const DTYPES_BY_CODE: Readonly<Record<string, DType>> = {
  '?': 'bool', b1: 'bool', i1: 'int8', u1: 'uint8', i2: 'int16', u2: 'uint16', i4: 'int32', u4: 'uint32', i8: 'int64', u8: 'uint64',
  f2: 'float16', f4: 'float32', f8: 'float64', c8: 'complex64', c16: 'complex128',
}
/** Sound types that are not numbers this library knows. */
const UNSUPPORTED: readonly [RegExp, string][] = [
  [/^O\d*$/, 'Python objects, which only running code from the file could read'],
  [/^[SUa]\d*$/, 'text'],
  [/^V\d*$/, 'raw bytes'],
  [/^[mM]8(\[.*\])?$/, 'dates or time spans'],
  [/^(f10|f12|f16|g|c20|c24|c32|G)$/, 'numbers of extended precision, whose form depends on the machine that wrote them'],
]

/**
 * Reads the header of an array that has `size` bytes in all. `peek` gives the first bytes, as many as asked for. Throws FormatError;
 * element types that are not supported are noted only.
 */
export async function readNpyHeader(file: string, place: string, size: number, peek: (length: number) => Promise<Uint8Array>): Promise<NpyHeader> {
  const fail = (part: string, expected: string, found: string): never => { throw new FormatError({ file, place: `${place}, ${part}`, expected, found }) }
  let bytes = await peek(Math.min(size, FIRST_BYTES))
  if (bytes.length < 10) fail('size', 'at least 10 bytes', `${bytes.length} bytes`)
  if (MAGIC.some((byte, k) => bytes[k] !== byte)) fail('first bytes', '\\x93NUMPY', brief(Buffer.from(bytes.subarray(0, 6)).toString('latin1')))
  const [major, minor] = [bytes[6]!, bytes[7]!]
  if (major < 1 || major > 3 || minor !== 0) fail('version', '1.0, 2.0 or 3.0', `${major}.${minor}`)

  const start = major === 1 ? 10 : 12
  if (bytes.length < start) fail('size', `at least ${start} bytes`, `${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  if (length > NPY_HEADER_BYTES_MAX) fail('header length', `at most ${NPY_HEADER_BYTES_MAX} bytes`, `${length} bytes`)
  if (start + length > size) fail('header length', `at most the ${size - start} bytes that follow`, `${length} bytes`)
  if (start + length > bytes.length) bytes = await peek(start + length)

  const text = decodeText(bytes.subarray(start, start + length), major, fail)
  let value: PyValue
  try {
    value = parseLiteral(text)
  } catch (error) {
    if (!(error instanceof LiteralError)) throw error
    return fail(`header, character ${error.at}`, 'a Python dict', error.message)
  }
  if (!isKind(value, 'dict')) return fail('header', 'a Python dict', describe(value))
  const keys = [...value.entries.keys()].sort().join(', ')
  if (keys !== 'descr, fortran_order, shape') fail('header', 'the keys descr, fortran_order, shape', keys === '' ? 'none' : brief(keys))

  const order = value.entries.get('fortran_order')!
  if (typeof order !== 'boolean') fail('fortran_order', 'True or False', describe(order))
  const type = readDescr(value.entries.get('descr')!, fail)
  const shape = readShape(value.entries.get('shape')!, fail)
  const dataOffset = start + length
  if (type.dtype !== undefined) checkSize(type.dtype, shape, size - dataOffset, fail)
  // Order means nothing with fewer than two axes, and C order is cheaper.
  return { ...type, fortran: order === true && shape.length > 1, shape, dataOffset }
}

type Fail = (part: string, expected: string, found: string) => never

function decodeText(bytes: Uint8Array, major: number, fail: Fail): string {
  if (major < 3) return Buffer.from(bytes).toString('latin1')
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return fail('header', 'UTF-8 text', 'bytes that are none')
  }
}

function readDescr(value: PyValue, fail: Fail): Pick<NpyHeader, 'descr' | 'dtype' | 'reason' | 'swapUnit'> {
  if (isKind(value, 'list')) return { descr: 'structured', dtype: undefined, reason: 'it holds records of several fields', swapUnit: 1 }
  if (isKind(value, 'tuple')) return { descr: 'subarray', dtype: undefined, reason: 'its elements are arrays', swapUnit: 1 }
  if (typeof value !== 'string') return fail('descr', 'a dtype string', describe(value))
  const match = /^([<>|=]?)(.+)$/.exec(value)
  const code = match?.[2] ?? ''
  if (Object.hasOwn(DTYPES_BY_CODE, code)) {
    const dtype = DTYPES_BY_CODE[code]!
    const complex = dtype === 'complex64' || dtype === 'complex128'
    const unit = complex ? sizeOf(dtype) / 2 : sizeOf(dtype)
    return { descr: value, dtype, reason: undefined, swapUnit: match![1] === '>' ? unit : 1 }
  }
  const known = UNSUPPORTED.find(([pattern]) => pattern.test(code))
  if (known === undefined) return fail('descr', 'a NumPy dtype', brief(value))
  return { descr: value, dtype: undefined, reason: `dtype ${brief(value)} holds ${known[1]}`, swapUnit: 1 }
}

function readShape(value: PyValue, fail: Fail): number[] {
  if (!isKind(value, 'tuple')) return fail('shape', 'a tuple of integers', describe(value))
  if (value.items.length > RANK_MAX) fail('shape', `at most ${RANK_MAX} axes`, `${value.items.length}`)
  return value.items.map((extent, axis) => {
    if (typeof extent !== 'bigint') return fail(`shape, axis ${axis}`, 'an integer', describe(extent))
    if (extent < 0n || extent > BigInt(Number.MAX_SAFE_INTEGER)) fail(`shape, axis ${axis}`, `0 to ${Number.MAX_SAFE_INTEGER}`, `${extent}`)
    return Number(extent)
  })
}

/** The data must be exactly what dtype and shape say: less is a truncated file, more is a header that says too little. */
function checkSize(dtype: DType, shape: readonly number[], found: number, fail: Fail): void {
  const expected = exactBytes(dtype, shape)
  if (expected === undefined) fail('shape', 'a size that can be counted exactly', `[${shape.join(', ')}] of ${dtype}`)
  if (expected !== found) fail('data', `${expected} bytes for shape [${shape.join(', ')}] of ${dtype}`, `${found} bytes`)
}

/** Bytes of an array, or undefined when the product of its extents other than 0 leaves the exact integers. */
export function exactBytes(dtype: DType, shape: readonly number[]): number | undefined {
  let product = sizeOf(dtype)
  for (const extent of shape) {
    if (extent !== 0) product *= extent
    if (!Number.isSafeInteger(product)) return undefined
  }
  return shape.includes(0) ? 0 : product
}

function isKind<K extends 'dict' | 'list' | 'tuple'>(value: PyValue, kind: K): value is Extract<PyValue, { kind: K }> {
  return typeof value === 'object' && value !== null && value.kind === kind
}

function describe(value: PyValue): string {
  if (value === null) return 'None'
  if (typeof value === 'object') return `a ${value.kind}`
  return typeof value === 'boolean' ? (value ? 'True' : 'False') : typeof value === 'bigint' ? String(value) : brief(value)
}
