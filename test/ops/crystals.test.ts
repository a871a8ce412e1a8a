import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createCpuDevice } from '../../src/devices/cpu.js'
import { native } from '../../src/native/load.js'
import { crystalGraph, crystals, items, latticeParameters, niggli, openArrays, recipe, type Cache, type CrystalGraphOptions, type Dataset, type ItemInput, type OpCall, type Tensor } from '../../src/index.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

interface Crystal {
  readonly numbers: readonly number[]
  readonly frac: readonly (readonly number[])[]
  readonly lattice: readonly (readonly number[])[]
}

const cubic = (a: number): number[][] => [[a, 0, 0], [0, a, 0], [0, 0, a]]
const fcc: Crystal = { numbers: [29, 29, 29, 29], frac: [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], lattice: cubic(3.61) }
const bcc: Crystal = { numbers: [26, 26], frac: [[0, 0, 0], [0.5, 0.5, 0.5]], lattice: cubic(2.87) }
const rockSalt: Crystal = { numbers: [...fcc.numbers.map(() => 11), ...fcc.numbers.map(() => 17)], frac: [...fcc.frac, ...fcc.frac.map(([x, y, z]) => [x! + 0.5, y!, z!])], lattice: cubic(5.64) }
const diamond: Crystal = { numbers: [6, 6, 6, 6, 6, 6, 6, 6], frac: [...fcc.frac, ...fcc.frac.map((f) => f.map((x) => x + 0.25))], lattice: cubic(3.567) }
const perovskite: Crystal = { numbers: [38, 22, 8, 8, 8], frac: [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], lattice: cubic(3.905) }
const primitiveFcc: Crystal = { numbers: [29], frac: [[0, 0, 0]], lattice: [[0, 1.805, 1.805], [1.805, 0, 1.805], [1.805, 1.805, 0]] }

const times = (f: readonly number[], lattice: readonly (readonly number[])[]): number[] => [0, 1, 2].map((x) => f[0]! * lattice[0]![x]! + f[1]! * lattice[1]![x]! + f[2]! * lattice[2]![x]!)

function input(id: string, { numbers, frac, lattice }: Crystal, more: ItemInput['fields'] = {}): ItemInput {
  return {
    id,
    fields: {
      numbers: Int32Array.from(numbers),
      frac_coords: { dtype: 'float64', shape: [numbers.length, 3], data: Float64Array.from(frac.flat()) },
      lattice: { dtype: 'float64', shape: [3, 3], data: Float64Array.from(lattice.flat()) },
      ...more,
    },
  }
}

let cache: Cache
beforeAll(async () => { cache = await smallCache(join(tempDir(), 'cache')) })
afterAll(() => cache.close())

async function made(list: readonly (readonly [string, Crystal])[], ...ops: OpCall[]): Promise<Dataset> {
  return cache.dataset(await items(list.map(([id, crystal]) => input(id, crystal))), recipe(ops))
}

interface Edge { readonly source: number; readonly target: number; readonly image: readonly number[]; readonly distance: number; readonly vector: readonly number[] }

async function edgesOf(dataset: Dataset, index = 0): Promise<Edge[]> {
  const item = await dataset.get(index) as unknown as Record<string, Tensor>
  const data = (name: string): ArrayLike<number> => item[name]!.data as Float32Array
  const triple = (name: string, k: number): number[] => Array.from({ length: 3 }, (_, x) => data(name)[3 * k + x]!)
  return Array.from({ length: item.edge_source!.data.length }, (_, k) => ({ source: data('edge_source')[k]!, target: data('edge_target')[k]!, image: triple('edge_image', k), distance: data('edge_distance')[k]!, vector: triple('edge_vector', k) }))
}

async function graphOf(crystal: Crystal, options: CrystalGraphOptions): Promise<Edge[]> {
  return edgesOf(await made([['x', crystal]], crystalGraph(options)))
}

const name = ({ source, target, image }: Pick<Edge, 'source' | 'target' | 'image'>): string => [source, target, ...image].join(' ')
const names = (edges: readonly Edge[]): Set<string> => new Set(edges.map(name))
const degrees = (edges: readonly Edge[], atoms: number): number[] => Array.from({ length: atoms }, (_, atom) => edges.filter(({ source }) => source === atom).length)

