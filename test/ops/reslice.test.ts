import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { items, openCache, orient, parseRecipe, recipe, reslice, select, type ResliceOptions, type Tensor } from '../../src/index.js'
import { builtinOps } from '../../src/ops/builtin.js'
import { checkRecipe, inputFields } from '../../src/ops/compile.js'

type Numbers = readonly number[]

const product = (shape: Numbers): number => shape.reduce((all, extent) => all * extent, 1)
const affineOf = (numbers: ArrayLike<number>): Tensor<'float64'> => ({ dtype: 'float64', shape: [4, 4], data: Float64Array.from(numbers) })
const rows = (numbers: Numbers): Tensor<'float64'> => affineOf([...numbers, 0, 0, 0, 1])
const float32 = (shape: Numbers, at: (x: number, y: number, z: number) => number): Tensor<'float32'> =>
  ({ dtype: 'float32', shape, data: Float32Array.from({ length: product(shape) }, (_, i) => at(Math.floor(i / (shape[1]! * shape[2]!)), Math.floor(i / shape[2]!) % shape[1]!, i % shape[2]!)) })

const cache = await openCache({ dir: null })
afterAll(() => cache.close())

async function run(fields: Readonly<Record<string, Tensor>>, steps: Parameters<typeof recipe>[0]): Promise<Record<string, Tensor>> {
  const dataset = await cache.dataset(await items([{ id: 'a', fields }]), recipe(steps))
  const item = await dataset.get(0)
  return Object.fromEntries(Object.entries(item).filter(([name]) => name !== 'id').map(([name, tensor]) => [name, { ...(tensor as Tensor), data: (tensor as Tensor).data.slice() } as Tensor]))
}

function world(affine: ArrayLike<number>, [x, y, z]: Numbers): number[] {
  return [0, 1, 2].map((row) => affine[4 * row]! * x! + affine[4 * row + 1]! * y! + affine[4 * row + 2]! * z! + affine[4 * row + 3]!)
}

/** Voxel coordinates of a place in the world, by Cramer's rule. */
function voxel(affine: ArrayLike<number>, place: Numbers): number[] {
  const columns = [0, 1, 2].map((axis) => [0, 1, 2].map((row) => affine[4 * row + axis]!))
  const det = ([a, b, c]: readonly Numbers[]): number => a![0]! * (b![1]! * c![2]! - b![2]! * c![1]!) - b![0]! * (a![1]! * c![2]! - a![2]! * c![1]!) + c![0]! * (a![1]! * b![2]! - a![2]! * b![1]!)
  const from = place.map((value, row) => value - affine[4 * row + 3]!)
  return [0, 1, 2].map((axis) => det(columns.map((column, k) => (k === axis ? from : column))) / det(columns))
}

/** How far outside the centres of the outer voxels a place lies, in voxels; at most 0 inside. */
function beyond(at: Numbers, extents: Numbers): number {
  return Math.max(...at.map((c, k) => Math.max(-c, c - (extents[k]! - 1))))
}

function * positions(shape: Numbers): Generator<number[]> {
  for (let x = 0; x < shape[0]!; x++) for (let y = 0; y < shape[1]!; y++) for (let z = 0; z < shape[2]!; z++) yield [x, y, z]
}

interface Golden {
  readonly name: string; readonly shape: Numbers; readonly affine: Numbers; readonly spacing: Numbers; readonly image: Numbers
  readonly world: { readonly shape: Numbers; readonly affine: Numbers; readonly linear: Numbers; readonly nearest: Numbers }
  readonly to: { readonly shape: Numbers; readonly affine: Numbers; readonly linear: Numbers }
}
const { cases } = JSON.parse(readFileSync(new URL('../fixtures/ops/reslice.json', import.meta.url), 'utf8')) as { cases: readonly Golden[] }

