// How a build is cut: which items come into the cache under one lease, and how many at a time.
import { describe, expect, test } from 'vitest'
import { rangesOf, Room, type Range } from '../../src/dataset/ranges.js'
import type { FieldSpecs, ItemSpecs } from '../../src/core/tensor.js'
import { cast, cropForeground, normalize, orient, pad, recipe, resample, type Recipe, type Source } from '../../src/index.js'
import { checkRecipe } from '../../src/ops/compile.js'

const MIB = 2 ** 20
const AFFINE = { dtype: 'float64', shape: [4, 4] } as const

function sourceOf(fields: FieldSpecs, length: number, known?: (item: number) => ItemSpecs): Source {
  return { fields, length, ...(known !== undefined && { known }) } as Source
}

/** Volumes of these extents, with affines of `mm` along each axis. */
function volumes(shapes: readonly (readonly number[])[], mm = 1): Source {
  const affine = { ...AFFINE, value: { ...AFFINE, data: Float64Array.of(mm, 0, 0, 0, 0, mm, 0, 0, 0, 0, mm, 0, 0, 0, 0, 1) } }
  return sourceOf({ image: { dtype: 'int16', shape: [null, null, null] }, affine: AFFINE }, shapes.length, (item) => ({ image: { dtype: 'int16', shape: shapes[item]! }, affine }))
}

function cut(source: Source, ops: Recipe, shardBytes: number, jobs = 2): { ranges: readonly Range[]; itemBytes: number; rows: number[] } {
  const found = rangesOf(source, ops, checkRecipe(ops, source.fields), shardBytes, jobs)
  // However it is cut: every item once, in order, and no range empty.
  expect(found.ranges.flatMap(({ start, stop }) => Array.from({ length: stop - start }, (_, k) => start + k))).toEqual(Array.from({ length: source.length }, (_, k) => k))
  return { ...found, rows: found.ranges.map(({ start, stop }) => stop - start) }
}

const floats = recipe([cast({ dtype: 'float32', fields: ['image'] })])
const same = (count: number, shape: readonly number[]): number[][] => Array.from({ length: count }, () => [...shape])

describe('extents that are fixed', () => {
  const images = (length: number, extent: number): Source => sourceOf({ image: { dtype: 'int16', shape: [extent] } }, length)

  test('as many items as a shard takes, whatever the number of jobs', () => {
    for (const jobs of [1, 2, 16]) expect(cut(images(10, MIB), floats, 16 * MIB, jobs)).toMatchObject({ rows: [4, 4, 2], itemBytes: 4 * MIB })
  })

  test('an item that is larger than a shard is a range of its own', () => {
    expect(cut(images(3, MIB), floats, MIB).rows).toEqual([1, 1, 1])
  })

  test('as many as one transaction takes', () => {
    expect(cut(images(150_000, 1), floats, 64 * MIB).rows).toEqual([65_536, 65_536, 18_928])
  })

  test('no items, no ranges', () => {
    expect(cut(images(0, 8), floats, MIB)).toMatchObject({ ranges: [], itemBytes: 32 })
  })

  test('what is in work: as it is read, moved and computed, and the shard', () => {
    const [first, , last] = cut(images(10, MIB), floats, 16 * MIB).ranges
    expect(first!.bytes).toBe((2 * 2 + 4 + 16) * MIB)
    expect(last!.bytes).toBe((2 * 2 + 4 + 8) * MIB)
  })
})

