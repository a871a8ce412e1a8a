import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { items, nifti, openArrays, openCache, orient, recipe, type Dataset, type Tensor } from '../../src/index.js'
import { checkRecipe } from '../../src/ops/compile.js'
import { axcodesOf, orientationOf } from '../../src/ops/orientation.js'
import { tempDir } from '../support/temp.js'

const CODES = ['RAS', 'LPS', 'LAS', 'ASR', 'PIL', 'SPR']

/** Every voxel has a number of its own. */
function volume(shape: readonly number[]): Tensor<'int32'> {
  const count = shape.reduce((product, extent) => product * extent, 1)
  return { dtype: 'int32', shape, data: Int32Array.from({ length: count }, (_, i) => i) }
}

const affineTensor = (numbers: readonly number[]): Tensor<'float64'> => ({ dtype: 'float64', shape: [4, 4], data: Float64Array.from([...numbers, 0, 0, 0, 1]) })

function world(affine: ArrayLike<number>, [x, y, z]: readonly number[]): number[] {
  return [0, 1, 2].map((row) => affine[4 * row]! * x! + affine[4 * row + 1]! * y! + affine[4 * row + 2]! * z! + affine[4 * row + 3]!)
}

/** Where in the world each voxel's number lies. */
function places({ data, shape }: Tensor, affine: ArrayLike<number>): Map<number, number[]> {
  const found = new Map<number, number[]>()
  const [nx, ny, nz] = shape as [number, number, number]
  for (let x = 0; x < nx; x++) for (let y = 0; y < ny; y++) for (let z = 0; z < nz; z++) found.set(Number(data[(x * ny + y) * nz + z]), world(affine, [x, y, z]))
  return found
}

async function run(fields: Readonly<Record<string, Tensor>>, steps: Parameters<typeof recipe>[0]): Promise<Record<string, Tensor>> {
  const cache = await openCache({ dir: null })
  const dataset = await cache.dataset(await items([{ id: 'a', fields }]), recipe(steps))
  const item = await dataset.get(0)
  const copies = Object.fromEntries(Object.entries(item).filter(([name]) => name !== 'id').map(([name, tensor]) => [name, { ...(tensor as Tensor), data: (tensor as Tensor).data.slice() } as Tensor]))
  await cache.close()
  return copies
}

