import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { closeModels, onnx } from '../../../src/adapters/onnx.js'
import type { Tensor } from '../../../src/core/tensor.js'
import { cast, items, npz, recipe, select, type OpCall, type Source } from '../../../src/index.js'
import { floats, onnxModel } from '../../../bench/lib/onnx-model.js'
import { noise, smallCache } from '../../support/data.js'
import { blurred, blurredOf, dense, denseOf, single, writeModel } from '../../support/models.js'
import { npzBytes } from '../../support/npy.js'
import { tempDir } from '../../support/temp.js'

afterEach(closeModels)

/** Rows x float32 [width] with a label each. */
async function rows(count: number, width: number, seed = 1): Promise<Source> {
  const path = join(tempDir(), 'rows.npz')
  writeFileSync(path, npzBytes({ x: { dtype: 'float32', shape: [count, width], data: Float32Array.from(noise(count * width, seed)) }, label: { dtype: 'int32', shape: [count], data: Int32Array.from({ length: count }, (_, k) => k) } }))
  return npz(path)
}

async function built(source: Source, ...ops: OpCall[]): Promise<Record<string, Tensor>[]> {
  const cache = await smallCache(join(tempDir(), 'cache'))
  const dataset = await cache.dataset(source, recipe(ops))
  const all = []
  for (let i = 0; i < dataset.length; i++) all.push(await dataset.get(i) as unknown as Record<string, Tensor>)
  await cache.close()
  return all
}

function expectNear(found: ArrayLike<number>, expected: readonly number[]): void {
  expect(found.length).toBe(expected.length)
  for (const [k, value] of expected.entries()) expect(found[k]).toBeCloseTo(value, 4)
}

