import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cast, group, items, npz, recipe, RecipeError, type Cache, type Dataset, type GroupOptions, type ItemInput, type LiveDataset, type Source, type Tensor } from '../../src/index.js'
import { noise, range, smallCache } from '../support/data.js'
import { npzBytes, type NpyArray } from '../support/npy.js'
import { tempDir } from '../support/temp.js'

let cache: Cache
beforeAll(async () => { cache = await smallCache(join(tempDir(), 'cache')) })
afterAll(() => cache.close())

const SIDE = 3
/** A scan of `count` points, whose patterns say which they are. */
function scan(count: number, seed = 1, change: (arrays: Record<string, NpyArray>) => void = () => {}): Record<string, NpyArray> {
  const places = noise(2 * count, seed)
  const arrays: Record<string, NpyArray> = {
    diffraction: { dtype: 'uint16', shape: [count, SIDE, SIDE], data: Uint16Array.from({ length: count * SIDE * SIDE }, (_, k) => (k * 7 + Math.floor(k / 9)) % 65_536) },
    xcoords: { dtype: 'float64', shape: [count], data: places.subarray(0, count) },
    ycoords: { dtype: 'float32', shape: [count], data: Float32Array.from(places.subarray(count)) },
    probeGuess: { dtype: 'complex64', shape: [2], data: Float32Array.of(1, 2, 3, 4) },
  }
  change(arrays)
  return arrays
}
async function scanSource(arrays: Record<string, NpyArray>, name = 'scan.npz'): Promise<Source> {
  const path = join(tempDir(), name)
  writeFileSync(path, npzBytes(arrays))
  return npz(path, { constants: { probe: 'probeGuess' } })
}
const values = ({ data }: Tensor): number[] => Array.from(data as Float64Array)

/** Of each point all others by nearness, ties by index. */
function byNearness(x: ArrayLike<number>, y: ArrayLike<number>, at: number): number[] {
  const squared = (k: number): number => (x[k]! - x[at]!) * (x[k]! - x[at]!) + (y[k]! - y[at]!) * (y[k]! - y[at]!)
  return range(0, x.length).sort((a, b) => squared(a) - squared(b) || a - b)
}

async function live(source: Source, options: GroupOptions, seed = 5): Promise<LiveDataset> {
  return cache.dataset(source, recipe([group(options)], { seed }), { cache: false })
}

async function membersOf(dataset: LiveDataset): Promise<{ sample: number; members: number[] }[]> {
  const all: { sample: number; members: number[] }[] = []
  for await (const { sample, groups } of dataset.batches({ size: 1000, fields: ['sample', 'groups'] })) {
    const each = groups.shape[1] as number
    values(sample).forEach((point, k) => all.push({ sample: point, members: values(groups).slice(k * each, (k + 1) * each) }))
  }
  return all
}

