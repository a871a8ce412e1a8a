// What crosses between host and GPU while a volume goes through its ops: its voxels once in, the result once out, and nothing in between that grows with them.
import { afterEach, describe, expect, test, vi } from 'vitest'
import { bytesOf, type Tensor } from '../../src/core/tensor.js'
import { Programs } from '../../src/dataset/programs.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import type { Device } from '../../src/devices/device.js'
import { Webgpu } from '../../src/devices/webgpu.js'
import { findAdapters } from '../../src/devices/webgpu/dawn.js'
import { LocalBackend } from '../../src/devices/webgpu/local.js'
import { crop, cropForeground, normalize, orient, recipe, resample, type OpCall } from '../../src/index.js'
import { segments } from '../../src/ops/compile.js'
import { noise } from '../support/data.js'
import { ENGINE } from '../support/gpu.js'

const adapters = (await findAdapters()).map(({ facts }) => facts.name)
// SwiftShader compiles slowly, and has nothing of its own here.
const quick = adapters.filter((name) => !name.startsWith('SwiftShader')).slice(0, 1)

const SHAPE = [96, 80, 96]
/** Voxels of 0.9, 0.9 and 1.25 mm, whose axes run left, posterior and superior. */
const affine: Tensor = { dtype: 'float64', shape: [1, 4, 4], data: Float64Array.of(-0.9, 0, 0, 50, 0, -0.9, 0, 40, 0, 0, 1.25, -60, 0, 0, 0, 1) }
/** A body in nothing. */
const image: Tensor = {
  dtype: 'int16', shape: [1, ...SHAPE],
  data: Int16Array.from(noise(96 * 80 * 96, 3), (value, at) => {
    const [x, y, z] = [Math.floor(at / 80 / 96), Math.floor(at / 96) % 80, at % 96]
    return x > 9 && x < 80 && y > 5 && y < 70 && z > 20 && z < 90 ? 500 + value * 400 : 0
  }),
}
const label: Tensor = { dtype: 'uint8', shape: [1, ...SHAPE], data: Uint8Array.from(image.data as Int16Array, (value) => Number(value > 600)) }

const opened: Device[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const device of opened.splice(0)) await device.close()
})

interface Travelled {
  readonly fields: Readonly<Record<string, Tensor>>
  readonly up: number
  readonly down: number
}

/** Runs the ops on the GPU, with the bytes of `queue.writeBuffer` and of copies into memory that the host maps. */
async function travel(adapter: string, fields: Readonly<Record<string, Tensor>>, ...ops: OpCall[]): Promise<Travelled> {
  const backend = await LocalBackend.open({ ...ENGINE, adapter, canary: false, known: {} })
  const device = new Webgpu(backend, true, undefined)
  opened.push(device)
  const parts = segments(recipe(ops)) as never
  const programs = new Programs({ exact: true, open: async () => device })
  const run = (): ReturnType<Programs['run']> => programs.run(parts, { count: 1, fields }, new Set(), ['a'])
  // Tables of the programs stay there.
  await run()
  const { device: gpu } = (await backend.engine.session)!
  let [up, down] = [0, 0]
  const write = gpu.queue.writeBuffer.bind(gpu.queue)
  vi.spyOn(gpu.queue, 'writeBuffer').mockImplementation((buffer, at, data, from, size) => {
    up += size ?? data.byteLength
    write(buffer, at, data as ArrayBuffer, from, size)
  })
  const copy = GPUCommandEncoder.prototype.copyBufferToBuffer as (...given: unknown[]) => void
  vi.spyOn(GPUCommandEncoder.prototype, 'copyBufferToBuffer').mockImplementation(function (this: GPUCommandEncoder, ...given: unknown[]) {
    if (((given[2] as GPUBuffer).usage & GPUBufferUsage.MAP_READ) !== 0) down += Number(given[4])
    copy.apply(this, given)
  } as never)
  const [done, ...more] = await run()
  expect(more).toEqual([])
  expect(backend.engine.keptBytes).toBe(0)
  const cpu = createCpuDevice()
  opened.push(cpu)
  const [expected] = await new Programs({ exact: true, open: async () => cpu }).run(parts, { count: 1, fields }, new Set(), ['a'])
  const made = done!.piece.fields as Record<string, Tensor>
  for (const [name, tensor] of Object.entries(expected!.piece.fields as Record<string, Tensor>)) {
    expect(made[name]!.shape, name).toEqual(tensor.shape)
    expect(Buffer.compare(bytesOf(made[name]!.data), bytesOf(tensor.data)), name).toBe(0)
  }
  return { fields: made, up, down }
}

const bytes = (...tensors: readonly Tensor[]): number => tensors.reduce((sum, { data }) => sum + data.byteLength, 0)
/** Parameters of kernels, faults, boxes. */
const SMALL = 32 * 1024

const last = normalize({ mode: 'range', aMin: -175, aMax: 250, clip: true, fields: ['image'] })
const CASES: [string, OpCall[]][] = [
  ['orient, resample, cropForeground, normalize', [orient(), resample({ spacing: 1.5 }), cropForeground({ source: 'image' }), last]],
  ['more ops, and two boxes', [orient(), cropForeground({ source: 'image' }), resample({ spacing: 1.2 }), cropForeground({ source: 'image', threshold: 300 }), crop({ start: [1, 1, 1], shape: [30, 30, 30] }), last]],
  ['cropForeground comes first', [cropForeground({ source: 'image' }), resample({ spacing: 1.5 }), last]],
  ['and does nothing else', [cropForeground({ source: 'image' })]],
]

describe.skipIf(quick.length === 0).each(quick)('what crosses to %s and back', (adapter) => {
  test.each(CASES)('%s: the voxels once, the result once', async (_, ops) => {
    const { fields, up, down } = await travel(adapter, { image, affine }, ...ops)
    expect(up).toBeGreaterThanOrEqual(bytes(image))
    expect(up).toBeLessThan(bytes(image) + SMALL)
    expect(down).toBeLessThan(bytes(fields.image!) + SMALL)
    // So a whole volume more would be seen.
    expect(SMALL).toBeLessThan(bytes(fields.image!) / 2)
  })

  test('a label goes with its image', async () => {
    const { fields, up, down } = await travel(adapter, { image, affine, label, label_affine: affine }, orient(), cropForeground({ source: 'label', fields: ['image', 'label'] }), last)
    expect(up).toBeLessThan(bytes(image, label) + SMALL)
    expect(down).toBeLessThan(bytes(fields.image!, fields.label!) + SMALL)
  })

  test('one that only says where to cut does not come back: it is here', async () => {
    const { fields, up, down } = await travel(adapter, { image, affine, label, label_affine: affine }, cropForeground({ source: 'label', fields: ['image'] }), last)
    expect(fields.label!.data.buffer).toBe(label.data.buffer)
    expect(up).toBeLessThan(bytes(image, label) + SMALL)
    expect(down).toBeLessThan(bytes(fields.image!) + SMALL)
  })
})
