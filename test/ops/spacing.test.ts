import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cast, crop, items, nifti, openArrays, openCache, orient, pad, recipe, resample, select, type Dataset, type Tensor } from '../../src/index.js'
import { canonicalJson } from '../../src/core/canonical.js'
import { checkRecipe, inputFields } from '../../src/ops/compile.js'
import { tempDir } from '../support/temp.js'
import { runOps, worst } from './support.js'

type Fields = Readonly<Record<string, Tensor>>
type Numbers = ArrayLike<number>
type Ops = Parameters<typeof runOps>[0]

const affineTensor = (numbers: readonly number[]): Tensor<'float64'> => ({ dtype: 'float64', shape: [4, 4], data: Float64Array.from(numbers.length === 16 ? numbers : [...numbers, 0, 0, 0, 1]) })
const upright = (x: number, y: number, z: number): Tensor<'float64'> => affineTensor([x, 0, 0, 5, 0, y, 0, -3, 0, 0, z, 1])
const ones = (shape: readonly number[]): Tensor<'float32'> => ({ dtype: 'float32', shape, data: new Float32Array(shape.reduce((product, extent) => product * extent, 1)).fill(1) })
const numbersOf = ({ data }: Tensor): Numbers => data as Float64Array

async function run(fields: Fields, ops: Ops): Promise<Record<string, Tensor>> {
  const { fields: made, faults } = await runOps(ops, fields as Parameters<typeof runOps>[1])
  expect(faults).toEqual([])
  return made as Record<string, Tensor>
}

function world(affine: Numbers, [x, y, z]: readonly number[]): number[] {
  return [0, 1, 2].map((row) => affine[4 * row]! * x! + affine[4 * row + 1]! * y! + affine[4 * row + 2]! * z! + affine[4 * row + 3]!)
}

/** Where a place in the world lies among the voxels: Cramer's rule. */
function voxel(affine: Numbers, place: readonly number[]): number[] {
  const column = (k: number): number[] => [affine[k]!, affine[4 + k]!, affine[8 + k]!]
  const [a, b, c, d] = [column(0), column(1), column(2), place.map((coordinate, row) => coordinate - affine[4 * row + 3]!)]
  const det = (u: number[], v: number[], w: number[]): number => u[0]! * (v[1]! * w[2]! - v[2]! * w[1]!) - u[1]! * (v[0]! * w[2]! - v[2]! * w[0]!) + u[2]! * (v[0]! * w[1]! - v[1]! * w[0]!)
  const whole = det(a, b, c)
  return [det(d, b, c) / whole, det(a, d, c) / whole, det(a, b, d) / whole]
}

function* voxels([nx, ny, nz]: readonly number[]): Generator<[number, number, number, number]> {
  for (let x = 0, at = 0; x < nx!; x++) for (let y = 0; y < ny!; y++) for (let z = 0; z < nz!; z++) yield [x, y, z, at++]
}

const ramp = ([x, y, z]: readonly number[]): number => 0.31 * x! - 0.17 * y! + 0.23 * z! + 1

/** What a voxel holds says where in the world it lies. */
function ramped(shape: readonly number[], affine: Tensor): Tensor<'float32'> {
  const image = ones(shape)
  for (const [x, y, z, at] of voxels(shape)) (image.data as Float32Array)[at] = ramp(world(numbersOf(affine), [x, y, z]))
  return image
}

/** Voxels that lie within the outer centres of the old image hold what lay there; how many they are. */
function expectRamp(before: { shape: readonly number[]; affine: Tensor }, image: Tensor, affine: Tensor): number {
  let within = 0
  for (const [x, y, z, at] of voxels(image.shape)) {
    const place = world(numbersOf(affine), [x, y, z])
    if (voxel(numbersOf(before.affine), place).some((position, axis) => position < -1e-9 || position > before.shape[axis]! - 1 + 1e-9)) continue
    within++
    if (Math.abs(numbersOf(image)[at]! - ramp(place)) > 1e-5) expect.fail(`voxel [${x}, ${y}, ${z}] at [${place.join(', ')}] mm holds ${numbersOf(image)[at]}, expected ${ramp(place)}`)
  }
  return within
}

const spacingOf = (affine: Tensor): number[] => [0, 1, 2].map((axis) => Math.hypot(...[0, 4, 8].map((row) => numbersOf(affine)[row + axis]!)))

