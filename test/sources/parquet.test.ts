import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ByteWriter, parquetWrite, type ColumnSource } from 'hyparquet-writer'
import { describe, expect, test } from 'vitest'
import { rowOf } from '../../src/core/rows.js'
import type { Tensor } from '../../src/core/tensor.js'
import { cast, recipe } from '../../src/index.js'
import { parquet, type ParquetOptions } from '../../src/sources/parquet.js'
import type { Source } from '../../src/sources/source.js'
import { collect, sourceContract, type ContractItem } from '../contracts/source.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { file } from './write.js'

const FIXTURES = resolve(import.meta.dirname, '../fixtures/parquet')
const utf8 = (text: string): Tensor => { const data = new TextEncoder().encode(text); return { dtype: 'uint8', shape: [data.length], data } }
const float32s = (...values: number[]): Float32Array => Float32Array.from(values)

/** The table of scripts/make-parquet-fixtures.py. */
const FIELDS: ParquetOptions['fields'] = {
  text: 'text', raw: 'raw', yes: 'yes', i8: 'i8', i16: 'i16', i32: 'i32', i64: 'i64', u8: 'u8', u16: 'u16', u32: 'u32', u64: 'u64', f32: 'f32', f64: 'f64', list: 'list',
  pair: { column: 'pair', length: 2 }, maybe: { column: 'maybe', default: -7 }, words: { column: 'words', default: 'é' }, maybe_list: { column: 'maybe_list', default: [1, 2, 3] },
}
const table: readonly ContractItem[] = Array.from({ length: 25 }, (_, k) => {
  const signed = (bits: number): bigint => BigInt((-1) ** k) * (2n ** BigInt(bits - 1) - 1n - BigInt(k))
  const unsigned = (bits: number): bigint => 2n ** BigInt(bits) - 1n - BigInt(k)
  const isNull = k % 4 === 1
  const list = Array.from({ length: k % 4 }, (_, i) => k + i / 4)
  const ints = isNull ? [1, 2, 3] : Array<number>(k % 3).fill(k)
  return {
    id: `d-${k}`,
    fields: {
      text: utf8('é𝄞\n'.repeat(k % 4) + String(Math.floor(k / 5))),
      raw: { dtype: 'uint8', shape: [Math.min(3, k % 4)], data: Uint8Array.of(k, 255, 0).slice(0, k % 4) },
      yes: { dtype: 'bool', shape: [], data: Uint8Array.of(k % 3 === 0 ? 1 : 0) },
      i8: { dtype: 'int8', shape: [], data: Int8Array.of(Number(signed(8))) },
      i16: { dtype: 'int16', shape: [], data: Int16Array.of(Number(signed(16))) },
      i32: { dtype: 'int32', shape: [], data: Int32Array.of(Number(signed(32))) },
      i64: { dtype: 'int64', shape: [], data: BigInt64Array.of(signed(64)) },
      u8: { dtype: 'uint8', shape: [], data: Uint8Array.of(Number(unsigned(8))) },
      u16: { dtype: 'uint16', shape: [], data: Uint16Array.of(Number(unsigned(16))) },
      u32: { dtype: 'uint32', shape: [], data: Uint32Array.of(Number(unsigned(32))) },
      u64: { dtype: 'uint64', shape: [], data: BigUint64Array.of(unsigned(64)) },
      f32: { dtype: 'float32', shape: [], data: float32s(k / 8 - 1) },
      f64: { dtype: 'float64', shape: [], data: Float64Array.of(k / 3) },
      list: { dtype: 'float32', shape: [list.length], data: Float32Array.from(list) },
      pair: { dtype: 'int64', shape: [2], data: BigInt64Array.of(BigInt(k), BigInt(-k)) },
      maybe: { dtype: 'int16', shape: [], data: Int16Array.of(isNull ? -7 : k) },
      words: utf8(isNull ? 'é' : `w${k % 3}`),
      maybe_list: { dtype: 'int32', shape: [ints.length], data: Int32Array.from(ints) },
    },
  }
})