/** Every image within `reach` cells, in float64. Edges whose distance is within 1e-7 of the cutoff are left to the caller. */
function plainRadius({ numbers, frac, lattice }: Crystal, cutoff: number, reach: number): Map<string, number> {
  const found = new Map<string, number>()
  const steps = Array.from({ length: 2 * reach + 1 }, (_, k) => k - reach)
  numbers.forEach((_, source) => numbers.forEach((__, target) => {
    for (const i of steps) for (const j of steps) for (const k of steps) {
      const at = times([0, 1, 2].map((x) => frac[target]![x]! + [i, j, k][x]! - frac[source]![x]!), lattice)
      const distance = Math.hypot(...at)
      const itself = source === target && i === 0 && j === 0 && k === 0
      if (!itself && distance < cutoff) found.set(name({ source, target, image: [i, j, k] }), distance)
    }
  }))
  return found
}

const unit = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
/** Any atoms, not too near, in any cell that is not flat. */
const anyCrystal: fc.Arbitrary<Crystal> = fc.tuple(fc.array(fc.tuple(unit, unit, unit), { minLength: 1, maxLength: 5 }), fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 9, maxLength: 9 }), fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 5, maxLength: 5 }))
  .map(([frac, noise, numbers]) => ({ frac, numbers: numbers.slice(0, frac.length), lattice: [0, 1, 2].map((row) => [0, 1, 2].map((column) => (row === column ? 4 : 0) + noise[3 * row + column]!)) }))
  .filter((crystal) => volume(crystal.lattice) > 10 && plainRadius(crystal, 0.4, 3).size === 0)

function volume([a, b, c]: readonly (readonly number[])[]): number {
  return Math.abs(a![0]! * (b![1]! * c![2]! - b![2]! * c![1]!) - a![1]! * (b![0]! * c![2]! - b![2]! * c![0]!) + a![2]! * (b![0]! * c![1]! - b![1]! * c![0]!))
}

describe('crystalGraph: radius', () => {
  test('the shells of simple crystals, with vectors and distances of their images', async () => {
    for (const [crystal, cutoff, count] of [[fcc, 2.6, 12], [bcc, 2.6, 8], [bcc, 3, 14], [diamond, 1.6, 4], [rockSalt, 2.9, 6], [primitiveFcc, 2.6, 12]] as const) {
      const edges = await graphOf(crystal, { method: 'radius', cutoff })
      expect(degrees(edges, crystal.numbers.length)).toEqual(crystal.numbers.map(() => count))
      for (const { source, target, image, distance, vector } of edges) {
        const exact = times([0, 1, 2].map((x) => crystal.frac[target]![x]! + image[x]! - crystal.frac[source]![x]!), crystal.lattice)
        exact.forEach((x, k) => expect(Math.abs(vector[k]! - x)).toBeLessThan(1e-6 * cutoff))
        expect(Math.abs(distance / Math.hypot(...exact) - 1)).toBeLessThan(1e-6)
      }
      expect(edges.map((edge) => [edge.source, edge.target, ...edge.image])).toEqual(edges.map((edge) => [edge.source, edge.target, ...edge.image]).sort((a, b) => a.map((x, k) => x - b[k]!).find((x) => x !== 0) ?? 0))
    }
  })

  test('all images of one atom in a cell much smaller than the cutoff, and much skewed', async () => {
    const small: Crystal = { numbers: [1], frac: [[0.3, 0.1, 0.9]], lattice: cubic(1) }
    expect((await graphOf(small, { method: 'radius', cutoff: 5 })).length).toBe(plainRadius(small, 5.0001, 6).size)
    const skewed: Crystal = { ...small, lattice: [[1, 0, 0], [17, 1, 0], [-40, 23, 1]] }
    expect((await graphOf(skewed, { method: 'radius', cutoff: 5 })).map(({ distance }) => distance).sort()).toEqual((await graphOf(small, { method: 'radius', cutoff: 5 })).map(({ distance }) => distance).sort())
  })

  test('maxNeighbors keeps the nearest, ties by (target, image), and says how many it cut', async () => {
    const all = await graphOf(rockSalt, { method: 'radius', cutoff: 5 })
    const dataset = await made([['x', rockSalt], ['y', bcc]], crystalGraph({ method: 'radius', cutoff: 5, maxNeighbors: 10 }))
    const kept = await edgesOf(dataset)
    const wanted = Array.from({ length: 8 }, (_, atom) => all.filter(({ source }) => source === atom)
      .map((edge, place) => ({ edge, place })).sort((a, b) => Math.fround(a.edge.distance) - Math.fround(b.edge.distance) || a.place - b.place).slice(0, 10).map(({ edge }) => name(edge))).flat()
    expect(names(kept)).toEqual(new Set(wanted))
    const cut = async (index: number): Promise<number> => ((await dataset.get(index)).edges_cut as Tensor).data[0] as number
    expect(await cut(0)).toBe(all.length - kept.length)
    expect(await cut(1)).toBe((await graphOf(bcc, { method: 'radius', cutoff: 5 })).length - 20)
    expect(dataset.report.cuts).toEqual([{ what: 'op 0 (crystalGraph): edges were cut by maxNeighbors', count: await cut(0) + await cut(1), items: 2 }])
    expect(dataset.fields.edges_cut).toEqual({ dtype: 'int32', shape: [] })
    expect(Object.keys((await made([['x', bcc]], crystalGraph({ method: 'radius', cutoff: 3 }))).fields)).not.toContain('edges_cut')
  })

  test('self loops are one edge of distance 0 for each atom, and cost no neighbour', async () => {
    const plain = await graphOf(fcc, { method: 'radius', cutoff: 2.6, maxNeighbors: 5 })
    const looped = await graphOf(fcc, { method: 'radius', cutoff: 2.6, maxNeighbors: 5, selfLoops: true })
    const loops = looped.filter(({ distance }) => distance === 0)
    expect(loops.map(name)).toEqual([0, 1, 2, 3].map((k) => `${k} ${k} 0 0 0`))
    expect(looped.length).toBe(plain.length + 4)
  })

  test('equal to a plain search, both directions of every edge, for any crystal', async () => {
    await fc.assert(fc.asyncProperty(anyCrystal, fc.double({ min: 1, max: 5, noNaN: true }), async (crystal, cutoff) => {
      const edges = await graphOf(crystal, { method: 'radius', cutoff })
      const found = names(edges)
      const reach = Math.min(8, Math.ceil(cutoff * Math.max(...crystal.lattice.map((row) => Math.hypot(...row))) ** 2 / volume(crystal.lattice)) + 1)
      const [surely, perhaps] = [plainRadius(crystal, cutoff - 1e-7, reach), plainRadius(crystal, cutoff + 1e-7, reach)]
      for (const edge of surely.keys()) expect(found).toContain(edge)
      for (const { source, target, image } of edges) {
        if (image.every((x) => Math.abs(x) <= reach)) expect([...perhaps.keys()]).toContain(name({ source, target, image }))
        expect(found).toContain(name({ source: target, target: source, image: image.map((x) => -x + 0) }))
      }
    }), { numRuns: 25 })
  })
})

