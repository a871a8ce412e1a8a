import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { createWebgpuDevice, openCache, webgpuAdapters } from '../../src/index.js'
import { checkDeviceChoice, deviceSource, selectDevice } from '../../src/devices/select.js'
import { items } from '../../src/sources/items.js'
import { recipe } from '../../src/ops/recipe.js'
import { cast } from '../../src/ops/cast.js'
import { normalize } from '../../src/ops/normalize.js'
import { noise, range } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const adapters = await webgpuAdapters()
const rows = range(0, 20).map((i) => ({ id: `r${i}`, fields: { x: Float64Array.from(noise(50, i)) } }))
const steps = recipe([cast({ dtype: 'float32' }), normalize({ mode: 'zscore' })])

describe('choosing a device', () => {
  test('names are checked before any work', async () => {
    expect(checkDeviceChoice('build', undefined)).toBe('auto')
    expect(checkDeviceChoice('build', 'webgpu:NVIDIA H200')).toBe('webgpu:NVIDIA H200')
    for (const wrong of ['gpu', 'webgpu:', 'cpu ', 7, null]) expect(() => checkDeviceChoice('build', wrong)).toThrow(/build: device must be one of auto, cpu, webgpu/)
    const cache = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
    await expect(cache.dataset(await items(rows), steps, { device: 'gpu' as never })).rejects.toThrow(TypeError)
    await cache.close()
  })

  test('auto leaves software adapters alone', async () => {
    const device = await selectDevice('auto')
    const real = adapters.some(({ software }) => !software)
    expect(device.kind).toBe(real ? 'webgpu' : 'cpu')
    await device.close()
  })

  test('an adapter that is not there is a missing dependency, which says what to install', async () => {
    await expect(selectDevice('webgpu:no such adapter')).rejects.toMatchObject({ code: 'E_MISSING_DEPENDENCY', message: expect.stringContaining('mesa-vulkan-drivers') as string })
    await expect(createWebgpuDevice({ adapter: 'no such adapter', thread: 'main' })).rejects.toMatchObject({ code: 'E_MISSING_DEPENDENCY' })
    // A failure is not remembered: the next build asks again.
    const source = deviceSource('webgpu:no such adapter')
    await expect(source.open()).rejects.toMatchObject({ code: 'E_MISSING_DEPENDENCY' })
    await expect(source.open()).rejects.toMatchObject({ code: 'E_MISSING_DEPENDENCY' })
    await source.close()
  })

  test('options are checked', async () => {
    await expect(createWebgpuDevice({ workgroupSize: 48 })).rejects.toThrow(/workgroupSize must be a power of two/)
    await expect(createWebgpuDevice({ workgroupsize: 64 } as never)).rejects.toThrow(/should be "workgroupSize"/)
    await expect(createWebgpuDevice({ canary: 'off' as never })).rejects.toThrow(/canary/)
  })
})

describe.runIf(adapters.length > 0)('a dataset on a GPU', () => {
  const chosen = `webgpu:${adapters[0]?.name ?? ''}` as const

  test('opens no device when nothing has to be computed, and keeps what made it', async () => {
    const dir = join(tempDir(), 'cache')
    const first = await openCache({ dir, minFree: 0 })
    const made = await first.dataset(await items(rows), steps, { device: chosen })
    expect(made.provenance.device).toMatchObject({ kind: 'webgpu', name: adapters[0]!.name })
    await first.close()
    const again = await openCache({ dir, minFree: 0 })
    // A name that no adapter has would fail if it were opened.
    const hit = await again.dataset(await items(rows), steps, { device: 'webgpu:no such adapter' })
    expect(hit.report.computed).toBe(0)
    expect(hit.digest).toBe(made.digest)
    const onCpu = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
    expect((await onCpu.dataset(await items(rows), steps, { device: 'cpu' })).digest).toBe(made.digest)
    await again.close()
    await onCpu.close()
  })

  test('remembers the verdicts of the canary in the cache', async () => {
    const dir = join(tempDir(), 'cache')
    const cache = await openCache({ dir, minFree: 0 })
    await cache.dataset(await items(rows), steps, { device: chosen })
    const verdicts = cache.store.verdicts()
    // Arithmetic, cast, and what a z-score of float32 needs: sums, deviations, application.
    expect(Object.values(verdicts)).toEqual([true, true, true, true, true])
    await cache.close()
    // The next process believes them: what it finds to have failed is not used, though the bytes stay right.
    const next = await openCache({ dir, minFree: 0 })
    expect(next.store.verdicts()).toEqual(verdicts)
    await next.store.judge(Object.fromEntries(Object.keys(verdicts).map((key) => [key, false])))
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const more = [...rows, { id: 'new', fields: { x: Float64Array.from(noise(50, 99)) } }]
    const { digest } = await next.dataset(await items(more), steps, { device: chosen })
    expect(warn).toHaveBeenCalledTimes(1)
    expect(String(warn.mock.calls[0]![0])).toMatch(/computes arithmetic, .* otherwise than the reference; the CPU computes instead/)
    warn.mockRestore()
    await next.close()
    const onCpu = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
    expect((await onCpu.dataset(await items(more), steps, { device: 'cpu' })).digest).toBe(digest)
    await onCpu.close()
  })

  test('on this thread its GPUDevice can be shared', async () => {
    const device = await createWebgpuDevice({ adapter: adapters[0]!.name, thread: 'main', idleMs: 0 })
    const { device: shared, release } = await device.lease()
    const gpu = shared as GPUDevice
    // It outlives the idle time, and is the one that programs run on.
    await new Promise((resolve) => { setTimeout(resolve, 50) })
    const buffer = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    gpu.queue.writeBuffer(buffer, 0, Uint32Array.of(1, 2, 3, 4))
    await buffer.mapAsync(GPUMapMode.READ)
    expect([...new Uint32Array(buffer.getMappedRange())]).toEqual([1, 2, 3, 4])
    buffer.unmap()
    release()
    await device.close()
    const remote = await createWebgpuDevice({ adapter: adapters[0]!.name })
    await expect(remote.lease()).rejects.toThrow(/lives in a worker/)
    await remote.close()
  })

  test('without the canary its results are keyed by the device', async () => {
    const cache = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
    const trusted = await cache.dataset(await items(rows), steps, { device: chosen })
    const device = await createWebgpuDevice({ adapter: adapters[0]!.name, canary: 'skip' })
    expect(device.exact).toBe(false)
    const untrusted = await cache.dataset(await items(rows), steps, { device })
    expect(untrusted.key).not.toBe(trusted.key)
    expect(untrusted.report.computed).toBe(rows.length)
    await device.close()
    await cache.close()
  })
})
