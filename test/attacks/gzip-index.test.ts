// Notes that a source gets back are bytes that somebody may have changed: they make reading slower at most.
import { beforeAll, describe, expect, test } from 'vitest'
import { sha256, toHex } from '../../src/core/hash.js'
import { native } from '../../src/native/load.js'
import { OpenFile } from '../../src/sources/file.js'
import { decodeIndex, encodeIndex, spacingOf, type IndexedFile } from '../../src/sources/gzip-index.js'
import { GzipRanges } from '../../src/sources/gzip-ranges.js'
import { random } from '../sources/random.js'
import { longGz, longSeries, MapNotes } from '../sources/series.js'
import { file } from '../sources/write.js'

let raw: Buffer
let path: string
let of: IndexedFile
/** Of the whole file, and of its first half. */
let complete: Uint8Array
let half: Uint8Array
const CASES = process.env.TENSORCACHE_LONG === '1' ? 3000 : 150

beforeAll(async () => {
  raw = longSeries()
  const gz = longGz(raw, 3)
  path = file('a.nii.gz', gz)
  of = { digest: toHex(sha256(gz)), size: gz.length, bytes: raw.length }
  const notes = new MapNotes()
  const ranges = await GzipRanges.open(OpenFile.open(path), of, notes)
  await ranges.read(raw.length >> 1, new Uint8Array(1), 1)
  await ranges.save(notes)
  half = [...notes.kept.values()][0]!
  await ranges.read(raw.length - 1, new Uint8Array(1), 1)
  await ranges.save(notes)
  complete = [...notes.kept.values()][0]!
  ranges.close()
})

/** As somebody would who knows the format. */
function sealed(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes)
  if (copy.length >= 16) copy.writeBigUInt64LE(native().xxh64(copy.subarray(16)), 8)
  return copy
}

/** Reads some ranges with such a note; they are right whatever it says. Gives whether another was put in its place. */
async function readWith(note: Uint8Array, at: readonly number[] = [100, raw.length >> 2, (raw.length >> 1) - 5000, raw.length - 40_000]): Promise<MapNotes> {
  const notes = new MapNotes()
  const get = notes.get.bind(notes)
  notes.get = async (key) => await get(key) ?? note
  const ranges = await GzipRanges.open(OpenFile.open(path), of, notes)
  for (const from of at) {
    const out = new Uint8Array(40_000)
    await ranges.read(from, out, 1)
    expect(Buffer.compare(out, raw.subarray(from, from + out.length)), `from ${from}`).toBe(0)
  }
  await ranges.read(raw.length - 1, new Uint8Array(1), 1)
  await ranges.save(notes)
  ranges.close()
  return notes
}