describe('orient', () => {
  test('leaves every voxel where it is in the world, and lets axes run as asked', async () => {
    const angle = fc.double({ min: -3.1, max: 3.1, noNaN: true })
    const size = fc.double({ min: 0.3, max: 4, noNaN: true })
    await fc.assert(fc.asyncProperty(angle, angle, angle, fc.tuple(size, size, size), fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()), fc.constantFrom(...CODES), async (a, b, c, sizes, mirrored, axcodes) => {
      const [ca, sa, cb, sb, cc, sc] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b), Math.cos(c), Math.sin(c)]
      const rotation = [[cb * cc, -cb * sc, sb], [sa * sb * cc + ca * sc, -sa * sb * sc + ca * cc, -sa * cb], [-ca * sb * cc + sa * sc, ca * sb * sc + sa * cc, ca * cb]]
      const affine = affineTensor(rotation.flatMap((row, k) => [...row.map((entry, axis) => entry * sizes[axis]! * (mirrored[axis] ? -1 : 1)), 10 * k - 3]))
      const image = volume([3, 4, 5])
      const turned = await run({ image, affine }, [orient({ axcodes })])
      const [before, after] = [places(image, affine.data), places(turned.image!, turned.affine!.data as Float64Array)]
      expect(after.size).toBe(60)
      for (const [number, place] of before) place.forEach((coordinate, k) => expect(after.get(number)![k]).toBeCloseTo(coordinate, 9))
      expect(axcodesOf(orientationOf(turned.affine!.data as Float64Array)!)).toBe(axcodes)
    }), { numRuns: 40 })
  })

  test('images of equal shapes that lie differently are turned each as it lies, labels with them', async () => {
    const lies = [[-2, 0, 0, 5, 0, 2, 0, 0, 0, 0, 2, 0], [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, -1, 9], [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, -1, 9], [2, 0, 0, 5, 0, 2, 0, 0, 0, 0, 2, 0]].map(affineTensor)
    const source = await items(lies.map((affine, k) => ({ id: `v${k}`, fields: { image: volume([2, 3, 4, 2]), affine, label: volume([2, 3, 4]), label_affine: lies[(k + 1) % 4]! } })))
    const cache = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
    const dataset = await cache.dataset(source, recipe([orient({ axcodes: 'RAS' })]))
    expect(dataset.fields).toEqual({ image: { dtype: 'int32', shape: [null, null, null, 2] }, affine: { dtype: 'float64', shape: [4, 4] }, label: { dtype: 'int32', shape: [null, null, null] }, label_affine: { dtype: 'float64', shape: [4, 4] } })
    for (let k = 0; k < 4; k++) {
      const item = await (dataset as Dataset).get(k)
      const label = item.label as Tensor
      const expected = places(volume([2, 3, 4]), lies[(k + 1) % 4]!.data)
      for (const [number, place] of places(label, (item.label_affine as Tensor<'float64'>).data)) expect(place).toEqual(expected.get(number))
      // Time goes along.
      const image = item.image as Tensor<'int32'>
      expect(image.shape[3]).toBe(2)
      for (let i = 0; i < image.data.length; i += 2) expect([image.data[i]! % 2, image.data[i + 1]! - image.data[i]!]).toEqual([0, 1])
    }
    await cache.close()
  })

  test('axes of images whose first one is time', async () => {
    const affine = affineTensor([-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
    const { image } = await run({ image: volume([2, 3, 1, 1]), affine }, [orient({ axes: [1, 2, 3] })])
    expect([...image!.data]).toEqual([2, 1, 0, 5, 4, 3])
  })

  test.each<[string, Readonly<Record<string, Tensor>>, Parameters<typeof orient>[0], RegExp]>([
    ['no affine', { image: volume([2, 2, 2]) }, {}, /there is no image with an affine/],
    ['a named field without one', { image: volume([2, 2, 2]) }, { fields: ['image'] }, /field image has no affine/],
    ['two axes', { image: volume([2, 2]), affine: affineTensor([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]) }, { fields: ['image'] }, /it has 2 axes/],
    ['a flat affine', { image: volume([2, 2, 2]), affine: affineTensor([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]) }, {}, /is flat/],
    ['numbers that are none', { image: volume([2, 2, 2]), affine: affineTensor([NaN, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]) }, {}, /is no affine/],
    ['a shared affine over other extents', { image: volume([2, 2, 2]), mask: volume([2, 2, 3]), affine: affineTensor([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]) }, {}, /share an affine, but are \[2, 2, 2\] and \[2, 2, 3\] voxels/],
  ])('%s is refused', async (_name, fields, options, message) => {
    await expect(run(fields, [orient(options)])).rejects.toThrow(message)
  })

  test.each([['RAX'], ['RA'], ['RLS'], ['']])('axcodes %s are refused', (axcodes) => {
    expect(() => orient({ axcodes })).toThrow(/axcodes must have one of each/)
  })

  test('extents that may change are unknown before anything is read', () => {
    const affine = { dtype: 'float64' as const, shape: [4, 4] }
    expect(checkRecipe(recipe([orient()]), { image: { dtype: 'int16', shape: [3, 4, 5] }, affine })).toMatchObject({ image: { shape: [null, null, null] } })
    expect(checkRecipe(recipe([orient()]), { image: { dtype: 'int16', shape: [4, 4, 4, 7] }, affine })).toMatchObject({ image: { shape: [4, 4, 4, 7] } })
  })
})

const shared = join(process.env.TENSORCACHE_SHARED ?? resolve(import.meta.dirname, '../../../shared'), 'data/nifti')
describe.skipIf(!existsSync(shared))('nibabel as_closest_canonical (shared)', () => {
  test.each(['anatomical.nii', 'functional.nii', 'example4d.nii.gz', 'example_nifti2.nii.gz'])('%s', async (name) => {
    const reference = (JSON.parse(readFileSync(join(shared, 'reference.json'), 'utf8').replaceAll('NaN', 'null')) as { images: Record<string, { canonical_affine: number[][] }> }).images[name]!
    const cache = await openCache({ dir: null })
    const dataset = await cache.dataset(await nifti(join(shared, name), { scaled: false }), recipe([orient({ axcodes: 'RAS' })]))
    const item = await dataset.get(0)
    const image = item.image as Tensor
    const expected = await (await openArrays(join(shared, `${name.split('.')[0]}_canonical.npy`))).data!.read()
    expect(image.shape).toEqual(expected.shape)
    expect(image.data).toHaveLength(expected.data.length)
    expect(Buffer.compare(Buffer.from(Float64Array.from(image.data as ArrayLike<number>).buffer), Buffer.from(Float64Array.from(expected.data as ArrayLike<number>).buffer))).toBe(0)
    reference.canonical_affine.flat().forEach((entry, k) => expect((item.affine as Tensor<'float64'>).data[k]).toBeCloseTo(entry, 6))
    await cache.close()
  })
})
