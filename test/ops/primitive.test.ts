import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Tensor } from '../../src/core/tensor.js'
import { checkRecipe, inputFields } from '../../src/ops/compile.js'
import { determinant, type Matrix, type Vector } from '../../src/ops/primitive-cell.js'
import { primitive, primitiveOp } from '../../src/ops/primitive.js'
import { recipe } from '../../src/ops/recipe.js'
import { select } from '../../src/ops/select.js'
import { items as itemsSource } from '../../src/sources/items.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

interface Crystal { readonly lattice: Matrix; readonly numbers: readonly number[]; readonly coords: readonly Vector[] }
type Item = Readonly<Record<string, Tensor>>

const cubic = (a: number): Matrix => [[a, 0, 0], [0, a, 0], [0, 0, a]]
const FACES: readonly Vector[] = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
const faced = (...[x, y, z]: Vector): Vector[] => FACES.map((t) => [t[0] + x, t[1] + y, t[2] + z])
const fcc: Crystal = { lattice: cubic(4.05), numbers: [13, 13, 13, 13], coords: FACES }
const perovskite: Crystal = { lattice: cubic(3.905), numbers: [38, 22, 8, 8, 8], coords: [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]] }

function itemOf({ lattice, numbers, coords }: Crystal): Item {
  return {
    numbers: { dtype: 'int32', shape: [numbers.length], data: Int32Array.from(numbers) },
    frac_coords: { dtype: 'float64', shape: [numbers.length, 3], data: Float64Array.from(coords.flat()) },
    lattice: { dtype: 'float64', shape: [3, 3], data: Float64Array.from(lattice.flat()) },
    heat: { dtype: 'float32', shape: [], data: Float32Array.of(7) },
  }
}

function crystalOf({ numbers, frac_coords, lattice }: Item): Crystal {
  const rows = (values: ArrayLike<number>): Vector[] => Array.from({ length: values.length / 3 }, (_, i): Vector => [values[3 * i]!, values[3 * i + 1]!, values[3 * i + 2]!])
  return { numbers: [...numbers!.data as Int32Array], coords: rows(frac_coords!.data as Float64Array), lattice: rows(lattice!.data as Float64Array) as unknown as Matrix }
}

const context = { id: '0', signal: undefined }
const reduce = async (item: Item, symprec = 0.01): Promise<Item> => primitiveOp.run(item, { symprec }, context)
const times = ([x, y, z]: Vector, m: Matrix): Vector => [0, 1, 2].map((k) => x * m[0][k]! + y * m[1][k]! + z * m[2][k]!) as unknown as Vector
const volume = ({ lattice }: Crystal): number => determinant(lattice)

/** The crystal in the cell whose vectors are the rows of `m` (whole numbers, determinant above 0) times its own. */
function supercell({ lattice, numbers, coords }: Crystal, m: Matrix): Crystal {
  const cells = determinant(m)
  const [[a, b, c], [d, e, f], [g, h, i]] = m
  const adjugate: Matrix = [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f], [d * h - e * g, b * g - a * h, a * e - b * d]]
  const translations: Vector[] = []
  for (let x = -9; x <= 9; x++) for (let y = -9; y <= 9; y++) for (let z = -9; z <= 9; z++) if (times([x, y, z], adjugate).every((value) => value >= 0 && value < cells)) translations.push([x, y, z])
  expect(translations.length).toBe(cells)
  const all = numbers.flatMap((number, atom) => translations.map((t) => ({ number, at: times([0, 1, 2].map((k) => coords[atom]![k]! + t[k]!) as unknown as Vector, adjugate).map((value) => (value / cells) - Math.floor(value / cells)) as unknown as Vector })))
  return { lattice: m.map((row) => times(row, lattice)) as unknown as Matrix, numbers: all.map(({ number }) => number), coords: all.map(({ at }) => at) }
}