describe('groups', () => {
  test('are of the nearest points of their sample, with the rows of these and what follows from their places', async () => {
    const arrays = scan(200)
    const source = await scanSource(arrays)
    const dataset = await live(source, { samples: 50, neighbors: 7, size: 4 })
    const [x, y] = [arrays.xcoords!.data as Float64Array, arrays.ycoords!.data as Float32Array]
    const patterns = arrays.diffraction!.data as Uint16Array
    expect(dataset.length).toBe(50)
    expect(dataset.fields).toEqual({
      groups: { dtype: 'int32', shape: [4] }, sample: { dtype: 'int32', shape: [] }, coords: { dtype: 'float64', shape: [4, 2] }, center: { dtype: 'float64', shape: [2] },
      offsets: { dtype: 'float64', shape: [4, 2] }, diffraction: { dtype: 'uint16', shape: [4, SIDE, SIDE] },
    })
    expect(values(dataset.constants.probe!)).toEqual([1, 2, 3, 4])
    const drawn = new Set<number>()
    for (let k = 0; k < dataset.length; k++) {
      const item = await dataset.get(k) as Record<string, Tensor>
      const members = values(item.groups!)
      const [sample] = values(item.sample!)
      drawn.add(sample!)
      expect(new Set(members).size).toBe(4)
      expect(byNearness(x, y, sample!).slice(0, 7)).toEqual(expect.arrayContaining(members))
      expect(values(item.coords!)).toEqual(members.flatMap((point) => [x[point], y[point]]))
      const center = [x, y].map((of) => members.reduce((sum, point) => sum + of[point]!, 0) / 4)
      expect(values(item.center!)).toEqual(center)
      expect(values(item.offsets!)).toEqual(members.flatMap((point) => [x[point]! - center[0]!, y[point]! - center[1]!]))
      expect(values(item.diffraction!)).toEqual(members.flatMap((point) => Array.from(patterns.subarray(point * SIDE * SIDE, (point + 1) * SIDE * SIDE))))
      expect(item.id).toBe(`group_${String(k).padStart(6, '0')}`)
    }
    expect(drawn.size).toBe(50)
    source.close()
  })

  test('of any points: the nearest are what a search through all gives', async () => {
    // Few different numbers: ties, and points at one place.
    const coordinate = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e3, max: 1e3 }), fc.constantFrom(1e200, -1e200, 1e9 + 0.5))
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(coordinate, coordinate), { minLength: 1, maxLength: 60 }), fc.integer({ min: 1, max: 60 }), fc.constantFrom('drawn', 'always', 'never'), async (points, wanted, self) => {
      const most = points.length - (self === 'never' ? 1 : 0)
      if (most === 0) return
      const neighbors = Math.min(most, wanted)
      const source = await items(points.map(([x, y], k) => ({ id: `${k}`, fields: { xcoords: x, ycoords: y } })))
      // All neighbours, so that none is left out.
      const dataset = await live(source, { samples: points.length, neighbors, size: neighbors, self })
      for (const { sample, members } of await membersOf(dataset)) {
        const all = byNearness(points.map(([x]) => x), points.map(([, y]) => y), sample)
        const others = all.filter((point) => point !== sample)
        const expected = self === 'drawn' ? all.slice(0, neighbors) : self === 'never' ? others.slice(0, neighbors) : [sample, ...others.slice(0, neighbors - 1)]
        expect([...members].sort()).toEqual([...expected].sort())
        if (self === 'always') expect(members[0]).toBe(sample)
      }
    }), { numRuns: 60 })
  })

  test('that must not overlap share no point, and it is said when there are not so many', async () => {
    const source = await scanSource(scan(300))
    for (const self of ['drawn', 'always', 'never'] as const) {
      const all = (await membersOf(await live(source, { samples: 40, neighbors: 8, size: 4, overlap: false, self }))).flatMap(({ members }) => members)
      expect(new Set(all).size).toBe(160)
    }
    await expect(live(source, { samples: 75, neighbors: 4, size: 4, overlap: false })).rejects.toThrow(/only \d+ groups of 4 points that do not overlap were found, 75 are asked for/)
    await expect(live(source, { samples: 76, neighbors: 4, size: 4, overlap: false })).rejects.toThrow(/need 304 points, there are 300/)
    source.close()
  })

  test('of more samples than points, with replacement, differ also where they lie around one point', async () => {
    const source = await scanSource(scan(20))
    await expect(live(source, { samples: 21, neighbors: 5, size: 2 })).rejects.toThrow('group: 21 samples cannot be drawn from 20 points without replacement')
    const all = await membersOf(await live(source, { samples: 400, neighbors: 5, size: 2, replacement: true }))
    const bySample = new Map(range(0, 20).map((point) => [point, all.filter(({ sample }) => sample === point)]))
    expect(bySample.size).toBe(20)
    for (const groups of bySample.values()) expect(new Set(groups.map(({ members }) => members.join())).size).toBeGreaterThan(1)
    source.close()
  })

  test('count from their mean or from their sample', async () => {
    const source = await scanSource(scan(30))
    const dataset = await live(source, { samples: 10, neighbors: 5, size: 3, origin: 'sample', self: 'always' })
    for (let k = 0; k < 10; k++) {
      const { coords, center, offsets } = await dataset.get(k) as Record<string, Tensor>
      expect(values(center!)).toEqual(values(coords!).slice(0, 2))
      expect(values(offsets!).slice(0, 2)).toEqual([0, 0])
    }
    source.close()
  })
})