describe('nibabel', () => {
  const RANGE = 999

  /** Equal to 1e-4 of the range where nibabel reads inside; within half a voxel beyond, where it has zero, the edge; zero farther out. */
  function expectSame(image: Tensor, golden: Numbers, source: Golden, affine: Numbers): void {
    const data = image.data as Float32Array
    let [i, inside, edge] = [0, 0, 0]
    for (const position of positions(image.shape)) {
      const far = beyond(voxel(source.affine, world(affine, position)), source.shape)
      if (far < -1e-6) {
        inside++
        expect(Math.abs(data[i]! - golden[i]!), `at ${position}`).toBeLessThan(1e-4 * RANGE)
      } else if (far > 0.5 + 1e-6) {
        expect(data[i], `at ${position}`).toBe(0)
        expect(golden[i]).toBe(0)
      } else if (far > 1e-6) {
        edge++
        expect(golden[i]).toBe(0)
      }
      i++
    }
    expect(inside).toBeGreaterThan(40)
    expect(edge).toBeGreaterThan(10)
  }

  test.each(cases)('$name: resample_to_output, linear and nearest', async (golden) => {
    const image: Tensor = { dtype: 'int16', shape: golden.shape, data: Int16Array.from(golden.image) }
    const made = await run({ image, label: image, affine: affineOf(golden.affine) }, [reslice({ to: 'world', spacing: golden.spacing, method: { label: 'nearest' } })])
    expect(made.image!.shape).toEqual(golden.world.shape)
    golden.world.affine.forEach((entry, k) => expect((made.affine as Tensor<'float64'>).data[k]).toBeCloseTo(entry, 10))
    expectSame(made.image!, golden.world.linear, golden, golden.world.affine)
    expect(made.label!.dtype).toBe('int16')
    let [i, compared] = [0, 0]
    for (const position of positions(golden.world.shape)) {
      const at = voxel(golden.affine, world(golden.world.affine, position))
      // Where two voxels are equally near, either is.
      const isTie = at.some((c) => Math.abs(c - Math.floor(c) - 0.5) < 1e-6)
      if (beyond(at, golden.shape) < -1e-6 && !isTie) {
        expect((made.label as Tensor<'int16'>).data[i], `at ${position}`).toBe(golden.world.nearest[i])
        compared++
      }
      i++
    }
    expect(compared).toBeGreaterThan(100)
  })

  test.each(cases)('$name: resample_from_to', async (golden) => {
    const image: Tensor = { dtype: 'int16', shape: golden.shape, data: Int16Array.from(golden.image) }
    const made = await run({ image, affine: affineOf(golden.affine) }, [reslice({ to: golden.to.affine, shape: golden.to.shape })])
    expect([...(made.affine as Tensor<'float64'>).data]).toEqual(golden.to.affine)
    expectSame(made.image!, golden.to.linear, golden, golden.to.affine)
  })
})

/** Rotations and shears, none of them flat. */
const anyAffine = fc.tuple(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 12, maxLength: 12 }), fc.constantFrom(1, -1)).map(([n, sign]) =>
  [2 * sign, n[0]!, n[1]!, 30 * n[2]!, n[3]!, 2.5, n[4]!, 30 * n[5]!, n[6]!, n[7]! / 2, 3, 30 * n[8]!])