const TWICE: Matrix = [[2, 0, 0], [0, 2, 0], [0, 0, 2]]

describe('known crystals', () => {
  test.each<[string, Crystal, number]>([
    ['fcc', fcc, 1],
    ['bcc', { lattice: cubic(2.87), numbers: [26, 26], coords: [[0, 0, 0], [0.5, 0.5, 0.5]] }, 1],
    ['rock salt', { lattice: cubic(5.64), numbers: [11, 11, 11, 11, 17, 17, 17, 17], coords: [...FACES, ...faced(0.5, 0.5, 0.5)] }, 2],
    ['diamond', { lattice: cubic(3.567), numbers: Array(8).fill(6), coords: [...FACES, ...faced(0.25, 0.25, 0.25)] }, 2],
    ['perovskite', perovskite, 5],
    ['perovskite, 2 × 2 × 2', supercell(perovskite, TWICE), 5],
    ['perovskite, skewed', supercell(perovskite, [[1, 2, -1], [0, 3, 1], [2, 0, 1]]), 5],
  ])('%s', async (_name, crystal, atoms) => {
    const found = crystalOf(await reduce(itemOf(crystal)))
    expect(found.numbers.length).toBe(atoms)
    expect(volume(found) / atoms).toBeCloseTo(volume(crystal) / crystal.numbers.length, 9)
    const share = (numbers: readonly number[], number: number): number => numbers.filter((other) => other === number).length / numbers.length
    for (const number of crystal.numbers) expect(share(found.numbers, number)).toBe(share(crystal.numbers, number))
  })

  test('a primitive one stays as it is, to the bit, however it lies', async () => {
    const skewed: Crystal = { lattice: [[1, 4, 0.2], [5, 0.1, -3], [6, 4.1, 3]], numbers: [8, 1, 1], coords: [[-0.25, 1.5, 0.7], [0.1, 0.2, 0.3], [0.4, 0.9, 0.95]] }
    const item = itemOf(skewed)
    expect(await reduce(item)).toBe(item)
    expect(await reduce(itemOf(perovskite))).toEqual(itemOf(perovskite))
  })

  test('of a 2 × 2 × 2 cell half of each vector is left, and the first copies', async () => {
    expect(crystalOf(await reduce(itemOf(supercell(perovskite, TWICE))))).toEqual({ ...perovskite, coords: perovskite.coords })
    expect(crystalOf(await reduce(itemOf(fcc))).lattice.map((row) => Math.hypot(...row))).toEqual(Array(3).fill(Math.hypot(2.025, 2.025)))
  })

  test('symprec decides whether copies that lie a little apart are copies', async () => {
    const nudged = { ...fcc, coords: fcc.coords.map((at, i): Vector => i === 1 ? [0.005, at[1], at[2]] : at) }
    expect((await reduce(itemOf(nudged), 0.001)).numbers!.data.length).toBe(4)
    expect((await reduce(itemOf(nudged), 0.1)).numbers!.data.length).toBe(1)
  })

  test('other fields pass through', async () => {
    expect((await reduce(itemOf(fcc))).heat).toEqual(itemOf(fcc).heat)
  })
})