describe('draws', () => {
  test('are uniform: samples, and points of a group', async () => {
    // A line, so that neighbours are known: of point k the points k - 2 … k + 2.
    const count = 50
    const source = await items(range(0, count).map((k) => ({ id: `${k}`, fields: { xcoords: k, ycoords: 0 } })))
    const samples = new Float64Array(count)
    const places = new Float64Array(5)
    const seeds = 400
    for (let seed = 0; seed < seeds; seed++) {
      for (const { sample, members } of await membersOf(await live(source, { samples: 10, neighbors: 5, size: 2 }, seed))) {
        samples[sample]!++
        if (sample >= 2 && sample < count - 2) for (const point of members) places[point - sample + 2]!++
      }
    }
    const chi = (counts: Float64Array): number => {
      const expected = counts.reduce((sum, x) => sum + x, 0) / counts.length
      return counts.reduce((sum, x) => sum + (x - expected) ** 2 / expected, 0)
    }
    // Seeds are fixed, so this does not depend on luck: 49 and 4 degrees of freedom, 99.9 % lie below 85.4 and 18.5.
    expect(chi(samples)).toBeLessThan(85.4)
    expect(chi(samples)).toBeGreaterThan(15)
    expect(chi(places)).toBeLessThan(18.5)
  })

  test('are the same for one seed, wherever it is said, and others for another', async () => {
    const source = await scanSource(scan(500))
    const options = { samples: 100, neighbors: 9, size: 4 }
    const text = async (dataset: LiveDataset): Promise<string> => JSON.stringify(await membersOf(dataset))
    const first = await text(await live(source, options, 7))
    expect(await text(await live(source, { ...options, seed: 7 }, 8))).toBe(first)
    expect(await text(await live(source, { ...options, seed: 7n }, 8))).toBe(first)
    expect(await text(await live(source, options, 8))).not.toBe(first)
    source.close()
  })

  test('stand', async () => {
    // If this fails, groups that were cached differ from those that are computed: raise the op's version instead.
    const source = await items(range(0, 30).map((k) => ({ id: `${k}`, fields: { xcoords: k % 6, ycoords: Math.floor(k / 6) } })))
    expect(await membersOf(await live(source, { samples: 4, neighbors: 7, size: 4 }, 42))).toEqual(PINNED)
  })
})

const PINNED: unknown = [{ sample: 4, members: [9, 10, 2, 4] }, { sample: 29, members: [22, 27, 28, 29] }, { sample: 22, members: [28, 15, 21, 22] }, { sample: 28, members: [21, 29, 22, 27] }]

describe('a dataset of groups', () => {
  const options = { samples: 60, neighbors: 7, size: 4 }

  test('is the same in the cache and without it, whatever batches, prefetch, jobs and devices are', async () => {
    const arrays = scan(400)
    const source = await scanSource(arrays)
    const steps = recipe([cast({ dtype: 'float32', fields: ['diffraction'] }), group(options)], { seed: 11 })
    const digests = new Set<string>()
    for (const jobs of [1, 3]) {
      const own = await smallCache(join(tempDir(), 'cache'))
      const dataset = await own.dataset(source, steps, { jobs })
      digests.add(dataset.digest)
      const alive = await own.dataset(source, steps, { cache: false })
      for (const [size, prefetch] of [[1, 0], [7, 2], [60, 5]] as const) {
        const [one, other] = [await whole(dataset, size, prefetch), await whole(alive, size, prefetch)]
        expect(other).toEqual(one)
      }
      await own.close()
    }
    expect(digests.size).toBe(1)
    source.close()
  })

  test('computes again only groups of points that changed', async () => {
    const arrays = scan(400)
    const own = await smallCache(join(tempDir(), 'cache'))
    const steps = recipe([group(options)], { seed: 11 })
    const first = await own.dataset(await scanSource(arrays), steps)
    expect(first.report).toMatchObject({ items: 60, computed: 60 })
    const [changed] = values((await first.get(0)).groups as Tensor)
    ;(arrays.diffraction!.data as Uint16Array)[changed! * SIDE * SIDE]! ^= 1
    const concerned = []
    for (let k = 0; k < 60; k++) {
      const { groups, sample } = await first.get(k) as Record<string, Tensor>
      concerned.push([...values(groups!), ...values(sample!)].includes(changed!))
    }
    const second = await own.dataset(await scanSource(arrays), steps)
    expect(second.report.computed).toBe(concerned.filter(Boolean).length)
    expect(second.report.computed).toBeGreaterThan(0)
    expect(second.report.computed).toBeLessThan(20)
    await own.close()
  })

  test('reads coordinates, and only the rows of groups that are read', async () => {
    const source = await scanSource(scan(2000))
    const seen = { runs: [] as string[], rows: 0 }
    const watched = new Proxy(source, {
      get(target, name) {
        const value = Reflect.get(target, name, target) as unknown
        if (name === 'read') return (start: number, stop: number, given: { fields: readonly string[] }) => { seen.runs.push(given.fields.join()); return target.read(start, stop, given) }
        if (name === 'gather') return (indices: Float64Array, given: { fields: readonly string[] }) => { seen.rows += indices.length; return target.gather!(indices, given) }
        return typeof value === 'function' ? (value as (...all: unknown[]) => unknown).bind(target) : value
      },
    })
    const dataset = await cache.dataset(watched, recipe([cast({ dtype: 'float64', fields: ['diffraction'] }), group(options)], { seed: 1 }), { cache: false })
    expect(new Set(seen.runs)).toEqual(new Set(['xcoords,ycoords']))
    expect(seen.rows).toBe(0)
    await dataset.get(3)
    expect(seen.rows).toBe(4)
    for await (const _ of dataset.batches({ size: 8, fields: ['groups', 'offsets'] }));
    expect(seen.rows).toBe(4)
    source.close()
  })

  async function whole(dataset: Dataset | LiveDataset, size: number, prefetch: number): Promise<unknown[]> {
    const all = []
    for await (const batch of dataset.batches({ size, prefetch, shuffle: true, seed: 3 })) all.push([batch.ids, ...Object.keys(dataset.fields).sort().map((name) => values(batch[name] as Tensor))])
    return all
  }
})

