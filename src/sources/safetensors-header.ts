import type { DType } from '../core/dtype.js'
import { FormatError } from '../core/errors.js'
import type { MappedFile } from '../native/addon.js'
import { brief } from './brief.js'
import { exactBytes, RANK_MAX } from './npy-header.js'

/**
 * The safetensors format: length of the header (uint64, little-endian), header (JSON), data. This file is the one gate. It is as strict as
 * the reference implementation and stricter where that is silent: tensors fill the data in order of their offsets, without holes or overlap.
 */
export interface SafetensorsHeader {
  /** By name, in the order of the header. No prototype. */
  readonly tensors: Readonly<Record<string, SafetensorsTensor>>
  readonly metadata: Readonly<Record<string, string>>
}

export interface SafetensorsTensor {
  /** Undefined when elements of this type are not read. */
  readonly dtype: DType | undefined
  /** As written. */
  readonly type: string
  readonly shape: readonly number[]
  /** First byte in the file. */
  readonly offset: number
  readonly bytes: number
}

/** The limit of the reference implementation. */
export const SAFETENSORS_HEADER_BYTES_MAX = 100_000_000
const DTYPES_BY_NAME: Readonly<Record<string, DType>> = {
  BOOL: 'bool', U8: 'uint8', I8: 'int8', U16: 'uint16', I16: 'int16', U32: 'uint32', I32: 'int32', U64: 'uint64', I64: 'int64',
  F16: 'float16', BF16: 'bfloat16', F32: 'float32', F64: 'float64',
}
/** Names of the specification, and any like them: listed, and refused when used. */
const OTHER_TYPE = /^[A-Z][A-Z0-9_]{0,15}$/

/** Bytes the header takes, with its length: what must be readable before `readSafetensorsHeader`. Throws FormatError. */
export function safetensorsHeaderBytes(file: Pick<MappedFile, 'path' | 'size' | 'view'>): number {
  if (file.size < 8) fault(file.path, 'header length', 'a file of at least 8 bytes', `${file.size}`)
  const length = new DataView(file.view(0, 8)).getBigUint64(0, true)
  if (length > BigInt(SAFETENSORS_HEADER_BYTES_MAX)) fault(file.path, 'header length', `at most ${SAFETENSORS_HEADER_BYTES_MAX} bytes`, `${length}`)
  if (length > BigInt(file.size - 8)) fault(file.path, 'header length', `at most the ${file.size - 8} bytes that follow`, `${length}`)
  return 8 + Number(length)
}

/** Reads and checks the header. Throws FormatError. */
export function readSafetensorsHeader(file: Pick<MappedFile, 'path' | 'size' | 'view'>): SafetensorsHeader {
  const dataStart = safetensorsHeaderBytes(file)
  const fail = (place: string, expected: string, found: string): never => fault(file.path, place, expected, found)
  const root = parseJson(new Uint8Array(file.view(8, dataStart - 8)), fail)
  const tensors = Object.create(null) as Record<string, SafetensorsTensor>
  let metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(root)) {
    if (name === '__metadata__') metadata = readMetadata(value, fail)
    else tensors[name] = readTensor(name, value, dataStart, file.size - dataStart, fail)
  }
  checkLayout(tensors, dataStart, file.size, fail)
  return { tensors, metadata }
}

type Fail = (place: string, expected: string, found: string) => never

function fault(path: string, place: string, expected: string, found: string): never {
  throw new FormatError({ file: path, place, expected, found })
}

function parseJson(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return fail('header', 'UTF-8 text', 'bytes that are none')
  }
  if (!text.startsWith('{')) fail('header', 'an object, from its first byte on', brief(text.slice(0, 8)))
  let root: unknown
  try {
    root = JSON.parse(text)
  } catch (error) {
    return fail('header', 'JSON', (error as Error).message)
  }
  refuseRepeatedKeys(text, fail)
  return root as Record<string, unknown>
}

