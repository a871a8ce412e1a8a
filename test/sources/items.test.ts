import { dataOf, fixedRows, isRagged, rowOf, rowsOf } from '../../src/core/rows.js'
import { describe, expect, test } from 'vitest'
import type { Tensor } from '../../src/core/tensor.js'
import { items, type ItemInput } from '../../src/sources/items.js'
import { collect, sourceContract } from '../contracts/source.js'
import { pattern } from './write.js'

const ragged: { id: string; fields: Record<string, Tensor> }[] = Array.from({ length: 12 }, (_, k) => ({
  id: `item ${k}`,
  fields: { x: pattern('float32', [k >> 2, 3], k + 1) as Tensor, edges: pattern('int16', [k % 3], k + 1) as Tensor, y: pattern('float64', [], k + 1) as Tensor },
}))

sourceContract('items, ragged', async () => ({ open: () => items(ragged), items: ragged }))
sourceContract('items, asynchronous', async () => ({
  open: () => items((async function* () { for (const item of ragged) yield item })()),
  items: ragged,
}))
sourceContract('items, none', async () => ({ open: () => items([]), items: [] }))

describe('items', () => {
  test('runs hold items that differ in axis 0 at most', async () => {
    const source = await items(ragged)
    expect(source.fields).toEqual({ x: { dtype: 'float32', shape: [null, 3] }, edges: { dtype: 'int16', shape: [null] }, y: { dtype: 'float64', shape: [] } })
    expect((await collect(source.read(0, 12, { fields: ['x'] }))).map((run) => run.count)).toEqual([12])
    expect((await collect(source.read(0, 12, { fields: ['y'] }))).map((run) => run.count)).toEqual([12])
  })

  test('a run ends where more than axis 0 differs, and a ragged one gives each item', async () => {
    const rows = [[1, 2], [3, 2], [3, 2], [2, 5], [0, 5]].map((shape, i) => ({ id: String(i), fields: { x: { dtype: 'complex64' as const, shape, data: new Float32Array(2 * shape[0]! * shape[1]!).fill(i) } } }))
    const source = await items(rows)
    const runs = await collect(source.read(0, 5, { fields: ['x'] }))
    expect(runs.map((run) => run.count)).toEqual([3, 2])
    const x = runs[0]!.fields.x!
    expect(isRagged(x) && [x.tail, [...x.offsets]]).toEqual([[2], [0, 1, 4, 7]])
    expect(rowOf(x, 2)).toEqual(rows[2]!.fields.x)
    // A part of it begins in the middle of the data.
    const part = rowsOf(x, 1, 3)
    expect([rowOf(part, 0), rowOf(part, 1)]).toEqual([rows[1]!.fields.x, rows[2]!.fields.x])
    expect([...dataOf(part)]).toEqual([...rows[1]!.fields.x.data, ...rows[2]!.fields.x.data])
    expect(fixedRows(x, 1, 3).shape).toEqual([2, 3, 2])
  })

  test('takes typed arrays, numbers, bigints and booleans', async () => {
    const source = await items([{ id: 'a', fields: { a: Float32Array.of(1, 2), b: 3, c: 4n, d: true, e: new Uint8Array(0) } }], { constants: { k: Int8Array.of(5) } })
    expect(source.fields).toEqual({ a: { dtype: 'float32', shape: [2] }, b: { dtype: 'float64', shape: [] }, c: { dtype: 'int64', shape: [] }, d: { dtype: 'bool', shape: [] }, e: { dtype: 'uint8', shape: [0] } })
    const [run] = await collect(source.read(0, 1, { fields: ['a', 'b', 'c', 'd', 'e'] }))
    expect(dataOf(run!.fields.c!)).toEqual(BigInt64Array.of(4n))
    expect((await source.constants.k!.cast('float32').read()).data).toEqual(Float32Array.of(5))
  })

  const bad: Record<string, ItemInput[]> = {
    'an id twice': [{ id: 'a', fields: { x: 1 } }, { id: 'a', fields: { x: 1 } }],
    'no id': [{ fields: { x: 1 } } as never],
    'no fields': [{ id: 'a' } as never],
    'null': [null as never],
    'other fields': [{ id: 'a', fields: { x: 1 } }, { id: 'b', fields: { y: 1 } }],
    'another dtype': [{ id: 'a', fields: { x: 1 } }, { id: 'b', fields: { x: 1n } }],
    'another rank': [{ id: 'a', fields: { x: 1 } }, { id: 'b', fields: { x: Float64Array.of(1) } }],
    'a reserved name': [{ id: 'a', fields: { ids: 1 } }],
    'a value that is none': [{ id: 'a', fields: { x: 'text' as never } }],
    'a dtype that is none': [{ id: 'a', fields: { x: { dtype: 'float', shape: [1], data: Float32Array.of(1) } as never } }],
    'data of another dtype': [{ id: 'a', fields: { x: { dtype: 'float64', shape: [1], data: Float32Array.of(1) } as never } }],
    'a shape that is not the data\'s': [{ id: 'a', fields: { x: { dtype: 'float32', shape: [2], data: Float32Array.of(1) } as never } }],
    'a negative extent': [{ id: 'a', fields: { x: { dtype: 'float32', shape: [-1], data: Float32Array.of(1) } as never } }],
    'a number beyond int64': [{ id: 'a', fields: { x: 2n ** 63n } }],
  }
  for (const [what, given] of Object.entries(bad)) {
    test(`${what} is refused`, async () => { await expect(items(given)).rejects.toThrow(TypeError) })
  }

  test('something that is no iterable is refused', async () => {
    await expect(items({} as never)).rejects.toThrow(TypeError)
    await expect(items([], { constant: {} } as never)).rejects.toThrow('should be "constants"')
  })
})