describe('graphs do not depend on how a crystal is written', () => {
  const methods: readonly CrystalGraphOptions[] = [{ method: 'radius', cutoff: 4 }, { method: 'knn', k: 7 }, { method: 'crystalnn' }]

  test.each(methods)('$method: whole lattice vectors added to an atom change images only', async (options) => {
    await fc.assert(fc.asyncProperty(anyCrystal, fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 15, maxLength: 15 }), async (crystal, moves) => {
      const by = (atom: number): number[] => moves.slice(3 * atom, 3 * atom + 3)
      // Fractions are rounded when whole numbers are added; eighths are not.
      const exact = { ...crystal, frac: crystal.frac.map((f) => f.map((x) => Math.round(x * 4096) / 4096)) }
      if (plainRadius(exact, 0.4, 3).size > 0) return
      const moved = { ...exact, frac: exact.frac.map((f, atom) => f.map((x, k) => x + by(atom)[k]!)) }
      const expected = (await graphOf(exact, options)).map(({ source, target, image }) => name({ source, target, image: image.map((x, k) => x + by(source)[k]! - by(target)[k]!) }))
      expect(names(await graphOf(moved, options))).toEqual(new Set(expected))
    }), { numRuns: 15 })
  })

  test.each(methods)('$method: atoms in another order', async (options) => {
    await fc.assert(fc.asyncProperty(anyCrystal, async (crystal) => {
      const last = crystal.numbers.length - 1
      const turned = { ...crystal, numbers: [...crystal.numbers].reverse(), frac: [...crystal.frac].reverse() }
      const expected = (await graphOf(crystal, options)).map(({ source, target, image }) => name({ source: last - source, target: last - target, image }))
      expect(names(await graphOf(turned, options))).toEqual(new Set(expected))
    }), { numRuns: 15 })
  })

  test.each(methods)('$method: a supercell has the edges of its cell, as often as it holds it', async (options) => {
    for (const crystal of [rockSalt, diamond, perovskite]) {
      const doubled: Crystal = {
        numbers: [...crystal.numbers, ...crystal.numbers], lattice: [crystal.lattice[0]!.map((x) => 2 * x), ...crystal.lattice.slice(1)],
        frac: [0, 1].flatMap((half) => crystal.frac.map(([x, y, z]) => [(x! + half) / 2, y!, z!])),
      }
      const atoms = crystal.numbers.length
      const lengths = (edges: readonly Edge[], of: (edge: Edge) => boolean): number[] => edges.filter(of).map(({ distance }) => distance).sort()
      const [one, two] = [await graphOf(crystal, options), await graphOf(doubled, options)]
      expect(two.length).toBe(2 * one.length)
      for (let atom = 0; atom < 2 * atoms; atom++) expect(lengths(two, ({ source }) => source === atom)).toEqual(lengths(one, ({ source }) => source === atom % atoms))
    }
  })

  test('threads and batches do not show in the bytes', async () => {
    const list = Array.from({ length: 300 }, (_, k): Crystal => ({ ...(k % 3 === 0 ? perovskite : k % 3 === 1 ? bcc : diamond), lattice: cubic(3 + k / 100) }))
    const fields = {
      numbers: { dtype: 'int32' as const, tail: [], offsets: Float64Array.from(list.reduce((sums, { numbers }) => [...sums, sums.at(-1)! + numbers.length], [0])), data: Int32Array.from(list.flatMap(({ numbers }) => numbers)) },
      frac_coords: { dtype: 'float64' as const, tail: [3], offsets: Float64Array.from(list.reduce((sums, { numbers }) => [...sums, sums.at(-1)! + numbers.length], [0])), data: Float64Array.from(list.flatMap(({ frac }) => frac.flat())) },
      lattice: { dtype: 'float64' as const, shape: [list.length, 3, 3], data: Float64Array.from(list.flatMap(({ lattice }) => lattice.flat())) },
    }
    for (const options of [...methods, { method: 'crystalnn', weightedCn: true, distanceCutoffs: [0.5, 1], xDiffWeight: 3, porousAdjustment: true } as const]) {
      const call = crystalGraph(options)
      const step = call.definition.kind === 'batch' ? call.definition.step(call.params) : undefined
      const hash = async (threads: number): Promise<string> => {
        const device = createCpuDevice({ threads })
        const result = await device.batch(step!, { count: list.length, fields })
        await device.close()
        const sum = createHash('sha256')
        for (const field of Object.keys(result.fields).sort()) sum.update(Buffer.from(result.fields[field]!.data.buffer, result.fields[field]!.data.byteOffset, result.fields[field]!.data.byteLength))
        expect(result.faults).toEqual([])
        return sum.digest('hex')
      }
      expect(await hash(3)).toBe(await hash(1))
    }
  })
})