describe('what a model computes', () => {
  test.each([1, 31, 32, 33, 100])('%i items through a dense layer, other fields as they were', async (count) => {
    const source = await rows(count, 20)
    const found = await built(source, await onnx({ model: writeModel(tempDir(), dense(20, 5)) }))
    const x = Float32Array.from(noise(count * 20, 1))
    for (const [k, { x: given, y, label }] of found.entries()) {
      expectNear(y!.data as Float32Array, denseOf(x.subarray(k * 20, (k + 1) * 20), 5))
      expect([given!.data, label!.data[0], y!.shape, y!.dtype]).toEqual([x.subarray(k * 20, (k + 1) * 20), k, [5], 'float32'])
    }
  })

  test('a model whose first axis is fixed', async () => {
    const model = writeModel(tempDir(), dense(20, 5, 8))
    const call = await onnx({ model })
    expect(call.params.batch).toBe(8)
    const found = await built(await rows(13, 20), call, select({ fields: ['y'] }))
    expect(found.map(({ y }) => y!.shape)).toEqual(Array.from({ length: 13 }, () => [5]))
    expectNear(found[12]!.y!.data as Float32Array, denseOf(Float32Array.from(noise(13 * 20, 1)).subarray(240), 5))
    await expect(onnx({ model, batch: 4 })).rejects.toThrow(/batch is 4, and the model's first axis is fixed at 8/)
  })

  test('a model of one item, without an axis for items', async () => {
    const model = writeModel(tempDir(), single('Transpose', { x: { type: 'float32', dims: [2, 3] } }, { t: { type: 'float32', dims: [3, 2] } }))
    const source = await items([0, 10].map((from) => ({ id: String(from), fields: { x: { dtype: 'float32', shape: [2, 3], data: Float32Array.from({ length: 6 }, (_, k) => from + k) } } })))
    const found = await built(source, await onnx({ model, batch: false }))
    expect(found.map(({ t }) => [t!.shape, Array.from(t!.data as Float32Array)])).toEqual([[[3, 2], [0, 3, 1, 4, 2, 5]], [[3, 2], [10, 13, 11, 14, 12, 15]]])
  })

  test('images of several sizes, two outputs, one of them int64, under other names', async () => {
    const sizes = [[4, 5], [4, 5], [6, 3], [4, 5], [7, 5]] as const
    const source = await items(sizes.map(([h, w], k) => ({ id: `i${k}`, fields: { photo: { dtype: 'float32', shape: [1, h, w], data: Float32Array.from(noise(h * w, k)) } } })))
    const found = await built(source, await onnx({ model: writeModel(tempDir(), blurred), inputs: { image: 'photo' }, outputs: { soft: 'smooth', top: 'brightest' } }))
    for (const [k, { soft, top }] of found.entries()) {
      const [h, w] = sizes[k]!
      const expected = blurredOf(Float32Array.from(noise(h * w, k)), h, w)
      expectNear(soft!.data as Float32Array, expected)
      expect([soft!.shape, top!.dtype, top!.shape, top!.data]).toEqual([[1, h, w], 'int64', [], BigInt64Array.of(BigInt(expected.indexOf(Math.max(...expected))))])
    }
  })

  test('several inputs, of which one is shared; an output that replaces its input', async () => {
    const model = writeModel(tempDir(), single('Add', { a: { type: 'float32', dims: ['n', 4] }, b: { type: 'float32', dims: ['n', 4] } }, { sum: { type: 'float32', dims: ['n', 4] } }))
    const source = await rows(5, 4)
    const doubled = await built(source, await onnx({ model, inputs: { a: 'x', b: 'x' }, outputs: { x: 'sum' } }))
    const x = Float32Array.from(noise(20, 1))
    expect(doubled.map((item) => Object.keys(item).sort())).toEqual(Array.from({ length: 5 }, () => ['id', 'label', 'x']))
    doubled.forEach(({ x: found }, k) => expect(found!.data).toEqual(x.subarray(4 * k, 4 * k + 4).map((value) => 2 * value)))
  })

  test.each(['float16', 'float64', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'bool'] as const)('%s in and out', async (dtype) => {
    const model = writeModel(tempDir(), single('Concat', { x: { type: dtype, dims: ['n', 2] }, y: { type: dtype, dims: ['n', 2] } }, { z: { type: dtype, dims: ['n', 4] } }, { axis: 1 }))
    const source = await items([1, 2, 3].map((k) => ({ id: String(k), fields: { x: { dtype: 'int32', shape: [2], data: Int32Array.of(k, 0) }, y: { dtype: 'int32', shape: [2], data: Int32Array.of(1, k) } } })))
    const found = await built(source, cast({ dtype, fields: ['x', 'y'] }), await onnx({ model }), cast({ dtype: 'float64', fields: ['z'] }))
    expect(found.map(({ z }) => Array.from(z!.data as Float64Array))).toEqual([1, 2, 3].map((k) => [dtype === 'bool' ? 1 : k, 0, 1, dtype === 'bool' ? 1 : k]))
  })

  test('weights in a file beside the model', async () => {
    const dir = tempDir()
    const data = Float32Array.of(1, 2, 3, 4)
    writeFileSync(join(dir, 'weights.bin'), new Uint8Array(data.buffer))
    const graph = { inputs: { x: { type: 'float32', dims: ['n', 4] } }, outputs: { y: { type: 'float32', dims: ['n', 4] } }, weights: { w: { ...floats([4], (k) => k + 1), external: { location: 'weights.bin' } } }, nodes: [{ op: 'Mul', inputs: ['x', 'w'], outputs: ['y'] }] } as const
    const model = writeModel(dir, graph)
    const call = await onnx({ model })
    expect(Object.keys(call.params.external as object)).toEqual(['weights.bin'])
    const found = await built(await rows(3, 4), call)
    found.forEach(({ x, y }) => expect(y!.data).toEqual((x!.data as Float32Array).map((value, k) => value * data[k]!)))
    // Other weights are another model, though the .onnx file is the same.
    writeFileSync(join(dir, 'weights.bin'), new Uint8Array(Float32Array.of(1, 2, 3, 5).buffer))
    const other = await onnx({ model })
    expect([other.params.model, other.params.external === call.params.external]).toEqual([call.params.model, false])
    expect(JSON.stringify(other.params.external)).not.toBe(JSON.stringify(call.params.external))
    expect((await built(await rows(1, 4), other))[0]!.y!.data[3]).toBeCloseTo(5 * Number((await built(await rows(1, 4), other))[0]!.x!.data[3]), 5)
    // The one of before has changed under whoever has it open.
    await expect(built(await rows(1, 4, 2), call)).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED' })
    await closeModels()
    await expect(built(await rows(1, 4, 2), call)).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED', message: expect.stringContaining('weights.bin') as string })
  })

  test('what is not wanted of it is neither read nor computed', async () => {
    const call = await onnx({ model: writeModel(tempDir(), dense(20, 5)) })
    const found = await built(await rows(3, 20), call, select({ fields: ['label'] }))
    expect(found.map((item) => Object.keys(item).sort())).toEqual([['id', 'label'], ['id', 'label'], ['id', 'label']])
  })

  test('without a cache', async () => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    const call = await onnx({ model: writeModel(tempDir(), dense(20, 5)), batch: 8 })
    const kept = await cache.dataset(await rows(50, 20), recipe([call]))
    await using live = await cache.dataset(await rows(50, 20), recipe([call]), { cache: false })
    const collect = async (dataset: Pick<typeof live, 'batches'>): Promise<unknown[]> => {
      const all = []
      for await (const { indices, y } of dataset.batches({ size: 11, shuffle: true, seed: 3 })) all.push([Array.from(indices), Array.from((y as Tensor).data as Float32Array)])
      return all
    }
    expect(await collect(live)).toEqual(await collect(kept as unknown as typeof live))
    expect((await live.get(7)).y).toEqual((await kept.get(7)).y)
    await cache.close()
  })
})