test('any cell of a crystal gives a primitive cell of it, with its lattice and its atoms', async () => {
  const entry = fc.integer({ min: -1, max: 2 })
  const row = fc.tuple(entry, entry, entry)
  const matrices = fc.tuple(row, row, row).filter((m) => determinant(m) >= 2 && determinant(m) <= 8)
  const near = (of: number): fc.Arbitrary<number> => fc.double({ min: of - 0.8, max: of + 0.8, noNaN: true })
  const lattices = fc.tuple(fc.tuple(near(5), near(0), near(0)), fc.tuple(near(0), near(4), near(0)), fc.tuple(near(0), near(0), near(6)))
  // On a grid of whole steps no two atoms come close; the first is the only one of its kind, so that the cell is primitive.
  const grid = fc.uniqueArray(fc.tuple(fc.nat(3), fc.nat(2), fc.nat(4)), { minLength: 1, maxLength: 5, selector: String })
  await fc.assert(fc.asyncProperty(lattices, grid, matrices, async (lattice, places, m) => {
    const crystal: Crystal = { lattice, numbers: places.map((_, i) => i === 0 ? 3 : 8), coords: places.map(([x, y, z]): Vector => [x / 4 + 0.01, y / 3 + 0.02, z / 5 + 0.03]) }
    const item = itemOf(supercell(crystal, m))
    const found = await reduce(item)
    expect(await reduce(item)).toEqual(found)
    const { numbers, coords, lattice: basis } = crystalOf(found)
    expect([...numbers].sort()).toEqual([...crystal.numbers].sort())
    expect(determinant(basis)).toBeCloseTo(determinant(lattice), 6)
    const inverse = inverseOf(lattice)
    const whole = (at: Vector): number => Math.max(...at.map((x) => Math.abs(x - Math.round(x))))
    for (const vector of basis) expect(whole(times(vector, inverse))).toBeLessThan(1e-9)
    // Both cells lie at the same origin, so each site is one of the crystal's, some whole vectors away.
    coords.forEach((at, i) => {
      const place = times(times(at, basis), inverse)
      const same = crystal.coords.filter((other, k) => crystal.numbers[k] === numbers[i] && whole([0, 1, 2].map((axis) => place[axis]! - other[axis]!) as unknown as Vector) < 1e-9)
      expect(same).toHaveLength(1)
    })
  }), { numRuns: 60, seed: 5 })
})

function inverseOf(m: Matrix): Matrix {
  const [[a, b, c], [d, e, f], [g, h, i]] = m
  const v = determinant(m)
  return [[(e * i - f * h) / v, (c * h - b * i) / v, (b * f - c * e) / v], [(f * g - d * i) / v, (a * i - c * g) / v, (c * d - a * f) / v], [(d * h - e * g) / v, (b * g - a * h) / v, (a * e - b * d) / v]]
}

describe('what is no crystal', () => {
  const withLattice = (lattice: Matrix): Item => itemOf({ ...fcc, lattice })
  test.each<[string, Item, RegExp]>([
    ['coincident atoms', itemOf({ ...fcc, coords: [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [1, 0.001, -1]] }), /atoms 0 and 3 are less than symprec \(0\.01 Å\) apart/],
    ['a lattice of NaN', withLattice([[4, 0, 0], [0, NaN, 0], [0, 0, 4]]), /lattice \[1, 1\] is NaN/],
    ['a coordinate that is infinite', itemOf({ ...fcc, coords: [[0, 0, Infinity], ...FACES.slice(1)] }), /frac_coords \[0, 2\] is Infinity/],
    ['a flat lattice', withLattice([[4, 0, 0], [4, 0, 0], [0, 0, 4]]), /no volume/],
    ['a lattice of zeros', withLattice([[0, 0, 0], [0, 0, 0], [0, 0, 0]]), /no volume/],
    ['a lattice beyond reason', withLattice(cubic(1e200)), /no volume/],
    ['no atoms', itemOf({ ...fcc, numbers: [], coords: [] }), /there are no atoms/],
  ])('%s', async (_name, item, message) => {
    await expect(reduce(item)).rejects.toThrow(message)
  })

  test('names the item when a dataset is built, and the rest is built without it', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const given = (crystals: Readonly<Record<string, Crystal>>): ReturnType<typeof itemsSource> => itemsSource(Object.entries(crystals).map(([id, crystal]) => ({ id, fields: itemOf(crystal) as never })))
    const salt = { ...fcc, lattice: cubic(5) }
    await expect(given({ fcc, bad: { ...fcc, lattice: cubic(NaN) }, salt }).then((source) => cache.dataset(source, recipe([primitive()])))).rejects.toMatchObject({ code: 'E_ITEM', item: 'bad' })
    const dataset = await cache.dataset(await given({ fcc, perovskite, salt }), recipe([primitive()]))
    expect(await Promise.all([0, 1, 2].map(async (i) => ((await dataset.get(i)).numbers as Tensor).shape[0]))).toEqual([1, 5, 1])
    await cache.close()
  })
})

