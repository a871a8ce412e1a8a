import { expect, test } from 'vitest'
import fc from 'fast-check'
import { crc32 } from 'node:zlib'
import { native } from '../../src/native/load.js'
import { combine, RangeCrc } from '../../src/sources/crc.js'
import { random } from './random.js'
import { swap } from './write.js'

/** Element (i, j, …) of a Fortran-ordered array, one at a time. */
function slowRows(source: Uint8Array, shape: readonly number[], size: number, start: number, stop: number): Buffer {
  const rows = [stop - start, ...shape.slice(1)]
  const out = Buffer.alloc(rows.reduce((product, extent) => product * extent, size))
  const index = shape.map(() => 0)
  for (let to = 0; to < out.length; to += size) {
    let from = 0
    for (let axis = shape.length - 1; axis >= 0; axis--) from = from * shape[axis]! + index[axis]! + (axis === 0 ? start : 0)
    Buffer.from(source.buffer, source.byteOffset, source.byteLength).copy(out, to, from * size, (from + 1) * size)
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < rows[axis]!) break
      index[axis] = 0
    }
  }
  return out
}

const shapes = fc.array(fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constantFrom(31, 32, 33, 65)), { minLength: 1, maxLength: 4 }).filter((shape) => shape.reduce((a, b) => a * b, 1) < 60_000)

test('fromFortran equals the slow form: any rank, element size, row range, address', async () => {
  const draw = random(21)
  await fc.assert(fc.asyncProperty(shapes, fc.constantFrom(1, 2, 4, 8, 16), fc.nat(), fc.nat(), fc.integer({ min: 0, max: 9 }), async (shape, size, a, b, shift) => {
    const bytes = shape.reduce((product, extent) => product * extent, size)
    const memory = Uint8Array.from({ length: bytes + shift }, () => draw(256))
    const source = memory.subarray(shift)
    const start = a % (shape[0]! + 1)
    const stop = start + b % (shape[0]! - start + 1)
    const row = shape.slice(1).reduce((product, extent) => product * extent, size)
    const guarded = new Uint8Array((stop - start) * row + 32).fill(0xa5)
    await native().fromFortran(source, shape, size, start, stop, guarded.subarray(16, 16 + (stop - start) * row))
    expect(Buffer.compare(guarded.subarray(16, 16 + (stop - start) * row), slowRows(source, shape, size, start, stop))).toBe(0)
    expect([...guarded.subarray(0, 16), ...guarded.subarray(16 + (stop - start) * row)].every((byte) => byte === 0xa5)).toBe(true)
  }), { numRuns: 300, seed: 4 })
})

test('a large array is split between threads', async () => {
  const shape = [1000, 37, 101]
  const source = Uint8Array.from({ length: 1000 * 37 * 101 * 4 }, (_, k) => (k * 2654435761) >>> 24)
  const out = new Uint8Array(source.length)
  await native().fromFortran(source, shape, 4, 0, 1000, out)
  expect(Buffer.compare(out, slowRows(source, shape, 4, 0, 1000))).toBe(0)
})

test('arguments that would leave memory are refused', () => {
  const bytes = new Uint8Array(24)
  const from = native().fromFortran
  expect(() => from(bytes, [2, 3], 4, 0, 2, new Uint8Array(23))).toThrow(RangeError)
  expect(() => from(bytes, [2, 4], 4, 0, 2, new Uint8Array(32))).toThrow(RangeError)
  expect(() => from(bytes, [2, 3], 3, 0, 2, bytes)).toThrow(RangeError)
  expect(() => from(bytes, [2, 3], 4, 1, 3, bytes)).toThrow(RangeError)
  expect(() => from(bytes, [2 ** 40, 2 ** 40], 4, 0, 1, bytes)).toThrow(RangeError)
  expect(() => from(bytes, [], 4, 0, 1, bytes)).toThrow(RangeError)
  expect(() => native().copySwapped(bytes, 3, bytes)).toThrow(RangeError)
  expect(() => native().copySwapped(bytes, 16, bytes)).toThrow(RangeError)
  expect(() => native().copySwapped(bytes.subarray(1), 2, bytes.subarray(1))).toThrow(RangeError)
  expect(() => native().copySwapped(bytes, 2, bytes.subarray(2))).toThrow(RangeError)
})

test('copySwapped: any unit, length and address, in place or not', async () => {
  const draw = random(22)
  for (const unit of [1, 2, 4, 8]) {
    for (let count = 0; count < 40; count++) {
      for (const shift of [0, 1, 3]) {
        const source = Uint8Array.from({ length: count * unit + shift + 5 }, () => draw(256)).subarray(shift, shift + count * unit)
        const expected = swap(source, unit)
        const out = new Uint8Array(count * unit + 8).fill(0xa5)
        await native().copySwapped(source, unit, out.subarray(4, 4 + count * unit))
        expect(Buffer.compare(out.subarray(4, 4 + count * unit), expected)).toBe(0)
        expect([...out.subarray(0, 4), ...out.subarray(4 + count * unit)].every((byte) => byte === 0xa5)).toBe(true)
        await native().copySwapped(source, unit, source)
        expect(Buffer.compare(source, expected)).toBe(0)
      }
    }
  }
  const large = Uint8Array.from({ length: 10 * 2 ** 20 }, (_, k) => (k * 2654435761) >>> 24)
  const out = new Uint8Array(large.length)
  await native().copySwapped(large, 8, out)
  expect(Buffer.compare(out, swap(large, 8))).toBe(0)
})

test('a CRC-32 put together from ranges in any order is that of the whole', async () => {
  const draw = random(23)
  const bytes = Uint8Array.from({ length: 300_000 }, () => draw(256))
  expect(combine(crc32(bytes.subarray(0, 777)), crc32(bytes.subarray(777)), bytes.length - 777)).toBe(crc32(bytes))
  expect(combine(5, 0, 0)).toBe(5)
  for (let round = 0; round < 30; round++) {
    const crc = new RangeCrc(bytes.length)
    const reads = Array.from({ length: 12 }, () => { const start = draw(bytes.length); return [start, start + draw(bytes.length - start + 1)] as const })
    await Promise.all(reads.map(([start, stop]) => crc.add(start, bytes.subarray(start, stop))))
    const covered = new Uint8Array(bytes.length)
    for (const [start, stop] of reads) covered.fill(1, start, stop)
    expect(crc.value).toBe(covered.includes(0) ? undefined : crc32(bytes))
    await crc.add(0, bytes)
    expect(crc.value).toBe(crc32(bytes))
  }
  expect(new RangeCrc(0).value).toBe(0)
})