describe('what cannot be', () => {
  test.each<[GroupOptions, RegExp]>([
    [{ samples: 0, neighbors: 3, size: 1 }, /samples must be/], [{ samples: 1, neighbors: 3, size: 4 }, /size 4 points cannot be drawn from 3 neighbors/],
    [{ samples: 1, neighbors: 3, size: 1, overlap: false, replacement: true }, /replacement must be false/], [{ samples: 1, neighbors: 3, size: 1, x: 'a', y: 'a' }, /x and y must be two fields/],
    [{ samples: 1, neighbors: 3, size: 1, seed: -1 }, /seed must be an integer/], [{ samples: 1, neighbors: 3, size: 1, self: 'maybe' as 'drawn' }, /self must be one of drawn, always, never/],
    [{ samples: 1, neighbours: 3, size: 1 } as unknown as GroupOptions, /neighbours.*neighbors/], [{ samples: 1.5, neighbors: 3, size: 1 }, /samples must be an integer/],
  ])('%j', (options, message) => expect(() => group(options)).toThrow(message))

  test('fields that do not fit are refused before anything is read', async () => {
    const refused = async (fields: ItemInput['fields'], options: Partial<GroupOptions>, message: RegExp): Promise<void> => {
      const source = await items(range(0, 5).map((k) => ({ id: `${k}`, fields })))
      const error = await live(source, { samples: 2, neighbors: 2, size: 2, ...options }).then(() => undefined, (cause: unknown) => cause)
      expect(error).toBeInstanceOf(RecipeError)
      expect((error as Error).message).toMatch(message)
    }
    await refused({ x: 1, y: 2 }, {}, /there is no field "xcoords"/)
    await refused({ xcoords: 1n, ycoords: 2 }, {}, /up to 32 bits, or float64, in field xcoords, found int64; cast it first/)
    await refused({ xcoords: Float64Array.of(1, 2), ycoords: 2 }, {}, /one number per point in field xcoords, found float64 \[2\]/)
    await refused({ xcoords: 1, ycoords: 2, groups: 3 }, {}, /makes a field groups itself/)
    await refused({ xcoords: 1, ycoords: 2 }, { fields: ['pattern'] }, /there is no field "pattern"/)
  })

  test('a coordinate that is no number is named by file, row and item', async () => {
    const source = await scanSource(scan(10, 1, ({ ycoords }) => { (ycoords!.data as Float32Array)[6] = NaN }))
    await expect(live(source, { samples: 2, neighbors: 2, size: 2 })).rejects.toMatchObject({ code: 'E_ITEM', message: expect.stringMatching(/scan\/6: group: expected a finite number in field ycoords of item 6 \(.*scan\.npz, row 6\), found NaN/) as string })
    source.close()
  })

  test('fewer points than neighbors', async () => {
    const source = await scanSource(scan(6))
    await expect(live(source, { samples: 2, neighbors: 7, size: 2 })).rejects.toThrow('neighbors must be at most 6, as there are 6 points, not 7')
    await expect(live(source, { samples: 2, neighbors: 6, size: 2, self: 'never' })).rejects.toThrow('neighbors must be at most 5, as there are 6 points, one of them the sample, not 6')
    source.close()
  })

  test('coordinates and patterns of different lengths are named by file and array', async () => {
    await expect(scanSource(scan(10, 1, (arrays) => { arrays.xcoords = { dtype: 'float64', shape: [9], data: new Float64Array(9) } }))).rejects.toMatchObject({ code: 'E_FORMAT', message: expect.stringMatching(/scan\.npz.*xcoords.*10 rows.*\[9\]/s) as string })
  })
})
