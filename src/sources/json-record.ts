import { isUtf8 } from 'node:buffer'
import { DTYPES, sizeOf, type DType } from '../core/dtype.js'
import { FormatError } from '../core/errors.js'
import type { FieldSpec, Tensor } from '../core/tensor.js'
import { brief } from './brief.js'
import type { ColumnChoice } from './columns.js'

/** Levels of arrays and objects in a line. V8 parses any number of them, at 100 bytes of memory each. */
const DEPTH_MAX = 1000
/** Dtypes that a JSON number can be given as. 16-bit floats are a cast's business. */
export const JSON_DTYPES: readonly DType[] = ['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'float32', 'float64']

/** What the values of a column are. */
export type JsonKind = 'text' | 'bool' | 'number' | 'list'

export interface JsonColumn extends ColumnChoice {
  readonly kind: JsonKind
  readonly dtype: DType
}

export type JsonObject = Readonly<Record<string, unknown>>

/** What is wrong with a line, or with a value in it; whoever knows the line makes a FormatError of it. */
export class JsonFault extends Error {
  readonly expected: string
  readonly found: string
  constructor(expected: string, found: string, options?: ErrorOptions) {
    super(`expected ${expected}, found ${found}`, options)
    this.expected = expected
    this.found = found
  }

  at(file: string, place: string): FormatError {
    return new FormatError({ file, place, expected: this.expected, found: this.found }, { cause: this.cause })
  }
}

/** The gate of a line of JSON (RFC 8259): UTF-8, an object, not nested without end. Of a name that is there twice the last counts. Throws JsonFault. */
export function parseRecord(line: Uint8Array): JsonObject {
  if (!isUtf8(line)) throw new JsonFault('UTF-8', 'bytes that are none')
  if (isDeep(line)) throw new JsonFault(`at most ${DEPTH_MAX} levels of arrays and objects`, 'more')
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString('utf8'))
  } catch (cause) {
    throw new JsonFault('an object in JSON', brief((cause as Error).message), { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new JsonFault('an object in JSON', nameOf(value))
  return value as JsonObject
}

function isDeep(line: Uint8Array): boolean {
  // Every level ends with a bracket, and lines that are cut short are refused anyway.
  if (line.length <= DEPTH_MAX) return false
  let depth = 0
  for (let at = 0; at < line.length; at++) {
    const byte = line[at]!
    if (byte === 0x22) {
      // A string: its end is the next quote that an even number of backslashes stands before.
      for (at = line.indexOf(0x22, at + 1); at >= 0 && isEscaped(line, at); at = line.indexOf(0x22, at + 1));
      if (at < 0) return false
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > DEPTH_MAX) return true
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--
    }
  }
  return false
}

function isEscaped(line: Uint8Array, at: number): boolean {
  let backslashes = 0
  while (line[at - 1 - backslashes] === 0x5c) backslashes++
  return backslashes % 2 === 1
}

/** The value at a path, or undefined; null is nothing too. */
export function valueAt(record: JsonObject, path: readonly string[]): unknown {
  let value: unknown = record
  for (const step of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, step)) return undefined
    value = (value as JsonObject)[step]
  }
  return value ?? undefined
}

/** What a value can be a column of, as far as it tells alone. */
export function kindOf(value: unknown): JsonKind | undefined {
  if (typeof value === 'string') return 'text'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'number' || typeof value === 'bigint') return 'number'
  return Array.isArray(value) && value.every((element) => typeof element === 'number') ? 'list' : undefined
}

export function specOf({ kind, dtype, length }: JsonColumn): FieldSpec {
  return { dtype, shape: kind === 'text' ? [null] : kind === 'list' ? [length ?? null] : [] }
}

/** One field of one item. Throws JsonFault. */
export function tensorOf({ kind, dtype, length, default: otherwise }: JsonColumn, record: JsonObject, path: readonly string[]): Tensor {
  const value = valueAt(record, path) ?? otherwise
  if (value === undefined) throw new JsonFault(`${WORDS[kind]} (or \`default\`)`, 'nothing')
  switch (kind) {
    case 'text': return textTensor(value)
    case 'bool':
      if (typeof value !== 'boolean') throw new JsonFault(WORDS.bool, nameOf(value))
      return { dtype: 'bool', shape: [], data: Uint8Array.of(value ? 1 : 0) }
    case 'number': return numbersTensor(dtype, [value], [])
    case 'list':
      if (!Array.isArray(value)) throw new JsonFault(WORDS.list, nameOf(value))
      if (length !== undefined && value.length !== length) throw new JsonFault(`a list of ${length} numbers`, `one of ${value.length}`)
      return numbersTensor(dtype, value, [value.length])
  }
}

const WORDS: Readonly<Record<JsonKind, string>> = { text: 'a text', bool: 'true or false', number: 'a number', list: 'a list of numbers' }

function textTensor(value: unknown): Tensor {
  if (typeof value !== 'string') throw new JsonFault(WORDS.text, nameOf(value))
  // UTF-8 has no form of it; encoders replace it without a word.
  if (!value.isWellFormed()) throw new JsonFault('a text of whole characters', 'half of a surrogate pair')
  const bytes = Buffer.from(value, 'utf8')
  return { dtype: 'uint8', shape: [bytes.length], data: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) }
}

function numbersTensor(dtype: DType, values: readonly unknown[], shape: readonly number[]): Tensor {
  const { array, kind } = DTYPES[dtype]
  const data = new array(new ArrayBuffer(values.length * array.BYTES_PER_ELEMENT))
  for (let k = 0; k < values.length; k++) {
    const value = values[k]
    if (kind === 'float') {
      if (typeof value !== 'number') throw new JsonFault(`a number${inList(shape)}`, nameOf(value))
      data[k] = value
      // 1e999 is a number in JSON, and no other.
      if (!Number.isFinite(data[k])) throw new JsonFault(`a number that ${dtype} can hold`, String(value))
    } else {
      data[k] = integer(dtype, value) as never
    }
  }
  return { dtype, shape, data } as Tensor
}

/** JSON.parse gives doubles, which know integers below 2⁵³; beyond, files give them as texts of digits. */
function integer(dtype: DType, value: unknown): number | bigint {
  const bits = 8 * sizeOf(dtype)
  const isSigned = DTYPES[dtype].kind === 'int'
  const expected = `an integer that ${dtype} can hold`
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) throw new JsonFault(`${expected}, as a text of digits where it is beyond 2^53`, String(value))
  const isWritten = bits === 64 && typeof value === 'string' && /^-?\d{1,20}$/.test(value)
  if (!Number.isSafeInteger(value) && typeof value !== 'bigint' && !isWritten) throw new JsonFault(expected, nameOf(value))
  const exact = BigInt(value as number | bigint | string)
  if ((isSigned ? BigInt.asIntN(bits, exact) : BigInt.asUintN(bits, exact)) !== exact) throw new JsonFault(expected, brief(String(exact)))
  return bits === 64 ? exact : Number(exact)
}

function inList(shape: readonly number[]): string {
  return shape.length === 0 ? '' : ' in the list'
}

/** A value, for a message. */
function nameOf(value: unknown): string {
  return value === null ? 'null' : typeof value === 'string' ? `the text ${brief(value)}` : brief(value)
}
