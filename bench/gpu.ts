// What does a GPU build cost beside moving the bytes? Per adapter: a pipeline beside plain copies, kernels alone beside a copy on the device, what the guard
// costs, and what the event loop feels. On a software adapter the figures say that it works, not how fast a GPU is.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { cast, createWebgpuDevice, normalize, npy, openCache, recipe, resample, webgpuAdapters, type AdapterFacts } from 'tensorcache'
import { fillNoise, noise, writeNpy } from './lib/files.js'
import { compile, createCpuDevice, LocalBackend, segments, userKernel, webgpuKernel } from './lib/internals.js'
import { inTurns, named, seconds, spread, type Spread } from './lib/measure.js'
import { atMost, check, type Context, type Finding, type Question } from './lib/question.js'

async function run(context: Context): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const adapter of await webgpuAdapters()) {
    findings.push(...await pipeline(adapter, context), ...await kernels(adapter, context), ...await loop(adapter, context))
  }
  return findings
}

/** int16 → float32 → half the size → z-score, from host memory to host memory, beside uploading the input and reading back the output alone. */
async function pipeline(adapter: AdapterFacts, { pick }: Context): Promise<Finding[]> {
  const from = pick({ tiny: 16, quick: adapter.software ? 64 : 256, full: adapter.software ? 64 : 256 })
  const to = from / 2
  const items = pick({ tiny: 3, quick: adapter.software ? 4 : 8, full: adapter.software ? 8 : 32 })
  const steps = recipe([cast({ dtype: 'float32' }), resample({ shape: [to, to, to] }), normalize({ mode: 'zscore' })])
  const [segment] = segments(steps)
  if (segment?.kind !== 'device') throw new Error('all of these are device ops')
  const { program } = compile(segment, { x: { dtype: 'int16', shape: [from, from, from] } }, new Set(['x']))
  const volume = Int16Array.from({ length: items * from ** 3 }, (_, i) => Math.round(noise(i) * 1000 + 500))
  const out = new Float32Array(items * to ** 3)
  const expected = new Float32Array(items * to ** 3)

  const cpu = createCpuDevice()
  await (await cpu.prepare(program)).run({ count: items, inputs: [volume], outputs: [expected] })
  const device = await createWebgpuDevice({ adapter: adapter.name, frameBytes: Math.max(1, Math.floor(items / 4)) * from ** 3 * 8, idleMs: 60_000 })
  const prepared = await device.prepare(program)
  await prepared.run({ count: items, inputs: [volume], outputs: [out] })
  check(Buffer.compare(Buffer.from(out.buffer), Buffer.from(expected.buffer)) === 0, `${adapter.name}: the pipeline`)

  const backend = await open(adapter)
  const { input, output } = { input: volume.byteLength, output: out.byteLength }
  const results = await backend.engine.withFrame([], async ({ session: { device: gpu } }) => {
    const pieces = 4
    const up = gpu.createBuffer({ size: input / pieces, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST })
    const down = gpu.createBuffer({ size: output / pieces, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC })
    const staging = Array.from({ length: 3 }, () => gpu.createBuffer({ size: output / pieces, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST }))
    const bytes = new Uint8Array(volume.buffer)
    const into = new Uint8Array(out.buffer)
    const rate = (work: () => Promise<unknown>) => async (): Promise<number> => input / 1e9 / await seconds(work)
    return inTurns(pick({ tiny: 1, quick: adapter.software ? 3 : 9, full: 21 }), {
      ours: rate(() => prepared.run({ count: items, inputs: [volume], outputs: [out] })),
      'upload alone': rate(async () => {
        for (let k = 0; k < pieces; k++) gpu.queue.writeBuffer(up, 0, bytes, k * input / pieces, input / pieces)
        await gpu.queue.onSubmittedWorkDone()
      }),
      'read-back alone': rate(() => Promise.all(Array.from({ length: pieces }, async (_, k) => {
        // A ring of three, as a build has it.
        const buffer = staging[k % staging.length]!
        while (buffer.mapState !== 'unmapped') await setTimeout(0)
        const encoder = gpu.createCommandEncoder()
        encoder.copyBufferToBuffer(down, 0, buffer, 0, output / pieces)
        gpu.queue.submit([encoder.finish()])
        await buffer.mapAsync(GPUMapMode.READ)
        into.set(new Uint8Array(buffer.getMappedRange()), k * output / pieces)
        buffer.unmap()
      }))),
      'cpu, all cores': rate(async () => (await cpu.prepare(program)).run({ count: items, inputs: [volume], outputs: [out] })),
    })
  })
  await backend.close()
  await device.close()
  await cpu.close()
  const slower = Math.min(results['upload alone'].median, results['read-back alone'].median)
  return [{
    what: `${adapter.name}: ${items} × ${from}³ int16 → float32 → ${to}³ → z-score`, unit: 'GB/s of source', ours: results.ours, peers: [], limits: named(results, 'upload alone', 'read-back alone'), beside: named(results, 'cpu, all cores'),
    target: adapter.software ? undefined : { text: '≥ 80 % of the slower of upload and read-back', reached: results.ours.median >= 0.8 * slower },
    note: `${(100 * results.ours.median / slower).toFixed(0)} % of the slower copy`,
  }]
}

