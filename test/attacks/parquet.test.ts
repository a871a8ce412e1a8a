import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as fc from 'fast-check'
import { ByteWriter, parquetWrite } from 'hyparquet-writer'
import { describe, expect, test } from 'vitest'
import { FormatError, UnsupportedError } from '../../src/core/errors.js'
import { factsOf } from '../../src/sources/parquet-schema.js'
import { parquet, type ParquetOptions } from '../../src/sources/parquet.js'
import { file } from '../sources/write.js'

const BYTES_MAX = 512 * 2 ** 20
const MILLISECONDS_MAX = 30_000

async function use(path: string, options?: ParquetOptions): Promise<number> {
  const source = await parquet(path, options)
  try {
    let items = 0
    for await (const run of source.read(0, source.length, { fields: Object.keys(source.fields) })) items += run.count
    return items
  } finally {
    source.close()
  }
}

async function refused(bytes: Uint8Array, place: RegExp, kind: typeof FormatError | typeof UnsupportedError = FormatError): Promise<void> {
  const path = file('x.parquet', bytes)
  const before = process.memoryUsage().rss
  const began = performance.now()
  const error = await use(path).then(() => undefined, (error: unknown) => error)
  expect(error, 'nothing was refused').toBeDefined()
  if (!(error instanceof kind)) throw error
  expect(error.file).toBe(path)
  expect(error.message.length).toBeLessThan(1_000)
  expect(`${error.place}: ${error.message}`).toMatch(place)
  expect(performance.now() - began).toBeLessThan(MILLISECONDS_MAX)
  expect(process.memoryUsage().rss - before).toBeLessThan(BYTES_MAX)
}

const FIXTURES = resolve(import.meta.dirname, '../fixtures/parquet')

/** 100 rows, uncompressed: definition levels are one run of 100, `c8 01 01` behind their length. */
function sound(): Buffer {
  const writer = new ByteWriter()
  parquetWrite({ writer, columnData: [{ name: 'n', data: Array.from({ length: 100 }, (_, k) => k / 2), type: 'DOUBLE', encoding: 'PLAIN' }], codec: 'UNCOMPRESSED', statistics: false })
  return Buffer.from(writer.getBuffer())
}
const LEVELS = Buffer.from([0xc8, 0x01, 0x01])

function edited(edit: (bytes: Buffer) => void): Buffer {
  const bytes = sound()
  edit(bytes)
  return bytes
}

test('the file these attacks start from is sound', async () => {
  const bytes = sound()
  expect(await use(file('x.parquet', bytes))).toBe(100)
  expect(bytes.indexOf(LEVELS)).toBeGreaterThan(0)
})

describe('file', () => {
  test('empty', () => refused(Buffer.alloc(0), /PAR1 at its end, found 0 bytes/))
  test('only the magic', () => refused(Buffer.from('PAR1PAR1'), /PAR1 at its end/))
  test('a text', () => refused(Buffer.from('no Parquet file, but long enough to be one'), /PAR1 at its end/))
  test('cut off', async () => {
    const bytes = sound()
    for (const length of [bytes.length - 1, bytes.length - 9, bytes.length >> 1]) await refused(bytes.subarray(0, length), /PAR1 at its end/)
  })
  test('an encrypted footer', () => refused(edited((bytes) => bytes.write('PARE', bytes.length - 4)), /encrypted/, UnsupportedError))
  for (const length of [0, 1, 0x7fffffff, 0xffffffff]) test(`a footer of ${length} bytes`, () => refused(edited((bytes) => bytes.writeUInt32LE(length, bytes.length - 8)), /footer|a Parquet file/))
  test('a footer of zeros', () => refused(edited((bytes) => bytes.fill(0, bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8), bytes.length - 8)), /a Parquet file/))
  test('a footer that nests without end', () => refused(edited((bytes) => bytes.fill(0x1c, bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8), bytes.length - 8)), /a Parquet file/))
})

