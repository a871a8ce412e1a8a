// What a GPU device survives. Each function runs `count` times whatever it does and throws where bytes are wrong, something hangs or leaks.
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, vi } from 'vitest'
import { bytesOf } from '../../src/core/tensor.js'
import type { PreparedProgram } from '../../src/devices/device.js'
import { Webgpu } from '../../src/devices/webgpu.js'
import { LocalBackend } from '../../src/devices/webgpu/local.js'
import type { Program } from '../../src/ops/program.js'
import { castTo, chain, linearTable, normalized, resampled } from '../determinism/programs.js'
import { interpret } from '../reference/interpret.js'
import { noise } from '../support/data.js'
import { ENGINE } from '../support/gpu.js'
import { root } from './support.js'

const SHAPE = [24, 25]
const ITEMS = 9
/** A frame with two visits of the host. */
const program: Program = chain({ dtype: 'int16', shape: SHAPE }, castTo('float32', SHAPE), resampled(SHAPE, [linearTable(0, 24, 11), linearTable(1, 25, 30)]), normalized([11, 30], {}))
const input = Int16Array.from(noise(ITEMS * 600, 5), (value) => value * 3000)
const expected = bytesOf(interpret(program, ITEMS, [input]).outputs[0]!)

async function open(adapter: string, options: object = {}): Promise<{ backend: LocalBackend; device: Webgpu }> {
  const backend = await LocalBackend.open({ ...ENGINE, adapter, canary: false, known: {}, ...options })
  return { backend, device: new Webgpu(backend, true, undefined) }
}

async function runsRight(prepared: PreparedProgram, what: string): Promise<void> {
  const out = new Float32Array(ITEMS * 330)
  expect(await prepared.run({ count: ITEMS, inputs: [input], outputs: [out] }), what).toEqual([])
  expect(Buffer.compare(bytesOf(out), expected), what).toBe(0)
}

/** The device is destroyed at a random submit: the batch comes from the CPU, the next one from a new device, and there is one warning. */
export async function loseDevices(adapter: string, count: number): Promise<void> {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  // Several frames, so that it happens while others are under way.
  const { backend, device } = await open(adapter, { frameBytes: 3 * 600 * 12 })
  let state = 7
  let lost = 0
  try {
    const prepared = await device.prepare(program)
    for (let i = 0; lost < count && i < 5 * count; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      let left = state % 12
      const session = await backend.engine.session
      if (session !== undefined && session.lost === undefined) {
        const { queue } = session.device
        const submit = queue.submit.bind(queue)
        queue.submit = (buffers) => {
          if (left-- === 0) {
            lost++
            session.device.destroy()
          }
          return submit(buffers)
        }
      }
      await runsRight(prepared, `loss ${i}`)
    }
    expect(lost).toBe(count)
    expect(warn.mock.calls.length).toBe(1)
    expect(String(warn.mock.calls[0]![0])).toMatch(/lost|destroyed/)
    // With nobody in the way, the device itself computes again.
    const cpu = vi.spyOn(backend, 'run')
    await runsRight(prepared, 'after all losses')
    await expect(cpu.mock.results[0]!.value).resolves.toEqual([])
  } finally {
    warn.mockRestore()
    await device.close()
  }
}