describe('what does not fit is refused before anything is read', () => {
  const check = async (source: Source, call: OpCall): Promise<void> => {
    const cache = await smallCache(join(tempDir(), 'cache'))
    await cache.dataset(source, recipe([call])).finally(() => cache.close())
  }

  test('dtype, rank, extents, fields', async () => {
    const model = writeModel(tempDir(), dense(20, 5))
    const call = await onnx({ model })
    const bytes = npzBytes({ x: { dtype: 'float64', shape: [2, 20], data: new Float64Array(40) }, flat: { dtype: 'float32', shape: [2], data: new Float32Array(2) } })
    const path = join(tempDir(), 'wrong.npz')
    writeFileSync(path, bytes)
    await expect(check(await npz(path), call)).rejects.toThrow(/op 0 \(onnx\): expected for the model's input "x" float32 \[20\], found float64 \[20\] \(field x\); a cast before it/)
    await expect(check(await npz(path), await onnx({ model, inputs: { x: 'flat' } }))).rejects.toThrow(/expected for the model's input "x" float32 \[20\], found float32 \[\] \(field flat\)/)
    await expect(check(await rows(2, 21), call)).rejects.toMatchObject({ code: 'E_RECIPE', message: expect.stringContaining('found float32 [21]') as string })
    await expect(check(await npz(path), await onnx({ model, inputs: { x: 'xx' } }))).rejects.toThrow(/there is no field "xx"; there are x, flat/)
    await expect(check(await npz(path), await onnx({ model, batch: false, inputs: { x: 'flat' } }))).rejects.toThrow(/\[n, 20\]/)
  })

  test('names that the model does not have', async () => {
    const model = writeModel(tempDir(), dense(20, 5))
    await expect(onnx({ model, inputs: { X: 'x' } })).rejects.toThrow(/onnx: inputs: the model has no input "X", did you mean "x"\?/)
    await expect(onnx({ model, outputs: { z: 'logits' } })).rejects.toThrow(/the model has no output "logits"; it has "y"/)
    await expect(onnx({ model, outputs: {} })).rejects.toThrow(/outputs names none/)
    await expect(onnx({ model, outputs: { 'y.0': 'y' } })).rejects.toThrow(/cannot become a field "y\.0".*outputs: \{ y_0: "y" \}/)
    await expect(onnx({ modle: model } as never)).rejects.toThrow(/misspelled option "modle" should be "model"/)
    await expect(onnx({ model, batch: 0 })).rejects.toThrow(/batch must be an integer/)
    await expect(onnx({ model, providers: [] })).rejects.toThrow(/providers must be a list of names/)
    await expect(onnx({ model, graphOptimizationLevel: 'most' as never })).rejects.toThrow(/graphOptimizationLevel must be one of disabled/)
  })

  test('files that are no models', async () => {
    const dir = tempDir()
    const file = (name: string, bytes: Uint8Array | string): string => { writeFileSync(join(dir, name), bytes); return join(dir, name) }
    await expect(onnx({ model: join(dir, 'none.onnx') })).rejects.toMatchObject({ code: 'E_FILE', message: expect.stringContaining('there is no such file') as string })
    for (const [name, bytes] of [['text', 'this is no model, but a text'], ['empty', ''], ['zeros', new Uint8Array(100)], ['cut', onnxModel(dense(20, 5)).subarray(0, 300)]] as const) {
      await expect(onnx({ model: file(name, bytes) }), name).rejects.toMatchObject({ code: 'E_FORMAT', message: expect.stringContaining('expected an ONNX model') as string })
    }
    await expect(onnx({ model: file('x.ort', Buffer.concat([Buffer.alloc(4), Buffer.from('ORTM'), Buffer.alloc(20)])) })).rejects.toMatchObject({ code: 'E_UNSUPPORTED' })
    await expect(onnx({ model: file('beside', onnxModel({ ...dense(4, 1), weights: { w: { ...floats([4, 1], () => 1), external: { location: '../secret' } } } })) })).rejects.toThrow(/"\.\.\/secret": does not lie beside the model/)
    await expect(onnx({ model: file('gone', onnxModel({ ...dense(4, 1), weights: { w: { ...floats([4, 1], () => 1), external: { location: 'gone.bin' } } } })) })).rejects.toMatchObject({ code: 'E_FILE' })
    await expect(onnx({ model: 7 as never })).rejects.toThrow(/model must be the path/)
  })

  test('models that onnxruntime refuses, and kinds of values that are no fields', async () => {
    const unknown = await onnx({ model: writeModel(tempDir(), single('NoSuchOp', { x: { type: 'float32', dims: ['n', 4] } }, { y: { type: 'float32', dims: ['n', 4] } })) })
    await expect(check(await rows(2, 4), unknown)).rejects.toMatchObject({ code: 'E_UNSUPPORTED', message: expect.stringContaining('NoSuchOp') as string })
    const text = writeModel(tempDir(), single('Identity', { x: { type: 'string', dims: ['n'] } }, { y: { type: 'string', dims: ['n'] } }))
    await expect(onnx({ model: text })).rejects.toThrow(/input "x" is of string, of which there are no fields/)
    const rankless = writeModel(tempDir(), single('Identity', { x: { type: 'float32' } }, { y: { type: 'float32' } }))
    await expect(onnx({ model: rankless })).rejects.toThrow(/does not say how many axes its input "x" has/)
    const bare = writeModel(tempDir(), single('Identity', { x: { type: 'float32', dims: [] } }, { y: { type: 'float32', dims: [] } }))
    await expect(onnx({ model: bare })).rejects.toThrow(/input "x" has no axis for items; batch: false/)
    const random = writeModel(tempDir(), single('RandomNormalLike', { x: { type: 'float32', dims: ['n', 4] } }, { y: { type: 'float32', dims: ['n', 4] } }))
    await expect(onnx({ model: random })).rejects.toThrow(/draws random numbers \(RandomNormalLike\)/)
  })

  test('providers that are not there', async () => {
    const model = writeModel(tempDir(), dense(20, 5))
    await expect(onnx({ model, providers: ['cudda'] })).rejects.toMatchObject({ code: 'E_MISSING_DEPENDENCY', message: expect.stringMatching(/there is no provider "cudda"; onnxruntime-node \S+ has .*cpu/) as string })
  })

  test('a settings entry that onnxruntime does not take', async () => {
    const model = writeModel(tempDir(), dense(20, 5))
    await expect(check(await rows(2, 20), await onnx({ model, threads: 2, extra: { 'session.intra_op_thread_affinities': 'none' } }))).rejects.toMatchObject({ code: 'E_UNSUPPORTED', message: expect.stringMatching(/onnxruntime cannot run it: .*Processor id/s) as string })
    await check(await rows(2, 20), await onnx({ model, extra: { 'session.intra_op.allow_spinning': '0' } }))
  })
})

describe('a run that fails', () => {
  test('names the item whose fault it is', async () => {
    const model = writeModel(tempDir(), { inputs: { x: { type: 'int64', dims: ['n'] } }, outputs: { y: { type: 'float32', dims: ['n', 2] } }, weights: { table: floats([10, 2], (k) => k) }, nodes: [{ op: 'Gather', inputs: ['table', 'x'], outputs: ['y'] }] })
    const source = await items([3, 4, 99, 5, 77].map((k) => ({ id: `row ${k}`, fields: { x: { dtype: 'int64', shape: [], data: BigInt64Array.of(BigInt(k)) } } })))
    await expect(built(source, await onnx({ model }))).rejects.toMatchObject({ code: 'E_ITEM', item: 'row 99', message: expect.stringMatching(/op 0 \(onnx\) failed: .*out of data bounds/s) as string })
  })
})
