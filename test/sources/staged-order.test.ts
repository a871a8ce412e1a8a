import { describe, expect, test } from 'vitest'
import type { ItemOrder } from '../../src/sources/source.js'
import { Followers } from '../../src/sources/staged-order.js'
import { range } from '../support/data.js'

const orderOf = (positions: readonly (readonly number[])[], length = positions.length): ItemOrder => ({
  length, known: positions.length,
  uses: (first, stop) => {
    const part = positions.slice(first, stop)
    return { items: Float64Array.from(part.flat()), positions: Float64Array.from(part.flatMap((of, k) => of.map(() => first + k))) }
  },
})
const follow = (order: ItemOrder, items: number): { all: Followers; one: ReturnType<Followers['follow']> } => {
  const all = new Followers(items, () => undefined)
  return { all, one: all.follow(order, () => undefined) }
}

describe('a known order', () => {
  test('says what comes next, and how far away the next use of an item is', () => {
    const { all, one } = follow(orderOf([[3], [1], [3], [0, 2], [1]]), 5)
    expect(all.ahead(3)).toEqual([[3, 0], [1, 1], [0, 3]])
    expect(range(0, 5).map((item) => all.distance(item))).toEqual([3, 1, 4, 0, Infinity])
    one.begin(1)
    all.asked(3)
    // Position 2 is not being read: who asks for it now is somebody else.
    all.asked(3)
    expect(all.ahead(9)).toEqual([[1, 0], [3, 1], [0, 2], [2, 3]])
    one.begin(3)
    one.done(0, 3)
    expect(range(0, 5).map((item) => all.distance(item))).toEqual([0, 2, 1, Infinity, Infinity])
  })

  test('what comes after the epoch counts, and is not ahead', () => {
    const { all, one } = follow(orderOf([[0], [1], [1], [0]], 2), 2)
    one.begin(2)
    one.done(0, 2)
    expect(all.ahead(5)).toEqual([])
    expect([all.distance(0), all.distance(1)]).toEqual([1, 0])
    one.end()
    expect([all.none, all.distance(0)]).toEqual([true, Infinity])
  })

  test('of two readers the nearer one counts', () => {
    const { all } = follow(orderOf([[0], [1], [2]]), 3)
    const other = all.follow(orderOf([[2], [0], [1]]), () => undefined)
    expect([all.ahead(1), range(0, 3).map((item) => all.distance(item))]).toEqual([[[0, 0], [2, 0]], [0, 1, 0]])
    other.end()
    expect(range(0, 3).map((item) => all.distance(item))).toEqual([0, 1, 2])
  })

  test('an epoch of many stretches, in which each is laid out when it is reached', () => {
    const [items, length] = [100_000, 1_000_000]
    let laid = 0
    const itemAt = (position: number): number => (position * 7919) % items
    const { all, one } = follow({ length, known: length, uses: (first, stop) => {
      laid = Math.max(laid, stop)
      return { items: Float64Array.from({ length: stop - first }, (_, k) => itemAt(first + k)), positions: Float64Array.from({ length: stop - first }, (_, k) => first + k) }
    } }, items)
    expect(all.ahead(2)).toEqual([[0, 0], [7919, 1]])
    expect(laid).toBeLessThan(length / 2)
    for (let position = 0; position < length; position += 32) {
      one.begin(position + 32)
      for (let k = position; k < position + 32; k++) all.asked(itemAt(k))
      one.done(position, position + 32)
      if (position % 96_000 === 0 && position < 900_000) expect([all.distance(itemAt(position + 33)), all.distance(itemAt(position)), all.ahead(1)]).toEqual([1, items - 32, [[itemAt(position + 32), 0]]])
    }
    expect([all.ahead(1), all.distance(5)]).toEqual([[], Infinity])
  })
})
