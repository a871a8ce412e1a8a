import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { cast, defineOp, items, normalize, openCache, recipe, type Device, type FieldSpecs, type Tensor } from '../../src/index.js'
import { createWebgpuDevice } from '../../src/devices/webgpu.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import { engines } from '../support/gpu.js'
import { noise, range } from '../support/data.js'
import { tempDir } from '../support/temp.js'

/** y = x · scale + y, and the new x is x rounded down to a multiple of 2^-3 by its bits: two inputs, two outputs, one in place. */
const WGSL = `
// import: exact
override WORKGROUP_SIZE: u32 = 256;

struct Params {
  items: u32,
  x_elements: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> y: array<u32>;
@group(0) @binding(2) var<storage, read_write> sum: array<u32>;
@group(0) @binding(3) var<storage, read_write> x_out: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (i >= params.items * params.x_elements) {
    return;
  }
  sum[i] = bitcast<u32>(guard(guard(load_flushed(x[i]) * params.scale) + load_flushed(y[i])));
  x_out[i] = x[i] & 0xfff00000u;
}
`

const flush = (value: number): number => Math.abs(Math.fround(value)) <= 2 ** -126 ? 0 : Math.fround(value)
const cpu = ({ x, y }: Readonly<Record<string, Tensor>>, { scale }: { scale: number }): Record<string, Tensor> => {
  const [a, b] = [x!.data as Float32Array, y!.data as Float32Array]
  const bits = new Uint32Array(a.slice().buffer).map((word) => word & 0xfff00000)
  return {
    sum: { dtype: 'float32', shape: x!.shape, data: Float32Array.from(a, (value, i) => flush(flush(flush(value) * scale) + flush(b[i]!))) },
    x: { dtype: 'float32', shape: x!.shape, data: new Float32Array(bits.buffer) },
  }
}
const infer = ({ x, y, ...rest }: FieldSpecs): FieldSpecs => ({ ...rest, x: x!, y: y!, sum: x! })
const addScaled = defineOp({ name: 'lab.add_scaled', params: ({ scale = 0.5 }) => ({ scale: Math.fround(scale as number) }), infer, exact: true, run: { wgsl: WGSL, cpu: cpu as never } })

const rows = range(0, 37).map((i) => ({ id: `r${i}`, fields: { x: Float32Array.from(noise(33, i)), y: Float64Array.from(noise(33, i + 100)), label: Int32Array.of(i) } }))
const steps = recipe([cast({ dtype: 'float32', fields: ['x', 'y'] }), addScaled({ scale: 0.3 }), normalize({ mode: 'zscore', fields: ['sum'] })])

const opened: Device[] = []
afterAll(async () => { for (const device of opened) await device.close() })

async function digest(device: Device): Promise<string> {
  const cache = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
  const dataset = await cache.dataset(await items(rows), steps, { device })
  expect(Object.keys(dataset.fields).sort()).toEqual(['label', 'sum', 'x', 'y'])
  await cache.close()
  return dataset.digest
}

describe('an op in WGSL', () => {
  test('gives the same dataset on the CPU and on every adapter', async () => {
    const expected = await digest(createCpuDevice())
    for (const { facts } of await engines()) {
      const device = await createWebgpuDevice({ adapter: facts.name, frameBytes: 4096, idleMs: 50 })
      opened.push(device)
      expect(await digest(device), facts.name).toBe(expected)
    }
  })

  test('without a cpu function only a GPU runs it, and the device is in its key', async () => {
    const alone = defineOp({ name: 'lab.alone', infer, params: () => ({ scale: 2 }), run: { wgsl: WGSL } })
    const recipeOf = recipe([cast({ dtype: 'float32', fields: ['x', 'y'] }), alone()])
    const cache = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
    await expect(cache.dataset(await items(rows), recipeOf, { device: 'cpu' })).rejects.toMatchObject({ code: 'E_RECIPE', message: expect.stringContaining('give its run a cpu function') as string })
    const keys: string[] = []
    for (const { facts } of await engines()) {
      const dataset = await cache.dataset(await items(rows), recipeOf, { device: `webgpu:${facts.name}` })
      keys.push(dataset.key)
      expect(dataset.provenance.device).toMatchObject({ kind: 'webgpu', name: facts.name })
    }
    expect(new Set(keys).size).toBe(keys.length)
    await cache.close()
  })
})

describe('what is wrong with a shader is said when the op is made, or the recipe checked', () => {
  const make = (text: string, more: object = {}): unknown => defineOp({ name: 'lab.op', infer, params: () => ({ scale: 1 }), run: { wgsl: text, ...more } })
  test.each<[string, string, RegExp]>([
    ['a gap in the bindings', WGSL.replace('binding(2)', 'binding(7)'), /must be numbered from 0 without gaps; x_out has 3, expected 2/],
    ['no workgroup size', WGSL.replaceAll('WORKGROUP_SIZE', 'SIZE'), /must have "override WORKGROUP_SIZE/],
    ['no main', WGSL.replace('fn main', 'fn other'), /entry point called main/],
    ['another uniform', WGSL.replace('var<uniform> params', 'var<uniform> numbers'), /must be called params/],
    ['a type that cannot be filled', WGSL.replace('scale: f32', 'scale: mat2x2f'), /Params\.scale is mat2x2f/],
    ['nothing written', WGSL.replaceAll('read_write', 'read'), /writes nothing/],
  ])('%s', (_what, text, message) => {
    expect(() => make(text)).toThrow(message)
  })

  test('exactness without a cpu function is an empty promise', () => {
    expect(() => defineOp({ name: 'lab.op', infer, exact: true, run: { wgsl: WGSL } })).toThrow(/needs a cpu function/)
  })

  test('unknown fields and values', async () => {
    const cache = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
    const build = async (op: ReturnType<typeof defineOp>): Promise<unknown> => cache.dataset(await items(rows), recipe([cast({ dtype: 'float32', fields: ['x', 'y'] }), op()]), { device: 'cpu' })
    await expect(build(defineOp({ name: 'lab.op', infer, run: { wgsl: WGSL.replace('read> y', 'read> z'), cpu: cpu as never } }))).rejects.toThrow(/the WGSL reads z, but there is no such field; there are x, y, label/)
    await expect(build(defineOp({ name: 'lab.op', infer: (fields) => fields, run: { wgsl: WGSL, cpu: cpu as never } }))).rejects.toThrow(/the WGSL writes sum, but infer promises no such field/)
    await expect(build(defineOp({ name: 'lab.op', infer: (fields) => ({ ...infer(fields), other: fields.x! }), run: { wgsl: WGSL, cpu: cpu as never } }))).rejects.toThrow(/promises a new field other, which the WGSL does not write/)
    await expect(build(defineOp({ name: 'lab.op', infer, run: { wgsl: WGSL, cpu: cpu as never } }))).rejects.toThrow(/no value for Params\.scale; there are items/)
    await expect(build(defineOp({ name: 'lab.op', infer, params: () => ({ scale: 1 }), run: { wgsl: WGSL, cpu: () => ({}) } }))).rejects.toThrow(/run\.cpu must make sum float32/)
    await cache.close()
  })
})
