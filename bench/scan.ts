// How fast are groups of a scan had? Nearest points of random positions, and groups of four patterns of 64 × 64 float64 as float32 batches.
import { closeSync, fsyncSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { cast, group, npz, openCache, recipe, type BatchOptions, type Cache, type LiveDataset, type Recipe } from 'tensorcache'
import { fillNoise, noise, npyHeader, writeAll } from './lib/files.js'
import { native } from './lib/internals.js'
import { inTurns, named, seconds } from './lib/measure.js'
import { check, timesPeer, type Context, type Finding, type Question } from './lib/question.js'

const NEIGHBORS = 7
const SIZE = 4
const PIXELS = 64 * 64
const BATCH = 64

async function run(context: Context): Promise<Finding[]> {
  return [...await nearest(context), ...await endToEnd(context)]
}

/** A stored .npz, as np.savez writes it: arrays of float64, made piece by piece. */
function writeScan(path: string, points: number, pixels: number): void {
  const fd = openSync(path, 'w')
  const directory: Buffer[] = []
  let offset = 0
  const member = (name: string, shape: readonly number[], fill: (piece: Float64Array, first: number) => void): void => {
    const header = npyHeader('float64', shape)
    const count = shape.reduce((product, extent) => product * extent, 1)
    const local = Buffer.alloc(30)
    const file = Buffer.from(`${name}.npy`)
    const piece = new Float64Array(Math.min(count, 2 ** 21))
    const bytesOf = (first: number): Uint8Array => {
      const part = piece.subarray(0, Math.min(piece.length, count - first))
      fill(part, first)
      return new Uint8Array(part.buffer, 0, part.byteLength)
    }
    let crc = crc32(header)
    for (let first = 0; first < count; first += piece.length) crc = crc32(bytesOf(first), crc)
    const size = header.length + 8 * count
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt16LE(20, 4)
    local.writeUInt32LE(crc, 14)
    local.writeUInt32LE(size, 18)
    local.writeUInt32LE(size, 22)
    local.writeUInt16LE(file.length, 26)
    writeAll(fd, Buffer.concat([local, file, header]))
    for (let first = 0; first < count; first += piece.length) writeAll(fd, bytesOf(first))
    const central = Buffer.alloc(46)
    central.writeUInt32LE(0x02014b50, 0)
    central.writeUInt16LE(20, 4)
    central.writeUInt16LE(20, 6)
    local.copy(central, 16, 14, 28)
    central.writeUInt32LE(offset, 42)
    directory.push(Buffer.concat([central, file]))
    offset += local.length + file.length + size
  }
  member('xcoords', [points], (piece, first) => { for (let k = 0; k < piece.length; k++) piece[k] = noise(2 * (first + k)) })
  member('ycoords', [points], (piece, first) => { for (let k = 0; k < piece.length; k++) piece[k] = noise(2 * (first + k) + 1) })
  if (pixels > 0) member('diffraction', [points, Math.sqrt(pixels), Math.sqrt(pixels)], fillNoise)
  const end = Buffer.alloc(22)
  const entries = Buffer.concat(directory)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(directory.length, 8)
  end.writeUInt16LE(directory.length, 10)
  end.writeUInt32LE(entries.length, 12)
  end.writeUInt32LE(offset, 16)
  writeAll(fd, Buffer.concat([entries, end]))
  fsyncSync(fd)
  closeSync(fd)
}

async function nearest({ dir, pick, peer }: Context): Promise<Finding[]> {
  const points = pick({ tiny: 500, quick: 100_000, full: 100_000 })
  const samples = pick({ tiny: 20, quick: 512, full: 512 })
  const path = join(dir, 'points.npz')
  writeScan(path, points, 0)
  const x = Float64Array.from({ length: points }, (_, k) => noise(2 * k))
  const y = Float64Array.from({ length: points }, (_, k) => noise(2 * k + 1))
  const at = Array.from({ length: samples }, (_, k) => Math.floor((noise(k + 7) + 1) / 2 * points))
  const place = (of: Float64Array, which: readonly number[]): Float64Array => Float64Array.from(which, (point) => of[point]!)

  const scipy = await peer('scan')
  await scipy?.call('place', { path })
  const grid = new (native().PointGrid)()
  await grid.build(x, y)
  const find = async (of: typeof grid, which: readonly number[]): Promise<Float64Array> => {
    const squared = new Float64Array(which.length * NEIGHBORS)
    await of.nearest(place(x, which), place(y, which), NEIGHBORS, new Int32Array(squared.length), squared, 1)
    return squared
  }
  if (scipy !== undefined) {
    const expected = (await scipy.call('distances', { at, k: NEIGHBORS }) as unknown as number[][]).flat()
    check((await find(grid, at)).every((squared, k) => Math.sqrt(squared) === expected[k]), 'distances to the nearest points')
    await scipy.call('sort', {})
  }
  const many = Array.from({ length: 10 * samples }, (_, k) => Math.floor((noise(k + 77) + 1) / 2 * points))
  const small = new (native().PointGrid)()
  const tenth = Math.ceil(points / 10)
  await small.build(x.subarray(0, tenth), y.subarray(0, tenth))
  const each = (count: number, took: number): number => count / took / 1e3
  const repetitions = pick({ tiny: 1, quick: 9, full: 41 })
  const results = await inTurns(repetitions, {
    whole: async () => each(samples, await seconds(async () => {
      const fresh = new (native().PointGrid)()
      await fresh.build(x, y)
      await find(fresh, at)
    })),
    'scipy cKDTree': scipy && (async () => each(samples, await scipy.call('sort_and_find', { at, k: NEIGHBORS }))),
    sorted: async () => each(samples, await seconds(() => find(grid, at))),
    'scipy cKDTree, built before': scipy && (async () => each(samples, await scipy.call('find', { at, k: NEIGHBORS }))),
    many: async () => each(many.length, await seconds(() => find(grid, many))),
    few: async () => each(samples, await seconds(async () => {
      const squared = new Float64Array(samples * NEIGHBORS)
      await small.nearest(place(x, at), place(y, at), NEIGHBORS, new Int32Array(squared.length), squared, 1)
    })),
  })
  scipy?.stop()
  const unit = 'k samples/s'
  const text = `${NEIGHBORS} nearest of ${points.toLocaleString('en')} points, one thread`
  const [tree] = named(results, 'scipy cKDTree')
  return [
    { what: `${samples} samples: ${text}, sorting included`, unit, ours: results.whole, peers: named(results, 'scipy cKDTree'), limits: [], target: timesPeer(10, results.whole, tree) },
    { what: `${samples} samples, points sorted before`, unit, ours: results.sorted, peers: named(results, 'scipy cKDTree, built before'), limits: [], target: undefined },
    { what: `${many.length.toLocaleString('en')} samples, points sorted before`, unit, ours: results.many, peers: [], limits: [], target: undefined },
    { what: `${samples} samples of ${tenth.toLocaleString('en')} points, sorted before`, unit, ours: results.few, peers: [], limits: [], target: undefined },
  ]
}

async function endToEnd({ dir, pick, peer }: Context): Promise<Finding[]> {
  const points = pick({ tiny: 60, quick: 4000, full: 20_000 })
  const samples = pick({ tiny: 10, quick: 512, full: 512 })
  const path = join(dir, 'scan.npz')
  writeScan(path, points, PIXELS)
  await using cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
  const steps = (count: number): Recipe => recipe([cast({ dtype: 'float32', fields: ['diffraction'] }), group({ samples: count, neighbors: NEIGHBORS, size: SIZE })], { seed: 5 })
  await checkGroups(cache, path, steps(samples), samples)

  const numpy = await peer('scan')
  await numpy?.call('place', { path })
  await numpy?.call('load', { path, samples: points, k: NEIGHBORS, size: SIZE, seed: 1 })
  const source = await npz(path)
  const all = await cache.dataset(source, steps(points), { cache: false })
  let epoch = 0
  const fromFile = (count: number) => async (): Promise<number> => count / 1e3 / await seconds(async () => {
    const opened = await npz(path)
    const groups = await cache.dataset(opened, steps(count), { cache: false })
    await pass(groups, { size: BATCH })
    await groups.close()
    opened.close()
  })
  const numpyFromFile = (count: number) => numpy && (async (): Promise<number> => count / 1e3 / await numpy.call('from_file', { path, samples: count, k: NEIGHBORS, size: SIZE, seed: epoch++ }))
  const again = (reuse: boolean) => async (): Promise<number> => points / 1e3 / await seconds(() => pass(all, { size: BATCH, shuffle: true, seed: 3, epoch: epoch++, reuse, fields: ['diffraction'] }))
  const repetitions = pick({ tiny: 1, quick: 2, full: 15 })
  const results = await inTurns(repetitions, {
    some: fromFile(samples),
    'NumPy: load, cKDTree, fancy index, astype': numpyFromFile(samples),
    whole: fromFile(points),
    'NumPy: all points': numpyFromFile(points),
    fresh: again(false),
    reuse: again(true),
    'NumPy in memory: fancy index, astype': numpy && (async () => points / 1e3 / await numpy.call('batches', { size: BATCH, seed: epoch++ })),
  })
  numpy?.stop()
  await all.close()
  source.close()
  const unit = 'k groups/s'
  const some = named(results, 'NumPy: load, cKDTree, fancy index, astype')
  const whole = named(results, 'NumPy: all points')
  const memory = named(results, 'NumPy in memory: fancy index, astype')
  const text = `from the file to float32 batches`
  return [
    { what: `${samples} groups of ${points.toLocaleString('en')} patterns, ${text}`, unit, ours: results.some, peers: some, limits: [], target: timesPeer(3, results.some, some[0]) },
    { what: `a group around each pattern, ${text}`, unit, ours: results.whole, peers: whole, limits: [], target: timesPeer(3, results.whole, whole[0]) },
    { what: 'another epoch, shuffled', unit, ours: results.fresh, peers: memory, limits: [], target: undefined },
    { what: 'another epoch, shuffled, reuse: true', unit, ours: results.reuse, peers: memory, limits: [], target: undefined },
  ]
}

async function pass(groups: LiveDataset, options: BatchOptions): Promise<void> {
  let seen = 0
  for await (const { diffraction } of groups.batches(options)) {
    seen += diffraction.shape[0]
    if (diffraction.data[0] === 2) throw new Error('there is no such number')
  }
  if (seen !== groups.length) throw new Error(`${seen} groups of ${groups.length}`)
}

/** Every pattern of every group is that of its point. */
async function checkGroups(cache: Cache, path: string, steps: Recipe, samples: number): Promise<void> {
  const source = await npz(path)
  const groups = await cache.dataset(source, steps, { cache: false })
  let right = groups.length === samples
  for await (const { diffraction, groups: of } of groups.batches({ size: BATCH })) {
    for (const [k, point] of (of.data as Int32Array).entries()) {
      for (let i = 0; i < PIXELS; i++) right &&= diffraction.data[k * PIXELS + i] === Math.fround(noise(point * PIXELS + i))
    }
  }
  check(right, 'patterns of groups')
  await groups.close()
  source.close()
}

export const scan: Question = { name: 'scan', about: 'groups of a ptychography scan', run }
