import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cast, items, pack, recipe, type Cache, type Dataset, type Tensor } from '../../src/index.js'
import { cutRows, fittedRows, type PackedRow } from '../../src/dataset/pack-rows.js'
import { range, smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const LENGTHS = [5, 3, 0, 8, 2, 2, 7, 1]
let cache: Cache
let dataset: Dataset

beforeAll(async () => {
  cache = await smallCache(tempDir())
  dataset = await cache.dataset(await items(LENGTHS.map((length, k) => ({
    id: `doc_${k}`,
    fields: { tokens: { dtype: 'int32', shape: [length], data: Int32Array.from(range(0, length), (i) => 10 * (k + 1) + i) }, wide: { dtype: 'int64', shape: [length, 2], data: BigInt64Array.from(range(0, 2 * length), BigInt) }, label: Int32Array.of(k) },
  }))), recipe([cast({ dtype: 'int32', fields: ['tokens'] })]))
})
afterAll(() => cache.close())

const text = (rows: readonly PackedRow[]): string[] => rows.map(({ pieces }) => pieces.map(({ item, start, stop }) => `${item}:${start}-${stop}`).join(' '))
const data = (tensor: Tensor | string): number[] => Array.from((tensor as Tensor).data as Int32Array, Number)

describe('rows', () => {
  test('by hand', () => {
    expect(text(cutRows(Float64Array.from(LENGTHS), 8))).toEqual(['0:0-5 1:0-3', '3:0-8', '4:0-2 5:0-2 6:0-4', '6:4-7 7:0-1'])
    // 8, then 7 + 1, then 5 + 3, then 2 + 2.
    expect(text(fittedRows(Float64Array.from(LENGTHS), 8, false))).toEqual(['0:0-5 1:0-3', '3:0-8', '4:0-2 5:0-2', '6:0-7 7:0-1'])
    expect(text(fittedRows(Float64Array.of(9, 20, 4), 8, false))).toEqual(['0:0-8', '0:8-9', '1:0-8', '1:8-16', '1:16-20 2:0-4'])
    expect(text(fittedRows(Float64Array.of(9, 20, 4), 8, true))).toEqual(['2:0-4'])
  })

  test('every row of every item once, none too full, and as full as best fit has it', () => {
    fc.assert(fc.property(fc.array(fc.nat(40), { maxLength: 60 }), fc.integer({ min: 1, max: 37 }), (list, length) => {
      const lengths = Float64Array.from(list)
      const total = list.reduce((sum, rows) => sum + rows, 0)
      for (const [packed, isCut] of [[cutRows(lengths, length), true], [fittedRows(lengths, length, false), false]] as const) {
        const seen = list.map((rows) => new Uint8Array(rows))
        for (const { pieces } of packed) {
          expect(pieces.reduce((sum, { start, stop }) => sum + stop - start, 0)).toBeLessThanOrEqual(length)
          for (const { item, start, stop } of pieces) for (let k = start; k < stop; k++) seen[item]![k]!++
        }
        expect(seen.every((rows) => rows.every((times) => times === 1))).toBe(true)
        if (isCut) expect(packed).toHaveLength(Math.ceil(total / length))
        // Two rows that would fit into one would have been one.
        else expect(packed.filter(({ pieces }) => pieces.reduce((sum, { start, stop }) => sum + stop - start, 0) * 2 <= length).length).toBeLessThanOrEqual(1)
      }
    }))
  })

  test('best fit, written plainly, gives the same', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 40 }), (list) => {
      const rows: { room: number; items: number[] }[] = []
      for (const item of range(0, list.length).toSorted((a, b) => list[b]! - list[a]! || a - b)) {
        const least = Math.min(...rows.map(({ room }) => room).filter((room) => room >= list[item]!))
        let row = rows.filter(({ room }) => room === least)
        if (row.length === 0) rows.push(...row = [{ room: 20, items: [] }])
        row[0]!.items.push(item)
        row[0]!.room -= list[item]!
      }
      const sizes = (of: readonly (readonly number[])[]): number[] => of.map((items) => items.reduce((sum, item) => sum + list[item]!, 0)).toSorted((a, b) => a - b)
      expect(sizes(fittedRows(Float64Array.from(list), 20, false).map(({ pieces }) => pieces.map(({ item }) => item)))).toEqual(sizes(rows.map(({ items }) => items)))
    }))
  })
})

describe('pack', () => {
  test('tokens, segments and positions', async () => {
    const packed = await pack(dataset, { length: 8, fields: ['tokens', 'wide'], padding: { tokens: -1 } })
    expect(packed.fields).toEqual({ tokens: { dtype: 'int32', shape: [8] }, wide: { dtype: 'int64', shape: [8, 2] }, segment_ids: { dtype: 'int32', shape: [8] }, position_ids: { dtype: 'int32', shape: [8] } })
    const item = await packed.get(2)
    expect(item.id).toBe('packed_000002')
    expect(data(item.tokens!)).toEqual([50, 51, 60, 61, -1, -1, -1, -1])
    expect(data(item.wide!)).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0])
    expect(data(item.segment_ids!)).toEqual([1, 1, 2, 2, 0, 0, 0, 0])
    expect(data(item.position_ids!)).toEqual([0, 1, 0, 1, 0, 0, 0, 0])
    const rows: number[][] = []
    for await (const batch of packed.batches({ size: 3, shuffle: true, seed: 2 })) for (const [k, index] of [...batch.indices].entries()) rows[index] = data(batch.tokens as Tensor).slice(8 * k, 8 * k + 8)
    for (const [index, row] of rows.entries()) expect(row).toEqual(data((await packed.get(index)).tokens!))
  })

  test('cut: positions of a piece go on', async () => {
    const packed = await pack(dataset, { length: 8, mode: 'cut' })
    const item = await packed.get(3)
    expect(data(item.tokens!)).toEqual([74, 75, 76, 80, 0, 0, 0, 0])
    expect(data(item.position_ids!)).toEqual([4, 5, 6, 0, 0, 0, 0, 0])
  })

  test('what is too long is refused, cut or dropped', async () => {
    await expect(pack(dataset, { length: 6 })).rejects.toThrow(/item doc_3 has 8 rows, more than 6; choose tooLong/)
    const total = async (tooLong: 'cut' | 'drop'): Promise<number> => {
      let sum = 0
      for await (const batch of (await pack(dataset, { length: 6, tooLong })).batches({ size: 100 })) sum += data(batch.segment_ids as Tensor).filter((segment) => segment > 0).length
      return sum
    }
    expect([await total('cut'), await total('drop')]).toEqual([28, 13])
  })

  test('misuse', async () => {
    for (const wrong of [{ length: 0 }, { length: 8, fields: ['label'] }, { length: 8, fields: [] }, { length: 8, fields: ['z'] }, { length: 8, mode: 'best' }, { length: 8, padding: { label: 1 } }, { length: 8, mode: 'cut', tooLong: 'drop' }]) await expect(pack(dataset, wrong as never)).rejects.toThrow(TypeError)
    await expect(pack({} as never, { length: 8 })).rejects.toThrow(/expected a dataset/)
  })
})
