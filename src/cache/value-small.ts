import { arrayDType, DTYPES, type DType, type TypedArray } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import { sha256 } from '../core/hash.js'
import { frame } from '../core/keys.js'
import { bytesOf, elementCount } from '../core/tensor.js'
import { native } from '../native/load.js'
import type { Place, Slabs } from './slab.js'
import { DEPTH_MAX, leafBytes, leafOf, namesOf, RANK_MAX, Trail, type Leaf, type Value } from './value.js'

/**
 * A value in one buffer, for those that are too small for a file. All numbers little-endian:
 *
 *   u32 format · u32 CRC-32 of all bytes after it · u32 bytes of the tree · tree · leaves, each from a multiple of 8 bytes on
 *
 * The tree is a byte for what comes, then that: docs/formats/store.md has the table. Leaves follow in the order in which the tree names them.
 */
const FORMAT = 1
const HEADER_BYTES = 12
const ALIGNMENT = 8
/** Values up to this many bytes are kept in the index; larger ones have a file. */
export const SMALL_BYTES_MAX = 32 * 1024

const NULL = 0
const FALSE = 1
const TRUE = 2
const UNDEFINED = 3
const FLOAT = 4
/** n and -n - 1: integers that a double holds exactly. */
const INTEGER = 5
const NEGATIVE = 6
const BIGINT = 7
const NEGATIVE_BIGINT = 8
const UTF8 = 9
/** For strings with lone surrogates, which UTF-8 cannot say. */
const UTF16 = 10
const ARRAY = 11
const OBJECT = 12
/** And the code of the dtype. */
const TYPED_ARRAY = 32
const TENSOR = 64

/** Thrown and caught in this file. */
const OVER = new Error('larger than wanted')

const CAPACITY = 2 ** 16
/** The buffer that trees are written to. Whoever writes takes it away, because a getter of the value may encode another one. */
let spare: Buffer | undefined

class TreeWriter {
  readonly leaves: Leaf[] = []
  /** With the gaps between them. */
  leavesBytes = 0
  at = 0
  readonly #trail: Trail
  readonly #sorted: boolean
  readonly #bytesMax: number
  #bytes: Buffer

  /** `sorted`: names in the order of their UTF-16 units. Throws OVER when tree and leaves take more than `bytesMax`. */
  constructor(root: string, sorted: boolean, bytesMax: number) {
    this.#trail = new Trail(root)
    this.#sorted = sorted
    this.#bytesMax = bytesMax
    this.#bytes = spare ?? Buffer.allocUnsafeSlow(CAPACITY)
    spare = undefined
  }

  get tree(): Buffer {
    return this.#bytes.subarray(0, this.at)
  }

  /** The tree is not to be used any more. */
  release(): void {
    if (this.#bytes.length <= 16 * CAPACITY) spare = this.#bytes
  }

  root(value: unknown): void {
    if (value === undefined) this.#trail.refuse('undefined', '; null says that there is nothing')
    this.#write(value)
  }

  #write(value: unknown): void {
    this.#reserve(0)
    switch (typeof value) {
      case 'number':
        return this.#number(value)
      case 'string':
        return this.#string(value)
      case 'boolean':
        this.#bytes[this.at++] = value ? TRUE : FALSE
        return
      case 'undefined':
        this.#bytes[this.at++] = UNDEFINED
        return
      case 'bigint':
        return this.#bigint(value)
      case 'object':
        if (value === null) this.#bytes[this.at++] = NULL
        else this.#object(value)
        return
      default:
        this.#trail.refuseKind(value)
    }
  }

  #object(value: object): void {
    const leaf = leafOf(value, this.#trail)
    if (leaf !== undefined) return this.#leaf(leaf)
    const trail = this.#trail
    trail.enter(value)
    if (Array.isArray(value)) {
      const length = value.length
      this.#bytes[this.at++] = ARRAY
      this.#varint(length)
      for (let i = 0; i < length; i++) {
        trail.at(i)
        this.#write(value[i])
      }
    } else {
      const names = namesOf(value, trail)
      if (this.#sorted) names.sort()
      this.#bytes[this.at++] = OBJECT
      this.#varint(names.length)
      for (const name of names) {
        trail.at(name)
        this.#reserve(0)
        this.#string(name)
        this.#write((value as Record<string, unknown>)[name])
      }
    }
    trail.leave()
  }

  #leaf(leaf: Leaf): void {
    const { code } = DTYPES[leaf.dtype]
    if (leaf.tensor) {
      this.#bytes[this.at++] = TENSOR + code
      this.#varint(leaf.shape.length)
    } else {
      this.#bytes[this.at++] = TYPED_ARRAY + code
    }
    for (const extent of leaf.shape) {
      this.#reserve(0)
      this.#varint(extent)
    }
    this.leaves.push(leaf)
    this.leavesBytes = align(this.leavesBytes) + leafBytes(leaf)
    if (this.leavesBytes + this.at > this.#bytesMax) throw OVER
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      this.#bytes[this.at++] = value < 0 ? NEGATIVE : INTEGER
      this.#varint(value < 0 ? -value - 1 : value)
    } else {
      this.#bytes[this.at++] = FLOAT
      // One NaN, whatever bits this one has.
      this.at = this.#bytes.writeDoubleLE(Number.isNaN(value) ? NaN : value, this.at)
    }
  }

