import type { DType } from '../../core/dtype.js'
import { native } from '../../native/load.js'
import { bytesOfArray, type ExportArray } from './arrays.js'
import type { Output } from './output.js'

// bfloat16 has no NumPy form; its bits are written as uint16.
const DESCR: { readonly [D in DType]: string } = {
  bool: '|b1', int8: '|i1', uint8: '|u1', int16: '<i2', uint16: '<u2', int32: '<i4', uint32: '<u4', int64: '<i8', uint64: '<u8',
  float16: '<f2', bfloat16: '<u2', float32: '<f4', float64: '<f8', complex64: '<c8', complex128: '<c16',
}

interface Member { readonly name: Buffer; readonly offset: number; readonly size: number; readonly crc: number }

/** Where a member's data begins, so that readers can map it. */
const ALIGNMENT = 64
/** Sizes and offsets from here on need the 64-bit fields of zip64. */
/** Version of the format that knows zip64. */
const VERSION = 45
const LIMIT = 0xffffffff
// An extra field that readers skip, used for alignment as other writers do.
const PADDING_ID = 0xd935

/** A .npz file of stored members, aligned; names of items as fixed-width text `ids`. */
export async function writeNpz(output: Output, arrays: readonly ExportArray[], ids: readonly string[]): Promise<void> {
  const members: Member[] = []
  for (const { name, descr, shape, bytes, pieces } of [...arrays.map((array) => ({ name: array.name, descr: DESCR[array.dtype], shape: array.shape, bytes: bytesOfArray(array), pieces: () => array.pieces() })), textArray(ids)]) {
    members.push(await writeMember(output, name, npyHeader(descr, shape), bytes, pieces()))
  }
  const start = output.position
  for (const member of members) await output.append(centralRecord(member))
  await output.append(endRecords(members.length, start, output.position - start))
}

function textArray(ids: readonly string[]): { name: string; descr: string; shape: number[]; bytes: number; pieces(): Iterable<Uint8Array> } {
  const points = ids.map((id) => Array.from(id, (character) => character.codePointAt(0)!))
  const width = Math.max(1, ...points.map((list) => list.length))
  return {
    name: 'ids', descr: `<U${width}`, shape: [ids.length], bytes: ids.length * width * 4,
    * pieces() {
      for (const list of points) {
        const row = new Uint32Array(width)
        row.set(list)
        yield new Uint8Array(row.buffer)
      }
    },
  }
}

function npyHeader(descr: string, shape: readonly number[]): Buffer {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }`
  const total = Math.ceil((10 + text.length + 1) / ALIGNMENT) * ALIGNMENT
  const header = Buffer.alloc(total, 0x20)
  header.write('\x93NUMPY\x01\x00', 0, 'latin1')
  header.writeUInt16LE(total - 10, 8)
  header.write(text, 10, 'latin1')
  header[total - 1] = 0x0a
  return header
}

async function writeMember(output: Output, name: string, header: Buffer, bytes: number, pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Member> {
  const file = Buffer.from(`${name}.npy`)
  const size = header.length + bytes
  const offset = output.position
  // Room for the zip64 sizes and for the padding that aligns the data.
  const before = offset + 30 + file.length + 20 + 4
  const padding = (ALIGNMENT - before % ALIGNMENT) % ALIGNMENT
  const local = Buffer.alloc(30 + file.length + 20 + 4 + padding)
  local.writeUInt32LE(0x04034b50, 0)
  commonFields(local, 4, { name: file, extraBytes: 24 + padding, crc: 0 })
  file.copy(local, 30)
  const extra = zip64Sizes(local, 30 + file.length, size, [])
  local.writeUInt16LE(PADDING_ID, extra)
  local.writeUInt16LE(padding, extra + 2)
  await output.append(local)
  await output.append(header)
  let crc = native().crc32(header)
  let written = 0
  for await (const piece of pieces) {
    crc = await native().crc32Async(piece, crc)
    await output.append(piece)
    written += piece.byteLength
  }
  if (written !== bytes) throw new RangeError(`${name}: ${bytes} bytes announced, ${written} written`)
  const sum = Buffer.alloc(4)
  sum.writeUInt32LE(crc, 0)
  await output.patch(sum, offset + 14)
  return { name: file, offset, size, crc }
}

function centralRecord({ name, offset, size, crc }: Member): Buffer {
  const record = Buffer.alloc(46 + name.length + 28)
  record.writeUInt32LE(0x02014b50, 0)
  record.writeUInt16LE(VERSION, 4)
  commonFields(record, 6, { name, extraBytes: 28, crc })
  record.writeUInt32LE(LIMIT, 42)
  name.copy(record, 46)
  zip64Sizes(record, 46 + name.length, size, [offset])
  return record
}

/** What local and central headers share, in one order: version, flags (UTF-8 names), no compression, time, CRC, sizes (in the zip64 field), lengths. */
function commonFields(header: Buffer, at: number, { name, extraBytes, crc }: { name: Buffer; extraBytes: number; crc: number }): void {
  header.writeUInt16LE(VERSION, at)
  header.writeUInt16LE(0x0800, at + 2)
  header.writeUInt16LE(0x21, at + 8)
  header.writeUInt32LE(crc, at + 10)
  header.writeUInt32LE(LIMIT, at + 14)
  header.writeUInt32LE(LIMIT, at + 18)
  header.writeUInt16LE(name.length, at + 22)
  header.writeUInt16LE(extraBytes, at + 24)
}

/** The zip64 extra field: both sizes, which are equal, and what else the header sends there. Gives the offset of its end. */
function zip64Sizes(header: Buffer, at: number, size: number, more: readonly number[]): number {
  const values = [size, size, ...more]
  header.writeUInt16LE(1, at)
  header.writeUInt16LE(8 * values.length, at + 2)
  values.forEach((value, k) => header.writeBigUInt64LE(BigInt(value), at + 4 + 8 * k))
  return at + 4 + 8 * values.length
}

function endRecords(count: number, start: number, size: number): Buffer {
  const end = Buffer.alloc(56 + 20 + 22)
  end.writeUInt32LE(0x06064b50, 0)
  end.writeBigUInt64LE(44n, 4)
  end.writeUInt16LE(VERSION, 12)
  end.writeUInt16LE(VERSION, 14)
  end.writeBigUInt64LE(BigInt(count), 24)
  end.writeBigUInt64LE(BigInt(count), 32)
  end.writeBigUInt64LE(BigInt(size), 40)
  end.writeBigUInt64LE(BigInt(start), 48)
  end.writeUInt32LE(0x07064b50, 56)
  end.writeBigUInt64LE(BigInt(start + size), 64)
  end.writeUInt32LE(1, 72)
  end.writeUInt32LE(0x06054b50, 76)
  // The plain record carries what fits; its fields send readers to the 64-bit one where they are full.
  end.writeUInt16LE(Math.min(count, 0xffff), 84)
  end.writeUInt16LE(Math.min(count, 0xffff), 86)
  end.writeUInt32LE(Math.min(size, LIMIT), 88)
  end.writeUInt32LE(Math.min(start, LIMIT), 92)
  return end
}
