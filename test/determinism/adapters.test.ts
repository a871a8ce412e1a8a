import { describe, expect, test } from 'vitest'
import { ARITHMETIC, Canary, MINIATURES } from '../../src/devices/webgpu/canary.js'
import { dawnVersion } from '../../src/devices/webgpu/local.js'
import { engines } from '../support/gpu.js'

const REQUIRED = process.env.TENSORCACHE_REQUIRE_WEBGPU === '1'
const found = await engines()

// The other files of this folder compare on every adapter that there is; this one says when there is none.
describe('WebGPU', () => {
  test.skipIf(found.length === 0 && !REQUIRED)('has an adapter; without one: apt install mesa-vulkan-drivers (Mesa 24 or newer), or set VK_DRIVER_FILES', () => {
    expect(found.map(({ name }) => name)).not.toEqual([])
  })

  test.each(found.map(({ name, engine, facts }) => [name, engine, facts] as const))('%s passes the canary', async (_name, engine, facts) => {
    const kernels = ['cast', 'move', 'resample', 'normalize', 'normalize-sums', 'normalize-deviations', 'normalize-integers', 'normalize-extrema', 'normalize-histogram', 'normalize-select', 'normalize-next-key']
    const { failed, learned } = await new Canary(engine, facts, dawnVersion(), {}).check([ARITHMETIC, ...kernels])
    expect(failed).toEqual([])
    expect(Object.keys(learned)).toHaveLength(kernels.length + 1)
    expect(Object.keys(MINIATURES).length).toBeGreaterThan(5)
  })
})