const angle = fc.double({ min: -3.1, max: 3.1, noNaN: true })
const size = fc.double({ min: 0.4, max: 3, noNaN: true })
const anyAffine = fc.tuple(angle, angle, angle, fc.tuple(size, size, size), fc.boolean()).map(([a, b, c, sizes, mirrored]) => {
  const [ca, sa, cb, sb, cc, sc] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b), Math.cos(c), Math.sin(c)]
  const rotation = [[cb * cc, -cb * sc, sb], [sa * sb * cc + ca * sc, -sa * sb * sc + ca * cc, -sa * cb], [-ca * sb * cc + sa * sc, ca * sb * sc + sa * cc, ca * cb]]
  return affineTensor(rotation.flatMap((row, k) => [...row.map((entry, axis) => entry * sizes[axis]! * (mirrored && axis === 1 ? -1 : 1)), 4 * k - 3]))
})
const anyShape = fc.tuple(fc.integer({ min: 2, max: 7 }), fc.integer({ min: 2, max: 7 }), fc.integer({ min: 2, max: 7 }))
const anySpacing = fc.tuple(size, size, size)

describe('what lies in the world stays there', () => {
  const steps: readonly [string, fc.Arbitrary<Ops>][] = [
    ['spacing, center', anySpacing.map((spacing) => [resample({ spacing })])],
    ['spacing, monai', anySpacing.map((spacing) => [resample({ spacing, geometry: 'monai' })])],
    ['shape', anyShape.map((shape) => [resample({ shape })])],
    ['shape, aligned corners', anyShape.map((shape) => [resample({ shape, alignCorners: true })])],
    ['shape of two axes', anyShape.map(([a, b]) => [resample({ shape: [a, b], axes: [2, 0] })])],
    ['pad', anyShape.map(([a, b, c]) => [pad({ before: [a, b, c], after: [c, a, b] })])],
    ['pad to a shape', anyShape.map(([a, b]) => [pad({ shape: [a + 3, b + 3], axes: [0, 2] })])],
    ['pad, divisible', fc.integer({ min: 1, max: 5 }).map((divisible) => [pad({ divisible })])],
    ['crop', fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 1 })).map(([a, b]) => [crop({ start: [a, b], shape: [1, 1] })])],
    ['crop at the centre', fc.integer({ min: 1, max: 2 }).map((extent) => [crop({ shape: [extent, 2], axes: [1, 0] })])],
  ]
  test.each(steps)('%s', async (_name, anySteps) => {
    let within = 0
    await fc.assert(fc.asyncProperty(anyAffine, anyShape, anySteps, async (affine, shape, ops) => {
      const { image, affine: made } = await run({ image: ramped(shape, affine), affine }, ops)
      within += expectRamp({ shape, affine }, image!, made!)
    }), { numRuns: 60 })
    expect(within).toBeGreaterThan(20)
  })

  test('nibabel', async () => {
    let within = 0
    await fc.assert(fc.asyncProperty(anySpacing, anyShape, anySpacing, async (sizes, shape, spacing) => {
      const affine = upright(...sizes)
      const { image, affine: made } = await run({ image: ramped(shape, affine), affine }, [resample({ spacing, geometry: 'nibabel' })])
      within += expectRamp({ shape, affine }, image!, made!)
      expect([0, 5, 10].map((k) => numbersOf(made!)[k])).toEqual(spacing)
    }), { numRuns: 40 })
    expect(within).toBeGreaterThan(100)
  })

  test('several ops one after the other, without padding between', async () => {
    const affine = affineTensor([0, -1.5, 0, 4, 2, 0, 0, 1, 0, 0, -3, 9])
    const shape = [9, 8, 7]
    const { image, affine: made } = await run({ image: ramped(shape, affine), affine }, [crop({ start: [1, 0, 2], shape: [7, 7, 4] }), orient(), resample({ spacing: 1, geometry: 'monai' }), pad({ divisible: 4 })])
    // Padding holds 0 where the old image held something.
    const held = { ...image!, data: Float32Array.from(image!.data as Float32Array) }
    let padding = 0
    for (const [x, y, z, at] of voxels(image!.shape)) if (held.data[at] === 0) { held.data[at] = ramp(world(numbersOf(made!), [x, y, z])); padding++ }
    expect(expectRamp({ shape, affine }, held, made!)).toBeGreaterThan(200)
    expect(padding).toBeLessThan(held.data.length / 2)
    expect(image!.shape.every((extent) => extent % 4 === 0)).toBe(true)
    expect(spacingOf(made!)).toEqual([1, 1, 1])
  })
})

