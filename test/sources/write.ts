import { crc32, deflateRawSync } from 'node:zlib'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { DTYPES, sizeOf, type DType, type TypedArray } from '../../src/core/dtype.js'
import { bytesOf } from '../../src/core/tensor.js'

/** Writers of the formats that sources read: slow, obvious, and able to lie on request. */

let folder: string | undefined
let files = 0

/** A file of its own in a folder that goes when the test file is done. */
export function file(name: string, bytes: Uint8Array): string {
  const path = join(scratch(), `${files++}-${name}`)
  writeFileSync(path, bytes)
  return path
}

export function scratch(): string {
  if (folder === undefined) {
    const made = folder = mkdtempSync(join(tmpdir(), 'tensorcache-sources-'))
    afterAll(() => { rmSync(made, { recursive: true, force: true }) })
  }
  return folder
}

export const CODES: { readonly [D in DType]?: string } = {
  bool: 'b1', int8: 'i1', uint8: 'u1', int16: 'i2', uint16: 'u2', int32: 'i4', uint32: 'u4', int64: 'i8', uint64: 'u8',
  float16: 'f2', float32: 'f4', float64: 'f8', complex64: 'c8', complex128: 'c16',
}
export const SAFETENSORS_NAMES: { readonly [D in DType]?: string } = {
  bool: 'BOOL', int8: 'I8', uint8: 'U8', int16: 'I16', uint16: 'U16', int32: 'I32', uint32: 'U32', int64: 'I64', uint64: 'U64',
  float16: 'F16', bfloat16: 'BF16', float32: 'F32', float64: 'F64',
}

export interface Plain { readonly dtype: DType; readonly shape: readonly number[]; readonly data: TypedArray }

export interface NpyForm { fortran?: boolean; big?: boolean; version?: 1 | 2 | 3 }

export function npyBytes(tensor: Plain, { fortran = false, big = false, version = 1 }: NpyForm = {}): Buffer {
  const size = sizeOf(tensor.dtype)
  const descr = `${size === 1 ? '|' : big ? '>' : '<'}${CODES[tensor.dtype]}`
  const tuple = tensor.shape.length === 1 ? `${tensor.shape[0]},` : tensor.shape.join(', ')
  let data: Buffer = Buffer.from(bytesOf(tensor.data))
  if (fortran) data = toFortran(data, tensor.shape, size)
  if (big) data = swap(data, DTYPES[tensor.dtype].kind === 'complex' ? size / 2 : size)
  return Buffer.concat([npyHeader(`{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${tuple}), }`, version), data])
}

/** A header around any text, padded as NumPy pads it. */
export function npyHeader(text: string, version = 1, length?: number): Buffer {
  const start = version === 1 ? 10 : 12
  const padded = Buffer.from(text, version === 3 ? 'utf8' : 'latin1')
  const total = Math.ceil((start + padded.length + 1) / 64) * 64
  const header = Buffer.alloc(total, 0x20)
  header.write('\x93NUMPY', 'latin1')
  header[6] = version
  header[7] = 0
  if (version === 1) header.writeUInt16LE(length ?? total - start, 8)
  else header.writeUInt32LE(length ?? total - start, 8)
  padded.copy(header, start)
  header[total - 1] = 0x0a
  return header
}

export function toFortran(data: Buffer, shape: readonly number[], size: number): Buffer {
  const out = Buffer.alloc(data.length)
  const strides: number[] = []
  shape.reduce((stride, extent, axis) => { strides[axis] = stride; return stride * extent }, 1)
  const index = shape.map(() => 0)
  for (let at = 0; at < data.length; at += size) {
    const to = index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0) * size
    data.copy(out, to, at, at + size)
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < shape[axis]!) break
      index[axis] = 0
    }
  }
  return out
}

export function swap(data: Uint8Array, unit: number): Buffer {
  const out = Buffer.from(data)
  for (let at = 0; at < out.length; at += unit) out.subarray(at, at + unit).reverse()
  return out
}