describe('crystalGraph: knn', () => {
  test('ties are kept or cut by (target, image)', async () => {
    // Eight neighbours at one distance, six a little farther.
    for (const [k, kept] of [[1, 8], [8, 8], [9, 14], [14, 14]] as const) {
      expect(degrees(await graphOf(bcc, { method: 'knn', k }), 2)).toEqual([kept, kept])
      const cut = await graphOf(bcc, { method: 'knn', k, ties: 'cut' })
      expect(degrees(cut, 2)).toEqual([k, k])
    }
    const [all, first] = [await graphOf(bcc, { method: 'knn', k: 1 }), await graphOf(bcc, { method: 'knn', k: 3, ties: 'cut' })]
    expect(first.filter(({ source }) => source === 0).map(name)).toEqual(all.filter(({ source }) => source === 0).slice(0, 3).map(name))
  })

  test('finds neighbours however far they are', async () => {
    const edges = await graphOf({ numbers: [2], frac: [[0, 0, 0]], lattice: [[3, 0, 0], [0, 90, 0], [0, 0, 200]] }, { method: 'knn', k: 30, ties: 'cut' })
    expect(edges.map(({ distance }) => distance).sort((a, b) => a - b).at(-1)).toBe(45)
    expect(edges.every(({ image }) => image[1] === 0 && image[2] === 0)).toBe(true)
  })
})