for (const name of ['snappy', 'plain', 'gzip', 'zstd', 'brotli', 'lz4']) {
  sourceContract(`parquet of pyarrow, ${name}`, async () => {
    // Copies are made beside the file.
    const path = file(`${name}.parquet`, readFileSync(join(FIXTURES, `${name}.parquet`)))
    return { open: () => parquet(path, { fields: FIELDS!, id: 'doc' }), items: table, openCopies: (copy) => parquet(copy(path), { fields: FIELDS!, id: 'doc' }) }
  })
}

const written = (columnData: ColumnSource[], rowGroupSize = 4): string => {
  const writer = new ByteWriter()
  parquetWrite({ writer, columnData, rowGroupSize })
  return file('x.parquet', new Uint8Array(writer.getBuffer()))
}
const numbered = (from: number, to: number): string => written([
  { name: 'text', data: Array.from({ length: to - from }, (_, k) => `t${from + k}`), type: 'STRING' },
  { name: 'n', data: Int32Array.from({ length: to - from }, (_, k) => from + k), type: 'INT32', nullable: false },
])

sourceContract('parquet, two files, of which one is not kept resident, without ids', async () => {
  const paths = [numbered(0, 9), numbered(9, 23)]
  const stems = paths.map((path) => /([^/]+)\.parquet$/.exec(path)![1]!)
  const items = Array.from({ length: 23 }, (_, k) => ({ id: k < 9 ? `${stems[0]}/${k}` : `${stems[1]}/${k - 9}`, fields: { text: utf8(`t${k}`), n: { dtype: 'int32', shape: [], data: Int32Array.of(k) } as Tensor } }))
  return { open: () => parquet(paths, { residencyBytes: 0 }), items, openCopies: (copy) => parquet(paths.map(copy), { residencyBytes: 0 }) }
})

sourceContract('parquet, no rows', async () => {
  const path = written([{ name: 'n', data: [], type: 'DOUBLE' }])
  return { open: () => parquet(path), items: [] }
})

const snappy = join(FIXTURES, 'snappy.parquet')
async function values(source: Source, field: string): Promise<unknown[]> {
  const found: unknown[] = []
  for (const run of await collect(source.read(0, source.length, { fields: [field] }))) for (let k = 0; k < run.count; k++) found.push(Array.from(rowOf(run.fields[field]!, k).data as Float64Array))
  source.close()
  return found
}