export interface Member {
  name: string
  bytes: Uint8Array
  deflate?: boolean
  /** With a data descriptor, as when written to a pipe. */
  streamed?: boolean | 'unsigned' | 'zip64'
  zip64?: boolean
  /** What the records say instead of the truth. */
  local?: Partial<Facts>
  central?: Partial<Facts>
  descriptor?: Partial<Facts>
  stored?: Uint8Array
}
export interface Facts { name: string; flags: number; method: number; crc: number; storedBytes: number; bytes: number; offset: number; signature: number; extra: Uint8Array }
export interface ZipForm {
  zip64?: boolean
  comment?: string
  before?: Uint8Array
  after?: Uint8Array
  end?: { entries?: number; bytes?: number; offset?: number; disk?: number; commentBytes?: number }
}

export function zipBytes(members: readonly Member[], form: ZipForm = {}): Buffer {
  const parts: Uint8Array[] = [form.before ?? Buffer.alloc(0)]
  const length = (): number => parts.reduce((sum, part) => sum + part.length, 0)
  const directory: Buffer[] = []
  for (const member of members) {
    const stored = member.stored ?? (member.deflate === true ? deflateRawSync(member.bytes) : member.bytes)
    const truth: Facts = {
      name: member.name, flags: member.streamed ? 8 : 0, method: member.deflate === true ? 8 : 0, crc: crc32(member.bytes),
      storedBytes: stored.length, bytes: member.bytes.length, offset: length(), signature: 0, extra: Buffer.alloc(0),
    }
    const zeros = member.streamed ? { crc: 0, storedBytes: 0, bytes: 0 } : {}
    parts.push(localHeader({ ...truth, ...zeros, signature: 0x04034b50, ...member.local }, member.zip64 === true && !member.streamed), stored)
    if (member.streamed) parts.push(descriptorOf({ ...truth, ...member.descriptor }, member.streamed))
    directory.push(centralHeader({ ...truth, signature: 0x02014b50, ...member.central }, member.zip64 === true))
  }
  const offset = length()
  const bytes = directory.reduce((sum, part) => sum + part.length, 0)
  parts.push(...directory)
  if (form.zip64 === true) parts.push(end64(members.length, bytes, offset))
  const said = { entries: members.length, bytes, offset, disk: 0, commentBytes: form.comment?.length ?? 0, ...(form.zip64 === true && { entries: 0xffff, bytes: 0xffffffff, offset: 0xffffffff }), ...form.end }
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(said.disk, 4)
  end.writeUInt16LE(said.entries, 8)
  end.writeUInt16LE(said.entries, 10)
  end.writeUInt32LE(said.bytes, 12)
  end.writeUInt32LE(said.offset, 16)
  end.writeUInt16LE(said.commentBytes, 20)
  return Buffer.concat([...parts, end, Buffer.from(form.comment ?? ''), form.after ?? Buffer.alloc(0)])
}

function localHeader(facts: Facts, zip64: boolean): Buffer {
  const name = Buffer.from(facts.name)
  const extra = Buffer.concat([zip64 ? extra64([facts.bytes, facts.storedBytes]) : Buffer.alloc(0), facts.extra])
  const header = Buffer.alloc(30)
  header.writeUInt32LE(facts.signature, 0)
  header.writeUInt16LE(zip64 ? 45 : 20, 4)
  header.writeUInt16LE(facts.flags, 6)
  header.writeUInt16LE(facts.method, 8)
  header.writeUInt32LE(facts.crc, 14)
  header.writeUInt32LE(zip64 ? 0xffffffff : facts.storedBytes, 18)
  header.writeUInt32LE(zip64 ? 0xffffffff : facts.bytes, 22)
  header.writeUInt16LE(name.length, 26)
  header.writeUInt16LE(extra.length, 28)
  return Buffer.concat([header, name, extra])
}