describe('crystalGraph: crystalnn', () => {
  test('coordination numbers of simple crystals', async () => {
    for (const [crystal, expected] of [[fcc, 12], [bcc, 8], [diamond, 4], [rockSalt, 6]] as const) {
      expect(degrees(await graphOf(crystal, { method: 'crystalnn' }), crystal.numbers.length)).toEqual(crystal.numbers.map(() => expected))
    }
    expect(degrees(await graphOf(perovskite, { method: 'crystalnn', distanceCutoffs: [0.5, 1], xDiffWeight: 3, porousAdjustment: true }), 5).slice(0, 2)).toEqual([12, 6])
  })

  test('weightedCn gives a probability to every possible neighbour', async () => {
    const dataset = await made([['x', bcc]], crystalGraph({ method: 'crystalnn', weightedCn: true }))
    const weights = ((await dataset.get(0)).edge_weight as Tensor).data as Float32Array
    expect(weights.length).toBe(28)
    expect([...weights].every((weight) => weight > 0 && weight <= 1)).toBe(true)
    expect(new Set(weights).size).toBe(2)
  })

  test('cationAnion leaves out what has the same charge', async () => {
    const cesiumChloride: Crystal = { numbers: [55, 17], frac: bcc.frac, lattice: cubic(4.12) }
    const source = await items([input('x', cesiumChloride, { charge: Float64Array.of(1, -1) })])
    const dataset = await cache.dataset(source, recipe([crystalGraph({ method: 'crystalnn', weightedCn: true, cationAnion: true, oxidation: 'charge' })]))
    expect((await edgesOf(dataset)).every(({ source: from, target }) => from !== target)).toBe(true)
  })
})

describe('niggli', () => {
  test('a skewed cell and its reduced one are one crystal', async () => {
    // a + 3b, b, c − 2a + b of a cell that is reduced.
    const skewed: Crystal = { numbers: [11, 17], frac: [[0, 0, 0], [0.5 + 2 * 0.5, 0.25 - 3 * 1.5 - 0.5, 0.5]], lattice: [[3, 12, 0], [0, 4, 0], [-6, 4, 5]] }
    const dataset = await made([['x', skewed]], niggli())
    const { lattice, frac_coords: frac } = await dataset.get(0) as unknown as Record<string, Tensor>
    const rows = [0, 1, 2].map((k) => [...(lattice!.data as Float64Array).subarray(3 * k, 3 * k + 3)])
    expect(rows.map((row) => Math.hypot(...row)).map((x) => Math.round(x * 1e9) / 1e9)).toEqual([3, 4, 5])
    expect(rows[0]![1]).toBe(0)
    expect(rows[2]!.slice(0, 2)).toEqual([0, 0])
    expect([...frac!.data as Float64Array].every((x) => x >= 0 && x < 1)).toBe(true)
    const shells = async (crystal: Crystal): Promise<number[]> => (await graphOf(crystal, { method: 'radius', cutoff: 6 })).map(({ distance }) => Math.round(distance * 1e5)).sort((a, b) => a - b)
    const data = frac!.data as Float64Array
    expect(await shells({ numbers: skewed.numbers, lattice: rows, frac: [0, 1].map((k) => [...data.subarray(3 * k, 3 * k + 3)]) })).toEqual(await shells(skewed))
  })

  test('any cell of a lattice has the same reduced lengths, within the tolerance of the comparison', async () => {
    await fc.assert(fc.asyncProperty(anyCrystal, fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 3, maxLength: 3 }), async ({ numbers, frac, lattice }, [m, n, k]) => {
      const [a, b, c] = lattice as [number[], number[], number[]]
      const add = (p: number[], q: number[], by: number): number[] => p.map((x, i) => x + by * q[i]!)
      const other = { numbers, frac, lattice: [add(a, b, m!), b, add(add(c, a, n!), b, k!)] }
      const dataset = await made([['x', { numbers, frac, lattice }], ['y', other]], niggli())
      const lengths = async (index: number): Promise<number[]> => {
        const data = ((await dataset.get(index)).lattice as Tensor).data as Float64Array
        return [0, 1, 2].map((row) => Math.hypot(...data.subarray(3 * row, 3 * row + 3))).sort((p, q) => p - q)
      }
      const [one, two] = [await lengths(0), await lengths(1)]
      one.forEach((x, i) => expect(Math.abs(two[i]! / x - 1)).toBeLessThan(1e-4))
    }), { numRuns: 30 })
  })
})