describe('parquet', () => {
  test('without options, every column that can be a field is one', async () => {
    const source = await parquet(snappy)
    expect(Object.keys(source.fields)).toEqual(['doc', 'text', 'raw', 'yes', 'i8', 'i16', 'i32', 'i64', 'u8', 'u16', 'u32', 'u64', 'f32', 'f64', 'list', 'pair', 'maybe', 'words', 'maybe_list', 'holes'])
    expect(source.fields.pair).toEqual({ dtype: 'int64', shape: [null] })
    expect(source.id(24)).toBe('snappy/24')
    source.close()
  })

  test('what cannot be a field says why when it is asked for', async () => {
    for (const [column, reason] of [['when', /TIMESTAMP.*write it as a number/], ['inner', /a structure/], ['names', /a list of texts/]] as const) {
      await expect(parquet(snappy, { fields: { x: column } })).rejects.toMatchObject({ code: 'E_UNSUPPORTED', message: expect.stringMatching(reason) as unknown })
    }
    await expect(parquet(snappy, { fields: ['texts'] })).rejects.toThrow(/has no column "texts"; did you mean "text"\?/)
    await expect(parquet(snappy, { id: 'f64' })).rejects.toMatchObject({ code: 'E_UNSUPPORTED' })
  })

  test('null is an error naming file, row and column, unless there is a default; only when its row is read', async () => {
    const source = await parquet(snappy, { fields: ['maybe'] })
    expect((await collect(source.read(2, 5, { fields: ['maybe'] })))[0]!.count).toBe(3)
    await expect(collect(source.read(10, 20, { fields: ['maybe'] }))).rejects.toMatchObject({ code: 'E_FORMAT', file: snappy, place: 'row 13, column "maybe"', found: 'null' })
    source.close()
    const holes = await parquet(snappy, { fields: ['holes'] })
    await expect(collect(holes.read(0, 8, { fields: ['holes'] }))).rejects.toMatchObject({ code: 'E_FORMAT', place: 'row 7, column "holes"' })
    expect((await collect(holes.read(9, 25, { fields: ['holes'] }))).reduce((sum, { count }) => sum + count, 0)).toBe(16)
    holes.close()
  })

  test('one column may be two fields, each with its default', async () => {
    const fields = { a: { column: 'maybe', default: -1 }, b: { column: 'maybe', default: -2 } }
    expect((await values(await parquet(snappy, { fields }), 'a')).slice(0, 3)).toEqual([[0], [-1], [2]])
    expect((await values(await parquet(snappy, { fields }), 'b')).slice(0, 3)).toEqual([[0], [-2], [2]])
  })

  test('halves become the float32 they are', async () => {
    expect(await values(await parquet(written([{ name: 'h', data: [0.5, -2, 65504], type: 'FLOAT16' }])), 'h')).toEqual([[0.5], [-2], [65504]])
  })

  test('options that do not fit are misuse', async () => {
    const of = (fields: unknown): Promise<Source> => parquet(snappy, { fields: fields as never })
    await expect(of({ a: { column: 'i8', dtype: 'int32' } })).rejects.toThrow(/dtypes of their own; the op cast/)
    await expect(of({ a: { column: 'i8', length: 2 } })).rejects.toThrow(/length is for lists/)
    await expect(of({ a: { column: 'i8', default: 128 } })).rejects.toThrow(/default must be an integer that int8 can hold/)
    await expect(of({ a: { column: 'u64', default: -1 } })).rejects.toThrow(/an integer that uint64 can hold/)
    await expect(of({ a: { column: 'yes', default: 1 } })).rejects.toThrow(/true or false/)
    await expect(of({ a: { column: 'text', default: 1 } })).rejects.toThrow(/a text/)
    await expect(of({ a: { column: 'list', default: 1 } })).rejects.toThrow(/a list of numbers/)
    await expect(of({ a: { column: 'pair', length: 2, default: [1] } })).rejects.toThrow(/a list of 2 numbers/)
    await expect(parquet([])).rejects.toThrow(TypeError)
    await expect(parquet(join(tempDir(), 'none.parquet'))).rejects.toThrow(/there is no such file/)
    const lists = await parquet(snappy, { fields: { a: { column: 'list', length: 2 } } })
    await expect(collect(lists.read(0, 25, { fields: ['a'] }))).rejects.toThrow(/row 0, column "list": expected a list of 2 numbers, found one of 0/)
    lists.close()
  })

  test('files of one source have columns of one type', async () => {
    await expect(parquet([numbered(0, 3), written([{ name: 'text', data: ['a'], type: 'STRING' }, { name: 'n', data: [1], type: 'DOUBLE' }])])).rejects.toThrow(/expected int32, as in .*, found float64/)
  })

  test('ids that are not different, or none', async () => {
    await expect(parquet(written([{ name: 'k', data: [1, 2, 1], type: 'INT32' }, { name: 'n', data: [1, 2, 3], type: 'DOUBLE' }]), { id: 'k' })).rejects.toMatchObject({ code: 'E_FORMAT', place: 'row 2, column "k"' })
    await expect(parquet(written([{ name: 'k', data: ['a', null, 'b'], type: 'STRING' }, { name: 'n', data: [1, 2, 3], type: 'DOUBLE' }]), { id: 'k' })).rejects.toThrow(/row 1, column "k": expected an id, found null/)
  })

  test('a row that is edited is computed again, and no other', async () => {
    const path = join(tempDir(), 'rows.parquet')
    const write = (n: number): void => {
      const writer = new ByteWriter()
      parquetWrite({ writer, columnData: [{ name: 'n', data: Array.from({ length: 50 }, (_, k) => k === 17 ? n : k), type: 'DOUBLE' }], rowGroupSize: 20 })
      writeFileSync(path, new Uint8Array(writer.getBuffer()))
    }
    const cache = await smallCache(join(tempDir(), 'cache'))
    const run = async (): Promise<number> => {
      const source = await parquet(path)
      const dataset = await cache.dataset(source, recipe([cast({ dtype: 'float32' })]))
      source.close()
      return dataset.report.computed
    }
    write(17)
    expect(await run()).toBe(50)
    write(0.5)
    expect(await run()).toBe(1)
    expect(await run()).toBe(0)
    await cache.close()
  })
})