/** Buffers cannot be had: less at a time is tried, then the CPU; nothing is left allocated that the pool does not know. */
export async function runOutOfMemory(adapter: string): Promise<{ asked: number }> {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const { backend, device } = await open(adapter)
  try {
    const prepared = await device.prepare(program)
    await runsRight(prepared, 'before')
    const { device: gpu, pool } = (await backend.engine.session)!
    let asked = 0
    let alive = 0
    const create = gpu.createBuffer.bind(gpu)
    const pop = gpu.popErrorScope.bind(gpu)
    for (const itemsThatFit of [4, 1, 0]) {
      pool.trim(0)
      let refused = false
      gpu.createBuffer = (descriptor) => {
        asked++
        // The largest value of an item is 2,400 bytes.
        if (descriptor.size > itemsThatFit * 3000 + 1024 && (descriptor.usage & GPUBufferUsage.STORAGE) !== 0) refused = true
        const buffer = create(descriptor)
        alive++
        const destroy = buffer.destroy.bind(buffer)
        buffer.destroy = () => { alive--; destroy() }
        return buffer
      }
      gpu.popErrorScope = async () => {
        const error = await pop()
        if (!refused) return error
        refused = false
        return new GPUOutOfMemoryError('injected')
      }
      await runsRight(prepared, `${itemsThatFit} items fit`)
    }
    gpu.createBuffer = create
    gpu.popErrorScope = pop
    expect(warn.mock.calls.length).toBe(1)
    pool.trim(0)
    expect(alive).toBeLessThanOrEqual(2)
    await runsRight(prepared, 'after')
    return { asked }
  } finally {
    warn.mockRestore()
    await device.close()
  }
}

/** Devices are opened and destroyed: memory, threads and files do not grow. */
export async function openAndDestroy(adapter: string, count: number): Promise<{ growthBytes: number }> {
  const { backend, device } = await open(adapter)
  const prepared = await device.prepare(program)
  // What was destroyed goes when its objects are collected.
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const measure = async (): Promise<{ rss: number; files: number; threads: number }> => {
    for (let k = 0; k < 3; k++) {
      gc()
      await setTimeout(50)
    }
    return { rss: process.memoryUsage.rss(), files: readdirSync('/proc/self/fd').length, threads: readdirSync('/proc/self/task').length }
  }
  let before = await measure()
  for (let i = 0; i < count; i++) {
    ;(await backend.engine.session)!.destroy()
    await runsRight(prepared, `opening ${i}`)
    // Caches of the driver fill at first.
    if (i === Math.floor(count / 4)) before = await measure()
  }
  const after = await measure()
  await device.close()
  expect(after.files).toBeLessThanOrEqual(before.files + 8)
  expect(after.threads).toBeLessThanOrEqual(before.threads + 8)
  return { growthBytes: after.rss - before.rss }
}

/** Garbage is collected every few milliseconds while programs run on both kinds of thread. */
export async function collectGarbage(adapter: string, milliseconds: number): Promise<{ runs: number }> {
  const { code, output } = await child(['--expose-gc', join(root, 'test/stress/gpu-child.mjs'), JSON.stringify({ adapter, how: 'gc', milliseconds })])
  expect(code, output).toBe(0)
  return { runs: Number(/runs (\d+)/.exec(output)?.[1]) }
}

/** The process ends while the device works: in every way its exit code is right, soon, and nothing aborts. */
export async function exitWhileMapping(adapter: string, thread: 'worker' | 'main', count: number): Promise<void> {
  for (const [how, expectedCode] of [['exit', 3], ['throw', 1], ['SIGTERM', 'SIGTERM'], ['natural', 0], ['idle', 0]] as const) {
    for (let i = 0; i < count; i++) {
      const { code, output } = await child([join(root, 'test/stress/gpu-child.mjs'), JSON.stringify({ adapter, thread, how, wait: i * 7 })])
      expect(code, `${adapter}, ${thread}, ${how}: ${output}`).toBe(expectedCode)
      expect(output).not.toContain('Promise not resolved')
    }
  }
}

async function child(args: string[]): Promise<{ code: number | string | null; output: string }> {
  const spawned = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  spawned.stdout.on('data', (data: Buffer) => { output += data.toString() })
  spawned.stderr.on('data', (data: Buffer) => { output += data.toString() })
  const ended = new Promise<number | string | null>((resolve) => spawned.once('close', (code, signal) => resolve(code ?? signal)))
  const timeout = new AbortController()
  const late = setTimeout(120_000, 'hangs', { signal: timeout.signal }).catch(() => null)
  const code = await Promise.race([ended, late])
  timeout.abort()
  if (code === 'hangs') spawned.kill('SIGKILL')
  return { code, output }
}
