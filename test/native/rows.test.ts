import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RaggedTable, RowTable, VerifiedBlob } from '../../src/native/addon.js'
import { native } from '../../src/native/load.js'

const addon = native()
let dir: string
let files = 0
/** Whether rows are copied from where they are mapped, or read. */
let resident = true
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'tensorcache-rows-')) })
afterAll(() => rmSync(dir, { recursive: true, force: true }))

interface Blob { path: string; content: Uint8Array; verified: VerifiedBlob }

/** Writes `content`, then `damage` bytes of it are changed in the file. */
async function blob(content: Uint8Array, chunkBytes: number, damage: number[] = []): Promise<Blob> {
  const path = join(dir, `blob-${files++}`)
  writeFileSync(path, content)
  const checksums = await addon.xxh64Chunks(content, chunkBytes)
  const fd = openSync(path, 'r+')
  for (const at of damage) writeSync(fd, new Uint8Array([content[at]! ^ 1]), 0, 1, at)
  closeSync(fd)
  return { path, content, verified: new addon.VerifiedBlob(new addon.MappedFile(path), checksums, chunkBytes) }
}

describe('VerifiedBlob', () => {
  test.each([[1, 64], [64, 64], [65, 64], [1000, 64], [10_000, 4096], [10_000, 1], [10_000, 2 ** 40]])('%i bytes in chunks of %d are checked as they are touched', async (size, chunk) => {
    const { verified } = await blob(randomBytes(size), chunk)
    expect(verified.isVerified(0, size)).toBe(false)
    expect(await verified.verify(0, 1)).toBe(-1)
    expect(verified.isVerified(0, Math.min(size, chunk))).toBe(true)
    expect(verified.isVerified(0, size)).toBe(size <= chunk)
    expect(await verified.verify(size - 1, 1)).toBe(-1)
    expect(await verified.verify(0, size)).toBe(-1)
    expect(verified.isVerified(0, size)).toBe(true)
    expect(verified.isVerified(size, 0)).toBe(true)
  })

  test('every flipped bit is found, and where', async () => {
    const size = 1000
    const content = randomBytes(size)
    for (let at = 0; at < size; at += 37) {
      const { verified } = await blob(content, 96, [at])
      const chunk = Math.floor(at / 96) * 96
      expect(await verified.verify(0, size)).toBe(chunk)
      expect(verified.isVerified(0, size)).toBe(false)
      expect(verified.isVerified(chunk, 1)).toBe(false)
      if (chunk > 0) expect(await verified.verify(0, chunk)).toBe(-1)
      if (chunk + 96 < size) expect(await verified.verify(chunk + 96, size - chunk - 96)).toBe(-1)
    }
  })

  test('a file that lost its end is damaged, also where zeros are what was written', async () => {
    const content = new Uint8Array(64 * 1024)
    const { path, verified } = await blob(content, 16384)
    expect(await verified.verify(0, 16384)).toBe(-1)
    truncateSync(path, 20_000)
    expect(await verified.verify(0, content.length)).toBe(16384)
  })

  test('a mapping that lost a page is damaged everywhere', async () => {
    const path = join(dir, 'lost')
    writeFileSync(path, new Uint8Array(64 * 1024))
    const file = new addon.MappedFile(path)
    const verified = new addon.VerifiedBlob(file, await addon.xxh64Chunks(new Uint8Array(64 * 1024), 16384), 16384)
    expect(await verified.verify(0, 65536)).toBe(-1)
    truncateSync(path, 0)
    expect(new Uint8Array(file.view(0, 1))[0]).toBe(0)
    expect(file.faulted).toBe(true)
    expect(verified.isVerified(0, 1)).toBe(false)
    expect(await verified.verify(0, 65536)).toBe(0)
  })

  test('outlives the file object it was made with', async () => {
    const path = join(dir, 'outlived')
    const content = randomBytes(1000)
    writeFileSync(path, content)
    const file = new addon.MappedFile(path)
    const verified = new addon.VerifiedBlob(file, await addon.xxh64Chunks(content, 100), 100)
    file.close()
    expect(await verified.verify(0, 1000)).toBe(-1)
    expect(() => new addon.VerifiedBlob(file, new Uint8Array(80), 100)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
  })

  test('an empty file has nothing to check', async () => {
    const { verified } = await blob(new Uint8Array(0), 64)
    expect(verified.isVerified(0, 0)).toBe(true)
    expect(await verified.verify(0, 0)).toBe(-1)
  })

  test('misuse is refused', async () => {
    const { path, verified } = await blob(randomBytes(1000), 64)
    const file = new addon.MappedFile(path)
    for (const bytes of [0, 15 * 8, 16 * 8 - 1, 17 * 8]) expect(() => new addon.VerifiedBlob(file, new Uint8Array(bytes), 64)).toThrow(RangeError)
    expect(() => new addon.VerifiedBlob(file, new Uint8Array(128), 0)).toThrow(RangeError)
    expect(() => new addon.VerifiedBlob({} as never, new Uint8Array(128), 64)).toThrow(TypeError)
    expect(() => new addon.VerifiedBlob(verified as never, new Uint8Array(128), 64)).toThrow(TypeError)
    expect(() => verified.verify(0, 1001)).toThrow(RangeError)
    expect(() => verified.isVerified(1001, 0)).toThrow(RangeError)
  })
})

/** Rows of `rowBytes` in several blobs, in an order of their own, behind a header of another length in each. */
async function table(rows: number, rowBytes: number, blobs: number, chunk: number): Promise<{ made: Blob[]; offsets: Float64Array; blobOf: Uint32Array; rowOf: Uint32Array; row: (i: number) => Uint8Array; rows: RowTable }> {
  const perBlob = Math.ceil(rows / blobs)
  const offsets = Float64Array.from({ length: blobs }, (_, b) => 8 + 5 * b)
  const made = await Promise.all(Array.from(offsets, (offset) => blob(randomBytes(offset + perBlob * rowBytes + 3), chunk)))
  const blobOf = Uint32Array.from({ length: rows }, (_, i) => i % blobs)
  const rowOf = Uint32Array.from({ length: rows }, (_, i) => perBlob - 1 - Math.floor(i / blobs))
  const row = (i: number): Uint8Array => made[blobOf[i]!]!.content.subarray(offsets[blobOf[i]!]! + rowOf[i]! * rowBytes, offsets[blobOf[i]!]! + (rowOf[i]! + 1) * rowBytes)
  return { made, offsets, blobOf, rowOf, row, rows: new addon.RowTable(made.map(({ verified }) => verified), offsets, rowBytes, blobOf, rowOf, resident) }
}

const KINDS = [['copied from mapped pages', true], ['read', false]] as const

describe.each(KINDS)('RaggedTable, rows are %s', (_, isResident) => {
  beforeAll(() => { resident = isResident })

  /** Items of 0 to 9 rows in several blobs, a table of offsets for some of the blobs, and three rows each in the others. */
  async function ragged(items: number, rowBytes: number, blobs: number, chunk: number, damage: (blob: number) => number[] = () => []): Promise<{ made: Blob[]; rows: RaggedTable; item: (i: number) => Uint8Array; lengthOf: (i: number) => number }> {
    const perBlob = Math.ceil(items / blobs)
    const tables = Array.from({ length: blobs }, (_, b) => Array.from({ length: perBlob + 1 }, (__, k) => b % 3 === 2 ? 3 * k : Array.from({ length: k }, (___, i) => (7 * i + b) % 10).reduce((sum, x) => sum + x, 0)))
    const offsets = Float64Array.from({ length: blobs }, (_, b) => 8 + 5 * b)
    const made = await Promise.all(tables.map((offsetsOf, b) => blob(randomBytes(offsets[b]! + offsetsOf.at(-1)! * rowBytes + 3), chunk, damage(b))))
    const blobOf = Uint32Array.from({ length: items }, (_, i) => i % blobs)
    const rowOf = Uint32Array.from({ length: items }, (_, i) => perBlob - 1 - Math.floor(i / blobs))
    const span = (i: number): [number, number] => [tables[blobOf[i]!]![rowOf[i]!]!, tables[blobOf[i]!]![rowOf[i]! + 1]!]
    const item = (i: number): Uint8Array => made[blobOf[i]!]!.content.subarray(offsets[blobOf[i]!]! + span(i)[0] * rowBytes, offsets[blobOf[i]!]! + span(i)[1] * rowBytes)
    const rows = new addon.RaggedTable(made.map(({ verified }) => verified), offsets, rowBytes, tables.map((all, b) => b % 3 === 2 ? 3 : BigInt64Array.from(all, BigInt)), blobOf, rowOf, resident)
    return { made, rows, item, lengthOf: (i) => span(i)[1] - span(i)[0] }
  }

  test.each([[1, 1, 1, 1], [10, 3, 3, 64], [100, 12, 4, 64], [257, 513, 5, 1000], [900, 4096, 3, 65536]])('%i items of rows of %i bytes in %i blobs', async (items, rowBytes, blobs, chunk) => {
    const { rows, item, lengthOf } = await ragged(items, rowBytes, blobs, chunk)
    const indices = Float64Array.from({ length: 2 * items }, (_, k) => (k * 7919) % items)
    const offsets = new Float64Array(indices.length + 1)
    rows.offsets(indices, offsets)
    expect([...offsets]).toEqual(Array.from(indices).reduce((sums, i) => [...sums, sums.at(-1)! + lengthOf(i)], [0]))
    const room = new Uint8Array(offsets.at(-1)! * rowBytes + 2).fill(0xa5)
    expect(await rows.gather(indices, room.subarray(1, -1))).toBe(-1)
    expect(Buffer.from(room.subarray(1, -1)).equals(Buffer.concat(Array.from(indices, item)))).toBe(true)
    expect([room[0], room.at(-1)]).toEqual([0xa5, 0xa5])
  })

  test('the first item in a damaged chunk is named', async () => {
    const { rows, made, item } = await ragged(60, 100, 2, 200, (b) => b === 1 ? [8 + 5 + 40] : [])
    const all = Float64Array.from({ length: 60 }, (_, i) => i)
    const bad = Array.from(all).findIndex((i) => i % 2 === 1 && item(i).length > 0 && item(i).byteOffset - made[1]!.content.byteOffset < 200)
    const total = Array.from(all).reduce((sum, i) => sum + item(i).length, 0)
    expect(await rows.gather(all, new Uint8Array(total))).toBe(bad)
    expect(await rows.gather(all.filter((i) => i % 2 === 0), new Uint8Array(total))).toBe(-1)
  })

  test('what leaves its blob, or falls, or names nothing rejects before anything is copied', async () => {
    const { verified } = await blob(randomBytes(1000), 64)
    const of = (rows: BigInt64Array | number, row = 0, rowBytes = 10): RaggedTable => new addon.RaggedTable([verified], new Float64Array([0]), rowBytes, [rows], new Uint32Array(1), Uint32Array.of(row), resident)
    const zero = new Float64Array([0])
    const out = new Uint8Array(1000)
    expect(await of(BigInt64Array.of(0n, 100n)).gather(zero, out)).toBe(-1)
    expect(await of(100).gather(zero, out)).toBe(-1)
    for (const table of [of(BigInt64Array.of(0n, 101n)), of(BigInt64Array.of(101n, 101n)), of(BigInt64Array.of(5n, 4n)), of(BigInt64Array.of(-1n, 4n)), of(BigInt64Array.of(0n, 2n ** 62n)), of(BigInt64Array.of(0n), 0), of(101), of(1, 100), of(2 ** 52, 0xffffffff), of(BigInt64Array.of(0n, 1n), 1)]) {
      await expect(table.gather(zero, out)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' })
      expect(() => table.offsets(zero, new Float64Array(2))).toThrow(RangeError)
    }
    for (const index of [-1, 1, 0.5, NaN]) expect(() => of(1).offsets(Float64Array.of(index), new Float64Array(2))).toThrow(RangeError)
    await expect(of(100).gather(zero, out.subarray(1))).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' })
    expect(() => of(1).offsets(zero, new Float64Array(1))).toThrow(RangeError)
    expect(() => of(-1)).toThrow(RangeError)
    expect(() => of(new BigInt64Array(0))).toThrow(RangeError)
    expect(() => of([0, 1] as never)).toThrow(TypeError)
  })

  test('numbers of nodes and edges', () => {
    const batch = new Int32Array(7).fill(-1)
    addon.numberNodes(Float64Array.of(0, 2, 2, 6), batch)
    expect([...batch]).toEqual([0, 0, 2, 2, 2, 2, -1])
    const index = new Int32Array(5).fill(-1)
    addon.numberEdges(Float64Array.of(0, 2, 2, 6), Float64Array.of(0, 3, 3, 4), Int32Array.of(0, 1, 0, 3), index)
    expect([...index]).toEqual([0, 1, 0, 5, -1])
    for (const bad of [Float64Array.of(0, 8), Float64Array.of(1, 2), Float64Array.of(0, 2, 1), Float64Array.of(0, 0.5), Float64Array.of(0, NaN), new Float64Array(0)]) {
      expect(() => addon.numberNodes(bad, batch)).toThrow(RangeError)
      expect(() => addon.numberEdges(Float64Array.of(0, 2), bad, new Int32Array(4), index)).toThrow(RangeError)
    }
    expect(() => addon.numberEdges(Float64Array.of(0, 2), Float64Array.of(0, 4), new Int32Array(3), index)).toThrow(RangeError)
  })
})

describe.each(KINDS)('RowTable, rows are %s', (_, isResident) => {
  beforeAll(() => { resident = isResident })

  test.each([
    [1, 1, 1, 1], [10, 1, 3, 64], [100, 7, 4, 64], [100, 64, 1, 4096], [257, 513, 5, 1000],
    // Enough bytes for two threads.
    [300, 16384, 3, 65536],
    // Whole pages, and sizes beside them.
    [100, 8191, 2, 65536], [70, 8192, 3, 65536], [64, 16383, 3, 65536], [64, 16397, 3, 65536], [50, 32768, 2, 65536], [9, 65536, 2, 65536], [1, 1_500_001, 1, 65536],
  ])('%i rows of %i bytes in %i blobs', async (rows, rowBytes, blobs, chunk) => {
    const { row, rows: gathered } = await table(rows, rowBytes, blobs, chunk)
    const indices = Float64Array.from({ length: 2 * rows }, (_, k) => (k * 7919) % rows)
    // One byte on each side must stay as it is.
    const room = new Uint8Array(indices.length * rowBytes + 2).fill(0xa5)
    expect(await gathered.gather(indices, room.subarray(1, -1))).toBe(-1)
    expect(Buffer.from(room.subarray(1, -1)).equals(Buffer.concat(Array.from(indices, row)))).toBe(true)
    expect([room[0], room.at(-1)]).toEqual([0xa5, 0xa5])
  })

  test('rows of whole pages are right wherever they go to in a cache line', async () => {
    for (const rowBytes of [16384, 32768]) {
      const { row, rows } = await table(20, rowBytes, 3, 65536)
      const indices = Float64Array.from({ length: 40 }, (_, k) => (k * 7919) % 20)
      const expected = Buffer.concat(Array.from(indices, row))
      const room = new Uint8Array(expected.length + 130)
      for (let at = 1; at <= 65; at++) {
        room.fill(0xa5)
        expect(await rows.gather(indices, room.subarray(at, at + expected.length))).toBe(-1)
        expect(expected.equals(room.subarray(at, at + expected.length)), `offset ${at}`).toBe(true)
        expect([room[at - 1], room[at + expected.length]]).toEqual([0xa5, 0xa5])
      }
    }
  })

  test('nothing is asked for, nothing is touched', async () => {
    const { rows } = await table(3, 16, 1, 64)
    expect(await rows.gather(new Float64Array(0), new Uint8Array(0))).toBe(-1)
  })

  test('rows without bytes', async () => {
    const { made } = await table(3, 16, 1, 64)
    const rows = new addon.RowTable(made.map(({ verified }) => verified), new Float64Array([0]), 0, new Uint32Array(5), new Uint32Array(5), resident)
    expect(await rows.gather(new Float64Array([4, 0]), new Uint8Array(0))).toBe(-1)
  })

  test('the first row in a damaged chunk is named, on one thread and on two', async () => {
    for (const rowBytes of [100, 16384]) {
      const rows = 200
      const content = randomBytes(rows * rowBytes)
      const { verified } = await blob(content, rowBytes * 2, [150 * rowBytes + 3, 21 * rowBytes])
      const gathered = new addon.RowTable([verified], new Float64Array([0]), rowBytes, new Uint32Array(rows), Uint32Array.from({ length: rows }, (_, i) => i), resident)
      const upwards = Float64Array.from({ length: rows }, (_, i) => i)
      const out = new Uint8Array(rows * rowBytes)
      expect(await gathered.gather(upwards, out)).toBe(20)
      expect(await gathered.gather(upwards.slice().reverse(), out)).toBe(rows - 1 - 151)
      expect(await gathered.gather(upwards.subarray(22, 150), out)).toBe(-1)
      expect(Buffer.from(out.subarray(0, 128 * rowBytes)).equals(content.subarray(22 * rowBytes, 150 * rowBytes))).toBe(true)
    }
  })

  test.each([[40, 4096], [200, 16384]])('a blob that is truncated later is damage: %i rows of %i bytes', async (count, rowBytes) => {
    const { made, rows } = await table(count, rowBytes, 2, 4096)
    const all = Float64Array.from({ length: count }, (_, i) => i)
    const out = new Uint8Array(count * rowBytes)
    expect(await rows.gather(all, out)).toBe(-1)
    truncateSync(made[1]!.path, 5000)
    expect(await rows.gather(all, out)).toBe(1)
  })

  test('an index that names no row rejects before anything is copied', async () => {
    const { rows } = await table(10, 16, 2, 64)
    for (const bad of [-1, 10, 0.5, NaN, Infinity, -Infinity, 2 ** 53, -0.5]) {
      const out = new Uint8Array(3 * 16).fill(0xa5)
      await expect(rows.gather(new Float64Array([1, bad, 2]), out), String(bad)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE', message: expect.stringContaining('indices[1]') })
      expect(out.every((byte) => byte === 0xa5)).toBe(true)
    }
  })

  test('a row outside its blob, or in none, rejects', async () => {
    const { verified } = await blob(randomBytes(1000), 64)
    const make = (offset: number, rowBytes: number, blobNumber: number, row: number): RowTable =>
      new addon.RowTable([verified], new Float64Array([offset]), rowBytes, new Uint32Array([blobNumber]), new Uint32Array([row]), resident)
    const out = new Uint8Array(1000)
    const zero = new Float64Array([0])
    expect(await make(0, 100, 0, 9).gather(zero, out)).toBe(-1)
    expect(await make(900, 100, 0, 0).gather(zero, out)).toBe(-1)
    for (const [offset, rowBytes, blobNumber, row] of [[0, 100, 0, 10], [901, 100, 0, 0], [1, 100, 0, 9], [0, 100, 1, 0], [0, 100, 0xffffffff, 0], [0, 1000, 0, 0xffffffff], [1000, 1, 0, 0]] as const) {
      await expect(make(offset, rowBytes, blobNumber, row).gather(zero, out)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' })
    }
    expect(() => make(0, 2 ** 53 - 1, 0, 0xffffffff).gather(zero, out)).toThrow(RangeError)
  })

  test('misuse is refused', async () => {
    const { made, rows, offsets, blobOf, rowOf } = await table(10, 16, 2, 64)
    const verified = made.map((each) => each.verified)
    expect(() => rows.gather(new Float64Array(2), new Uint8Array(31))).toThrow(RangeError)
    expect(() => rows.gather(new Float32Array(2) as never, new Uint8Array(32))).toThrow(TypeError)
    expect(() => rows.gather([0, 1] as never, new Uint8Array(32))).toThrow(TypeError)
    expect(() => new addon.RowTable(verified, new Float64Array(1), 16, blobOf, rowOf, resident)).toThrow(RangeError)
    expect(() => new addon.RowTable(verified, offsets, 16, blobOf, rowOf.subarray(1), resident)).toThrow(RangeError)
    expect(() => new addon.RowTable(verified, new Float64Array([0, 1e9]), 16, blobOf, rowOf, resident)).toThrow(RangeError)
    expect(() => new addon.RowTable(verified, new Float64Array([0, 0.5]), 16, blobOf, rowOf, resident)).toThrow(RangeError)
    expect(() => new addon.RowTable([{}, {}] as never, offsets, 16, blobOf, rowOf, resident)).toThrow(TypeError)
  })

  test('many calls at once, while chunks are checked for the first time', async () => {
    const { row, rows } = await table(2000, 777, 7, 4096)
    const calls = Array.from({ length: 40 }, (_, call) => {
      const indices = Float64Array.from({ length: 300 }, (__, k) => (k * 31 + call * 97) % 2000)
      const out = new Uint8Array(300 * 777)
      return { indices, out, done: rows.gather(indices, out) }
    })
    for (const { indices, out, done } of calls) {
      expect(await done).toBe(-1)
      expect(Buffer.from(out).equals(Buffer.concat(Array.from(indices, row)))).toBe(true)
    }
  })

  test('calls of very different length, each with its own result, from several tables and while others fail', async () => {
    const tables = await Promise.all([table(500, 4096, 3, 4096), table(300, 16384, 2, 65536), table(2000, 33, 5, 512)])
    const order: number[] = []
    const calls = Array.from({ length: 300 }, (_, call) => {
      const { row, rows } = tables[call % 3]!
      // Now and then one that is long enough to be overtaken.
      const indices = Float64Array.from({ length: call % 10 === 0 ? 250 : 1 + call % 5 }, (__, k) => (k * 31 + call * 7) % 300)
      const wrong = call % 7 === 3
      if (wrong) indices[indices.length - 1] = -1
      const out = new Uint8Array(indices.length * row(0).length)
      const done = rows.gather(indices, out).then((damaged) => ({ damaged }), ({ code }: { code: string }) => ({ code })).finally(() => order.push(call))
      return { row, indices, wrong, out, done }
    })
    for (const { row, indices, wrong, out, done } of calls) {
      expect(await done).toEqual(wrong ? { code: 'ERR_OUT_OF_RANGE' } : { damaged: -1 })
      if (!wrong) expect(Buffer.from(out).equals(Buffer.concat(Array.from(indices, row)))).toBe(true)
    }
    expect(order.toSorted((a, b) => a - b)).toEqual(calls.map((_, call) => call))
  })

  test('a call may follow another from its promise, many times over', async () => {
    const { row, rows } = await table(50, 100, 2, 64)
    await Promise.all(Array.from({ length: 8 }, async (_, chain) => {
      const out = new Uint8Array(100)
      for (let k = 0; k < 300; k++) {
        const index = (k * 7 + chain) % 50
        expect(await rows.gather(new Float64Array([index]), out)).toBe(-1)
        expect(Buffer.compare(out, row(index))).toBe(0)
      }
    }))
  })

  describe('in a process of its own', () => {
    const child = fileURLToPath(new URL('./rows.child.cjs', import.meta.url))
    let path: string
    beforeAll(() => {
      path = join(dir, 'scene')
      writeFileSync(path, randomBytes(1024 * 4096))
    })
    const scene = (name: string, ...before: string[]): { status: number | null; signal: string | null; stdout: string; stderr: string } => {
      const [command, ...args] = [...before, process.execPath, child, name, path]
      return spawnSync(command!, args, { encoding: 'utf8', timeout: 30_000 })
    }

    test.each(['worker', 'workers'])('threads that are stopped in the middle of gathers: %s', (name) => {
      expect(scene(name)).toMatchObject({ status: 0, signal: null, stdout: 'alive\n', stderr: '' })
    })

    test('the process exits in the middle of gathers', () => {
      for (let k = 0; k < 5; k++) expect(scene('exit')).toMatchObject({ status: 7, signal: null, stdout: '', stderr: '' })
      expect(scene('exception')).toMatchObject({ status: 1, signal: null, stderr: expect.stringContaining('thrown on purpose') })
    })

    test('gathers keep the process alive, and nothing does when they are done', () => {
      expect(scene('idle')).toMatchObject({ status: 0, signal: null, stdout: '50\n50\n', stderr: '' })
    })
  })
})
