// How fast is a volume halved, alone and as part of a pipeline? Through the device interface, as a build calls it; torch does the same on one thread.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cast, normalize, recipe, resample as resampleOp, type DType, type Recipe } from 'tensorcache'
import { copySpeed } from './lib/facts.js'
import { noise, writeArray } from './lib/files.js'
import { compile, createCpuDevice, segments } from './lib/internals.js'
import { inTurns, named, scaled, seconds, type Spread } from './lib/measure.js'
import type { Peer } from './lib/peer.js'
import { check, timesPeer, type Context, type Finding, type Named, type Question } from './lib/question.js'

interface Task {
  readonly what: string
  readonly call: string
  readonly dtype: 'float32' | 'int16'
  readonly steps: (size: number) => Recipe
  readonly zscore: boolean
  readonly factor: number
}

const TASKS: readonly Task[] = [
  { what: 'linear, float32', call: 'resample', dtype: 'float32', steps: (size) => recipe([resampleOp({ shape: [size, size, size] })]), zscore: false, factor: 3 },
  {
    what: 'int16 → float32 → linear → z-score', call: 'resample_zscore', dtype: 'int16', zscore: true, factor: 5,
    steps: (size) => recipe([cast({ dtype: 'float32' }), resampleOp({ shape: [size, size, size] }), normalize({ mode: 'zscore' })]),
  },
]

async function run(context: Context): Promise<Finding[]> {
  const from = context.pick({ tiny: 16, quick: 256, full: 256 })
  const torch = await context.peer('resample')
  const findings: Finding[] = []
  for (const task of TASKS) findings.push(...await measure(task, from, torch, context))
  torch?.stop()
  return findings
}

async function measure(task: Task, from: number, torch: Peer | undefined, { dir, pick }: Context): Promise<Finding[]> {
  const to = from / 2
  const path = join(dir, `${task.dtype}.npy`)
  const volume = task.dtype === 'int16'
    ? Int16Array.from({ length: from ** 3 }, (_, i) => Math.round(noise(i) * 1000 + 500))
    : Float32Array.from({ length: from ** 3 }, (_, i) => noise(i))
  writeArray(path, task.dtype, [from, from, from], volume)
  await torch?.call('load', { path, dtype: task.dtype })
  const program = programOf(task.steps(to), task.dtype, from)
  const devices = [1, 2].map((threads) => createCpuDevice({ threads }))
  const [one, two] = await Promise.all(devices.map((device) => device.prepare(program)))
  const out = new Float32Array(to ** 3)

  const expected = reference(volume, from, task.zscore)
  for (const prepared of [one!, two!]) {
    out.fill(NaN)
    const faults = await prepared.run({ count: 1, inputs: [volume], outputs: [out] })
    check(faults.length === 0 && near(out, expected), `${task.what}: the device`)
  }
  if (torch !== undefined) {
    await torch.call(task.call, { size: to })
    const file = join(dir, `${task.call}.f32`)
    await torch.call('save', { path: file })
    const bytes = readFileSync(file)
    check(near(new Float32Array(bytes.buffer, bytes.byteOffset, to ** 3), expected), `${task.what}: torch`)
  }

  const rate = (work: () => Promise<unknown>) => async (): Promise<number> => to ** 3 / 1e6 / await seconds(work)
  const runs = pick({ tiny: 1, quick: 2, full: 8 })
  // Several volumes per sample, as a build runs them, so that one interruption does not decide a sample.
  const many = (prepared: typeof one) => async (): Promise<number> => {
    let sum = 0
    for (let i = 0; i < runs; i++) sum += await rate(() => prepared!.run({ count: 1, inputs: [volume], outputs: [out] }))()
    return sum / runs
  }
  const results = await inTurns(pick({ tiny: 1, quick: 3, full: 21 }), {
    one: many(one),
    'torch, 1 thread': torch && (async () => {
      let sum = 0
      for (let i = 0; i < runs; i++) sum += to ** 3 / 1e6 / await torch.call(task.call, { size: to })
      return sum / runs
    }),
    two: many(two),
  })
  for (const device of devices) await device.close()
  const peers = named(results, 'torch, 1 thread')
  const limit = await readingSpeed(volume.byteLength, to, pick({ tiny: 2, quick: 5, full: 9 }))
  const row = (threads: number, ours: Spread): Finding => ({
    what: `${from}³ → ${to}³ ${task.what}, ${threads} thread${threads > 1 ? 's' : ''}`, unit: 'Mvox/s of output', ours, peers, limits: [limit], target: timesPeer(task.factor, ours, peers[0]),
  })
  return [row(1, results.one), row(2, results.two)]
}

function programOf(steps: Recipe, dtype: DType, from: number): ReturnType<typeof compile>['program'] {
  const found = segments(steps)
  const [segment] = found
  if (found.length !== 1 || segment?.kind !== 'device') throw new Error('all of these are device ops')
  return compile(segment, { x: { dtype, shape: [from, from, from] } }, new Set(['x'])).program
}

/** Halving with half-pixel centres: each output voxel is the mean of eight. In float64, so near but not the same. */
function reference(volume: Int16Array | Float32Array, from: number, zscore: boolean): Float64Array {
  const to = from / 2
  const out = new Float64Array(to ** 3)
  for (let z = 0; z < to; z++) {
    for (let y = 0; y < to; y++) {
      for (let x = 0; x < to; x++) {
        let sum = 0
        for (let corner = 0; corner < 8; corner++) sum += volume[((2 * z + (corner >> 2)) * from + 2 * y + (corner >> 1 & 1)) * from + 2 * x + (corner & 1)]!
        out[(z * to + y) * to + x] = sum / 8
      }
    }
  }
  if (!zscore) return out
  const mean = out.reduce((sum, value) => sum + value, 0) / out.length
  const deviation = Math.sqrt(out.reduce((sum, value) => sum + (value - mean) ** 2, 0) / out.length) + 1e-8
  return out.map((value) => (value - mean) / deviation)
}

function near(found: Float32Array, expected: Float64Array): boolean {
  return found.length === expected.length && expected.every((value, i) => Math.abs(found[i]! - value) <= 2e-6 * Math.max(1, Math.abs(value)))
}

/** No implementation can be faster than reading the input once. */
async function readingSpeed(bytes: number, to: number, repetitions: number): Promise<Named> {
  return { name: 'memcpy of the input, one thread', ...scaled(await copySpeed(bytes, repetitions), 1e3 / bytes * to ** 3) }
}

export const resample: Question = { name: 'resample', about: 'halving a volume, alone and in a pipeline', run }