describe('reslice', () => {
  test('a ramp in the world stays the ramp, wherever the grid lies', async () => {
    await fc.assert(fc.asyncProperty(anyAffine, anyAffine, fc.boolean(), async (lies, target, isWorld) => {
      const affine = rows(lies)
      const shape = [9, 8, 7]
      const ramp = (place: Numbers): number => 0.3 * place[0]! - 0.7 * place[1]! + 1.1 * place[2]! + 4
      const image = float32(shape, (x, y, z) => ramp(world(affine.data, [x, y, z])))
      // The grid's middle is the image's.
      const grid = rows(target).data
      const [middle, there] = [world(affine.data, [4, 3.5, 3]), world(grid, [3, 3, 3])]
      middle.forEach((value, row) => { grid[4 * row + 3]! += value - there[row]! })
      const made = await run({ image, affine }, [reslice(isWorld ? { to: 'world', spacing: 1.7 } : { to: grid, shape: [7, 7, 7] })])
      const lain = (made.affine as Tensor<'float64'>).data
      const values = Array.from(image.data)
      const range = Math.max(...values) - Math.min(...values)
      let [i, inside] = [0, 0]
      for (const position of positions(made.image!.shape)) {
        const place = world(lain, position)
        if (beyond(voxel(affine.data, place), shape) <= 0) {
          inside++
          expect(Math.abs((made.image as Tensor<'float32'>).data[i]! - ramp(place))).toBeLessThan(1e-4 * range)
        }
        i++
      }
      expect(inside).toBeGreaterThan(5)
    }), { numRuns: 40 })
  })

  test('its own grid: the same bits, and where axes only turn, those of orient', async () => {
    const shape = [5, 6, 7]
    const image = float32(shape, (x, y, z) => Math.fround(Math.sin(100 * x + 10 * y + z) * 1e3))
    const lies = rows([-1.5, 0.25, 0.1, 3.3, 0.3, 1.2, -0.4, -9.1, 0, 0.5, 2.2, 77.7])
    const same = await run({ image, affine: lies }, [reslice({ to: lies.data, shape })])
    expect(same.image!.data).toEqual(image.data)
    expect(same.affine!.data).toEqual(lies.data)

    const straight = rows([0, 0, -1.25, 3.3, 1.5, 0, 0, -9.1, 0, -2, 0, 77.7])
    const turned = await run({ image, affine: straight }, [orient({ axcodes: 'RAS' })])
    const read = await run({ image, affine: straight }, [reslice({ to: 'world', spacing: [1.25, 1.5, 2] })])
    expect(read).toEqual(turned)
  })

  test('spacing that a header has as float32 adds no layer of its own', async () => {
    const size = Math.fround(1.2)
    const made = await run({ image: float32([190, 2, 2], (x) => x), affine: rows([size, 0, 0, -90.1, 0, size, 0, 0, 0, 0, size, 0]) }, [reslice({ to: 'world', spacing: 1.2 })])
    expect(made.image!.shape).toEqual([190, 2, 2])
    // Half a voxel more is one.
    const more = await run({ image: float32([190, 2, 2], (x) => x), affine: rows([1.2, 0, 0, 0, 0, 1.2, 0, 0, 0, 0, 1.8, 0]) }, [reslice({ to: 'world', spacing: 1.2 })])
    expect(more.image!.shape).toEqual([190, 2, 3])
  })

  test('outside: a voxel reaches half a voxel beyond its centre; clamp repeats the edge', async () => {
    const image = float32([2, 1, 1], (x) => x + 1)
    const affine = rows([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
    const line = rows([0.25, 0, 0, -0.75, 0, 1, 0, 0, 0, 0, 1, 0]).data
    const read = async (options: Partial<ResliceOptions>): Promise<number[]> => Array.from((await run({ image, affine }, [reslice({ to: line, shape: [11, 1, 1], ...options })])).image!.data as Float32Array)
    expect(await read({})).toEqual([0, 1, 1, 1, 1.25, 1.5, 1.75, 2, 2, 0, 0])
    expect(await read({ edges: 'clamp' })).toEqual([1, 1, 1, 1, 1.25, 1.5, 1.75, 2, 2, 2, 2])
    expect(await read({ method: 'nearest' })).toEqual([0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0])
    expect(await read({ method: 'nearest', edges: 'clamp' })).toEqual([1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2])
  })

  test('axes in any order and any place, the others are batch', async () => {
    const lies = rows([1.2, 0.3, 0, 1, -0.2, 1.1, 0.4, 2, 0.1, 0, 2, 3])
    const grid = rows([1, 0, 0.2, 1.5, 0.1, 0.9, 0, 2, 0, -0.3, 1.5, 3.5]).data
    const [shape, to] = [[5, 4, 6], [4, 5, 3]]
    const frame = (t: number): Tensor<'float32'> => float32(shape, (x, y, z) => Math.fround(Math.sin(x + 3 * y + 7 * z + 50 * t)))
    const alone = await Promise.all([0, 1].map(async (t) => (await run({ image: frame(t), affine: lies }, [reslice({ to: grid, shape: to })])).image!.data as Float32Array))
    // [x, y, z], and where each stands among the axes.
    for (const axes of [[1, 2, 3], [0, 1, 2], [3, 2, 1], [2, 0, 3], [-1, 0, 1], [0, 3, 1]]) {
      const places = axes.map((axis) => (axis < 0 ? axis + 4 : axis))
      const at = (position: number[], extents: Numbers, t: number): { index: number; shape: number[] } => {
        const full = [0, 1, 2, 3].map((axis) => (places.includes(axis) ? extents[places.indexOf(axis)]! : 2))
        const spot = [0, 1, 2, 3].map((axis) => (places.includes(axis) ? position[places.indexOf(axis)]! : t))
        return { index: spot.reduce((sum, value, axis) => sum * full[axis]! + value, 0), shape: full }
      }
      const data = new Float32Array(2 * product(shape))
      for (const t of [0, 1]) {
        let i = 0
        for (const position of positions(shape)) data[at(position, shape, t).index] = frame(t).data[i++]!
      }
      const made = await run({ image: { dtype: 'float32', shape: at([0, 0, 0], shape, 0).shape, data }, affine: lies }, [reslice({ to: grid, shape: to, axes })])
      expect(made.image!.shape).toEqual(at([0, 0, 0], to, 0).shape)
      for (const t of [0, 1]) {
        let i = 0
        for (const position of positions(to)) {
          const [found, expected] = [(made.image as Tensor<'float32'>).data[at(position, to, t).index]!, alone[t]![i++]!]
          // The axis that lies innermost is mixed first, whichever it is.
          expect(Math.abs(found - expected), `axes [${axes}], ${position}`).toBeLessThanOrEqual(places[0]! < places[1]! && places[1]! < places[2]! ? 0 : 1e-6)
        }
      }
    }
  })

  test('labels keep their dtype and values; images with an affine of their own go by it', async () => {
    const lies = rows([0.8, -0.6, 0, 1, 0.6, 0.8, 0, 2, 0, 0, 1.5, 3])
    const label: Tensor<'uint16'> = { dtype: 'uint16', shape: [6, 7, 8], data: Uint16Array.from({ length: 336 }, (_, i) => 1000 + (i % 13) * 4096) }
    const made = await run({ image: float32([6, 7, 8], (x) => x), label, affine: lies, label_affine: rows([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]) }, [reslice({ to: 'world', spacing: 1, method: { label: 'nearest' } })])
    expect(made.label).toEqual(label)
    expect(made.image!.shape).not.toEqual([6, 7, 8])
    expect([...(made.label_affine as Tensor<'float64'>).data]).toEqual([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
  })

  test('what is read, and what is known before anything is', () => {
    const affine = { dtype: 'float64' as const, shape: [4, 4] }
    const image = { dtype: 'int16' as const, shape: [3, 4, 5, 6] }
    expect(checkRecipe(recipe([reslice({ to: 'world', spacing: 1 })]), { image, affine })).toEqual({ image: { dtype: 'float32', shape: [null, null, null, 6] }, affine })
    expect(checkRecipe(recipe([reslice({ to: rows([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]).data, shape: [7, 8, 9], method: 'nearest' })]), { image, affine })).toEqual({ image: { dtype: 'int16', shape: [7, 8, 9, 6] }, affine })
    const both = recipe([reslice({ to: 'world', spacing: 1, method: { label: 'nearest' } })])
    expect(inputFields(both, { image, label: image, other: { dtype: 'int16', shape: [3] }, affine })).toEqual(['image', 'label', 'other', 'affine'])
  })

  test('what a later select drops is not read, and changes nothing', async () => {
    const lies = rows([0.8, -0.6, 0, 1, 0.6, 0.8, 0, 2, 0, 0, 1.5, 3])
    const fields = { image: float32([4, 5, 6], (x, y, z) => x * y + z), label: float32([4, 5, 6], (x) => x), affine: lies }
    const step = reslice({ to: 'world', spacing: 1, method: { label: 'nearest' } })
    const all = await run(fields, [step])
    for (const kept of [['image'], ['label'], ['affine'], ['label', 'affine']]) {
      expect(await run(fields, [step, select({ fields: kept })])).toEqual(Object.fromEntries(kept.map((name) => [name, all[name]])))
    }
  })

  test('in a configuration file, and the same key', () => {
    const call = reslice({ to: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]], shape: [4, 4, 4], method: { label: 'nearest' } })
    expect(parseRecipe({ ops: [{ reslice: { to: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1], shape: [4, 4, 4], method: { label: 'nearest' } } }] }, builtinOps).ops[0]!.params).toEqual(call.params)
    expect(call.params).toEqual({ to: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1], shape: [4, 4, 4], method: { label: 'nearest' }, edges: 'constant', axes: [0, 1, 2], fields: undefined })
    expect(reslice({ to: 'world', spacing: 2 }).params).toEqual(reslice({ to: 'world', spacing: [2, 2, 2], method: 'linear', edges: 'constant', axes: [0, 1, 2] }).params)
  })

  const cube = float32([2, 2, 2], () => 1)
  const straight = rows([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
  test.each<[string, Readonly<Record<string, Tensor>>, ResliceOptions, RegExp]>([
    ['no affine', { image: cube }, { to: 'world', spacing: 1 }, /there is no image with an affine/],
    ['a flat affine', { image: cube, affine: rows([1, 2, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0]) }, { to: 'world', spacing: 1 }, /field affine is flat/],
    ['numbers that are none', { image: cube, affine: rows([1, 0, 0, 0, 0, Infinity, 0, 0, 0, 0, 1, 0]) }, { to: 'world', spacing: 1 }, /is no affine/],
    ['an image left behind', { image: cube, label: cube, affine: straight }, { to: 'world', spacing: 1, fields: ['image'] }, /field label lies by affine, too, which changes with image/],
    ['a method for no image', { image: cube, affine: straight }, { to: 'world', spacing: 1, method: { lable: 'nearest' } }, /method names lable, which is none of the fields it works on: image/],
    ['complex numbers, linear', { image: { dtype: 'complex64', shape: [1, 1, 1], data: Float32Array.of(1, 2) }, affine: straight }, { to: 'world', spacing: 1 }, /cannot interpolate field image .*it is complex; method "nearest" can/],
    ['no voxels', { image: float32([2, 0, 2], () => 0), affine: straight }, { to: 'world', spacing: 1 }, /expected 1 to 8388608 voxels along each axis of field image, found 0/],
    ['absurdly fine', { image: cube, affine: straight }, { to: 'world', spacing: [1, 1, 1e-12] }, /gives field image \[2, 2, \d+\] voxels/],
    ['a grid elsewhere', { image: cube, affine: straight }, { to: rows([1, 0, 0, 1e8, 0, 1, 0, 0, 0, 0, 1, 0]).data, shape: [2, 2, 2] }, /reaches more than 8388608 voxels away/],
    ['NaN in an image', { image: float32([2, 2, 2], (x) => (x === 1 ? NaN : 0)), affine: straight }, { to: 'world', spacing: 1 }, /not finite|NaN/],
  ])('%s is refused', async (_name, fields, options, message) => {
    await expect(run(fields, [reslice(options)])).rejects.toThrow(message)
  })

  test.each<[unknown, RegExp]>([
    [{ to: 'world' }, /spacing must be a size in mm above 0, or three/],
    [{ to: 'world', spacing: [1, 2] }, /spacing must be/],
    [{ to: 'world', spacing: -1 }, /spacing must be/],
    [{ to: 'world', spacing: 1, shape: [2, 2, 2] }, /shape goes with an affine/],
    [{ to: straight.data }, /shape must be a list of integers from 1/],
    [{ to: straight.data, shape: [2, 2] }, /shape must be the three extents/],
    [{ to: straight.data, shape: [2, 2, 2], spacing: 1 }, /spacing goes with "world"/],
    [{ to: 'RAS', shape: [2, 2, 2] }, /to must be "world" or an affine/],
    [{ to: [1, 2, 3], shape: [2, 2, 2] }, /to must be "world" or an affine/],
    [{ to: [...straight.data.subarray(0, 15), 2], shape: [2, 2, 2] }, /of which the last is 0 0 0 1/],
    [{ to: rows([1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0]).data, shape: [2, 2, 2] }, /to is flat/],
    [{ to: 'world', spacing: 1, method: 'cubic' }, /method must be one of linear, nearest/],
    [{ to: 'world', spacing: 1, method: { label: 'area' } }, /method\.label must be one of linear, nearest/],
    [{ to: 'world', spacing: 1, axes: [0, 1] }, /axes must be the three of x, y and z/],
    [{ to: 'world', spacing: 1, edge: 'clamp' }, /"edge" should be "edges"/],
  ])('%j is refused', (options, message) => {
    expect(() => reslice(options as ResliceOptions)).toThrow(message)
  })
})