interface Golden { geometry: 'nibabel' | 'monai'; method: 'linear' | 'nearest'; edges: 'constant' | 'clamp'; shape: number[]; affine: number[]; spacing: [number, number, number]; x: number[]; to: number[]; made: number[]; y: number[]; sure: string }
const { goldens } = JSON.parse(readFileSync(resolve(import.meta.dirname, '../fixtures/ops/spacing.json'), 'utf8')) as { goldens: Golden[] }

describe('spacing as others have it', () => {
  test.each(goldens.map((golden, i) => [i, golden.geometry, golden.method, golden.edges, golden.to.join('×'), golden] as const))('%i: %s %s %s → %s', async (_i, geometry, method, edges, _to, golden) => {
    const image: Tensor = { dtype: 'float32', shape: golden.shape, data: Float32Array.from(golden.x) }
    const made = await run({ image, affine: affineTensor(golden.affine) }, [resample({ spacing: golden.spacing, geometry, method, edges })])
    expect(made.image!.shape).toEqual(golden.to)
    expect(worst(numbersOf(made.affine!), golden.made)).toBeLessThan(1e-12)
    const sure = [...golden.sure].map((flag) => flag === '1')
    expect(sure.filter(Boolean).length).toBeGreaterThan(sure.length / 8)
    const keep = (values: Numbers): number[] => Array.from(values).filter((_, k) => sure[k])
    expect(worst(keep(numbersOf(made.image!)), keep(golden.y))).toBeLessThan(2e-7)
  })

  test('beyond the outer centres nibabel has zeros at once, and monai fades', async () => {
    const fields = { image: ones([3, 2, 2]), affine: upright(1, 1, 1) }
    const row = async (options: Parameters<typeof resample>[0]): Promise<number[]> => {
      const { image } = await run(fields, [resample(options)])
      return Array.from({ length: image!.shape[0]! }, (_, x) => numbersOf(image!)[x * image!.shape[1]! * image!.shape[2]!]!)
    }
    expect(await row({ spacing: [0.8, 1, 1], geometry: 'nibabel' })).toEqual([1, 1, 1, 0])
    expect(await row({ spacing: [0.8, 1, 1], geometry: 'nibabel', method: 'nearest' })).toEqual([1, 1, 1, 0])
    expect(await row({ spacing: [0.8, 1, 1], geometry: 'nibabel', edges: 'clamp' })).toEqual([1, 1, 1, 1])
    const faded = await row({ spacing: [0.75, 1, 1], geometry: 'monai', edges: 'constant' })
    expect(faded.slice(0, 3)).toEqual([1, 1, 1])
    expect(faded[3]).toBeCloseTo(0.75, 6)
    expect(await row({ spacing: [0.75, 1, 1], geometry: 'monai' })).toEqual([1, 1, 1, 1])
  })

  test('a header whose 0.7 is a float32 keeps its voxels with monai', async () => {
    const size = Math.fround(0.7)
    const image = ramped([6, 5, 4], upright(size, size, size))
    const made = await run({ image, affine: upright(size, size, size) }, [resample({ spacing: 0.7, geometry: 'monai' })])
    expect(made.image).toEqual(image)
    expect(made.affine).toEqual(upright(size, size, size))
  })
})

