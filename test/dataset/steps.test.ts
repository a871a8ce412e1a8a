import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Steps } from '../../src/dataset/steps.js'

const inOrder = (length: number) => ({ length, indices: (first: number, stop: number) => Float64Array.from({ length: stop - first }, (_, k) => first + k) })

/** What each rank is given in each step, from a position on. */
function given(length: number, size: number, count: number, from = 0, dropLast = false): number[][][] {
  return Array.from({ length: count }, (_, index) => {
    const steps = new Steps(inOrder(length), { size, shard: { index, count }, dropLast }, from)
    const { order, batches } = steps
    return Array.from({ length: batches }, (_, k) => [...order.indices(k * size, k === batches - 1 ? order.length : (k + 1) * size)])
  })
}

describe('steps of ranks', () => {
  test('by hand: 11 items, 2 each', () => {
    expect(given(11, 2, 1)).toEqual([[[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10]]])
    // Three are left after two steps of four, fewer than two steps need but enough for both.
    expect(given(11, 2, 2)).toEqual([[[0, 1], [4, 5], [8, 9]], [[2, 3], [6, 7], [10]]])
    // Two are left after a step of nine, fewer than ranks: the step takes them in.
    expect(given(11, 3, 3)).toEqual([[[0, 1, 2, 3]], [[4, 5, 6, 7]], [[8, 9, 10]]])
    expect(given(11, 3, 3, 0, true)).toEqual([[[0, 1, 2]], [[3, 4, 5]], [[6, 7, 8]]])
    // Fewer than ranks altogether.
    expect(given(2, 4, 3)).toEqual([[[0]], [[1]], []])
    expect(given(0, 4, 3)).toEqual([[], [], []])
  })

  test('all ranks together are given every item once, in lockstep, whatever the numbers', () => {
    fc.assert(fc.property(fc.nat(200), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 7 }), fc.nat(200), (length, size, count, start) => {
      const from = Math.min(start, length)
      const ranks = given(length, size, count, from)
      expect(ranks.flat(2).sort((a, b) => a - b)).toEqual(Array.from({ length: length - from }, (_, k) => from + k))
      if (length - from >= count) expect(new Set(ranks.map(({ length: batches }) => batches)).size).toBe(1)
      for (const batch of ranks.flat()) expect(batch.length).toBeGreaterThan(0)
      for (const rank of ranks) {
        for (const batch of rank.slice(0, -1)) expect(batch).toHaveLength(size)
        if (rank.length > 0) expect(rank.at(-1)!.length).toBeLessThanOrEqual(size + (count > 1 ? 1 : 0))
      }
    }))
  })

  test('without a last step that is not full all batches are full, and at most a step is left out', () => {
    fc.assert(fc.property(fc.nat(200), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 7 }), (length, size, count) => {
      const ranks = given(length, size, count, 0, true)
      for (const batch of ranks.flat()) expect(batch).toHaveLength(size)
      expect(length - ranks.flat(2).length).toBeLessThan(size * count)
    }))
  })

  test('a change of ranks in the middle loses and repeats nothing', () => {
    fc.assert(fc.property(fc.nat(200), fc.array(fc.record({ count: fc.integer({ min: 1, max: 6 }), size: fc.integer({ min: 1, max: 5 }), steps: fc.nat(6) }), { maxLength: 5 }), (length, runs) => {
      const seen: number[] = []
      let position = 0
      for (const { count, size, steps } of [...runs, { count: 2, size: 3, steps: Infinity }]) {
        const ranks = given(length, size, count, position)
        for (const rank of ranks) seen.push(...rank.slice(0, steps).flat())
        position = new Steps(inOrder(length), { size, shard: { index: 0, count }, dropLast: false }, position).positionAfter(steps)
      }
      expect(position).toBe(length)
      expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, k) => k))
    }))
  })
})