describe('an index of a gzip file', () => {
  test('that is sound is used, and not written again', async () => {
    expect((await readWith(complete)).puts).toBe(0)
    expect((await readWith(half)).puts).toBe(1)
  })

  test('cut anywhere is no index, and one is made', async () => {
    for (const length of [0, 1, 7, 8, 16, 100, 119, 120, 121, 200, complete.length - 1]) expect(decodeIndex(of, complete.subarray(0, length)), `${length}`).toBeUndefined()
    for (const length of [0, 120, 300, complete.length >> 1]) expect(decodeIndex(of, sealed(complete.subarray(0, length))), `${length}`).toBeUndefined()
    expect(decodeIndex(of, sealed(Buffer.concat([complete, Buffer.from([0])])))).toBeUndefined()
    const notes = await readWith(complete.subarray(0, 1000))
    expect(Buffer.compare([...notes.kept.values()][0]!, complete)).toBe(0)
  })

  test('with any bit changed is no index', () => {
    const draw = random(3)
    for (let k = 0; k < 400; k++) {
      const bad = Uint8Array.from(complete)
      bad[k < 200 ? k % 120 : draw(bad.length)]! ^= 1 << draw(8)
      expect(decodeIndex(of, bad)).toBeUndefined()
    }
  })

  test('of another file, another size, other bytes or another version is no index', () => {
    expect(decodeIndex(of, complete)).toBeDefined()
    expect(decodeIndex({ ...of, digest: toHex(sha256('x')) }, complete)).toBeUndefined()
    expect(decodeIndex({ ...of, size: of.size + 1 }, complete)).toBeUndefined()
    expect(decodeIndex({ ...of, bytes: of.bytes - 1 }, complete)).toBeUndefined()
    const newer = Uint8Array.from(complete)
    newer[7] = 2
    expect(decodeIndex(of, sealed(newer))).toBeUndefined()
  })

  test.each<[string, number, number]>([
    ['more points than there may be', 112, 257], ['points that are not there', 112, 255], ['checks that are not there', 116, 1], ['a state that is neither', 108, 2], ['not complete after all', 108, 0],
  ])('%s', (_, at, value) => {
    const bad = Buffer.from(complete)
    bad.writeUInt32LE(value, at)
    expect(decodeIndex(of, sealed(bad))).toBeUndefined()
  })

  test.each<[string, number, bigint]>([
    ['a point beyond the end', 0, 1n << 40n], ['a point at 0', 0, 0n], ['a block header beyond the file', 8, 1n << 50n], ['a symbol beyond the file', 16, 1n << 50n], ['a run of another block', 24, 0n], ['a run behind its point', 24, 1n << 30n],
  ])('%s', (_, offset, value) => {
    const bad = Buffer.from(complete)
    bad.writeBigUInt64LE(value, 120 + offset)
    expect(decodeIndex(of, sealed(bad))).toBeUndefined()
  })

  test('the window of another place is noticed by the CRC-32 of what is read', async () => {
    const index = decodeIndex(of, complete)!
    const { packed } = index
    expect(packed.length).toBeGreaterThan(2)
    const turned = encodeIndex(of, { ...index, numbers: Float64Array.from(index.numbers) }, [...packed.slice(1), packed[0]!])
    expect(decodeIndex(of, turned)).toBeDefined()
    const notes = await readWith(turned)
    expect(Buffer.compare([...notes.kept.values()][0]!, complete)).toBe(0)
  })

  test('checks of other bytes', async () => {
    const index = decodeIndex(of, complete)!
    const notes = await readWith(encodeIndex(of, { ...index, checks: index.checks.map((check) => check ^ 1) }, index.packed))
    expect(Buffer.compare([...notes.kept.values()][0]!, complete)).toBe(0)
  })

  test(`any bytes changed by somebody who knows the format: ${CASES} times`, async () => {
    const draw = random(17)
    const points = 120 + 4 * 56
    let taken = 0
    for (let k = 0; k < CASES; k++) {
      const bad = Buffer.from(draw(2) === 0 ? complete : half)
      const at = draw(4) > 0 ? 80 + draw(points - 80) : draw(bad.length)
      bad[at] = draw(3) === 0 ? draw(256) : bad[at]! ^ 1 << draw(8)
      if (decodeIndex(of, sealed(bad)) === undefined) continue
      taken++
      await readWith(sealed(bad), [draw(raw.length - 40_000)])
    }
    expect(taken).toBeGreaterThan(CASES / 5)
  }, 600_000)

  test('numbers that can be no addresses are refused before any work', () => {
    const { every, block } = spacingOf(of.bytes)
    const gz = longGz(raw.subarray(0, 1000))
    const make = (numbers: readonly number[], windows = new Uint8Array(0), checks: unknown = new Uint32Array(0)): unknown => new (native().Inflate)(gz, 1000, every, true, block, { numbers: Float64Array.from(numbers), checks: checks as Uint32Array, windows })
    expect(() => make([1, 2])).toThrow(RangeError)
    expect(() => make([0, 0, NaN, 0, 0])).toThrow(RangeError)
    expect(() => make([0, 0, -1, 0, 0])).toThrow(RangeError)
    expect(() => make([0, 0, 0, 0, 0, 7, 3, 0, 0, 0, 0, 0, 0, 0, 0])).toThrow(RangeError)
    expect(() => make([0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 40_000, 0])).toThrow(RangeError)
    expect(() => make([0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 4, 5], new Uint8Array(4))).toThrow(RangeError)
    expect(() => make([0, 0, 0, 0, 0], new Uint8Array(0), new Uint8Array(0))).toThrow(TypeError)
    expect(() => new (native().Inflate)(gz, 1000, every, false, block)).toThrow(RangeError)
    expect(() => new (native().Inflate)(gz, 1000, every, true, 1000)).toThrow(RangeError)
  })
})
