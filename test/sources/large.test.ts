import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openArrays } from '../../src/sources/arrays.js'
import { npy } from '../../src/sources/npy.js'
import { writeSparse, writeSparseNpz } from './sparse.js'
import { npyHeader, scratch } from './write.js'

const GIB = 2 ** 30

/** Path of a file of pieces with zeros between them. */
function sparse(name: string, size: number, pieces: readonly [offset: number, bytes: Uint8Array][]): string {
  const path = join(scratch(), name)
  writeSparse(path, size, pieces)
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
  const path = join(scratch(), 'large.npz')
  writeSparseNpz(path, [{ name: 'x', shape: [rows, columns], data: Float64Array.of(1, 2, 3) }])
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