/** Kernels on data that is on the device already: bytes read and written a second, as they are and without their guard, beside a copy on the device. */
async function kernels(adapter: AdapterFacts, { pick }: Context): Promise<Finding[]> {
  const elements = pick({ tiny: 4096, quick: adapter.software ? 2 ** 18 : 2 ** 26, full: adapter.software ? 2 ** 20 : 2 ** 26 })
  const repeats = pick({ tiny: 2, quick: 10, full: 20 })
  const backend = await open(adapter)
  const cases: readonly { kernel: string; constants: Record<string, number>; params: Record<string, number>; words: number; tables?: Uint32Array; per: number }[] = [
    { kernel: 'cast', constants: { SRC: 11, DST: 9, NON_FINITE: 0 }, params: { elements, first: 0, item_elements: elements, fault_offset: 0 }, words: elements / 2, per: 1 },
    {
      kernel: 'resample', constants: { TAPS: 2, LAST: 1 }, words: elements / 2, per: 1,
      params: { elements: elements / 2, first: 0, source_start: 0, result_start: 0, length: 128, extent: 256, inner: 64, taps: 2, item_elements: elements / 2, fault_offset: 0 },
      tables: new Uint32Array([...Array.from({ length: 256 }, (_, i) => i), ...new Uint32Array(new Float32Array(256).fill(0.5).buffer)]),
    },
    {
      kernel: 'normalize', constants: { DTYPE: 11, CLIP: 0, NONZERO: 0 }, words: elements, per: 1, tables: new Uint32Array(new Float32Array([0.5, 0, 2, 0, 0, 1]).buffer),
      params: { elements, first: 0, source_start: 0, result_start: 0, members: elements, affine_start: 0, affine_rows: 1, item_elements: elements, fault_offset: 0 },
    },
    {
      kernel: 'normalize-sums', constants: {}, words: 2 * Math.ceil(elements / 4096), per: 4096,
      params: { blocks: Math.ceil(elements / 4096), first_block: 0, blocks_per_group: Math.ceil(elements / 4096), members: elements, source_start: 0, results_start: 0 },
    },
  ]
  const findings: Finding[] = []
  await backend.engine.withFrame([], async (frame) => {
    const { session } = frame
    const gpu = session.device
    const source = gpu.createBuffer({ size: elements * 4, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC })
    const values = Float32Array.from({ length: Math.min(elements, 2 ** 20) }, (_, i) => noise(i))
    for (let at = 0; at < elements; at += values.length) gpu.queue.writeBuffer(source, at * 4, values)
    const result = gpu.createBuffer({ size: elements * 4, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST })
    const faults = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE })
    const binding = (buffer: GPUBuffer): { buffer: GPUBuffer; offset: number; size: number } => ({ buffer, offset: 0, size: buffer.size })
    const copies = async (count: number): Promise<number> => seconds(async () => {
      const encoder = gpu.createCommandEncoder()
      for (let k = 0; k < count; k++) encoder.copyBufferToBuffer(source, 0, result, 0, elements * 4)
      gpu.queue.submit([encoder.finish()])
      await gpu.queue.onSubmittedWorkDone()
    })
    for (const { kernel, constants, params, words, tables, per } of cases) {
      const table = gpu.createBuffer({ size: Math.max(16, tables?.byteLength ?? 0), usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST })
      if (tables !== undefined) gpu.queue.writeBuffer(table, 0, tables as Uint32Array<ArrayBuffer>)
      const plain = userKernel(webgpuKernel(kernel).code.replace(/let bits = bitcast<u32>\(x\) \^ exact\.zero;\s*return .*;/, 'return x;').replaceAll(/^\/\/ import: .*$/gm, ''))
      const variant = (name: string): { kernel: string; constants: Record<string, number> } => ({ kernel: name, constants })
      await Promise.all([session.compile(variant(kernel)), session.compile(variant(plain.name))])
      const time = async (name: string, count: number): Promise<number> => seconds(async () => {
        const bindings = { source: binding(source), tables: binding(table), affine: binding(table), result: binding(result), results: binding(result), faults: binding(faults) }
        await frame.run((function * () {
          for (let k = 0; k < count; k++) frame.dispatch({ ...variant(name), bindings, params, workgroups: per === 1 ? Math.ceil(words / 256) : Math.ceil(elements / per) })
          yield * []
        })(), () => [{ buffer: source, bytes: 16 }], () => undefined)
      })
      // What one dispatch costs more than none: submitting and reading back falls out.
      const rate = (measure: (count: number) => Promise<number>, bytes: number) => async (): Promise<number> => {
        const few = await measure(1)
        return bytes * repeats / 1e9 / Math.max(1e-9, await measure(repeats + 1) - few)
      }
      const bytes = elements * 4 + words * 4
      const results = await inTurns(pick({ tiny: 1, quick: adapter.software ? 3 : 7, full: 15 }), {
        ours: rate((count) => time(kernel, count), bytes),
        'without guard': rate((count) => time(plain.name, count), bytes),
        'copy on the device': rate(copies, elements * 8),
      })
      const share = (limit: Spread): string => `${(100 * results.ours.median / limit.median).toFixed(0)} %`
      findings.push({
        what: `${adapter.name}: kernel ${kernel} alone, ${elements.toLocaleString('en')} float32`, unit: 'GB/s read and written', ours: results.ours, peers: [], limits: named(results, 'copy on the device'), beside: named(results, 'without guard'),
        target: undefined, note: `${share(results['copy on the device'])} of a copy on the device, ${share(results['without guard'])} of itself without guard`,
      })
      table.destroy()
    }
  })
  await backend.close()
  return findings
}

