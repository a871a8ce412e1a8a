import { setTimeout } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { DTYPES } from '../../src/core/dtype.js'
import { elementCount } from '../../src/core/tensor.js'
import { ARITHMETIC, Canary, MINIATURES, digestOf } from '../../src/devices/webgpu/canary.js'
import { GOLDEN } from '../../src/devices/webgpu/golden.js'
import { dawnVersion } from '../../src/devices/webgpu/local.js'
import { engines, withEngine } from '../support/gpu.js'

const REQUIRED = process.env.TENSORCACHE_REQUIRE_WEBGPU === '1'
const found = await engines()

// The other files of this folder compare on every adapter that there is; this one says when there is none.
describe('WebGPU', () => {
  test.skipIf(found.length === 0 && !REQUIRED)('has an adapter; without one: apt install mesa-vulkan-drivers (Mesa 24 or newer), or set VK_DRIVER_FILES', () => {
    expect(found.map(({ name }) => name)).not.toEqual([])
  })

  test.each(found.map(({ name, engine, facts }) => [name, engine, facts] as const))('%s passes the canary', async (_name, engine, facts) => {
    const kernels = ['cast', 'move', 'resample', 'affine', 'affine-nearest', 'foreground-box', 'foreground-starts', 'normalize', 'normalize-sums', 'normalize-deviations', 'normalize-integers', 'normalize-extrema', 'normalize-histogram', 'normalize-select', 'normalize-next-key', 'scan-blocks', 'scan-add', 'neighbors-count', 'neighbors-fill', 'neighbors-select']
    const { failed, learned } = await new Canary(engine, facts, dawnVersion(), {}).check([ARITHMETIC, ...kernels])
    expect(failed).toEqual([])
    expect(Object.keys(learned)).toHaveLength(kernels.length + 1)
    expect(Object.keys(MINIATURES).length).toBeGreaterThan(5)
  })

  test.each(found.map((one) => [one.name, one] as const))('%s is opened again after it was idle', async (_name, one) => {
    await withEngine(one, { idleMs: 1 }, async (engine) => {
      const { program, count, inputs } = MINIATURES.move!()
      const run = async (): Promise<string> => {
        const outputs = program.outputs.map(({ value }) => new Uint8Array(count * elementCount(program.values[value]!.shape)! * DTYPES[program.values[value]!.dtype].size))
        await engine.run(program, { count, inputs, outputs })
        return digestOf(outputs)
      }
      expect(await run()).toBe(GOLDEN.move)
      while (engine.session !== undefined) await setTimeout(5)
      expect(await run()).toBe(GOLDEN.move)
    })
  })
})