  #bigint(value: bigint): void {
    const digits = (value < 0n ? -value : value).toString(16)
    const bytes = Math.ceil(digits.length / 2)
    this.#reserve(bytes)
    this.#bytes[this.at++] = value < 0n ? NEGATIVE_BIGINT : BIGINT
    this.#varint(bytes)
    this.at += this.#bytes.write(digits.padStart(2 * bytes, '0'), this.at, 'hex')
  }

  #string(value: string): void {
    const { length } = value
    this.#reserve(length)
    if (length < 48) {
      // Short texts are mostly ASCII, and a call out of JavaScript takes longer than this loop.
      const bytes = this.#bytes
      const start = this.at
      let at = start + 2
      for (let i = 0; i < length; i++) {
        const unit = value.charCodeAt(i)
        if (unit > 127) return this.#longString(value)
        bytes[at++] = unit
      }
      bytes[start] = UTF8
      bytes[start + 1] = length
      this.at = at
    } else {
      this.#longString(value)
    }
  }

  #longString(value: string): void {
    const encoding = value.isWellFormed() ? 'utf8' : 'utf16le'
    const bytes = Buffer.byteLength(value, encoding)
    this.#reserve(bytes)
    this.#bytes[this.at++] = encoding === 'utf8' ? UTF8 : UTF16
    this.#varint(bytes)
    this.at += this.#bytes.write(value, this.at, encoding)
  }

  #varint(value: number): void {
    const bytes = this.#bytes
    let rest = value
    while (rest >= 2 ** 31) {
      bytes[this.at++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    while (rest >= 128) {
      bytes[this.at++] = (rest & 127) | 128
      rest >>>= 7
    }
    bytes[this.at++] = rest
  }

  /** Room for a tag, a number, and `bytes` bytes. */
  #reserve(bytes: number): void {
    const needed = this.at + bytes
    if (needed + this.leavesBytes > this.#bytesMax) throw OVER
    if (needed + 16 <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(2 * (needed + 16))
    this.#bytes.copy(grown, 0, 0, this.at)
    this.#bytes = grown
  }
}

/**
 * The value in a buffer of its own, or undefined when that would be longer than `bytesMax`; what follows the place where that shows is not looked at.
 * Throws TypeError, with the place under the name `root`, for what is no value.
 */
export function encodeSmall(value: unknown, bytesMax = SMALL_BYTES_MAX, root = 'value'): Uint8Array | undefined {
  return encode(value, bytesMax, root, Buffer.allocUnsafeSlow)
}

/** The same, up to SMALL_BYTES_MAX, in memory that the next call writes over. */
export function encodeSmallOnce(value: unknown, root: string): Uint8Array | undefined {
  return encode(value, SMALL_BYTES_MAX, root, (size) => scratch.subarray(0, size))
}

const scratch = Buffer.allocUnsafeSlow(SMALL_BYTES_MAX)

/** Nothing of the caller's runs once `room` was asked for. */
function encode(value: unknown, bytesMax: number, root: string, room: (bytes: number) => Buffer): Uint8Array | undefined {
  const writer = new TreeWriter(root, false, bytesMax)
  try {
    writer.root(value)
    const { tree, leaves } = writer
    const start = HEADER_BYTES + tree.length
    const size = leaves.length === 0 ? start : align(start) + writer.leavesBytes
    if (size > bytesMax) return undefined
    const out = room(size)
    out.writeUInt32LE(FORMAT, 0)
    out.writeUInt32LE(tree.length, 8)
    out.set(tree, HEADER_BYTES)
    let at = start
    for (const leaf of leaves) {
      while (at % ALIGNMENT !== 0) out[at++] = 0
      out.set(bytesOf(leaf.data), at)
      at += leaf.data.byteLength
    }
    out.writeUInt32LE(native().crc32(out.subarray(8), 0), 4)
    return out
  } catch (error) {
    if (error === OVER) return undefined
    throw error
  } finally {
    writer.release()
  }
}

/**
 * SHA-256 over structure and leaves. Values that are equal have one digest, in whichever order the names of their objects stand; -0 and 0, 1 and 1n, and undefined and absent members are not equal.
 * Runs on the calling thread, at about 1.5 GB/s.
 */
export function digestOfValue(value: unknown, root = 'value'): Buffer {
  const writer = new TreeWriter(root, true, Infinity)
  try {
    writer.root(value)
    return sha256(frame({ value: FORMAT }), writer.tree, ...writer.leaves.map((leaf) => leaf.data))
  } finally {
    writer.release()
  }
}

const BY_CODE: readonly DType[] = Object.entries(DTYPES).sort(([, a], [, b]) => a.code - b.code).map(([name]) => name as DType)

/** Throws IntegrityError, which names `file`, when the bytes are not those that were written. */
export function checkSmall(bytes: Uint8Array, file = 'value'): void {
  const reader = asBuffer(bytes)
  const { length } = reader
  if (length < HEADER_BYTES) fail(file, `${length} bytes are no value`)
  if (reader.readUInt32LE(0) !== FORMAT) fail(file, `format ${reader.readUInt32LE(0)} instead of ${FORMAT}`)
  if (reader.readUInt32LE(4) !== native().crc32(reader.subarray(8, length), 0)) fail(file, 'the checksum differs')
}

/**
 * The value in `bytes`. Everything handed out is copied, the arrays to memory of `slabs` or else of the value's own, so `bytes` may lie anywhere, at any alignment, and be used for something
 * else afterwards, as the buffers of LMDB's `getBinaryFast` are. Throws IntegrityError, which names `file`, when the bytes are not those that were written, or with `checked`, when they are no value.
 */
export function decodeSmall(bytes: Uint8Array, file = 'value', { checked = false, slabs }: { readonly checked?: boolean; readonly slabs?: Slabs } = NONE): Value {
  if (!checked) checkSmall(bytes, file)
  return new TreeReader(asBuffer(bytes), file, slabs).value()
}

const NONE = {}

// `length` and not `byteLength`: in a buffer that LMDB uses again, only the former is the value's.
function asBuffer(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer && bytes.length === bytes.byteLength ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

function fail(file: string, what: string): never {
  throw new IntegrityError(file, `a stored value is damaged: ${what}`)
}

/** Names of objects come again and again: one that came before is found without making a string. */
const NAMES_MAX = 1024
const NAME_BYTES_MAX = 32
const names: (string | undefined)[] = Array.from({ length: NAMES_MAX })

class TreeReader {
  readonly #bytes: Buffer
  readonly #size: number
  readonly #file: string
  #at = HEADER_BYTES
  #treeEnd = 0
  #leafAt = 0
  #depth = 0
  readonly #slabs: Slabs | undefined
  /** Where the leaves begin in the bytes, and where they were copied to when the first of them was met. */
  #leavesStart = 0
  #leaves: Place | undefined

  constructor(bytes: Buffer, file: string, slabs: Slabs | undefined) {
    this.#size = bytes.length
    this.#bytes = bytes
    this.#file = file
    this.#slabs = slabs
    if (slabs !== undefined) slabs.last = undefined
  }

  value(): Value {
    const bytes = this.#bytes
    if (this.#size < HEADER_BYTES) this.#fail(`${this.#size} bytes are no value`)
    this.#treeEnd = HEADER_BYTES + bytes.readUInt32LE(8)
    if (this.#treeEnd > this.#size) this.#fail('the tree ends beyond the end')
    this.#leafAt = this.#treeEnd
    this.#leavesStart = align(this.#treeEnd)
    const value = this.#read()
    if (this.#at !== this.#treeEnd) this.#fail('bytes after the tree')
    if (this.#leafAt !== this.#size) this.#fail('bytes after the last leaf')
    return value
  }

  #read(): Value {
    const tag = this.#byte()
    switch (tag) {
      case NULL: return null
      case FALSE: return false
      case TRUE: return true
      case UNDEFINED: return undefined
      case FLOAT: return this.#bytes.readDoubleLE(this.#take(8))
      case INTEGER: return this.#varint()
      case NEGATIVE: return -this.#varint() - 1
      case BIGINT: return this.#bigint()
      case NEGATIVE_BIGINT: return -this.#bigint()
      case UTF8:
      case UTF16: return this.#string(tag)
      case ARRAY: return this.#array()
      case OBJECT: return this.#object()
      default: return this.#leaf(tag)
    }
  }

  #array(): Value[] {
    const count = this.#count()
    const out: Value[] = []
    for (let i = 0; i < count; i++) out.push(this.#read())
    this.#depth--
    return out
  }

  #object(): Record<string, Value> {
    const count = this.#count()
    const out: Record<string, Value> = {}
    for (let i = 0; i < count; i++) {
      const name = this.#name()
      const value = this.#read()
      if (name === '__proto__') Object.defineProperty(out, name, { value, enumerable: true, configurable: true, writable: true })
      else out[name] = value
    }
    this.#depth--
    return out
  }

  /** Members of an array or object, each of which takes a byte at least. */
  #count(): number {
    if (++this.#depth > DEPTH_MAX) this.#fail(`more than ${DEPTH_MAX} levels`)
    const count = this.#varint()
    if (count > this.#treeEnd - this.#at) this.#fail('more members than bytes')
    return count
  }

  #leaf(tag: number): Value {
    const tensor = tag >= TENSOR
    const dtype = BY_CODE[tag - (tensor ? TENSOR : TYPED_ARRAY)]
    if (dtype === undefined || (!tensor && arrayDType(dtype) !== dtype)) return this.#fail(`${tag} where a value begins`)
    const rank = tensor ? this.#varint() : 1
    if (rank > RANK_MAX) this.#fail(`a tensor of ${rank} axes`)
    const shape: number[] = []
    for (let axis = 0; axis < rank; axis++) shape.push(this.#varint())
    const { size, array } = DTYPES[dtype]
    const count = elementCount(shape)
    const start = align(this.#leafAt)
    if (count === undefined || count * size > this.#size - start) return this.#fail('a leaf ends beyond the end')
    this.#leafAt = start + count * size
    const data = this.#copied(array, start, count * size)
    return tensor ? { dtype, shape, data } as Value : data
  }

  /** Without slabs an array has a buffer of its own; with them all arrays of the value are copied at once. */
  #copied(array: typeof DTYPES.int8.array, start: number, bytes: number): TypedArray {
    if (this.#slabs === undefined) {
      const memory = new ArrayBuffer(bytes)
      new Uint8Array(memory).set(this.#bytes.subarray(start, start + bytes))
      return new array(memory)
    }
    const { buffer, offset } = this.#leaves ??= this.#slabs.copy(this.#bytes, this.#leavesStart, this.#size)
    return new array(buffer, offset + start - this.#leavesStart, bytes / array.BYTES_PER_ELEMENT)
  }

  #name(): string {
    const bytes = this.#bytes
    const at = this.#at
    const length = bytes[at + 1]!
    if (bytes[at] !== UTF8 || length > NAME_BYTES_MAX || at + 2 + length > this.#treeEnd) return this.#string(this.#byte())
    let hash = length
    for (let i = at + 2; i < at + 2 + length; i++) hash = Math.imul(hash, 31) + bytes[i]! | 0
    const slot = (hash ^ hash >>> 10) & (NAMES_MAX - 1)
    const known = names[slot]
    if (known !== undefined && known.length === length) {
      let same = 0
      while (same < length && known.charCodeAt(same) === bytes[at + 2 + same]) same++
      if (same === length) {
        this.#at = at + 2 + length
        return known
      }
    }
    const name = this.#string(this.#byte())
    // Only of ASCII are the characters the bytes.
    if (name.length === length) names[slot] = name
    return name
  }

  #bigint(): bigint {
    const length = this.#varint()
    const start = this.#take(length)
    return length === 0 ? 0n : BigInt(`0x${this.#bytes.toString('hex', start, start + length)}`)
  }

  #string(tag: number): string {
    if (tag !== UTF8 && tag !== UTF16) return this.#fail(`${tag} where a name begins`)
    const length = this.#varint()
    const start = this.#take(length)
    return this.#bytes.toString(tag === UTF8 ? 'utf8' : 'utf16le', start, start + length)
  }

  #byte(): number {
    return this.#bytes[this.#take(1)]!
  }

  #varint(): number {
    let value = 0
    for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
      const byte = this.#byte()
      value += (byte & 127) * scale
      if (byte < 128) {
        if (value > Number.MAX_SAFE_INTEGER) break
        return value
      }
    }
    return this.#fail('an integer beyond 2^53')
  }

  /** Where the next `bytes` bytes of the tree begin. */
  #take(bytes: number): number {
    const start = this.#at
    if (bytes > this.#treeEnd - start) this.#fail('the tree ends too early')
    this.#at = start + bytes
    return start
  }

  #fail(what: string): never {
    return fail(this.#file, what)
  }
}

function align(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT
}
