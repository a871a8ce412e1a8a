import { describe, expect, test } from 'vitest'
import { grouped } from '../../src/dataset/grouped.js'
import { isRagged, rowOf } from '../../src/core/rows.js'
import type { ItemRun } from '../../src/sources/source.js'

/** Runs of so many items, each of which holds its number `shape` times over. */
async function * runs(counts: readonly number[], options: { readonly full?: readonly number[]; readonly width?: (run: number) => readonly number[] } = {}): AsyncGenerator<ItemRun> {
  let start = 0
  for (const [k, count] of counts.entries()) {
    const shape = options.width?.(k) ?? [2]
    const size = shape.reduce((product, extent) => product * extent, 1)
    const data = Float32Array.from({ length: count * size }, (_, i) => start + Math.floor(i / size))
    yield { start, count, fields: { x: { dtype: 'float32', shape: [count, ...shape], data } }, ...(options.full?.includes(k) === true && { isFull: true }) }
    start += count
  }
}

/** Start and count of each, after a look at what is in them. */
async function seen(from: AsyncIterable<ItemRun>): Promise<(readonly [number, number] | readonly [number, number, 'full'])[]> {
  const found = []
  for await (const { start, count, fields, isFull } of from) {
    for (let k = 0; k < count; k++) expect(new Set(rowOf(fields.x!, k).data as Float32Array), `item ${start + k}`).toEqual(new Set([start + k]))
    found.push(isFull === true ? [start, count, 'full'] as const : [start, count] as const)
  }
  return found
}

describe('runs are put together to whole calls', () => {
  test.each<[string, number[], [number, number][]]>([
    ['of one item each', [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [[0, 4], [4, 4], [8, 2]]],
    ['that are multiples', [8, 4, 4], [[0, 8], [8, 4], [12, 4]]],
    ['that end within a call', [10, 10, 3], [[0, 8], [8, 4], [12, 8], [20, 3]]],
    ['shorter than a call and longer', [3, 2, 9, 1], [[0, 4], [4, 4], [8, 4], [12, 3]]],
    ['a single short one', [2], [[0, 2]]],
    ['none', [], []],
  ])('%s', async (_what, counts, expected) => {
    expect(await seen(grouped(runs(counts), 4))).toEqual(expected)
  })

  test('for ops that take one item, they pass as they are', async () => {
    expect(await seen(grouped(runs([3, 2]), 1))).toEqual([[0, 3], [3, 2]])
  })

  test('a source without room for more is not kept waiting', async () => {
    expect(await seen(grouped(runs([3, 2, 6, 1, 2], { full: [0, 2, 3] }), 4))).toEqual([[0, 3, 'full'], [3, 4], [7, 4, 'full'], [11, 1, 'full'], [12, 2]])
  })

  test('items that differ in axis 0 become ragged, those that differ in more stay apart', async () => {
    const fields = []
    for await (const run of grouped(runs([1, 1, 1, 1], { width: (k) => [k + 1, 2] }), 4)) fields.push(run.fields.x!)
    expect(fields.map(isRagged)).toEqual([true])
    expect(await seen(grouped(runs([1, 1, 1, 1], { width: (k) => [2, k < 2 ? 3 : 4] }), 4))).toEqual([[0, 2], [2, 2]])
  })
})

test('random runs keep their items and their order', async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const counts = Array.from({ length: seed % 9 }, (_, k) => 1 + (seed * (k + 3) * 7919) % 11)
    const rows = 1 + seed % 6
    const found = await seen(grouped(runs(counts, { full: [seed % 4] }), rows))
    let at = 0
    for (const [start, count] of found) {
      expect(start).toBe(at)
      at += count
    }
    expect(at).toBe(counts.reduce((sum, count) => sum + count, 0))
    const parts = found.filter(([, , full]) => full === undefined).slice(0, -1)
    expect(parts.every(([, count]) => count % rows === 0)).toBe(true)
  }
})