describe('latticeParameters', () => {
  const degrees = (cosine: number): number => Math.acos(cosine) * 180 / Math.PI

  test('the lengths and angles of any cell, and the lengths per cube root of the atoms', async () => {
    await fc.assert(fc.asyncProperty(anyCrystal, async (crystal) => {
      const dataset = await made([['x', crystal]], latticeParameters({ scaled: true }))
      const item = await dataset.get(0) as unknown as Record<string, Tensor>
      const [a, b, c] = crystal.lattice as [number[], number[], number[]]
      const lengths = [a, b, c].map((row) => Math.hypot(...row))
      const cosine = (p: number[], q: number[]): number => (p[0]! * q[0]! + p[1]! * q[1]! + p[2]! * q[2]!) / Math.hypot(...p) / Math.hypot(...q)
      const near = (field: string, expected: number[]): void => expected.forEach((x, k) => expect(Math.abs((item[field]!.data[k] as number) / x - 1)).toBeLessThan(1e-12))
      near('lengths', lengths)
      near('angles', [degrees(cosine(b, c)), degrees(cosine(c, a)), degrees(cosine(a, b))])
      near('scaled_lengths', lengths.map((x) => x / Math.cbrt(crystal.numbers.length)))
      expect(Object.keys(item).sort()).toEqual(['angles', 'frac_coords', 'id', 'lattice', 'lengths', 'numbers', 'scaled_lengths'])
    }), { numRuns: 40 })
  })

  test('right angles are exactly 90, cubes of whole numbers have exact roots, and all roots are within a unit in the last place or two of their reciprocal', async () => {
    const counts = Int32Array.from([...Array.from({ length: 1290 }, (_, k) => (k + 1) ** 3), ...Array.from({ length: 60_000 }, (_, k) => k + 1), ...Array.from({ length: 1000 }, (_, k) => 2 ** 31 - 1 - 7919 * k)])
    const lattices = Float64Array.from({ length: 9 * counts.length }, (_, k) => k % 9 % 4 === 0 ? 1 : 0)
    const out = { lengths: new Float64Array(3 * counts.length), angles: new Float64Array(3 * counts.length), scaled: new Float64Array(3 * counts.length) }
    expect(await native().latticeParameters(lattices, out, counts)).toEqual([])
    expect(new Set(out.angles)).toEqual(new Set([90]))
    expect(new Set(out.lengths)).toEqual(new Set([1]))
    let worst = 0
    counts.forEach((count, k) => { worst = Math.max(worst, Math.abs(out.scaled[3 * k]! * Math.cbrt(count) - 1)) })
    expect(worst).toBeLessThan(2 ** -51)
    for (let k = 0; k < 1290; k++) expect(out.scaled[3 * k]).toBe(1 / (k + 1))
    expect(() => native().latticeParameters(lattices, { ...out, lengths: new Float64Array(3) })).toThrow(RangeError)
    expect(() => native().latticeParameters(lattices, out, counts.subarray(1))).toThrow(RangeError)
  })

  test('atoms are read where they are needed, and the bytes do not depend on what else is there', async () => {
    const lattice = { dtype: 'float64' as const, shape: [3, 3], data: Float64Array.from(primitiveFcc.lattice.flat()) }
    const alone = await cache.dataset(await items([{ id: 'x', fields: { lattice } }]), recipe([latticeParameters()]))
    const item = await alone.get(0) as unknown as Record<string, Tensor>
    expect(Object.keys(alone.fields).sort()).toEqual(['angles', 'lattice', 'lengths'])
    const both = await (await made([['x', primitiveFcc]], latticeParameters({ scaled: true }))).get(0) as unknown as Record<string, Tensor>
    for (const field of ['lengths', 'angles']) expect(both[field]!.data).toEqual(item[field]!.data)
    expect(both.scaled_lengths!.data).toEqual(item.lengths!.data)
    await expect(cache.dataset(await items([{ id: 'x', fields: { lattice } }]), recipe([latticeParameters({ scaled: true })]))).rejects.toThrow(/no field "numbers"/)
    await expect(cache.dataset(await items([{ id: 'x', fields: { lattice, lengths: 1 } }]), recipe([latticeParameters()]))).rejects.toThrow(/makes a field lengths, but there is one already/)
    await expect(cache.dataset(await items([{ id: 'x', fields: { lattice, numbers: new Int32Array(0) } }]), recipe([latticeParameters({ scaled: true })]))).rejects.toThrow(/item x.*op 0 \(latticeParameters\).*no atoms/)
    expect(() => latticeParameters({ scale: true } as never)).toThrow(/should be "scaled"/)
  })
})