describe('records', () => {
  /** A file of which the footer is this. */
  const footed = (footer: Buffer): Buffer => {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(footer.length)
    return Buffer.concat([Buffer.from('PAR1'), footer, length, Buffer.from('PAR1')])
  }
  // A field that is a list, of 33 million structs: V8 makes room for them in one piece.
  const claim = Buffer.from([0x19, 0xfc, 0xff, 0xff, 0xff, 0x0f])
  test('a list that claims millions', () => refused(footed(claim), /goes beyond its end/))
  test('lists of millions within each other', () => refused(footed(Buffer.concat(Array<Buffer>(1000).fill(claim))), /goes beyond its end/))
  test('lists of as many as there are bytes, within each other', () => {
    const bytes = 6 * 100_000
    const each = Buffer.from([0x19, 0xfc, 0x80 | bytes - 600 & 0x7f, 0x80 | (bytes - 600) >> 7 & 0x7f, (bytes - 600) >> 14, 0x00])
    return refused(footed(Buffer.concat(Array<Buffer>(100_000).fill(each))), /beyond its end|a Parquet file/)
  })
  test('records within records', () => refused(footed(Buffer.alloc(1_000_000, 0x1c)), /more than 64 deep/))
  test('a column without a name', () => {
    const tree = { count: 2, path: [], element: { name: 'root' }, children: [{ count: 1, path: [], element: { type: 'DOUBLE' }, children: [] }] }
    expect(() => factsOf({ version: 1, schema: [], num_rows: 0n, row_groups: [], metadata_length: 0 }, tree as never, 100)).toThrow(/a name for each column/)
  })
  test('a text that is longer than the file', () => refused(footed(Buffer.from([0x18, 0xff, 0xff, 0xff, 0x7f])), /goes beyond its end/))
  test('a number without end', () => refused(footed(Buffer.concat([Buffer.from([0x15]), Buffer.alloc(100, 0xff)])), /more than 70 bits/))
})

describe('pages', () => {
  test('a page for each compression is unpacked to what it says and no further', async () => {
    for (const name of ['snappy', 'gzip', 'zstd', 'brotli', 'lz4']) {
      const good = readFileSync(join(FIXTURES, `${name}.parquet`))
      let found = 0
      for (let at = 40; at < 400; at += 7) {
        const bytes = Buffer.from(good)
        bytes.fill(0xff, at, at + 3)
        const error = await use(file('x.parquet', bytes), { fields: ['doc'] }).then(() => undefined, (error: unknown) => error)
        if (error === undefined) continue
        if (!(error instanceof FormatError || error instanceof UnsupportedError)) throw error
        if (++found === 3) break
      }
      expect(found, name).toBeGreaterThan(0)
    }
  })
  const atLevels = (...put: number[]): Buffer => edited((bytes) => { Buffer.from(put).copy(bytes, bytes.indexOf(LEVELS)) })
  test('a run of more values than there are', () => refused(atLevels(0xfe, 0x7f, 0x01), /runs of 100 numbers, found one of 8191/))
  test('a packed run that ends nowhere', () => refused(atLevels(0xff, 0xff, 0xff), /sound pages/))
  // Pages of the first version have the length of the levels in front of them: here one run of 9.
  const firstVersion = (...put: number[]): Buffer => {
    const bytes = readFileSync(join(FIXTURES, 'plain.parquet'))
    Buffer.from(put).copy(bytes, bytes.indexOf(Buffer.from([2, 0, 0, 0, 0x12, 0x01])) + 4)
    return bytes
  }
  test('a run of a billion values', () => refused(firstVersion(0xfe, 0xff, 0xff, 0xff, 0x07), /runs of 9 numbers, found one of 1073741823/))
  test('a packed run of less than nothing', () => refused(firstVersion(0xff, 0xff, 0xff, 0xff, 0x0f), /runs within the page/))
  test('runs of no values, without end', () => refused(edited((bytes) => bytes.fill(0, bytes.indexOf(LEVELS), bytes.indexOf(LEVELS) + 700)), /sound pages|a number/))
  test('zeros where the header of a page should be', () => refused(edited((bytes) => bytes.fill(0, 4, 40)), /the header of a page|values/))
  test('pages that follow no header', () => refused(edited((bytes) => bytes.fill(0xff, 4, 40)), /the header of a page|sound pages/))
})

test('bytes that are changed give items or an error that says where, and the process lives', async () => {
  const good = readFileSync(join(FIXTURES, 'snappy.parquet'))
  const columns = { fields: ['text', 'i64', 'list', 'pair'] }
  let sane = 0
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (edits) => {
    const bytes = Buffer.from(good)
    for (const [at, value] of edits) bytes[at] = value
    const error = await use(file('x.parquet', bytes), columns).then(() => { sane++ }, (error: unknown) => error)
    // A name that has changed is not there.
    if (error !== undefined && !(error instanceof FormatError || error instanceof UnsupportedError || error instanceof TypeError && error.message.startsWith('parquet: fields.'))) throw error
  }), { numRuns: 40 })
  expect(sane).toBeGreaterThan(0)
})
