import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cast, items, normalize, randomCrop, randomFlip, randomIntensity, randomNoise, randomRotate90, recipe, type Batch, type BatchOptions, type Cache, type Dataset, type RandomOp, type Tensor } from '../../src/index.js'
import { noise, range, smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const ITEMS = 61
let cache: Cache
let dataset: Dataset
let volumes: Dataset
let docs: Dataset

const AFFINE = [2, 0, 0, -10, 0, 3, 0, 5, 0, 0, 1.5, 7, 0, 0, 0, 1]

beforeAll(async () => {
  cache = await smallCache(tempDir())
  const tensor = (dtype: 'float32' | 'float64', shape: number[], data: ArrayLike<number>): Tensor => ({ dtype, shape, data: dtype === 'float32' ? Float32Array.from(data) : Float64Array.from(data) }) as Tensor
  const keep = recipe([cast({ dtype: 'float32', fields: ['x'] })])
  dataset = await cache.dataset(await items(range(0, ITEMS).map((k) => ({ id: `i${k}`, fields: { x: tensor('float32', [2, 4, 4], noise(32, k)), mask: { dtype: 'uint8', shape: [4, 4], data: Uint8Array.from(range(0, 16), (v) => v + k) }, z: { dtype: 'complex64', shape: [4, 4], data: Float32Array.from(range(0, 32), (v) => v + k) }, y: Int32Array.of(k) } }))), keep)
  volumes = await cache.dataset(await items(range(0, 8).map((k) => ({ id: `v${k}`, fields: { image: tensor('float32', [3, 4, 5], noise(60, k)), label: tensor('float32', [3, 4, 5], noise(60, k)), affine: tensor('float64', [4, 4], AFFINE) } }))), recipe([cast({ dtype: 'float32', fields: ['image'] })]))
  docs = await cache.dataset(await items(range(0, 9).map((k) => ({ id: `d${k}`, fields: { numbers: { dtype: 'int32', shape: [2 + k % 3], data: Int32Array.from(range(0, 2 + k % 3)) }, pos: tensor('float32', [2 + k % 3, 3], noise(3 * (2 + k % 3), k)) } }))), recipe([cast({ dtype: 'float32', fields: ['pos'] })]))
})
afterAll(() => cache.close())

async function all(batches: AsyncIterable<Batch>): Promise<Batch[]> {
  const list: Batch[] = []
  for await (const batch of batches) list.push(batch)
  return list
}

/** By item: the numbers of a field. */
async function byItem(options: Partial<BatchOptions> & { augment: RandomOp[] }, field: string, of = dataset): Promise<Map<number, number[]>> {
  const found = new Map<number, number[]>()
  for (const batch of await all(of.batches({ size: 8, seed: 5, ...options }))) {
    const whole = batch[field] as Tensor | Tensor[]
    for (const [k, index] of [...batch.indices].entries()) {
      const data = Array.isArray(whole) ? whole[k]!.data : whole.data.subarray(k * (whole.data.length / batch.indices.length), (k + 1) * (whole.data.length / batch.indices.length))
      found.set(index, Array.from(data as Float32Array))
    }
  }
  return found
}

const itemOf = async (index: number, field = 'x', of = dataset): Promise<number[]> => Array.from(((await of.get(index))[field] as Tensor<'float32'>).data)
/** [a, b, c] flipped along axes, by hand. */
const flipped = (data: readonly number[], [a, b, c]: readonly [number, number, number], along: readonly boolean[]): number[] => range(0, a * b * c).map((at) => {
  const place = [Math.floor(at / (b * c)), Math.floor(at / c) % b, at % c]
  const [i, j, k] = [a, b, c].map((extent, axis) => along[axis] === true ? extent - 1 - place[axis]! : place[axis]!) as [number, number, number]
  return data[(i * b + j) * c + k]!
})

describe('random ops in batches', () => {
  test('an item is the same in every order, in every batch size, with any number of ranks and after a restart; another in every epoch', async () => {
    const augment = [randomFlip({ axes: [-1, -2] }), randomNoise({ std: [0.1, 0.5], fields: ['x'] }), randomCrop({ shape: [3, 2] })]
    const expected = await byItem({ augment }, 'x')
    for (const options of [{ shuffle: true }, { size: 5, prefetch: 0 }, { size: 61, shuffle: true, reuse: true }, { collate: 'list' as const }, { collate: 'pad' as const, shuffle: true }]) expect(await byItem({ augment, ...options }, 'x')).toEqual(expected)
    const ranks = await Promise.all([0, 1, 2].map((index) => byItem({ augment, shuffle: true, shard: { index, count: 3 } }, 'x')))
    expect(new Map(ranks.flatMap((rank) => [...rank]).toSorted(([a], [b]) => a - b))).toEqual(expected)
    const begun = dataset.batches({ size: 8, seed: 5, shuffle: true, augment })
    await begun.next()
    const state = begun.state()
    await begun.return()
    for (const batch of await all(dataset.batches({ size: 8, seed: 5, shuffle: true, augment }).restore(state))) expect(Array.from((batch.x as Tensor<'float32'>).data.subarray(0, 12))).toEqual(expected.get(batch.indices[0]!))
    expect(await byItem({ augment, epoch: 1 }, 'x')).not.toEqual(expected)
    expect(await byItem({ augment, seed: 6 }, 'x')).not.toEqual(expected)
    // What an op draws depends on its place: the same op twice is not the same change twice.
    expect(await byItem({ augment: [randomNoise({ std: 1 }), randomNoise({ std: 1 })] }, 'x')).not.toEqual(await byItem({ augment: [randomNoise({ std: 2 })] }, 'x'))
  })

  test('without a cache the same bytes', async () => {
    const source = await items(range(0, 20).map((k) => ({ id: `i${k}`, fields: { x: { dtype: 'float32' as const, shape: [4, 4], data: Float32Array.from(noise(16, k)) } } })))
    const steps = recipe([normalize({ mode: 'zscore' })])
    const options: BatchOptions = { size: 6, shuffle: true, seed: 3, augment: [randomRotate90(), randomNoise({ std: 0.1 })] }
    const [cached, live] = [await cache.dataset(source, steps), await cache.dataset(source, steps, { cache: false })]
    const of = async (list: { batches: Dataset['batches'] }): Promise<unknown[]> => (await all(list.batches(options))).map(({ x, indices }) => [...indices, ...(x as Tensor<'float32'>).data])
    expect(await of(live)).toEqual(await of(cached))
  })

  test('in a view it is the place there that decides, so that repeated items differ', async () => {
    const twice = dataset.select([3, 3])
    const noisy = await byItem({ augment: [randomNoise({ std: 1 })] }, 'x', twice as Dataset)
    expect(noisy.get(0)).not.toEqual(noisy.get(1))
  })

  test('fields that no op changes are not copied, and what is mapped is not written to', async () => {
    const before = await itemOf(0)
    const [plain] = await all(dataset.batches({ size: ITEMS }))
    const [noisy] = await all(dataset.batches({ size: ITEMS, seed: 1, augment: [randomNoise({ std: 1 })] }))
    expect((noisy!.y as Tensor).data.buffer).toBe((plain!.y as Tensor).data.buffer)
    expect((noisy!.x as Tensor).data.buffer).not.toBe((plain!.x as Tensor).data.buffer)
    expect(await itemOf(0)).toEqual(before)
    const [same] = await all(dataset.batches({ size: ITEMS, seed: 1, augment: [randomFlip({ axes: -1, probability: 0 })] }))
    expect((same!.x as Tensor).data.buffer).toBe((plain!.x as Tensor).data.buffer)
  })

  test('graphs are put together of changed items', async () => {
    const [batch] = await all(docs.batches({ size: 9, seed: 1, collate: 'graph', augment: [randomNoise({ std: 0.01 })] }))
    const [plain] = await all(docs.batches({ size: 9, collate: 'graph' }))
    expect(batch!.ptr).toEqual(plain!.ptr)
    const [a, b] = [batch!.pos as Tensor<'float32'>, plain!.pos as Tensor<'float32'>]
    expect(a.shape).toEqual(b.shape)
    a.data.forEach((value, i) => {
      expect(value).not.toBe(b.data[i])
      expect(Math.abs(value - b.data[i]!)).toBeLessThan(0.07)
    })
  })

  test('misuse', () => {
    expect(() => dataset.batches({ size: 8, augment: [randomNoise({ std: 1 })] })).toThrow(/augment needs a seed/)
    expect(() => dataset.batches({ size: 8, seed: 1, augment: [cast({ dtype: 'float32' })] as never })).toThrow(/augment 0 is no random op/)
    expect(() => recipe([randomFlip({ axes: 0 })] as never)).toThrow(/element 0 \(?.*draws anew in every epoch; it belongs to batches/)
    expect(() => dataset.batches({ size: 8, seed: 1, augment: [randomNoise({ std: 1, fields: ['y'] })] })).toThrow(/augment 0 \(randomNoise\): expected for field y something else than int32 \[1\]/)
    expect(() => dataset.batches({ size: 8, seed: 1, augment: [randomCrop({ shape: [5] })] })).toThrow(/cannot cut 5 out of field/)
    expect(() => docs.batches({ size: 8, seed: 1, augment: [randomRotate90({ fields: ['pos'] })] })).toThrow(/shapes that differ|square/)
    for (const wrong of [() => randomFlip({} as never), () => randomFlip({ axes: 0, probability: 2 }), () => randomNoise({ std: -1 }), () => randomNoise({ std: [2, 1] }), () => randomCrop({ shape: [0] }), () => randomCrop({ shape: [2], axes: [0, 1] }), () => randomIntensity({ scale: 'a' as never }), () => randomRotate90({ axes: [1, 1] }), () => randomFlip({ axes: 0, p: 1 } as never)]) expect(wrong).toThrow(TypeError)
  })
})

describe('what they do', () => {
  test('randomFlip flips all fields of an item alike, each axis half of the time', async () => {
    const augment = [randomFlip({ axes: [-1, -2] })]
    const [x, mask, z] = await Promise.all(['x', 'mask', 'z'].map((field) => byItem({ augment }, field)))
    const kinds = new Set<number>()
    for (const index of range(0, ITEMS)) {
      const original = await itemOf(index)
      const way = [[false, false], [true, false], [false, true], [true, true]].findIndex(([rows, columns]) => String(flipped(original, [2, 4, 4], [false, rows!, columns!])) === String(x!.get(index)))
      expect(way).toBeGreaterThanOrEqual(0)
      kinds.add(way)
      expect(mask!.get(index)).toEqual(flipped(await itemOf(index, 'mask'), [1, 4, 4], [false, way % 2 === 1, way > 1]))
      const pairs = await itemOf(index, 'z')
      expect(z!.get(index)).toEqual(flipped(range(0, 16), [1, 4, 4], [false, way % 2 === 1, way > 1]).flatMap((at) => pairs.slice(2 * at, 2 * at + 2)))
    }
    expect(kinds.size).toBe(4)
  })

  test('randomCrop cuts at places that are all reached', async () => {
    const cut = await byItem({ augment: [randomCrop({ shape: [3, 2] })] }, 'mask')
    const places = new Set<number>()
    for (const [index, data] of cut) {
      const first = data[0]! - index
      places.add(first)
      expect(data).toEqual([0, 1, 4, 5, 8, 9].map((at) => first + at + index))
    }
    expect([...places].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 4, 5, 6])
  })

  test('randomRotate90 turns as numpy.rot90', async () => {
    const turned = await byItem({ augment: [randomRotate90()] }, 'mask')
    const seen = new Set<string>()
    const square = range(0, 16)
    const once = (data: number[]): number[] => range(0, 16).map((at) => data[(at % 4) * 4 + 3 - Math.floor(at / 4)]!)
    const ways = [square, once(square), once(once(square)), once(once(once(square)))]
    // numpy.rot90([[0, 1, …], …])[0] is the last column from the top.
    expect(ways[1]!.slice(0, 4)).toEqual([3, 7, 11, 15])
    for (const [index, data] of turned) {
      const way = ways.findIndex((expected) => String(expected) === String(data.map((value) => value - index)))
      expect(way).toBeGreaterThanOrEqual(0)
      seen.add(String(way))
    }
    expect(seen.size).toBe(4)
    expect(await byItem({ augment: [randomRotate90({ probability: 0 })] }, 'mask')).toEqual(await byItem({ augment: [randomFlip({ axes: 0, probability: 0 })] }, 'mask'))
  })

  test('randomIntensity and randomNoise round each operation to float32', async () => {
    const changed = await byItem({ augment: [randomIntensity({ scale: [0.5, 2], offset: [-1, 1], fields: ['x'] })] }, 'x')
    for (const index of [0, 17, 60]) {
      const [before, after] = [await itemOf(index), changed.get(index)!]
      // Two unknowns from two elements, then all others follow.
      const scale = (after[1]! - after[0]!) / (before[1]! - before[0]!)
      expect(scale).toBeGreaterThanOrEqual(0.49)
      expect(scale).toBeLessThanOrEqual(2.01)
      const offset = after[0]! - before[0]! * scale
      after.forEach((value, i) => expect(value).toBeCloseTo(before[i]! * scale + offset, 4))
    }
    const half = await byItem({ augment: [randomNoise({ std: 1, probability: 0.5 })] }, 'x')
    const same = await Promise.all([...half].map(async ([index, data]) => String(data) === String(await itemOf(index))))
    expect(Math.abs(same.filter(Boolean).length - ITEMS / 2)).toBeLessThan(5 * Math.sqrt(ITEMS / 4))
  })

  test("images' affines follow: a point stays where it lay", async () => {
    for (const augment of [[randomFlip({ axes: [0, 1, 2] })], [randomCrop({ shape: [2, 3, 2] })]]) {
      for (const batch of await all(volumes.batches({ size: 1, seed: 9, augment }))) {
        const original = await volumes.get(batch.indices[0]!)
        const [image, affine] = [batch.image as Tensor<'float32'>, (batch.affine as Tensor<'float64'>).data]
        const [, a, b, c] = image.shape as [number, number, number, number]
        const where = (matrix: ArrayLike<number>, point: readonly number[]): string => range(0, 3).map((row) => matrix[4 * row]! * point[0]! + matrix[4 * row + 1]! * point[1]! + matrix[4 * row + 2]! * point[2]! + matrix[4 * row + 3]!).join()
        const before = new Map(range(0, 60).map((at) => [where(AFFINE, [Math.floor(at / 20), Math.floor(at / 5) % 4, at % 5]), (original.image as Tensor<'float32'>).data[at]]))
        for (const at of range(0, a * b * c)) expect(image.data[at]).toBe(before.get(where(affine, [Math.floor(at / (b * c)), Math.floor(at / c) % b, at % c])))
        expect((batch.label as Tensor<'float32'>).data).toEqual(image.data)
      }
    }
  })

  test('images that share an affine are moved together or not at all', () => {
    expect(() => volumes.batches({ size: 1, seed: 1, augment: [randomFlip({ axes: 0, fields: ['image'] })] })).toThrow(/image and label share the affine affine/)
  })

  test('the first random numbers of a seed are these', async () => {
    // If this fails, everybody's training runs change.
    const first = await byItem({ augment: [randomNoise({ std: 1 })], seed: 42 }, 'x')
    const plain = await itemOf(3)
    expect(first.get(3)!.slice(0, 4).map((value, i) => Number((value - plain[i]!).toFixed(6)))).toMatchInlineSnapshot(`
      [
        -0.437228,
        0.118374,
        0.425189,
        0.666979,
      ]
    `)
    const cut = await byItem({ augment: [randomCrop({ shape: [1, 1] })], seed: 42 }, 'mask')
    expect(range(0, 12).map((index) => cut.get(index)![0]! - index)).toMatchInlineSnapshot(`
      [
        7,
        11,
        7,
        1,
        8,
        12,
        15,
        6,
        4,
        14,
        2,
        2,
      ]
    `)
  })
})