/** What the main thread feels of a build on the device, and what an idle device costs. */
async function loop(adapter: AdapterFacts, { dir, pick }: Context): Promise<Finding[]> {
  const items = pick({ tiny: 64, quick: adapter.software ? 2048 : 8192, full: 16_384 })
  const path = join(dir, 'items.npy')
  writeNpy(path, 'float32', [items, 64, 64], fillNoise)
  const cacheDir = join(dir, 'cache')
  const steps = recipe([resample({ shape: [32, 32] }), normalize({ mode: 'zscore' })])
  const delays = { build: [] as number[], idle: [] as number[], above: [] as number[] }
  const device = await createWebgpuDevice({ adapter: adapter.name })
  for (let round = 0; round < pick({ tiny: 1, quick: adapter.software ? 1 : 3, full: 7 }); round++) {
    rmSync(cacheDir, { recursive: true, force: true })
    const began = performance.now()
    const build = await delayDuring(async () => {
      await using cache = await openCache({ dir: cacheDir, minFree: 0 })
      const source = await npy(path, { fields: { x: 'data' } })
      const dataset = await cache.dataset(source, steps, { device })
      check(dataset.report.computed === items, 'the build')
      source.close()
    })
    const idle = await delayDuring(() => setTimeout(performance.now() - began))
    delays.build.push(build)
    delays.idle.push(idle)
    delays.above.push(build - idle)
  }
  const above = spread(delays.above)
  const idleCpu = spread(await Promise.all([0, 1, 2].map(async (round) => {
    await setTimeout(round * 1100 + 100)
    const before = process.cpuUsage()
    await setTimeout(1000)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e4
  })))
  await device.close()
  return [
    { what: `${adapter.name}: p99 of the main thread's event loop while ${items} items are built, above idle`, unit: 'ms', ours: above, peers: [], limits: [], beside: [{ name: 'p99 during the build', ...spread(delays.build) }, { name: 'p99 idle', ...spread(delays.idle) }], target: atMost(10, above, 'ms') },
    { what: `${adapter.name}: processor time of the whole process while the device is idle`, unit: '% of a core', ours: idleCpu, peers: [], limits: [], target: atMost(3, idleCpu, '%') },
  ]
}

async function delayDuring(work: () => Promise<unknown>): Promise<number> {
  const monitor = monitorEventLoopDelay({ resolution: 1 })
  monitor.enable()
  await work()
  monitor.disable()
  return monitor.percentile(99) / 1e6
}

function open({ name }: AdapterFacts): ReturnType<typeof LocalBackend.open> {
  return LocalBackend.open({ adapter: name, canary: false, known: {}, poolBytes: 2 ** 30, frameBytes: 2 ** 28, bindingBytes: 2 ** 31, workgroupSize: 256, idleMs: 60_000 })
}

export const gpu: Question = { name: 'gpu', about: 'building on a GPU, beside moving the bytes', run }
