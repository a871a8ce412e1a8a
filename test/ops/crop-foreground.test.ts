import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DTYPES, type DType } from '../../src/core/dtype.js'
import { cast, cropForeground, defineOp, items, normalize, openCache, orient, recipe, select, type Tensor } from '../../src/index.js'
import { checkRecipe, inputFields, segments } from '../../src/ops/compile.js'

const affine: Tensor<'float64'> = { dtype: 'float64', shape: [4, 4], data: Float64Array.of(2, 0, 0, -10, 0, 1, 0, 5, 0, 0, 3, 0, 0, 0, 0, 1) }

async function run(all: readonly Readonly<Record<string, Tensor>>[], steps: Parameters<typeof recipe>[0]): Promise<Record<string, Tensor>[]> {
  const cache = await openCache({ dir: null })
  const dataset = await cache.dataset(await items(all.map((fields, k) => ({ id: `v${k}`, fields }))), recipe(steps))
  const made: Record<string, Tensor>[] = []
  for (let k = 0; k < all.length; k++) made.push(Object.fromEntries(Object.entries(await dataset.get(k)).filter(([name]) => name !== 'id').map(([name, tensor]) => [name, { ...(tensor as Tensor), data: (tensor as Tensor).data.slice() } as Tensor])))
  await cache.close()
  return made
}

/** The same, slowly: start and stop of what is above. */
function boxOf({ data, shape }: Tensor, threshold: number): [number[], number[]] {
  const [nx, ny, nz, nt = 1] = shape as [number, number, number, number?]
  const [start, stop] = [[Infinity, Infinity, Infinity], [0, 0, 0]]
  for (let x = 0; x < nx; x++) for (let y = 0; y < ny; y++) for (let z = 0; z < nz; z++) for (let t = 0; t < nt; t++) {
    if (!(Number(data[((x * ny + y) * nz + z) * nt + t]) > threshold)) continue
    ;[x, y, z].forEach((at, k) => { start[k] = Math.min(start[k]!, at); stop[k] = Math.max(stop[k]!, at + 1) })
  }
  return stop[0] === 0 ? [[0, 0, 0], [0, 0, 0]] : [start, stop]
}

