import { createRequire } from 'node:module'
import { join } from 'node:path'
import * as arrow from 'apache-arrow'
import { describe, expect, test } from 'vitest'
import { tables } from '../../src/adapters/arrow.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

// What require finds is another copy than what import finds: the tests of foreign tables stand on that.
const other = createRequire(import.meta.url)('apache-arrow') as typeof arrow

/** All that tells two tables apart. */
function said(table: arrow.Table): unknown {
  const schema = table.schema.fields.map(({ name, type, nullable, metadata }) => [name, String(type), nullable, [...metadata]])
  return [schema, [...table.schema.metadata], table.numRows, table.toArray().map(String), table.schema.fields.map(({ name }) => table.getChild(name)!.nullCount)]
}

function sample(rows: number): arrow.Table {
  const { Field, Schema, vectorFromArray } = arrow
  const columns = {
    small: vectorFromArray(Array.from({ length: rows }, (_, k) => k % 100), new arrow.Int8()),
    wide: vectorFromArray(Array.from({ length: rows }, (_, k) => 2n ** 62n + BigInt(k)), new arrow.Int64()),
    float: vectorFromArray(Array.from({ length: rows }, (_, k) => k % 3 === 0 ? null : k / 7), new arrow.Float64()),
    text: vectorFromArray(Array.from({ length: rows }, (_, k) => k % 5 === 0 ? null : 'é𝄞'.repeat(k % 4)), new arrow.Utf8()),
    word: vectorFromArray(Array.from({ length: rows }, (_, k) => k % 4 === 0 ? null : `w${k % 3}`), new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32())),
    yes: vectorFromArray(Array.from({ length: rows }, (_, k) => k % 2 === 0), new arrow.Bool()),
    when: vectorFromArray(Array.from({ length: rows }, (_, k) => new Date(k * 1000)), new arrow.TimestampMillisecond()),
    list: vectorFromArray(Array.from({ length: rows }, (_, k) => Array.from({ length: k % 3 }, (_, i) => i + k)), new arrow.List(new Field('item', new arrow.Float32()))),
  }
  const plain = new arrow.Table(columns)
  const fields = plain.schema.fields.map((field) => new Field(field.name, field.type, field.nullable, new Map([['unit', field.name === 'float' ? 'Å' : '']])))
  const schema = new Schema(fields, new Map([['made', 'by hand'], ['empty', '']]))
  return new arrow.Table(schema, plain.batches.map((batch) => new arrow.RecordBatch(schema, batch.data)))
}

describe('tables', () => {
  test.each([0, 1, 20, 5000])('%i rows come back as they were, from memory and from the disk', async (rows) => {
    const dir = join(tempDir(), 'cache')
    const table = sample(rows)
    const first = await smallCache(dir)
    await tables(first).put('prices', table, { metadata: { version: 3 } })
    expect(said((await tables(first).get('prices'))!.value)).toEqual(said(table))
    await first.close()
    const again = await smallCache(dir)
    const hit = await tables(again, { arrow }).get('prices')
    expect(said(hit!.value)).toEqual(said(table))
    expect(hit!.metadata).toEqual({ version: 3 })
    expect(await tables(again).get('none')).toBeUndefined()
    await again.close()
  })

  test('several batches, and a part of a table', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const table = sample(300)
    const joined = table.concat(sample(7))
    await tables(cache).put('joined', joined)
    await tables(cache).put('part', table.slice(17, 203))
    const found = (await tables(cache).get('joined'))!.value
    expect(said(found)).toEqual(said(joined))
    expect(found.batches.length).toBe(2)
    expect(said((await tables(cache).get('part'))!.value)).toEqual(said(table.slice(17, 203)))
    await cache.close()
  })

  test('what is large is a view of the file', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const table = new arrow.Table({ x: arrow.makeVector(Float64Array.from({ length: 100_000 }, (_, k) => k)), y: arrow.makeVector(new Int32Array(100_000)) })
    await tables(cache).put('large', table)
    const found = (await tables(cache).get('large'))!.value
    const bytes = (await cache.get<{ arrow: Uint8Array }>('large'))!.value.arrow
    const buffers = found.schema.fields.map(({ name }) => found.getChild(name)!.data[0]!.values as Float64Array)
    for (const values of buffers) expect(values.buffer).toBe(bytes.buffer)
    expect(buffers[0]![99_999]).toBe(99_999)
    await cache.close()
  })

  test('getOrCompute computes once; a scope takes its tables away', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    let computed = 0
    const compute = (): arrow.Table => { computed++; return sample(3) }
    const all = await Promise.all([1, 2, 3].map(() => tables(cache).getOrCompute('t', compute)))
    expect(computed).toBe(1)
    for (const table of all) expect(said(table)).toEqual(said(sample(3)))
    const scope = cache.scope('generated/tables')
    await tables(scope).put('t', sample(2))
    expect(await cache.has('t', { namespace: 'generated/tables' })).toBe(true)
    await scope.dispose()
    expect(await cache.has('t', { namespace: 'generated/tables' })).toBe(false)
    await cache.close()
  })

  test('a table of another copy of the package is refused, and kept with that copy', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const table = other.tableFromArrays({ a: Int32Array.of(1, 2), b: ['x', 'y'] })
    expect(other.Table).not.toBe(arrow.Table)
    expect(table).toBeInstanceOf(arrow.Table)
    await expect(tables(cache, { arrow }).put('t', table)).rejects.toThrow(/another copy of apache-arrow.*tables\(cache, \{ arrow \}\)/)
    expect(await cache.has('t')).toBe(false)
    await tables(cache, { arrow: other }).put('t', table)
    // What is kept is bytes: any copy reads them.
    expect((await tables(cache, { arrow }).get('t'))!.value.toArray().map((row) => row?.toJSON())).toEqual([{ a: 1, b: 'x' }, { a: 2, b: 'y' }])
    await cache.close()
  })

  test('what is no table is misuse', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    for (const value of [undefined, 7, {}, [1], Int32Array.of(1)]) await expect(tables(cache).put('t', value as never)).rejects.toThrow(/put: expected an Arrow table, not/)
    await cache.put('t', { a: 1 })
    await expect(tables(cache).get('t')).rejects.toThrow(/"t" holds no Arrow table but an object/)
    expect(() => tables({} as never)).toThrow(/a cache or a scope/)
    expect(() => tables(cache, { arow: arrow } as never)).toThrow(/misspelled option "arow" should be "arrow"/)
    expect(() => tables(cache, { arrow: {} as never })).toThrow(/the package apache-arrow/)
    await cache.close()
  })
})
