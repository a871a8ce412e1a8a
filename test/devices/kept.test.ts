import { afterEach, describe, expect, test, vi } from 'vitest'
import type { TypedArray } from '../../src/core/dtype.js'
import { bytesOf, type Tensor } from '../../src/core/tensor.js'
import { Programs } from '../../src/dataset/programs.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import type { Device, KeptArray, PreparedProgram } from '../../src/devices/device.js'
import { Webgpu } from '../../src/devices/webgpu.js'
import { findAdapters } from '../../src/devices/webgpu/dawn.js'
import { LocalBackend } from '../../src/devices/webgpu/local.js'
import { RemoteBackend } from '../../src/devices/webgpu/remote.js'
import { cast, normalize, pad, recipe, resample } from '../../src/index.js'
import { segments } from '../../src/ops/compile.js'
import type { Program } from '../../src/ops/program.js'
import { castTo, chain, linearTable, normalized, resampled } from '../determinism/programs.js'
import { interpret } from '../reference/interpret.js'
import { noise } from '../support/data.js'
import { ENGINE } from '../support/gpu.js'

const names = (await findAdapters()).map(({ facts }) => facts.name)
// SwiftShader compiles slowly, and has nothing of its own here.
const quick = names.filter((name) => !name.startsWith('SwiftShader')).slice(0, 1)

const SHAPE = [96, 100]
const MADE = [50, 100]
const first: Program = chain({ dtype: 'int16', shape: SHAPE }, castTo('float32', SHAPE), resampled(SHAPE, [linearTable(0, 96, 50)]))
const second: Program = chain({ dtype: 'float32', shape: MADE }, normalized(MADE, {}))
const input = Int16Array.from(noise(9600, 5), (value) => value * 3000)
const half = interpret(first, 1, [input]).outputs[0]!
const whole = bytesOf(interpret(second, 1, [half]).outputs[0]!)

interface Opened {
  readonly device: Webgpu
  readonly a: PreparedProgram
  readonly b: PreparedProgram
}

const opened: Device[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const device of opened.splice(0)) await device.close()
})

async function prepare(backend: LocalBackend | RemoteBackend): Promise<Opened> {
  const device = new Webgpu(backend, true, undefined)
  opened.push(device)
  return { device, a: await device.prepare(first), b: await device.prepare(second) }
}

async function open(adapter: string, options: object = {}): Promise<Opened & { backend: LocalBackend }> {
  const backend = await LocalBackend.open({ ...ENGINE, adapter, canary: false, known: {}, ...options })
  return { backend, ...await prepare(backend) }
}

async function firstHalf({ device, a }: Opened): Promise<KeptArray> {
  const kept = device.keep()
  expect(await a.runKept!({ inputs: [input], outputs: [kept] })).toEqual([])
  return kept
}

async function expectSecondHalf({ b }: Opened, kept: KeptArray): Promise<void> {
  const out = new Float32Array(5000)
  expect(await b.runKept!({ inputs: [kept], outputs: [out] })).toEqual([])
  expect(Buffer.compare(bytesOf(out), whole)).toBe(0)
}

const bytesLike = (array: TypedArray): Float32Array => new Float32Array(array.length)

