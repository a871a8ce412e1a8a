import { afterAll, describe, expect, test, vi } from 'vitest'
import { createWebgpuDevice, cropForeground, items, normalize, openCache, orient, recipe, resample, type Device, type Tensor } from '../../src/index.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import { Engine } from '../../src/devices/webgpu/engine.js'
import { engines } from '../support/gpu.js'
import { noise, range } from '../support/data.js'

const SHAPES = [[11, 9, 13], [8, 17, 5], [11, 9, 13], [6, 7, 8], [21, 4, 9]]
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** A bright ball somewhere in faint noise, turned and stretched; the labels say where it is. One has no ball. */
const volumes = SHAPES.map((shape, k) => {
  const faint = noise(product(shape), k)
  const [nx, ny, nz] = shape as [number, number, number]
  const inside = (i: number): boolean => {
    const at = [Math.floor(i / ny / nz), Math.floor(i / nz) % ny, i % nz]
    return k !== 3 && at.reduce((sum, position, axis) => sum + ((position - (0.3 + 0.1 * k) * shape[axis]!) / (0.2 * shape[axis]!)) ** 2, 0) <= 1
  }
  const data = Float32Array.from(faint, (value, i) => (inside(i) ? 100 + value : value))
  const affine = Float64Array.of(-1.5, 0, 0, 10, 0, 0, 2, k, 0, k % 2 === 0 ? 1 : -1.25, 0, -7, 0, 0, 0, 1)
  const fields: Record<string, Tensor> = {
    image: { dtype: 'float32', shape, data }, affine: { dtype: 'float64', shape: [4, 4], data: affine },
    mask: { dtype: 'uint8', shape: [nx, ny, nz], data: Uint8Array.from(data, (_, i) => Number(inside(i))) }, mask_affine: { dtype: 'float64', shape: [4, 4], data: affine.slice() },
  }
  return { id: `v${k}`, fields }
})
const steps = recipe([
  orient({ axcodes: 'RAS' }), resample({ spacing: 1.2, method: 'linear', fields: ['image'] }), resample({ spacing: 1.2, method: 'nearest', fields: ['mask'] }),
  cropForeground({ source: 'image', threshold: 50, margin: [1, 0, 2], fields: ['image', 'mask'] }), normalize({ mode: 'zscore', fields: ['image'] }),
])

const opened: Device[] = []
afterAll(async () => { for (const device of opened) await device.close() })

async function built(device: Device): Promise<{ digest: string; shapes: (readonly number[])[]; boxes: number[][] }> {
  const cache = await openCache({ dir: null })
  const dataset = await cache.dataset(await items(volumes), steps, { device })
  expect(dataset.provenance.device?.kind).toBe(device.kind)
  const made = await Promise.all(range(0, volumes.length).map((k) => dataset.get(k)))
  const found = { digest: dataset.digest, shapes: made.map(({ image }) => (image as Tensor).shape), boxes: made.map(({ foreground_box: box }) => [...(box as Tensor).data as Int32Array]) }
  await cache.close()
  return found
}

describe('volumes cut down to their foreground', () => {
  test('are the same dataset on the CPU and on every adapter, where the box is found, too', async () => {
    const expected = await built(createCpuDevice())
    // Every item has a box of its own but the one without foreground, which stays whole.
    expect(new Set(expected.boxes.map(String)).size).toBe(volumes.length)
    expect(expected.boxes[3]).toEqual([0, 0, 0, 0, 0, 0])
    for (const { facts } of await engines()) {
      const run = vi.spyOn(Engine.prototype, 'run')
      const device = await createWebgpuDevice({ adapter: facts.name, thread: 'main' })
      opened.push(device)
      expect(await built(device), facts.name).toEqual(expected)
      const kernels = new Set(run.mock.calls.flatMap(([program]) => program.steps.filter(({ origin }) => origin.opName === 'cropForeground').map(({ kernel }) => kernel)))
      expect([...kernels].sort()).toEqual(['foreground-box', 'gather'])
      run.mockRestore()
    }
  })
})