describe('what is wrong is said, with the item', () => {
  const bad = (crystal: Crystal, ...ops: OpCall[]): Promise<Dataset> => made([['good', bcc], ['bad', crystal]], ...ops)
  test.each<[string, Crystal, CrystalGraphOptions, RegExp]>([
    ['coincident atoms', { ...bcc, frac: [[0, 0, 0], [1, 0, 0]] }, { method: 'radius', cutoff: 3 }, /item bad.*op 0 \(crystalGraph\).*one place holds atoms 0 and 1/],
    ['coincident atoms', { ...bcc, frac: [[0, 0, 0], [1, 0, 0]] }, { method: 'crystalnn' }, /item bad.*one place holds atoms/],
    ['a flat cell', { ...bcc, lattice: [[3, 0, 0], [0, 3, 0], [3, 3, 0]] }, { method: 'knn', k: 3 }, /item bad.*no volume/],
    ['a NaN', { ...bcc, frac: [[0, 0, NaN], [0.5, 0.5, 0.5]] }, { method: 'radius', cutoff: 3 }, /item bad.*not finite/],
    ['a lattice of infinities', { ...bcc, lattice: cubic(Infinity) }, { method: 'crystalnn' }, /item bad.*not finite/],
    ['no element', { ...bcc, numbers: [26, 0] }, { method: 'crystalnn' }, /item bad.*expected an atomic number from 1 to 118 for atom 1, found 0/],
    ['fields of different lengths', { ...bcc, numbers: [26] }, { method: 'radius', cutoff: 3 }, /item bad.*expected as many atoms in each field/],
  ])('%s', async (_what, crystal, options, message) => {
    if (crystal.numbers.length === crystal.frac.length) return expect(bad(crystal, crystalGraph(options))).rejects.toThrow(message)
    const uneven = input('bad', { ...crystal, numbers: [26, 26] })
    await expect(cache.dataset(await items([input('good', bcc), { id: 'bad', fields: { ...uneven.fields, numbers: Int32Array.of(26) } }]), recipe([crystalGraph(options)]))).rejects.toThrow(message)
  })

  test('niggli', async () => {
    await expect(bad({ ...bcc, lattice: [[3, 0, 0], [0, 3, 0], [3, 3, 1e-12]] }, niggli())).rejects.toThrow(/item bad.*op 0 \(niggli\).*no volume/)
    await expect(bad({ ...bcc, lattice: [[3, 0, 0], [0, 3, 0], [3, 3, 1e-12]] }, latticeParameters())).rejects.toThrow(/item bad.*op 0 \(latticeParameters\).*no volume/)
  })

  test('a recipe that does not fit is refused before anything is read', async () => {
    const source = await items([{ id: 'x', fields: { numbers: Float32Array.of(1), frac_coords: { dtype: 'float64', shape: [1, 3], data: new Float64Array(3) }, lattice: { dtype: 'float64', shape: [3, 3], data: new Float64Array(9) } } }])
    await expect(cache.dataset(source, recipe([crystalGraph({ method: 'radius', cutoff: 3 })]))).rejects.toThrow(/expected for field numbers int32 \[n\], found float32/)
    await expect(made([['x', bcc]], crystalGraph({ method: 'crystalnn', distanceCutoffs: [0.5, 1], oxidation: 'charge' }))).rejects.toThrow(/no field "charge"/)
    await expect(made([['x', bcc]], crystalGraph({ method: 'radius', cutoff: 3 }), crystalGraph({ method: 'knn', k: 3 }))).rejects.toThrow(/makes a field edge_source, but there is one already/)
  })

  test.each<[object, RegExp]>([
    [{}, /method must be one of radius, knn, crystalnn, not undefined/],
    [{ method: 'radius' }, /cutoff must be a finite number from 0.001 to 1024/],
    [{ method: 'radius', cutoff: 2000 }, /cutoff must be/],
    [{ method: 'radius', cutoff: 5, k: 3 }, /unknown option "k"/],
    [{ method: 'radius', cutoff: 5, maxNeighbors: 0 }, /maxNeighbors must be an integer from 1/],
    [{ method: 'knn' }, /k must be an integer/],
    [{ method: 'knn', k: 3, ties: 'some' }, /ties must be one of keep, cut/],
    [{ method: 'crystalnn', distanceCutoffs: [1, 0.5] }, /distanceCutoffs must be two lengths/],
    [{ method: 'crystalnn', cationAnion: true }, /cationAnion needs oxidation/],
  ])('%o', (options, message) => {
    expect(() => crystalGraph(options as CrystalGraphOptions)).toThrow(message)
  })
})