describe.skipIf(quick.length === 0).each(quick)('arrays that stay on %s', (adapter) => {
  test.each(['main', 'worker'] as const)('the next program takes them there, %s', async (thread) => {
    const options = { ...ENGINE, adapter, canary: false, known: {} }
    const all = await prepare(thread === 'main' ? await LocalBackend.open(options) : await RemoteBackend.open(options))
    const kept = await firstHalf(all)
    await expectSecondHalf(all, kept)
    // It is still there, for another program or for whoever wants it.
    await expectSecondHalf(all, kept)
    const out = bytesLike(half)
    await kept.read(out)
    expect(Buffer.compare(bytesOf(out), bytesOf(half))).toBe(0)
    kept.release()
  })

  test('nothing of them crosses to the host, and nothing stays when they are released', async () => {
    const all = await open(adapter)
    const { device: { queue } } = (await all.backend.engine.session)!
    const up: number[] = []
    const write = queue.writeBuffer.bind(queue) as (...given: unknown[]) => void
    vi.spyOn(queue, 'writeBuffer').mockImplementation(((...given: unknown[]) => {
      up.push(given[4] as number ?? (given[2] as Uint8Array).byteLength)
      write(...given)
    }) as never)
    const copies = vi.spyOn(GPUCommandEncoder.prototype, 'copyBufferToBuffer')
    const kept = await firstHalf(all)
    // What was copied into staging buffers: the table of faults alone.
    const down = (): number => copies.mock.calls.reduce((sum, call) => sum + Number((call as unknown[])[4]), 0)
    expect(down()).toBeLessThan(1000)
    expect(up.some((bytes) => bytes === input.byteLength)).toBe(true)
    expect(all.backend.engine.keptBytes).toBe(half.byteLength)
    up.length = 0
    await expectSecondHalf(all, kept)
    expect(Math.max(...up)).toBeLessThan(half.byteLength / 2)
    kept.release()
    kept.release()
    expect(all.backend.engine.keptBytes).toBe(0)
  })

  test.each(['taken', 'read'] as const)('a device that is lost before they are %s: the CPU computes them again, with one warning', async (how) => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const all = await open(adapter)
    const kept = await firstHalf(all)
    ;(await all.backend.engine.session)!.device.destroy()
    if (how === 'read') {
      const out = bytesLike(half)
      await kept.read(out)
      expect(Buffer.compare(bytesOf(out), bytesOf(half))).toBe(0)
    } else {
      await expectSecondHalf(all, kept)
      expect(warn).toHaveBeenCalledTimes(1)
    }
    // And again, wherever it is now.
    await expectSecondHalf(all, kept)
    kept.release()
    const next = await firstHalf(all)
    await expectSecondHalf(all, next)
    next.release()
    expect(all.backend.engine.keptBytes).toBe(0)
  })

  test('an input stays, too, and is made again from what was given; what is kept already is not kept again', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const all = await open(adapter)
    const both = await all.device.prepare({ ...second, outputs: [...second.outputs, { field: 'x', value: second.inputs[0]!.value }] })
    const stays = all.device.keep()
    const out = new Float32Array(5000)
    expect(await both.runKept!({ inputs: [half], outputs: [out, stays] })).toEqual([])
    expect(Buffer.compare(bytesOf(out), whole)).toBe(0)
    await expectSecondHalf(all, stays)
    await expect(all.backend.run(2, 1, [(stays as unknown as { place: { kept: number } }).place], [out, { kept: 97 }])).rejects.toThrow(/kept once/)
    ;(await all.backend.engine.session)!.device.destroy()
    await expectSecondHalf(all, stays)
    stays.release()
    expect(all.backend.engine.keptBytes).toBe(0)
  })

  test('lost twice over: what was made from what is gone is made from the beginning', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const all = await open(adapter)
    const kept = await firstHalf(all)
    const result = all.device.keep()
    expect(await all.b.runKept!({ inputs: [kept], outputs: [result] })).toEqual([])
    kept.release()
    ;(await all.backend.engine.session)!.device.destroy()
    const out = new Float32Array(5000)
    await result.read(out)
    expect(Buffer.compare(bytesOf(out), whole)).toBe(0)
    result.release()
  })

  test.each([['first', 0], ['second', 1], ['either', 2]])('a device that cannot do the %s program', async (_, which) => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const backend = await LocalBackend.open({ ...ENGINE, adapter, canary: false, known: {} })
    const does = backend.prepare.bind(backend)
    let asked = 0
    vi.spyOn(backend, 'prepare').mockImplementation(async (id, program) => (which === 2 || asked++ === which ? { failed: ['a kernel'], learned: {} } : does(id, program)))
    const all = await prepare(backend)
    const kept = await firstHalf(all)
    await expectSecondHalf(all, kept)
    kept.release()
    expect(backend.engine.keptBytes).toBe(0)
  })

  test('faults are told, many at once with little room, and the device rests when all are released', async () => {
    const all = await open(adapter, { poolBytes: 30_000, idleMs: 1 })
    const bad = new Float32Array(5000)
    bad[4321] = NaN
    const made = all.device.keep()
    const { faults } = interpret(second, 1, [bad])
    expect(faults).toHaveLength(1)
    expect(await all.b.runKept!({ inputs: [bad], outputs: [made] })).toEqual(faults)
    made.release()
    await Promise.all(Array.from({ length: 12 }, async () => {
      const kept = await firstHalf(all)
      await expectSecondHalf(all, kept)
      kept.release()
    }))
    expect(all.backend.engine.keptBytes).toBe(0)
    await vi.waitFor(() => expect(all.backend.engine.session).toBeUndefined())
  })

  test('of several items nothing is kept', async () => {
    const all = await open(adapter)
    await expect(all.backend.run(0, 2, [new Int16Array(19_200)], [{ kept: 99 }])).rejects.toThrow(/single items, not of 2/)
    await expect(all.backend.run(1, 1, [{ kept: 98 }], [new Float32Array(5000)])).rejects.toMatchObject({ reason: 'lost' })
  })

  test('programs in a row give the bytes of the CPU, whether items are small or stay on the device', async () => {
    const device = (await open(adapter)).device
    const cpu = createCpuDevice()
    opened.push(cpu)
    const parts = [recipe([cast({ dtype: 'float32' }), resample({ shape: [300, 301] })]), recipe([normalize({ mode: 'zscore' })]), recipe([pad({ shape: [304, 304] })])].flatMap((part) => segments(part)) as never
    for (const extent of [20, 800]) {
      const image: Tensor = { dtype: 'int16', shape: [3, extent, extent], data: Int16Array.from(noise(3 * extent * extent, 3), (value) => value * 999) }
      const label: Tensor = { dtype: 'int32', shape: [3], data: Int32Array.of(4, 5, 6) }
      const results = await Promise.all([device, cpu].map(async (on) => new Programs({ exact: true, open: async () => on }).run(parts, { count: 3, fields: { image, label } }, new Set(), ['a', 'b', 'c'])))
      const flat = results.map((done) => Buffer.concat(done.map(({ piece }) => Buffer.from(bytesOf((piece.fields.image as Tensor).data)))))
      expect(flat[0]!.length).toBe(3 * 304 * 304 * 4)
      expect(Buffer.compare(flat[0]!, flat[1]!)).toBe(0)
      expect(results[0]!.map(({ piece }) => piece.count)).toEqual(extent === 20 ? [3] : [1, 1, 1])
    }
  })
})