describe('spacing', () => {
  test('center covers the same extent with the nearest size that divides it', async () => {
    const { image, affine } = await run({ image: ones([10, 7, 1]), affine: upright(0.9, 2, 5) }, [resample({ spacing: [2, 0.5, 20], method: 'area' })])
    expect(image!.shape).toEqual([4, 28, 1])
    expect(spacingOf(affine!)).toEqual([2.25, 0.5, 5])
    // The outer faces stay where they are.
    expect(numbersOf(affine!)[3]! - 2.25 / 2).toBeCloseTo(5 - 0.45, 12)
  })

  test('volumes of one batch that lie differently get each its own extents, labels by nearest with theirs', async () => {
    const sizes = [1, 2, 2, 1.5]
    const label: Tensor = { dtype: 'uint8', shape: [4, 4, 4], data: Uint8Array.from({ length: 64 }, (_, i) => i % 5) }
    const source = await items(sizes.map((mm, k) => ({ id: `v${k}`, fields: { image: ones([4, 4, 4, 2]), affine: upright(mm, mm, 3), label, label_affine: upright(mm, mm, 3) } })))
    const cache = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
    const dataset = await cache.dataset(source, recipe([resample({ spacing: [1, 1, 3], fields: ['image'] }), resample({ spacing: [1, 1, 3], method: 'nearest', fields: ['label'] })]))
    expect(dataset.fields).toMatchObject({ image: { dtype: 'float32', shape: [null, null, null, 2] }, label: { dtype: 'uint8', shape: [null, null, null] } })
    for (const [k, mm] of sizes.entries()) {
      const item = await (dataset as Dataset).get(k)
      expect((item.image as Tensor).shape).toEqual([4 * mm, 4 * mm, 4, 2])
      expect((item.label as Tensor).shape).toEqual([4 * mm, 4 * mm, 4])
      expect(spacingOf(item.affine as Tensor)).toEqual([1, 1, 3])
      expect(item.label_affine).toEqual(item.affine)
      expect(new Set((item.label as Tensor<'uint8'>).data)).toEqual(new Set([0, 1, 2, 3, 4]))
    }
    await cache.close()
  })

  test('a method by field is what an op for each gives; images that share an affine can have different ones', async () => {
    const image: Tensor = { dtype: 'int16', shape: [5, 4, 3], data: Int16Array.from({ length: 60 }, (_, i) => i * i % 97) }
    const label: Tensor = { dtype: 'uint8', shape: [5, 4, 3], data: Uint8Array.from({ length: 60 }, (_, i) => i % 5) }
    const lies = upright(1.5, 1, 2)
    const apart = await run({ image, label, affine: lies, label_affine: lies }, [resample({ spacing: 0.8, fields: ['image'] }), resample({ spacing: 0.8, method: 'nearest', fields: ['label'] })])
    expect(apart.image!.dtype).toBe('float32')
    expect(await run({ image, label, affine: lies, label_affine: lies }, [resample({ spacing: 0.8, method: { label: 'nearest' } })])).toEqual(apart)
    const { label_affine: _, ...rest } = apart
    expect(await run({ image, label, affine: lies }, [resample({ spacing: 0.8, method: { image: 'linear', label: 'nearest' } })])).toEqual(rest)
    // To a shape, too; the label's bits stay.
    const shaped = await run({ image, label }, [resample({ shape: [7, 3, 4], method: { image: 'cubic', label: 'nearest' } })])
    expect(shaped).toEqual({ ...await run({ image }, [resample({ shape: [7, 3, 4], method: 'cubic' })]), ...await run({ label }, [resample({ shape: [7, 3, 4], method: 'nearest' })]) })
    expect(shaped.label!.dtype).toBe('uint8')
  })

  test('methods by field are checked when the op is made', () => {
    expect(() => resample({ spacing: 1, method: { image: 'nearst' as 'nearest' } })).toThrow(/method\.image must be one of nearest, linear, cubic, area, not "nearst"/)
    expect(() => resample({ spacing: 1, geometry: 'monai', method: { image: 'area' } })).toThrow(/area covers cells of the whole extent/)
    expect(() => resample({ shape: [2], alignCorners: true, method: { image: 'area' } })).toThrow(/area covers cells, so alignCorners/)
  })

  test('a method of a field that is not read is in no key', () => {
    const spec = { dtype: 'int16' as const, shape: [3, 4, 5] }
    const fields = { image: spec, label: spec, affine: { dtype: 'float64' as const, shape: [4, 4] }, label_affine: { dtype: 'float64' as const, shape: [4, 4] } }
    expect(inputFields(recipe([resample({ spacing: 1, method: { label: 'nearest' } }), select({ fields: ['image'] })]), fields)).toEqual(['image', 'affine'])
    expect(inputFields(recipe([resample({ spacing: 1, method: { label: 'nearest' } }), select({ fields: ['label'] })]), fields)).toEqual(['label', 'label_affine'])
  })

  test('axes of images whose first one is time', async () => {
    const { image, affine } = await run({ image: ones([3, 4, 4, 4]), affine: upright(2, 1, 1) }, [resample({ spacing: 1, axes: [1, 2, 3] })])
    expect(image!.shape).toEqual([3, 8, 4, 4])
    expect(spacingOf(affine!)).toEqual([1, 1, 1])
  })

  test.each<[string, Fields, Parameters<typeof resample>[0], RegExp]>([
    ['no affine', { image: ones([2, 2, 2]) }, { spacing: 1 }, /there is no image with an affine/],
    ['a named field without one', { image: ones([2, 2, 2]) }, { spacing: 1, fields: ['image'] }, /field image has no affine/],
    ['an oblique image with nibabel', { image: ones([2, 2, 2]), affine: affineTensor([1, 0.1, 0, 0, -0.1, 1, 0, 0, 0, 0, 1, 0]) }, { spacing: 1, geometry: 'nibabel' }, /field affine lies obliquely, \[1, 0\.1, .* reslice\(\{ to: 'world', spacing \}\)/],
    ['another orientation with nibabel', { image: ones([2, 2, 2]), affine: upright(-1, 1, 1) }, { spacing: 1, geometry: 'nibabel' }, /needs orient\(\{ axcodes: 'RAS' \}\) before/],
    ['swapped axes with nibabel', { image: ones([2, 2, 2]), affine: affineTensor([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]) }, { spacing: 1, geometry: 'nibabel' }, /needs orient/],
    ['a sheared image with monai', { image: ones([2, 2, 2]), affine: affineTensor([1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]) }, { spacing: 1, geometry: 'monai' }, /axes 0 and 1 of field affine do not meet at a right angle/],
    ['a method of no image', { image: ones([2, 2, 2]), affine: upright(1, 1, 1) }, { spacing: 1, method: { lable: 'nearest' } }, /method names lable, which is none of the images: image/],
    ['a complex image by linear', { image: { dtype: 'complex64', shape: [2, 2, 2], data: new Float32Array(16) }, affine: upright(1, 1, 1) }, { spacing: 1, method: {} }, /cannot interpolate field image \(complex64 \[2, 2, 2\]\): it is complex; method "nearest" can/],
    ['a flat affine', { image: ones([2, 2, 2]), affine: upright(1, 0, 1) }, { spacing: 1 }, /is flat/],
    ['an empty image', { image: ones([2, 0, 2]), affine: upright(1, 1, 1) }, { spacing: 1 }, /axis 1 of field image has extent 0/],
    ['a size in metres', { image: ones([2, 2, 2]), affine: upright(1, 1, 1) }, { spacing: 1e-6 }, /spacing 0\.000001 mm makes 2000000 samples of 2 voxels of 1 mm; expected at most 1048576/],
    ['an image that would be left behind', { image: ones([2, 2, 2]), mask: ones([2, 2, 2]), affine: upright(1, 1, 1) }, { spacing: 2, fields: ['image'] }, /field mask lies by affine, too, which changes with image: name both, or give it a field mask_affine/],
  ])('%s is refused', async (_name, fields, options, message) => {
    await expect(run(fields, [resample(options)])).rejects.toThrow(message)
  })

  test('a method by field: an image and its mask share an affine, and a mask stays whole numbers', async () => {
    const image: Tensor = { dtype: 'float32', shape: [7, 6, 5], data: Float32Array.from({ length: 210 }, (_, i) => (i * 37) % 101) }
    const mask: Tensor = { dtype: 'uint8', shape: [7, 6, 5], data: Uint8Array.from({ length: 210 }, (_, i) => Math.floor(i / 70)) }
    const affine = upright(1.5, 2, 0.8)
    for (const options of [{ spacing: 1.1 }, { shape: [9, 5, 8] }, { spacing: 1.3, geometry: 'monai' as const }]) {
      const both = await run({ image, mask, affine }, [resample({ ...options, method: { mask: 'nearest' } })])
      const [one, other] = await Promise.all([run({ image, affine }, [resample(options)]), run({ mask, affine }, [resample({ ...options, method: 'nearest' })])])
      expect(both).toEqual({ image: one.image, mask: other.mask, affine: one.affine })
      expect(both.mask!.dtype).toBe('uint8')
      // What a select drops is not missed.
      expect(await run({ image, mask, affine }, [resample({ ...options, method: { mask: 'nearest' } }), select({ fields: ['image'] })])).toEqual({ image: one.image })
    }
  })

  test.each<[object, RegExp]>([
    [{ shape: [2], method: { image: 'nearst' } }, /resample: method\.image/],
    [{ shape: [2], alignCorners: true, method: { image: 'area' } }, /alignCorners has no meaning/],
    [{ spacing: 1, geometry: 'monai', method: { image: 'area' } }, /area covers cells/],
    [{ spacing: 1, method: ['nearest'] }, /resample: method/],
  ])('a method by field: %j is refused', (options, message) => {
    expect(() => resample(options as never)).toThrow(message)
  })

  test('a method for a field that is not there is refused', () => {
    const image = { dtype: 'float32' as const, shape: [4, 4] }
    expect(() => checkRecipe(recipe([resample({ shape: [2], method: { lable: 'nearest' } })]), { image })).toThrow(/method names lable, which is none of the fields it works on: image/)
  })

  test('extents are unknown before anything is read, and images are made by their affines', () => {
    const fields = { image: { dtype: 'int16' as const, shape: [3, 4, 5] }, affine: { dtype: 'float64' as const, shape: [4, 4] }, other: { dtype: 'int16' as const, shape: [2] } }
    expect(checkRecipe(recipe([resample({ spacing: 1 })]), fields)).toEqual({ ...fields, image: { dtype: 'float32', shape: [null, null, null] } })
    expect(inputFields(recipe([resample({ spacing: 1 }), select({ fields: ['image'] })]), fields)).toEqual(['image', 'affine'])
    expect(inputFields(recipe([resample({ spacing: 1 }), select({ fields: ['affine'] })]), fields)).toEqual(['image', 'affine'])
    // Nothing else is read than before where only the image is wanted.
    for (const op of [crop({ shape: [2, 2] }), pad({ divisible: 4 }), resample({ shape: [2, 2] })]) expect(inputFields(recipe([op, select({ fields: ['image'] })]), fields)).toEqual(['image'])
  })

  test('the parameters in keys', () => {
    const params = (call: { readonly params: unknown }): string => canonicalJson(call.params)
    expect(params(resample({ spacing: 1.5 }))).toBe('{"axes":[0,1,2],"edges":"clamp","geometry":"center","method":"linear","spacing":[1.5,1.5,1.5]}')
    expect(params(resample({ spacing: [1, 1, 2], geometry: 'nibabel', method: 'nearest' }))).toBe('{"axes":[0,1,2],"edges":"constant","geometry":"nibabel","method":"nearest","spacing":[1,1,2]}')
    expect(params(resample({ shape: [2] }))).toBe('{"alignCorners":false,"edges":"clamp","geometry":"center","method":"linear","shape":[2]}')
    expect(params(pad({ shape: [2] }))).toBe('{"mode":"constant","shape":[2],"value":0}')
    expect(params(pad({ divisible: 16 }))).toBe('{"axes":[0,1,2],"divisible":[16,16,16],"mode":"constant","value":0}')
    expect(params(crop({ shape: [2] }))).toBe('{"shape":[2]}')
  })
})

describe('crop and pad of images', () => {
  test('affines follow x, y and z only', async () => {
    const affine = upright(2, 3, 4)
    const image = ones([4, 4, 4, 6])
    for (const op of [crop({ shape: [2] }), pad({ before: [2] }), resample({ shape: [3] }), crop({ shape: [4, 4, 4], axes: [0, 1, 2] })]) expect((await run({ image, affine }, [op])).affine).toEqual(affine)
    expect(numbersOf((await run({ image, affine }, [crop({ shape: [2], axes: [1] })])).affine!)[7]).toBe(0)
    expect(numbersOf((await run({ image, affine }, [pad({ before: [1], axes: [2] })])).affine!)[11]).toBe(-3)
  })

  test('the affine alone is had from the image as well', async () => {
    const fields = { image: ones([9, 4, 4]), mask: ones([9, 4, 4]), affine: upright(2, 3, 4) }
    expect(numbersOf((await run(fields, [crop({ shape: [3], axes: [0] }), select({ fields: ['affine'] })])).affine!)[3]).toBe(11)
  })

  test('divisible, as MONAI\'s DivisiblePad', async () => {
    const { image, affine } = await run({ image: ones([5, 8, 11, 2]), affine: upright(1, 1, 1) }, [pad({ divisible: [4, 8, 6], axes: [0, 1, 2] })])
    expect(image!.shape).toEqual([8, 8, 12, 2])
    expect(numbersOf(affine!)[3]).toBe(4)
    expect((await run({ image: ones([5, 8]) }, [pad({ divisible: [4, 3] })])).image!.shape).toEqual([8, 9])
    expect((await run({ image: ones([0, 3, 3]) }, [pad({ divisible: 2 })])).image!.shape).toEqual([0, 4, 4])
  })

  test.each<[string, Fields, Ops, RegExp]>([
    ['a mask left behind', { image: ones([4, 4, 4]), mask: ones([4, 4, 4]), affine: upright(1, 1, 1) }, [crop({ shape: [2], fields: ['image'] })], /field mask lies by affine, too/],
    ['other extents', { image: ones([4, 4, 4]), mask: ones([6, 4, 4]), affine: upright(1, 1, 1) }, [crop({ shape: [2], axes: [0] })], /share an affine, but are \[4, 4, 4\] and \[6, 4, 4\] voxels/],
    ['other axes', { image: ones([4, 4, 4]), frames: ones([4, 4, 4, 4]), affine: upright(1, 1, 1) }, [crop({ shape: [2, 2], start: [1, 0] })], /other axes of them are x, y and z/],
    ['what is no affine', { image: ones([4, 4, 4]), affine: affineTensor([1, 0, 0, NaN, 0, 1, 0, 0, 0, 0, 1, 0]) }, [pad({ divisible: 3 })], /field affine is no affine/],
  ])('%s is refused', async (_name, fields, steps, message) => {
    await expect(run(fields, steps)).rejects.toThrow(message)
  })
})

test.each([['crop', crop({ shape: [2] })], ['resample', resample({ spacing: 2 })], ['orient', orient()]] as const)('%s refuses an affine that was made on the device', async (_name, op) => {
  const fields = { image: ones([4, 4, 4]), affine: upright(1, 1, 1) }
  await expect(run(fields, [cast({ dtype: 'float64', fields: ['affine'] }), op])).rejects.toThrow(expect.objectContaining({ code: 'E_RECIPE', op: 1, message: expect.stringContaining('what field affine holds is not known here') as string }) as Error)
})

const shared = join(process.env.TENSORCACHE_SHARED ?? resolve(import.meta.dirname, '../../../shared'), 'data/nifti')
interface Reference { shape: number[]; resampled?: { file: string; shape: number[]; affine: number[][]; voxel_mm: number; input: string; volume: string | null }[]; canonical_then_resampled?: unknown }
describe.skipIf(!existsSync(shared))('nibabel resample_to_output (shared)', () => {
  const images = existsSync(shared) ? (JSON.parse(readFileSync(join(shared, 'reference.json'), 'utf8').replaceAll('NaN', 'null')) as { images: Record<string, Reference> }).images : {}
  const cases = Object.entries(images).filter(([name]) => !name.startsWith('example') && existsSync(join(shared, name))).flatMap(([name, { resampled = [] }]) => resampled.filter(({ input, file }) => input === 'float64' && existsSync(join(shared, file))).map((reference) => [name, reference.file, reference] as const))
  test.each(cases)('%s as %s', async (name, file, reference) => {
    const cache = await openCache({ dir: null })
    const dataset = await cache.dataset(await nifti(join(shared, name), { dtype: 'float32' }), recipe([orient({ axcodes: 'RAS' }), resample({ spacing: reference.voxel_mm, geometry: 'nibabel' })]))
    const item = await dataset.get(0)
    const image = item.image as Tensor
    const expected = await (await openArrays(join(shared, file))).data!.read()
    expect(image.shape.slice(0, 3)).toEqual(reference.shape)
    reference.affine.flat().forEach((entry, k) => expect(numbersOf(item.affine as Tensor)[k]).toBeCloseTo(entry, 6))
    const frames = image.shape[3] ?? 1
    const frame = Number(reference.volume ?? 0)
    const values = Array.from({ length: expected.data.length }, (_, k) => Number(image.data[k * frames + frame]))
    expect(worst(values, Array.from(expected.data as Float64Array))).toBeLessThan(1e-4)
    await cache.close()
  })

  test('there are some, and what lies obliquely is refused', async () => {
    expect(cases.length).toBeGreaterThan(3)
    const cache = await openCache({ dir: null })
    await expect(cache.dataset(await nifti(join(shared, 'example4d.nii.gz')), recipe([orient(), resample({ spacing: 2, geometry: 'nibabel' })]))).rejects.toThrow(/lies obliquely/)
    await cache.close()
  })
})
