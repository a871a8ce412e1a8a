// Device.nearest of the CPU against the plainest search there is, to the bit.
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { bytesOf } from '../../src/core/tensor.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import { native } from '../../src/native/load.js'
import type { Nearest, PlanePoints } from '../../src/ops/points.js'
import { asked } from '../determinism/nearest.arbitrary.js'
import { hardPoints, pointsOf, referenceNearest } from '../determinism/nearest.reference.js'
import { Random } from '../determinism/values.js'

const devices = [1, 3].map((threads) => createCpuDevice({ threads }))
afterAll(async () => { for (const device of devices) await device.close() })

const same = (a: Nearest, b: Nearest): boolean => Buffer.compare(bytesOf(a.index), bytesOf(b.index)) === 0 && Buffer.compare(bytesOf(a.squared), bytesOf(b.squared)) === 0
const spread = (count: number, wanted: number): Int32Array => Int32Array.from({ length: Math.min(count, wanted) }, (_, k) => Math.floor(k * count / Math.min(count, wanted)))

describe('nearest points on the CPU', () => {
  test('any points: the nearest ones, exactly, with ties by index', async () => {
    await fc.assert(fc.asyncProperty(asked, async ({ points, at, k }) => {
      const expected = referenceNearest(points, at, k)
      for (const device of devices) expect(same(await device.nearest(points, at, k), expected)).toBe(true)
    }), { numRuns: 300 })
  })

  test.each(Object.entries(hardPoints(new Random(3))))('%s', async (_what, points) => {
    const at = spread(points.x.length, 100)
    for (const k of [1, 2, 17, points.x.length]) expect(same(await devices[1]!.nearest(points, at.subarray(0, k > 50 ? 5 : 100), k), referenceNearest(points, at.subarray(0, k > 50 ? 5 : 100), k))).toBe(true)
  })

  test('around the points of a cell and of a crowd', async () => {
    const random = new Random(7)
    for (const count of [1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 128, 129]) {
      for (const side of [1, 1e-300, 1e160]) {
        const points = pointsOf(count, (n) => n % 2 === 0 ? [side * random.unit(), side * random.unit()] : [side * 1e-9 * random.unit(), 0])
        const at = spread(count, 200)
        for (const k of [1, count]) expect(same(await devices[0]!.nearest(points, at, k), referenceNearest(points, at, k))).toBe(true)
      }
    }
  })

  test('crowds within crowds', async () => {
    const random = new Random(11)
    const points = pointsOf(3000, () => { const scale = 10 ** -random.below(14); return [1 + scale * random.unit(), scale * random.unit()] })
    const at = spread(3000, 60)
    for (const k of [1, 10, 100]) expect(same(await devices[1]!.nearest(points, at, k), referenceNearest(points, at, k))).toBe(true)
  })

  test('squares that overflow are equally far', async () => {
    const points = { x: Float64Array.of(-1.7e308, 1e200, 0, 1.7e308, 1e-200), y: Float64Array.of(0, 1e200, 0, 1.7e308, 0) }
    expect([...(await devices[0]!.nearest(points, Int32Array.of(3, 0, 4), 5)).index]).toEqual([3, 0, 1, 2, 4, 0, 1, 2, 3, 4, 2, 4, 0, 1, 3])
  })

  test('several at once, and nothing asked', async () => {
    const sets: PlanePoints[] = Object.values(hardPoints(new Random(13)))
    const found = await Promise.all([...sets, ...sets].map(async (points) => ({ points, found: await devices[1]!.nearest(points, spread(points.x.length, 20), 5) })))
    for (const { points, found: nearest } of found) expect(same(nearest, referenceNearest(points, spread(points.x.length, 20), 5))).toBe(true)
    expect(await devices[0]!.nearest(sets[0]!, new Int32Array(0), 3)).toEqual({ index: new Int32Array(0), squared: new Float64Array(0) })
  })

  test('what cannot be is refused', async () => {
    const points = pointsOf(3, (k) => [k, k])
    for (const k of [0, 4, 1.5, NaN]) await expect(devices[0]!.nearest(points, Int32Array.of(0), k)).rejects.toThrow()
    await expect(devices[0]!.nearest({ x: points.x, y: Float64Array.of(0, 1) }, Int32Array.of(0), 1)).rejects.toThrow(/equally long/)
    await expect(devices[0]!.nearest(pointsOf(3, (k) => [k, k === 2 ? NaN : 0]), Int32Array.of(0), 1)).rejects.toThrow(/point 2 is not finite/)
  })
})

describe('the nearest of what a device has listed', () => {
  const { x, y } = pointsOf(6, (k) => [k, k % 2])
  /** Places in this order are 5, 4 … 0. */
  const order = Int32Array.of(5, 4, 3, 2, 1, 0)
  const listed = async (at: readonly number[], words: readonly number[], k = 2): Promise<{ done: number[]; index: number[]; squared: number[] }> => {
    const [index, squared, done] = [new Int32Array(at.length * k).fill(-7), new Float64Array(at.length * k).fill(-7), new Uint8Array(at.length).fill(9)]
    await native().nearestListed(x, y, order, Uint32Array.from(words), Int32Array.from(at), 4, k, index, squared, done, 2)
    return { done: [...done], index: [...index], squared: [...squared] }
  }

  test('in any order, with ties by index, and no more than the list has', async () => {
    // Of 2 the points 1 and 3 are equally near.
    expect(await listed([2, 5], [4, 4, 2, 3, 0, 3, 0, 5, 1, 77])).toEqual({ done: [1, 1], index: [2, 1, 5, 4], squared: [0, 2, 0, 2] })
    expect(await listed([2], [3, 3, 2, 4, 0], 3)).toEqual({ done: [1], index: [2, 1, 3], squared: [0, 2, 2] })
  })

  test('lists that are too short or too long, or name what is no point, leave it undone and nothing written', async () => {
    for (const words of [[1, 3, 0, 0, 0], [0, 3, 2, 1, 0], [5, 3, 2, 1, 0], [0xffffffff, 3, 2, 1, 0], [2, 3, 6, 0, 0], [2, 0xffffffff, 0, 0, 0]]) expect(await listed([2], words)).toEqual({ done: [0], index: [-7, -7], squared: [-7, -7] })
    for (const point of [-1, 6]) expect((await listed([point], [2, 3, 2, 0, 0])).done).toEqual([0])
  })

  test('arrays that do not belong together are refused', async () => {
    await expect(async () => listed([2, 3], [2, 3, 2, 0, 0])).rejects.toThrow(/as long as/)
    await expect(async () => listed([2], [2, 3, 2, 0, 0], 0)).rejects.toThrow()
  })
})
