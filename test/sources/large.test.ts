import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openArrays } from '../../src/sources/arrays.js'
import { combine } from '../../src/sources/crc.js'
import { npy } from '../../src/sources/npy.js'
import { npyHeader, scratch } from './write.js'

const GIB = 2 ** 30

/** A file of pieces at their offsets, zeros between them, that occupies almost no disk. */
function sparse(name: string, size: number, pieces: readonly [offset: number, bytes: Uint8Array][]): string {
  const path = join(scratch(), name)
  const fd = openSync(path, 'w')
  ftruncateSync(fd, size)
  for (const [offset, bytes] of pieces) writeSync(fd, bytes, 0, bytes.length, offset)
  closeSync(fd)
  return path
}

function header(rows: number, columns: number): Buffer {
  return npyHeader(`{'descr': '<f8', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`)
}

test('rows beyond 4 GiB, of a .npy of 64 GiB', async () => {
  const [rows, columns] = [2 ** 19, 2 ** 14]
  const last = Buffer.from(Float64Array.from({ length: columns }, (_, k) => k / 3).buffer)
  const head = header(rows, columns)
  const size = head.length + 64 * GIB
  const { data } = await openArrays(sparse('large.npy', size, [[0, head], [size - last.length, last]]))
  expect((await data!.read({ start: rows - 1, stop: rows })).data).toEqual(new Float64Array(last.buffer, last.byteOffset, columns))
  // A row range that crosses the first GiB, where a window over the mapping ends.
  const row = Math.floor((GIB - head.length) / (columns * 8))
  expect((await data!.read({ start: row, stop: row + 2 })).data.length).toBe(2 * columns)
  await expect(data!.read({ start: 0, stop: 40_000 })).rejects.toThrow(RangeError)
  expect((await data!.cast('float32').read({ start: rows - 2, stop: rows })).data.at(-1)).toBe(Math.fround((columns - 1) / 3))
})

test('a zip64 member of more than 4 GiB', async () => {
  const [rows, columns] = [655_361, 1024]
  const head = header(rows, columns)
  const bytes = head.length + rows * columns * 8
  const last = Buffer.from(Float64Array.of(1, 2, 3).buffer)
  let zeros = crc32(new Uint8Array(2 ** 20))
  let length = 2 ** 20
  const grow = (by: number, crc: number): void => { zeros = combine(zeros, crc, by); length += by }
  const holes = bytes - head.length - last.length
  while (length * 2 <= holes) grow(length, zeros)
  while (length < holes) { const by = Math.min(2 ** 20, holes - length); grow(by, crc32(new Uint8Array(by))) }
  const crc = combine(combine(crc32(head), zeros, holes), crc32(last), last.length)
  const [local, directory] = zip64Headers('x.npy', bytes, crc)
  const size = local.length + bytes + directory.length
  const path = sparse('large.npz', size, [[0, local], [local.length, head], [local.length + bytes - last.length, last], [local.length + bytes, directory]])
  const { x } = await openArrays(path)
  expect(x!.shape).toEqual([rows, columns])
  expect((await x!.read({ start: rows - 1, stop: rows })).data.slice(-4)).toEqual(Float64Array.of(0, 1, 2, 3))
})

test('a file larger than its residency budget is streamed in bounded memory', async () => {
  const [rows, columns] = [2 ** 14, 2 ** 12]
  const head = header(rows, columns)
  const path = sparse('stream.npy', head.length + rows * columns * 8, [[0, head]])
  const source = await npy(path, { residencyBytes: 2 ** 20 })
  const before = process.memoryUsage().rss
  let peak = 0
  for await (const run of source.read(0, source.length, { fields: ['data'] })) {
    peak = Math.max(peak, process.memoryUsage().rss)
    expect(run.fields.data!.data.at(-1)).toBe(0)
  }
  const { data } = await openArrays(path, { residencyBytes: 2 ** 20 })
  for (let row = 0; row < rows; row += 512) {
    await data!.cast('float32').read({ start: row, stop: row + 512 })
    peak = Math.max(peak, process.memoryUsage().rss)
  }
  expect(peak - before).toBeLessThan(256 * 2 ** 20)
})

function zip64Headers(name: string, bytes: number, crc: number): [Buffer, Buffer] {
  const sizes = (...values: number[]): Buffer => {
    const extra = Buffer.alloc(4 + 8 * values.length)
    extra.writeUInt16LE(1, 0)
    extra.writeUInt16LE(8 * values.length, 2)
    values.forEach((value, k) => { extra.writeBigUInt64LE(BigInt(value), 4 + 8 * k) })
    return extra
  }
  const local = Buffer.alloc(30)
  local.writeUInt32LE(0x04034b50, 0)
  local.writeUInt32LE(crc, 14)
  local.fill(0xff, 18, 26)
  local.writeUInt16LE(name.length, 26)
  local.writeUInt16LE(20, 28)
  const head = Buffer.concat([local, Buffer.from(name), sizes(bytes, bytes)])
  const entry = Buffer.alloc(46)
  entry.writeUInt32LE(0x02014b50, 0)
  entry.writeUInt32LE(crc, 16)
  entry.fill(0xff, 20, 28)
  entry.writeUInt16LE(name.length, 28)
  entry.writeUInt16LE(20, 30)
  const directory = Buffer.concat([entry, Buffer.from(name), sizes(bytes, bytes)])
  const end64 = Buffer.alloc(76)
  end64.writeUInt32LE(0x06064b50, 0)
  end64.writeBigUInt64LE(44n, 4)
  end64.writeBigUInt64LE(1n, 24)
  end64.writeBigUInt64LE(1n, 32)
  end64.writeBigUInt64LE(BigInt(directory.length), 40)
  end64.writeBigUInt64LE(BigInt(head.length + bytes), 48)
  end64.writeUInt32LE(0x07064b50, 56)
  end64.writeBigUInt64LE(BigInt(head.length + bytes + directory.length), 64)
  end64.writeUInt32LE(1, 72)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.fill(0xff, 8, 20)
  return [head, Buffer.concat([directory, end64, end])]
}