/** JSON.parse keeps the last of two equal keys; two readers that keep different ones would see different tensors. `text` is sound JSON. */
function refuseRepeatedKeys(text: string, fail: Fail): void {
  const open: (Set<string> | undefined)[] = []
  const tokens = /["{}[\]]/g
  const colon = /\s*:/y
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    const [token] = match
    if (token === '{') open.push(new Set())
    else if (token === '[') open.push(undefined)
    else if (token !== '"') open.pop()
    else {
      const end = tokens.lastIndex = colon.lastIndex = endOfString(text, match.index)
      if (!colon.test(text)) continue
      const key = JSON.parse(text.slice(match.index, end)) as string
      const keys = open.at(-1)!
      if (keys.has(key)) fail('header', 'each name once', `${brief(key)} twice`)
      keys.add(key)
    }
  }
}

/** Behind the quote that ends the string which begins at `start`. A regular expression takes a place on the stack for each character: metadata of some megabytes overflow it. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); ; at = text.indexOf('"', at + 1)) {
    let escapes = 0
    while (text[at - 1 - escapes] === '\\') escapes++
    if (escapes % 2 === 0) return at + 1
  }
}

function readMetadata(value: unknown, fail: Fail): Record<string, string> {
  if (!isObject(value)) return fail('__metadata__', 'an object of strings', brief(value))
  for (const [key, text] of Object.entries(value)) if (typeof text !== 'string') fail(`__metadata__, ${brief(key)}`, 'a string', brief(text))
  return value as Record<string, string>
}

function readTensor(name: string, value: unknown, dataStart: number, dataBytes: number, fail: Fail): SafetensorsTensor {
  const place = `tensor ${brief(name)}`
  if (!isObject(value)) return fail(place, 'an object', brief(value))
  const keys = Object.keys(value).sort().join(', ')
  if (keys !== 'data_offsets, dtype, shape') fail(place, 'the keys data_offsets, dtype, shape', keys === '' ? 'none' : brief(keys))
  const { dtype: type, shape, data_offsets: offsets } = value
  if (typeof type !== 'string' || !OTHER_TYPE.test(type)) return fail(`${place}, dtype`, 'the name of an element type', brief(type))
  if (!isIntegers(shape)) return fail(`${place}, shape`, 'an array of integers from 0', brief(shape))
  if (shape.length > RANK_MAX) fail(`${place}, shape`, `at most ${RANK_MAX} axes`, `${shape.length}`)
  if (!isIntegers(offsets) || offsets.length !== 2) return fail(`${place}, data_offsets`, 'two integers from 0', brief(offsets))
  const [start, stop] = offsets as [number, number]
  if (start > stop || stop > dataBytes) fail(`${place}, data_offsets`, `a range within the ${dataBytes} bytes of data`, `${start} to ${stop}`)
  const dtype = Object.hasOwn(DTYPES_BY_NAME, type) ? DTYPES_BY_NAME[type] : undefined
  if (dtype !== undefined) {
    const bytes = exactBytes(dtype, shape)
    if (bytes === undefined) fail(`${place}, shape`, 'a size that can be counted exactly', `[${shape.join(', ')}] of ${dtype}`)
    if (bytes !== stop - start) fail(`${place}, data_offsets`, `${bytes} bytes for shape [${shape.join(', ')}] of ${dtype}`, `${stop - start}`)
  }
  return { dtype, type, shape, offset: dataStart + start, bytes: stop - start }
}

function checkLayout(tensors: Readonly<Record<string, SafetensorsTensor>>, dataStart: number, size: number, fail: Fail): void {
  const ordered = Object.entries(tensors).sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes)
  let at = dataStart
  for (const [name, { offset, bytes }] of ordered) {
    if (offset !== at) fail(`tensor ${brief(name)}, data_offsets`, `data from byte ${at - dataStart} on, where the one before ends`, `${offset - dataStart}`)
    at = offset + bytes
  }
  if (at !== size) fail('data', `${at - dataStart} bytes, as the header says`, `${size - dataStart}`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isIntegers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((number) => Number.isSafeInteger(number) && number >= 0 && !Object.is(number, -0))
}