describe('the recipe', () => {
  const fields = { numbers: { dtype: 'int32', shape: [null] }, frac_coords: { dtype: 'float64', shape: [null, 3] }, lattice: { dtype: 'float64', shape: [3, 3] }, heat: { dtype: 'float32', shape: [] } } as const
  test('is checked before anything is read', () => {
    expect(checkRecipe(recipe([primitive()]), { ...fields, numbers: { dtype: 'int32', shape: [4] } })).toEqual(fields)
    expect(() => checkRecipe(recipe([primitive()]), { ...fields, lattice: { dtype: 'float32', shape: [3, 3] } })).toThrow(/lattice float64 \[3, 3\], found float32 \[3, 3\]/)
    expect(() => checkRecipe(recipe([primitive()]), { numbers: fields.numbers })).toThrow(/no field "frac_coords"/)
    expect(primitive()).toMatchObject({ name: 'primitive', version: 1, params: { symprec: 0.01 } })
    for (const given of [{ symprec: 0 }, { symprec: NaN }, { symprec: '0.1' }, { symPrec: 0.1 }]) expect(() => primitive(given as object)).toThrow(TypeError)
    expect(inputFields(recipe([primitive()]), fields)).toEqual(Object.keys(fields))
  })
})

describe('threads', () => {
  const big = itemOf(supercell(fcc, [[4, 0, 0], [0, 4, 0], [0, 0, 4]]))

  test('the event loop goes on meanwhile', async () => {
    const began = performance.now()
    let ticks = 0
    const timer = setInterval(() => ticks++, 5)
    await reduce(itemOf(supercell(fcc, [[3, 0, 0], [0, 3, 0], [0, 0, 3]])))
    clearInterval(timer)
    expect(ticks).toBeGreaterThan((performance.now() - began) / 50)
  })

  test('an aborted search ends at once, and the next one runs', async () => {
    const began = performance.now()
    await expect(primitiveOp.run(big, { symprec: 0.01 }, { id: '0', signal: AbortSignal.timeout(300) })).rejects.toThrow(/timeout/)
    expect(performance.now() - began).toBeLessThan(3_000)
    expect((await reduce(itemOf(fcc))).numbers!.data.length).toBe(1)
  })

  test('where nothing of the crystal is wanted, there is nothing to do', async () => {
    const heat: Item = { heat: itemOf(fcc).heat! }
    expect(inputFields(recipe([primitive(), select({ fields: ['heat'] })]), Object.fromEntries(Object.entries(itemOf(fcc)).map(([name, { dtype, shape }]) => [name, { dtype, shape }])))).toEqual(['heat'])
    expect(await primitiveOp.run(heat, { symprec: 0.01 }, { id: '0', signal: undefined })).toBe(heat)
  })

  test('without the package the answer says so', async () => {
    const dir = tempDir()
    writeFileSync(join(dir, 'package.json'), '{ "type": "module" }')
    for (const file of ['primitive-thread.js', 'primitive-cell.js']) copyFileSync(new URL(`../../dist/ops/${file}`, import.meta.url), join(dir, file))
    const worker = new Worker(join(dir, 'primitive-thread.js'))
    const reply = await new Promise((resolve) => {
      worker.once('message', resolve)
      worker.postMessage({ cell: { numbers: Int32Array.of(1), fracCoords: new Float64Array(3), lattice: Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1) }, symprec: 0.01 })
    })
    expect(reply).toMatchObject({ kind: 'missing', message: expect.stringContaining('@spglib/moyo-wasm') as string })
    await worker.terminate()
  })
})