describe('extents that differ', () => {
  const shapes = Array.from({ length: 60 }, (_, k) => [40 + k % 7 * 30, 64, 64])

  test('what is known of the items decides: shards are full, not an item each', () => {
    const made = (item: number): number => shapes[item]!.reduce((product, extent) => product * extent, 4)
    const { ranges, itemBytes, rows } = cut(volumes(shapes), floats, 16 * MIB)
    expect(rows.length).toBeLessThan(15)
    expect(itemBytes).toBeCloseTo(shapes.reduce((sum, _, k) => sum + made(k) + 128, 0) / 60, 6)
    for (const { start, stop } of ranges) {
      let bytes = 0
      for (let item = start; item < stop; item++) bytes += made(item)
      expect(bytes).toBeLessThanOrEqual(16 * MIB)
      // The next one would not have had room.
      if (stop < shapes.length) expect(bytes + made(stop) + 128 * (stop - start + 1)).toBeGreaterThan(16 * MIB)
    }
  })

  test('processes with the same options cut alike, however many jobs they say', () => {
    const [one, ...others] = [1, 2, 7].map((jobs) => cut(volumes(shapes), floats, 16 * MIB, jobs).ranges)
    for (const other of others) expect(other).toEqual(one)
  })

  test('one that is larger than a shard stands alone, and its neighbours are cut as if it were not there', () => {
    expect(cut(volumes([...same(3, [32, 32, 32]), [512, 64, 64], ...same(3, [32, 32, 32])]), floats, MIB).rows).toEqual([3, 1, 3])
  })

  test('as many as one transaction takes', () => {
    expect(cut(volumes(same(65_600, [1, 1, 1])), floats, 64 * MIB).rows).toEqual([65_536, 64])
  })

  test('what ops make of it counts: 1.5 mm of 0.75 is an eighth', () => {
    const ops = recipe([resample({ spacing: 1.5, fields: ['image'] })])
    expect(cut(volumes(same(64, [64, 64, 64]), 0.75), ops, 4 * MIB).rows[0]).toBe(31)
    expect(cut(volumes(same(64, [64, 64, 64]), 1.5), ops, 4 * MIB).rows[0]).toBe(3)
  })

  test('a box that an op finds is taken for the whole image', () => {
    const found = cropForeground({ source: 'image' })
    expect(cut(volumes(same(8, [64, 64, 64])), recipe([found, normalize({ mode: 'minmax', fields: ['image'] })]), 4 * MIB).rows).toEqual([3, 3, 2])
  })

  test('two forms of an item are in memory at a time: the largest on the way counts, not the last', () => {
    const there = recipe([orient({ fields: ['image'] }), resample({ spacing: 0.5, fields: ['image'] })])
    const andBack = recipe([...there.ops, resample({ spacing: 4, fields: ['image'] })])
    const [large] = cut(volumes([[64, 64, 64]]), there, 64 * MIB).ranges
    const [small] = cut(volumes([[64, 64, 64]]), andBack, 64 * MIB).ranges
    expect(large!.bytes).toBeGreaterThan(2 * 128 ** 3 * 4)
    expect(small!.bytes).toBeGreaterThan(2 * 128 ** 3 * 4)
    expect(small!.bytes).toBeLessThan(large!.bytes)
  })

  test('an item that an op refuses is cut by a guess: it is refused when it is its turn', () => {
    const flat = sourceOf({ image: { dtype: 'int16', shape: [null, null, null] } }, 4, (item) => ({ image: { dtype: 'int16', shape: [item === 1 ? 4096 : 16, 64, 64] } }))
    const { rows } = cut(flat, recipe([pad({ shape: [64, 64, 64], fields: ['image'] })]), 4 * MIB)
    expect(rows.length).toBeGreaterThan(1)
  })
})

describe('nothing is known before an item is read', () => {
  const unknown = (length: number): Source => sourceOf({ image: { dtype: 'int16', shape: [null, null, null] } }, length)

  test('each job has some ranges, so that none has all the large items; nothing is said of memory', () => {
    const { ranges, rows } = cut(unknown(320), floats, 64 * MIB, 2)
    expect(rows).toEqual(Array.from({ length: 32 }, () => 10))
    expect(ranges.every(({ bytes }) => bytes === 0)).toBe(true)
    expect(cut(unknown(320), floats, 64 * MIB, 4).rows).toEqual(Array.from({ length: 64 }, () => 5))
  })

  test('one extent that differs is no reason to guess so', () => {
    expect(cut(sourceOf({ image: { dtype: 'int16', shape: [null] } }, 1000), floats, MIB, 2).rows).toEqual([1000])
  })
})

describe('room', () => {
  const settle = (): Promise<void> => new Promise((done) => { setImmediate(done) })

  async function takers(room: Room, ...bytes: number[]): Promise<string> {
    const state = bytes.map(() => '.')
    bytes.forEach((size, k) => void room.take(size).then(() => { state[k] = 'x' }))
    await settle()
    return state.join('')
  }

  test('those are in work together that fit', async () => {
    expect(await takers(new Room(10), 4, 6)).toBe('xx')
    expect(await takers(new Room(10), 4, 7)).toBe('x.')
    expect(await takers(new Room(10), 0, 10, 0)).toBe('xxx')
  })

  test('one alone always is, however large, and then nothing else', async () => {
    const room = new Room(10)
    expect(await takers(room, 99)).toBe('x')
    expect(await takers(room, 1)).toBe('.')
  })

  test('who waits goes on when enough is given back, and not before', async () => {
    const room = new Room(10)
    const done: number[] = []
    await room.take(6)
    await room.take(4)
    for (const bytes of [7, 3]) void room.take(bytes).then(() => done.push(bytes))
    await settle()
    expect(done).toEqual([])
    room.give(4)
    await settle()
    expect(done).toEqual([3])
    room.give(6)
    await settle()
    expect(done).toEqual([3, 7])
    room.give(3)
    room.give(7)
    expect(await takers(room, 10)).toBe('x')
  })
})
