// How fast does float64 become float32, from a mapped file whose pages are in memory? NumPy converts from memory to memory (copyto), or into a new
// array (astype).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cast as castOp, openArrays, recipe } from 'tensorcache'
import { copySpeed } from './lib/facts.js'
import { fillNoise, writeNpy } from './lib/files.js'
import { compile, createCpuDevice, segments } from './lib/internals.js'
import { inTurns, named, scaled, seconds } from './lib/measure.js'
import { check, timesPeer, type Context, type Finding, type Question } from './lib/question.js'

const ROW = 65_536

async function run({ dir, pick, peer }: Context): Promise<Finding[]> {
  const rows = pick({ tiny: 3, quick: 256, full: 2048 })
  const repetitions = pick({ tiny: 1, quick: 7, full: 15 })
  const path = join(dir, 'cast.npy')
  writeNpy(path, 'float64', [rows, ROW], fillNoise)
  const bytes = rows * ROW * 8
  const numpy = await peer('cast')
  await numpy?.call('load', { path })

  using arrays = await openArrays(path)
  const array = arrays.data!
  const source = (await array.read()).data as Float64Array
  const lazy = array.cast('float32')
  const out = new Float32Array(rows * ROW)
  const [segment] = segments(recipe([castOp({ dtype: 'float32', nonFinite: 'keep' })]))
  if (segment?.kind !== 'device') throw new Error('a cast is a device op')
  const { program } = compile(segment, { x: { dtype: 'float64', shape: [ROW] } }, new Set())
  const devices = [1, 2].map((threads) => createCpuDevice({ threads }))
  const [one, two] = await Promise.all(devices.map((device) => device.prepare(program)))

  // Right first: every element against Math.fround, ours and NumPy's.
  for (const prepared of [one!, two!]) {
    out.fill(NaN)
    await prepared.run({ count: rows, inputs: [source], outputs: [out] })
    check(allRounded(source, out), 'float64 to float32 on the device')
  }
  check(allRounded(source, (await lazy.read()).data as Float32Array), 'float64 to float32 of a lazy array')
  if (numpy !== undefined) {
    await numpy.call('copyto')
    const file = join(dir, 'numpy.f32')
    await numpy.call('save', { path: file })
    check(Buffer.compare(readFileSync(file), Buffer.from(out.buffer)) === 0, 'NumPy has other bytes')
  }

  const speed = (work: () => Promise<unknown>) => async (): Promise<number> => bytes / 1e9 / await seconds(work)
  const asked = (call: string) => numpy && (async (): Promise<number> => bytes / 1e9 / await numpy.call(call))
  const results = await inTurns(repetitions, {
    one: speed(() => one!.run({ count: rows, inputs: [source], outputs: [out] })),
    'NumPy copyto': asked('copyto'),
    two: speed(() => two!.run({ count: rows, inputs: [source], outputs: [out] })),
    lazy: speed(() => lazy.read()),
    'NumPy astype': asked('astype'),
  })
  numpy?.stop()
  for (const device of devices) await device.close()
  // A copy writes as much as it reads, a cast half of it.
  const copy = { name: 'memcpy of as many bytes read and written, one thread', ...scaled(await copySpeed(pick({ tiny: 2 ** 20, quick: 2 ** 27, full: 2 ** 29 })), 16 / 12) }
  const peers = named(results, 'NumPy copyto')
  const there = peers.map((copyto) => ({ ...copyto, name: 'NumPy copyto, into memory that is there' }))
  return [
    { what: 'mapped hot file into memory that is there, 1 thread', unit: 'GB/s of source', ours: results.one, peers, limits: [copy], target: timesPeer(1, results.one, peers[0]) },
    { what: 'mapped hot file into memory that is there, 2 threads', unit: 'GB/s of source', ours: results.two, peers, limits: [copy], target: timesPeer(1, results.two, peers[0]) },
    {
      what: 'openArrays().data.cast().read(): a new array', unit: 'GB/s of source', ours: results.lazy, peers: [...named(results, 'NumPy astype'), ...there], limits: [copy],
      target: undefined, note: 'new memory has to be faulted in, which costs more than the cast',
    },
  ]
}

function allRounded(source: Float64Array, out: Float32Array): boolean {
  for (let i = 0; i < source.length; i++) if (out[i] !== Math.fround(source[i]!)) return false
  return true
}

export const cast: Question = { name: 'cast', about: 'float64 → float32 from a mapped file in memory', run }
