import { expect, test } from 'vitest'
import { native } from '../../src/native/load.js'

const OFFSETS = Float64Array.of(0, 1, 3)
const FRAC = Float64Array.of(0, 0, 0, 0.25, 0, 0, 0.75, 0.5, 0)
const LATTICE = Float64Array.of(4, 0, 0, 0, 4, 0, 0, 0, 4, 5, 0, 0, 0, 5, 0, 0, 0, 5)
const ITEMS = Uint32Array.of(1, 0)
type Arguments = Parameters<ReturnType<typeof native>['neighborTables']>
const tables = (...given: unknown[]): Promise<unknown> => native().neighborTables(...given as Arguments)

test('tables of the structures that are asked for, in that order', async () => {
  const made = await native().neighborTables(OFFSETS, FRAC, LATTICE, ITEMS, 3, 0, 0, true)
  expect([made.cells.length, made.atoms.length, made.limits.length, [...made.firstRow], [...made.refused]]).toEqual([64, 27, 12, [0, 2, 3], []])
  // Structure, source, and where its targets begin and end.
  expect([...made.rows.subarray(0, 12)]).toEqual([0, 0, 0, 2, 0, 1, 0, 2, 1, 0, 0, 1])
  expect(made.cells[30]).toBe(0)
  expect(made.cells[62]).toBe(2)
  const flat = LATTICE.map((x, k) => k < 9 ? 0 : x)
  const some = await native().neighborTables(OFFSETS, FRAC, flat, ITEMS, 1, 12, 2, false)
  expect([some.cells.length, [...some.refused]]).toEqual([32, [0]])
})

test('refuses what would read memory that is not given', async () => {
  const wrong: readonly [number, unknown][] = [
    [0, [0, 1, 3]], [0, new Float32Array(3)], [0, new Float64Array(0)], [0, Float64Array.of(0, 1)], [1, new Uint8Array(9)], [2, LATTICE.subarray(1)], [3, [0, 1]], [3, Float64Array.of(0)],
    [4, '3'], [4, 0], [4, NaN], [4, 1025], [5, -1], [5, 2 ** 32], [5, 0.5], [6, -1], [6, 1e9], [7, 1],
  ]
  for (const [at, value] of wrong) {
    const given: unknown[] = [OFFSETS, FRAC, LATTICE, ITEMS, 3, 0, 0, true]
    given[at] = value
    expect(() => tables(...given), `argument ${at}: ${String(value)}`).toThrow(/must|the lattice/)
  }
  for (const offsets of [[0, 1, 4], [0, 2, 1], [-1, 1, 3], [0, 0.5, 3], [0, NaN, 3], [0, 1, Infinity]]) {
    await expect(tables(Float64Array.from(offsets), FRAC, LATTICE, ITEMS, 3, 0, 0, true), String(offsets)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' })
  }
  await expect(tables(OFFSETS, FRAC, LATTICE, Uint32Array.of(2), 3, 0, 0, true)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' })
})