function centralHeader(facts: Facts, zip64: boolean): Buffer {
  const name = Buffer.from(facts.name)
  const extra = Buffer.concat([zip64 ? extra64([facts.bytes, facts.storedBytes, facts.offset]) : Buffer.alloc(0), facts.extra])
  const header = Buffer.alloc(46)
  header.writeUInt32LE(facts.signature, 0)
  header.writeUInt16LE(zip64 ? 45 : 20, 6)
  header.writeUInt16LE(facts.flags, 8)
  header.writeUInt16LE(facts.method, 10)
  header.writeUInt32LE(facts.crc, 16)
  header.writeUInt32LE(zip64 ? 0xffffffff : facts.storedBytes, 20)
  header.writeUInt32LE(zip64 ? 0xffffffff : facts.bytes, 24)
  header.writeUInt16LE(name.length, 28)
  header.writeUInt16LE(extra.length, 30)
  header.writeUInt32LE(zip64 ? 0xffffffff : facts.offset, 42)
  return Buffer.concat([header, name, extra])
}

function extra64(values: readonly number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * values.length)
  extra.writeUInt16LE(1, 0)
  extra.writeUInt16LE(8 * values.length, 2)
  values.forEach((value, k) => { extra.writeBigUInt64LE(BigInt(value), 4 + 8 * k) })
  return extra
}

function descriptorOf(facts: Facts, form: true | 'unsigned' | 'zip64'): Buffer {
  const wide = form === 'zip64'
  const out = Buffer.alloc(wide ? 24 : 16)
  out.writeUInt32LE(0x08074b50, 0)
  out.writeUInt32LE(facts.crc, 4)
  if (wide) {
    out.writeBigUInt64LE(BigInt(facts.storedBytes), 8)
    out.writeBigUInt64LE(BigInt(facts.bytes), 16)
  } else {
    out.writeUInt32LE(facts.storedBytes, 8)
    out.writeUInt32LE(facts.bytes, 12)
  }
  return form === 'unsigned' ? out.subarray(4) : out
}

function end64(entries: number, bytes: number, offset: number): Buffer {
  const out = Buffer.alloc(56 + 20)
  out.writeUInt32LE(0x06064b50, 0)
  out.writeBigUInt64LE(44n, 4)
  out.writeBigUInt64LE(BigInt(entries), 24)
  out.writeBigUInt64LE(BigInt(entries), 32)
  out.writeBigUInt64LE(BigInt(bytes), 40)
  out.writeBigUInt64LE(BigInt(offset), 48)
  out.writeUInt32LE(0x07064b50, 56)
  out.writeBigUInt64LE(BigInt(offset + bytes), 64)
  out.writeUInt32LE(1, 72)
  return out
}

export function safetensorsBytes(tensors: Readonly<Record<string, Plain>>, metadata?: Readonly<Record<string, string>>, padTo = 8): Buffer {
  const header: Record<string, unknown> = metadata === undefined ? {} : { __metadata__: metadata }
  let at = 0
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype: SAFETENSORS_NAMES[dtype], shape, data_offsets: [at, at + data.byteLength] }
    at += data.byteLength
  }
  return safetensorsRaw(JSON.stringify(header), Buffer.concat(Object.values(tensors).map(({ data }) => bytesOf(data))), padTo)
}

export function safetensorsRaw(header: string | Uint8Array, data: Uint8Array = Buffer.alloc(0), padTo = 1, length?: bigint): Buffer {
  const text = Buffer.from(header as string)
  const padded = Buffer.concat([text, Buffer.alloc((padTo - (8 + text.length) % padTo) % padTo, 0x20)])
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(length ?? BigInt(padded.length))
  return Buffer.concat([size, padded, data])
}

/** Elements with every byte pattern there is; bools stay 0 and 1. */
export function pattern(dtype: DType, shape: readonly number[], seed = 1): Plain {
  const count = shape.reduce((product, extent) => product * extent, 1)
  const bytes = new Uint8Array(count * sizeOf(dtype))
  let state = seed
  for (let k = 0; k < bytes.length; k++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    bytes[k] = dtype === 'bool' ? state >>> 30 & 1 : state >>> 16
  }
  const { array } = DTYPES[dtype]
  return { dtype, shape, data: new array(bytes.buffer, 0, bytes.length / array.BYTES_PER_ELEMENT) }
}
