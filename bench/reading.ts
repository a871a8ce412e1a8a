// How fast does a .npy file become a typed array? npyjs parses what readFile gives; we map the file. The numbers are summed, so that every page is touched; and many small files show what opening costs.
import { mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { load } from 'npyjs'
import { openArrays } from 'tensorcache'
import { noise, writeArray } from './lib/files.js'
import { inTurns, named, seconds } from './lib/measure.js'
import { check, timesPeer, type Context, type Finding, type Question } from './lib/question.js'

const SMALL = 4096

async function run({ dir, pick, peer }: Context): Promise<Finding[]> {
  const count = pick({ tiny: 10_000, quick: 2 ** 24, full: 2 ** 26 })
  const files = pick({ tiny: 10, quick: 500, full: 1000 })
  const path = join(dir, 'large.npy')
  const numbers = Float32Array.from({ length: count }, (_, i) => noise(i))
  writeArray(path, 'float32', [count], numbers)
  const folder = join(dir, 'small')
  mkdirSync(folder)
  const paths = Array.from({ length: files }, (_, k) => join(folder, `${k}.npy`))
  for (const [k, file] of paths.entries()) writeArray(file, 'float32', [SMALL], Float32Array.from({ length: SMALL }, (_, i) => noise(k * SMALL + i)))

  const mapped = async (file: string, use: (data: Float32Array) => unknown): Promise<void> => {
    using arrays = await openArrays(file)
    use((await arrays.data!.read()).data as Float32Array)
  }
  const npyjs = async (file: string, use: (data: Float32Array) => unknown): Promise<void> => { use((await load(await readFile(file))).data as Float32Array) }
  const isWhole = (data: Float32Array): void => check(data.length === count && data.every((value, i) => value === numbers[i]), 'the large file')
  for (const read of [mapped, npyjs]) {
    await read(path, isWhole)
    for (const [k, file] of paths.entries()) await read(file, (data) => check(data.length === SMALL && data.every((value, i) => value === Math.fround(noise(k * SMALL + i))), `small file ${k}`))
  }
  const numpy = await peer('reading')
  const expected = sum(numbers)
  const bytes = numbers.byteLength / 1e9
  const summed = (data: Float32Array): void => check(sum(data) === expected, 'the sum')
  const large = await inTurns(pick({ tiny: 1, quick: 5, full: 15 }), {
    ours: async () => bytes / await seconds(() => mapped(path, summed)),
    npyjs: async () => bytes / await seconds(() => npyjs(path, summed)),
    memory: async () => bytes / await seconds(() => summed(numbers)),
  })
  const all = (read: typeof mapped) => async (): Promise<number> => files / await seconds(async () => { for (const file of paths) await read(file, sum) })
  const small = await inTurns(pick({ tiny: 1, quick: 5, full: 15 }), {
    ours: all(mapped),
    npyjs: all(npyjs),
    'np.load': numpy && (async () => files / await numpy.call('load_all', { folder, count: files })),
  })
  numpy?.stop()
  const [[alone], [each]] = [named(large, 'npyjs'), named(small, 'npyjs')]
  return [
    {
      what: `all numbers of ${Math.round(numbers.byteLength / 2 ** 20)} MiB float32 .npy summed`, unit: 'GB/s', ours: large.ours, peers: named(large, 'npyjs'),
      limits: [{ name: 'summing an array in memory', ...large.memory }], target: timesPeer(1, large.ours, alone, 'npyjs'),
    },
    { what: `${files} files of ${SMALL * 4 / 1024} KiB opened and summed, one after the other`, unit: 'files/s', ours: small.ours, peers: named(small, 'npyjs', 'np.load'), limits: [], target: timesPeer(1, small.ours, each, 'npyjs') },
  ]
}

function sum(of: Float32Array): number {
  let total = 0
  for (let i = 0; i < of.length; i++) total += of[i]!
  return total
}

export const reading: Question = { name: 'reading', about: '.npy files as typed arrays', run }