// --- reference results, where they are ---------------------------------------------------------------------------------------------

const folder = join(process.env.TENSORCACHE_SHARED ?? resolve(import.meta.dirname, '../../../shared'), 'data/crystals')

describe.skipIf(!existsSync(folder)).each(['perov_5_val', 'carbon_24_val'])('every structure of %s as pymatgen has it', (set) => {
  let reference: Record<string, { data: ArrayLike<number> }>
  let source: Awaited<ReturnType<typeof crystals>>
  beforeAll(async () => {
    const arrays = await openArrays(join(folder, `${set}.npz`))
    reference = Object.fromEntries(await Promise.all(Object.entries(arrays).map(async ([field, array]) => [field, await array.read() as never])))
    source = await crystals(join(folder, `${set}.csv`), { idColumn: 'material_id' })
  })
  const offset = (field: string, index: number): number => Number(reference[field]!.data[index])
  const rows = async (dataset: Dataset, visit: (index: number, item: Record<string, Tensor>) => void): Promise<void> => {
    expect(dataset.length).toBe(source.length)
    for (let index = 0; index < dataset.length; index++) visit(index, await dataset.get(index) as never)
  }

  test('Niggli cells', async () => {
    const dataset = await cache.dataset(source, recipe([niggli()]))
    let worst = 0
    await rows(dataset, (index, { lattice }) => {
      const data = lattice!.data as Float64Array
      for (let row = 0; row < 3; row++) worst = Math.max(worst, Math.abs(Math.hypot(...data.subarray(3 * row, 3 * row + 3)) / reference.params!.data[6 * index + row]! - 1))
      for (let k = 0; k < 9; k++) worst = Math.max(worst, Math.abs(data[k]! - reference.matrix!.data[9 * index + k]!) / 10)
    })
    expect(worst).toBeLessThan(1e-9)
  })

  test('lengths and angles of the Niggli cells', async () => {
    const dataset = await cache.dataset(source, recipe([niggli(), latticeParameters()]))
    let worst = 0
    await rows(dataset, (index, { lengths, angles }) => {
      for (let k = 0; k < 3; k++) {
        worst = Math.max(worst, Math.abs((lengths!.data[k] as number) / reference.params!.data[6 * index + k]! - 1), Math.abs((angles!.data[k] as number) / reference.params!.data[6 * index + 3 + k]! - 1))
      }
    })
    expect(worst).toBeLessThan(1e-9)
  })

  test('CrystalNN edges', async () => {
    const dataset = await cache.dataset(source, recipe([niggli(), crystalGraph({ method: 'crystalnn' })]))
    let different = 0
    await rows(dataset, (index, { edge_source: from, edge_target: to, edge_image: image }) => {
      const found = Array.from(from!.data as Int32Array, (atom, k) => [atom, (to!.data as Int32Array)[k], ...(image!.data as Int16Array).subarray(3 * k, 3 * k + 3)].join(' ')).sort()
      const expected: string[] = []
      // There a row is a bond from `edge_to` in cell 0 to `edge_from` in cell `edge_image`.
      for (let edge = offset('edge_offset', index); edge < offset('edge_offset', index + 1); edge++) {
        expected.push([reference.edge_to!.data[edge], reference.edge_from!.data[edge], ...[0, 1, 2].map((k) => reference.edge_image!.data[3 * edge + k])].join(' '))
      }
      if (found.join('\n') !== expected.sort().join('\n')) different++
    })
    expect(different).toBe(0)
  })

  test.each([['r5', 5], ['r8', 8]] as const)('edges within %s', async (field, cutoff) => {
    const dataset = await cache.dataset(source, recipe([niggli(), crystalGraph({ method: 'radius', cutoff })]))
    let different = 0
    await rows(dataset, (index, { edge_source: from, edge_target: to, edge_image: image }) => {
      const count = from!.data.length
      const edges = new Int32Array(5 * count)
      for (let k = 0; k < count; k++) edges.set([(from!.data as Int32Array)[k]!, (to!.data as Int32Array)[k]!, ...(image!.data as Int16Array).subarray(3 * k, 3 * k + 3)], 5 * k)
      const hash = createHash('sha256').update(edges).digest()
      const expected = Buffer.from(reference[`${field}_sha256`]!.data as Uint8Array).subarray(32 * index, 32 * index + 32)
      if (count !== reference[`${field}_count`]!.data[index] || !hash.equals(expected)) different++
    })
    expect(different).toBe(0)
  }, 60_000)
})
