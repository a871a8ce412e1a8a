import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { combine } from '../../src/sources/crc.js'
import { npyHeader } from './write.js'

/** A file of pieces at their offsets, zeros between them, that occupies almost no disk. */
export function writeSparse(path: string, size: number, pieces: readonly (readonly [offset: number, bytes: Uint8Array])[]): void {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, size)
  for (const [offset, bytes] of pieces) writeSync(fd, bytes, 0, bytes.length, offset)
  closeSync(fd)
}

/** A float64 array of a member: zeros, of which nothing is written, and `data` at its end. */
export interface SparseArray { readonly name: string; readonly shape: readonly number[]; readonly data?: Float64Array }

/** An NPZ of stored members in the zip64 form, with the right CRC-32 of each. */
export function writeSparseNpz(path: string, arrays: readonly SparseArray[]): void {
  const pieces: [number, Uint8Array][] = []
  const entries: Buffer[] = []
  let at = 0
  for (const { name, shape, data = new Float64Array(0) } of arrays) {
    const head = npyHeader(`{'descr': '<f8', 'fortran_order': False, 'shape': (${shape.join(', ')},), }`)
    const bytes = shape.reduce((all, extent) => all * extent, 8)
    const content = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    const crc = combine(combine(crc32(head), crcOfZeros(bytes - content.length), bytes - content.length), crc32(content), content.length)
    const size = head.length + bytes
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt32LE(crc, 14)
    local.fill(0xff, 18, 26)
    local.writeUInt16LE(name.length + 4, 26)
    local.writeUInt16LE(20, 28)
    const before = Buffer.concat([local, Buffer.from(`${name}.npy`), zip64(size, size)])
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50, 0)
    entry.writeUInt32LE(crc, 16)
    entry.fill(0xff, 20, 28)
    entry.writeUInt16LE(name.length + 4, 28)
    entry.writeUInt16LE(28, 30)
    entry.fill(0xff, 42, 46)
    entries.push(Buffer.concat([entry, Buffer.from(`${name}.npy`), zip64(size, size, at)]))
    pieces.push([at, before], [at + before.length, head], [at + before.length + size - content.length, content])
    at += before.length + size
  }
  const directory = Buffer.concat(entries)
  const end64 = Buffer.alloc(76)
  end64.writeUInt32LE(0x06064b50, 0)
  end64.writeBigUInt64LE(44n, 4)
  end64.writeBigUInt64LE(BigInt(entries.length), 24)
  end64.writeBigUInt64LE(BigInt(entries.length), 32)
  end64.writeBigUInt64LE(BigInt(directory.length), 40)
  end64.writeBigUInt64LE(BigInt(at), 48)
  end64.writeUInt32LE(0x07064b50, 56)
  end64.writeBigUInt64LE(BigInt(at + directory.length), 64)
  end64.writeUInt32LE(1, 72)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.fill(0xff, 8, 20)
  const tail = Buffer.concat([directory, end64, end])
  writeSparse(path, at + tail.length, [...pieces, [at, tail]])
}

function zip64(...values: number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * values.length)
  extra.writeUInt16LE(1, 0)
  extra.writeUInt16LE(8 * values.length, 2)
  values.forEach((value, k) => { extra.writeBigUInt64LE(BigInt(value), 4 + 8 * k) })
  return extra
}

/** By doubling: of 64 GB in a moment. */
function crcOfZeros(bytes: number): number {
  let crc = 0
  let done = 0
  let [power, powerBytes] = [crc32(new Uint8Array(1)), 1]
  for (let left = bytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) {
      crc = done === 0 ? power : combine(crc, power, powerBytes)
      done += powerBytes
    }
    power = combine(power, power, powerBytes)
    powerBytes *= 2
  }
  return crc
}