describe('cropForeground', () => {
  test('finds the box that a plain search finds, for every dtype, rank and threshold, and cuts it out', async () => {
    const names = (Object.keys(DTYPES) as DType[]).filter((dtype) => !dtype.startsWith('complex') && dtype !== 'float16' && dtype !== 'bfloat16')
    await fc.assert(fc.asyncProperty(fc.constantFrom(...names), fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 2 })), fc.constantFrom(-1, 0, 0.5, 1, 2), fc.nat(2), fc.array(fc.nat(1000), { maxLength: 6 }), async (dtype, shape, threshold, margin, lit) => {
      const count = shape.reduce((product, extent) => product * extent, 1)
      const { array, kind } = DTYPES[dtype]
      const data = new (array as unknown as new (length: number) => Tensor['data'])(count)
      lit.forEach((at, k) => { (data as Uint8Array)[at % count] = (kind === 'int' || kind === 'uint') && dtype.endsWith('64') ? BigInt(1 + k % 3) as never : dtype === 'bool' ? 1 : 1 + k % 3 })
      const image = { dtype, shape, data } as Tensor
      const [item] = await run([{ image, affine }], [cropForeground({ fields: ['image'], threshold, margin })])
      const [start, stop] = boxOf(image, threshold)
      expect([...item!.foreground_box!.data as Int32Array]).toEqual([...start, ...stop])
      const empty = stop[0] === 0
      const from = start.map((at) => (empty ? 0 : Math.max(0, at - margin)))
      const to = stop.map((at, k) => (empty ? shape[k]! : Math.min(shape[k]!, at + margin)))
      expect(item!.image!.shape).toEqual([...to.map((at, k) => at - from[k]!), shape[3]])
      const [nx, ny, nz] = item!.image!.shape as [number, number, number]
      for (let x = 0; x < nx; x++) for (let y = 0; y < ny; y++) for (let z = 0; z < nz; z++) for (let t = 0; t < shape[3]; t++) {
        expect(item!.image!.data[((x * ny + y) * nz + z) * shape[3] + t]).toBe(data[(((x + from[0]!) * shape[1] + y + from[1]!) * shape[2] + z + from[2]!) * shape[3] + t])
      }
      expect([3, 7, 11].map((k) => (item!.affine!.data as Float64Array)[k])).toEqual([-10 + 2 * from[0]!, 5 + from[1]!, 3 * from[2]!])
    }), { numRuns: 40 })
  })

  test.each<[DType, readonly number[], number]>([['float16', [0x0000, 0x3c00, 0x8000, 0x0001, 0x7e00, 0x7c00, 0xbc00, 0x4000], 1], ['bfloat16', [0, 0x3f80, 0x8000, 1, 0x7fc0, 0x7f80, 0xbf80, 0x4000], 1]])('%s: NaN is never above, infinity is', async (dtype, bits, threshold) => {
    const [item] = await run([{ image: { dtype, shape: [8, 1, 1], data: Uint16Array.from(bits) } as Tensor }], [cropForeground({ source: 'image', threshold })])
    expect([...item!.foreground_box!.data as Int32Array]).toEqual([5, 0, 0, 8, 1, 1])
  })

  test.each<[DType, number, number]>([['uint64', 2 ** 64, 0], ['int64', -(2 ** 63) - 4096, 2], ['int8', 126.5, 1], ['uint8', 255, 0]])('%s and a threshold of %d: exact to the last bit', async (dtype, threshold, above) => {
    const { array } = DTYPES[dtype]
    const data = (array as unknown as { from(values: unknown[]): Tensor['data'] }).from(dtype.endsWith('64') ? [0n, dtype === 'int64' ? -(2n ** 63n) : 2n ** 64n - 1n] : [0, dtype === 'int8' ? 127 : 255])
    const [item] = await run([{ image: { dtype, shape: [1, 1, 2], data } as Tensor }], [cropForeground({ fields: ['image'], threshold })])
    expect(item!.foreground_box!.data[5]! as number - (item!.foreground_box!.data[2]! as number)).toBe(above)
  })

  test('labels are cut with their image, each item to its own box, between other ops', async () => {
    const volume = (at: number): Tensor => ({ dtype: 'int16', shape: [4, 4, 4], data: Int16Array.from({ length: 64 }, (_, i) => (i === at || i === at + 1 ? 100 + i : 0)) })
    const label: Tensor = { dtype: 'uint8', shape: [4, 4, 4], data: Uint8Array.from({ length: 64 }, (_, i) => i) }
    const made = await run([5, 41].map((at) => ({ image: volume(at), affine, label, label_affine: affine })), [orient({ axcodes: 'LAS' }), cast({ dtype: 'float32', fields: ['image'] }), cropForeground({ source: 'image', fields: ['image', 'label'] }), normalize({ mode: 'scale', factor: 2, fields: ['image'] })])
    made.forEach(({ image, label: cut, affine: moved, label_affine: alike }, k) => {
      const at = [5, 41][k]!
      expect([image!.shape, cut!.shape]).toEqual([[1, 1, 2], [1, 1, 2]])
      expect([...image!.data as Float32Array]).toEqual([2 * (100 + at), 2 * (101 + at)])
      expect([...cut!.data as Uint8Array]).toEqual([at, at + 1])
      expect(moved!.data).toEqual(alike!.data)
    })
  })

  test('extents are unknown before anything is read, and what does not fit is refused', () => {
    const image = { dtype: 'int16' as const, shape: [3, 4, 5] }
    expect(checkRecipe(recipe([cropForeground({ fields: ['image'] })]), { image })).toMatchObject({ image: { shape: [null, null, null] }, foreground_box: { dtype: 'int32', shape: [2, 3] } })
    expect(() => cropForeground({})).toThrow(/say by which field the foreground is told/)
    expect(() => cropForeground({ fields: ['image'], margin: [1, 2] })).toThrow(/margin must be one number or three/)
    expect(() => checkRecipe(recipe([cropForeground({ source: 'other' })]), { image })).toThrow(/there is no field "other"/)
    expect(() => checkRecipe(recipe([cropForeground({ source: 'image' })]), { image: { dtype: 'complex64', shape: [3, 4, 5] } })).toThrow(/it is complex/)
  })

  test('a label of other extents is an error that says so', async () => {
    const image: Tensor = { dtype: 'int16', shape: [1, 1, 4], data: Int16Array.of(0, 0, 0, 1) }
    await expect(run([{ image, label: { dtype: 'uint8', shape: [1, 1, 2], data: Uint8Array.of(1, 2) } }], [cropForeground({ source: 'image' })])).rejects.toThrow(/field label has 2 voxels along axis 2, and the foreground of image ends at 4/)
  })

  test('is two programs in its place; those after it keep theirs, and messages name it', async () => {
    const steps = recipe([orient({ axcodes: 'RAS' }), cropForeground({ fields: ['image'] }), normalize({ mode: 'zscore', fields: ['image'] }), cropForeground({ fields: ['image'], threshold: 1 })])
    expect(segments(steps).map((segment) => [segment.kind, segment.first, segment.kind === 'device' && segment.ops.map(({ name }) => name)])).toEqual([
      ['device', 0, ['orient', 'cropForeground']], ['device', 1, ['cropForeground', 'normalize', 'cropForeground']], ['device', 3, ['cropForeground']],
    ])
    const image: Tensor = { dtype: 'float32', shape: [1, 1, 4], data: Float32Array.of(NaN, 1, 2, NaN) }
    await expect(run([{ image, affine }], [orient({ axcodes: 'RAS' }), cropForeground({ fields: ['image'] }), normalize({ mode: 'zscore', fields: ['image'] })])).resolves.toHaveLength(1)
    await expect(run([{ image, affine }], [orient({ axcodes: 'RAS' }), cropForeground({ fields: ['image'], margin: 1 }), normalize({ mode: 'zscore', fields: ['image'] })])).rejects.toThrow(/op 2 \(normalize\)/)
    const label: Tensor = { dtype: 'uint8', shape: [1, 1, 2], data: Uint8Array.of(1, 2) }
    await expect(run([{ image, label, affine }], [cast({ dtype: 'float32', fields: ['image'], nonFinite: 'zero' }), cropForeground({ source: 'image', fields: ['image', 'label'] })])).rejects.toThrow(/op 1 \(cropForeground\): field label has 2 voxels/)
  })

  test('twice, and where the source has such a box already', async () => {
    const image: Tensor = { dtype: 'int16', shape: [1, 1, 6], data: Int16Array.of(0, 1, 9, 9, 1, 0) }
    const box = (start: number, stop: number): Tensor => ({ dtype: 'int32', shape: [2, 3], data: Int32Array.of(0, 0, start, 1, 1, stop) })
    for (const found of [box(1, 5), box(2, 3)]) {
      const [once] = await run([{ image, foreground_box: found }], [cropForeground({ fields: ['image'] })])
      expect([[...once!.image!.data as Int16Array], [...once!.foreground_box!.data as Int32Array]]).toEqual([[1, 9, 9, 1], [0, 0, 1, 1, 1, 5]])
      const [twice] = await run([{ image, foreground_box: found }], [cropForeground({ fields: ['image'] }), cropForeground({ fields: ['image'], threshold: 1 })])
      expect([[...twice!.image!.data as Int16Array], [...twice!.foreground_box!.data as Int32Array]]).toEqual([[9, 9], [0, 0, 1, 1, 1, 3]])
    }
  })

  test('what is dropped later is neither read nor cropped', async () => {
    const image: Tensor = { dtype: 'int16', shape: [1, 1, 3], data: Int16Array.of(0, 7, 0) }
    const specs = { image: { dtype: 'int16', shape: [1, 1, 3] }, mask: { dtype: 'bool', shape: [1, 1, 3] }, other: { dtype: 'int8', shape: [2] } } as const
    const read = (fields: string[]): string[] => inputFields(recipe([cropForeground({ source: 'mask', fields: ['image'] }), select({ fields })]), specs)
    expect([read(['image']), read(['foreground_box']), read(['other']), read(['mask'])]).toEqual([['image', 'mask'], ['mask'], ['other'], ['mask']])
    const mask: Tensor = { dtype: 'bool', shape: [1, 1, 3], data: Uint8Array.of(0, 1, 0) }
    for (const [fields, names] of [[['mask'], ['mask']], [['foreground_box', 'image'], ['foreground_box', 'image']]] as const) {
      const [item] = await run([{ image, mask }], [cropForeground({ source: 'mask', fields: ['image'] }), select({ fields })])
      expect(Object.keys(item!).sort()).toEqual(names)
      expect(item!.mask?.shape ?? item!.image!.shape).toEqual([1, 1, item!.mask === undefined ? 1 : 3])
    }
  })

  test('before an op that works on the whole dataset', async () => {
    const image = (at: number): Tensor => ({ dtype: 'int16', shape: [1, 1, 3], data: Int16Array.from([0, 0, 0], (_, i) => (i === at ? 7 : 0)) })
    const turned = defineOp({
      name: 'test.turned', scope: 'dataset', infer: (fields) => fields,
      arrange: async (given) => ({ ...given, id: (index) => given.id(given.length - 1 - index), read: (index, fields, signal) => given.read(given.length - 1 - index, fields, signal) }),
    })
    const made = await run([0, 2].map((at) => ({ image: image(at) })), [cropForeground({ fields: ['image'] }), turned()])
    expect(made.map(({ image: cut, foreground_box: box }) => [cut!.shape[2], box!.data[2]])).toEqual([[1, 2], [1, 0]])
  })
})
