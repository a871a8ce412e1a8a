// How fast are values by key? Small ones from memory and from the index, put in bulk, large ones mapped; beside lmdb as it is and a folder of files.
import { mkdirSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import { openCache, type Cache } from 'tensorcache'
import { inTurns, named, seconds } from './lib/measure.js'
import { atLeast, atMost, check, type Context, type Finding, type Question } from './lib/question.js'

const NUMBERS = 1000

async function run(context: Context): Promise<Finding[]> {
  return [...await small(context), ...await large(context)]
}

const batch = (n: number): { input_ids: Int32Array } => ({ input_ids: new Int32Array(NUMBERS).fill(n) })
const key = (n: number): string => `batch_${n}`

/** The value of `n`, whole. */
function isRight(value: unknown, n: number): boolean {
  const { input_ids: ids } = value as { input_ids: Int32Array }
  return ids.length === NUMBERS && ids[0] === n && ids[NUMBERS - 1] === n
}

/** Of many, so many at a time. */
const WINDOW = 2000

async function underWay(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: Math.min(WINDOW, count) }, async () => { while (next < count) await work(next++) }))
}

async function small({ dir, pick }: Context): Promise<Finding[]> {
  const count = pick({ tiny: 200, quick: 20_000, full: 50_000 })
  const folder = join(dir, 'files')
  mkdirSync(folder)
  const raw = openLmdb({ path: join(dir, 'lmdb'), encoding: 'binary', overlappingSync: false })
  const bytes = (n: number): Buffer => Buffer.from(batch(n).input_ids.buffer)
  let round = 0
  const put = await inTurns(pick({ tiny: 1, quick: 3, full: 7 }), {
    ours: async () => {
      const cache = await openCache({ dir: join(dir, `put-${round++}`), minFree: 0 })
      const took = await seconds(() => underWay(count, (n) => cache.put(key(n), batch(n))))
      check(isRight((await cache.get(key(count - 1)))?.value, count - 1), 'the last value')
      await cache.close()
      return count / took
    },
    'lmdb, the bytes alone': async () => {
      await raw.clearAsync()
      const took = await seconds(() => underWay(count, (n) => raw.put(key(n), bytes(n))))
      return count / took
    },
  })
  for (let k = 0; k < round; k++) if (k < round - 1) rmSync(join(dir, `put-${k}`), { recursive: true })
  await Promise.all(Array.from({ length: Math.min(count, 2000) }, (_, n) => writeFile(join(folder, key(n)), bytes(n))))

  const disk = await openCache({ dir: join(dir, `put-${round - 1}`), minFree: 0, memory: 0 })
  const memory = await openCache({ dir: join(dir, `put-${round - 1}`), minFree: 0, memory: { bytes: '1GiB', items: count } })
  for (let n = 0; n < count; n++) check(isRight((await memory.get(key(n)))?.value, n), `value ${n}`)
  const times = pick({ tiny: 100, quick: 100_000, full: 300_000 })
  const place = (n: number): number => (n * 7919) % count
  const each = (cache: Cache) => async (): Promise<number> => {
    let right = 0
    const took = await seconds(async () => { for (let n = 0; n < times; n++) if ((await cache.get(key(place(n))))!.value !== undefined) right++ })
    check(right === times, 'every value')
    return times / took
  }
  const get = await inTurns(pick({ tiny: 1, quick: 5, full: 11 }), {
    memory: each(memory), disk: each(disk),
    compute: async () => {
      const took = await seconds(async () => { for (let n = 0; n < times; n++) await memory.getOrCompute(key(place(n)), () => 0) })
      return took / times * 1e6
    },
    'lmdb, the bytes alone': async () => times / await seconds(() => { for (let n = 0; n < times; n++) raw.getBinary(key(place(n))) }),
    'a file each': async () => {
      const files = Math.min(count, 2000)
      return files / await seconds(async () => { for (let n = 0; n < files; n++) await readFile(join(folder, key(n))) })
    },
  })
  await disk.close()
  await memory.close()
  await raw.close()
  const peers = named(get, 'lmdb, the bytes alone', 'a file each')
  return [
    { what: 'get of 4 KB from memory', unit: '1/s', ours: get.memory!, peers, limits: [], target: atLeast(1_000_000, get.memory!, '/s') },
    { what: 'get of 4 KB from disk, checked and copied', unit: '1/s', ours: get.disk!, peers, limits: [], target: atLeast(600_000, get.disk!, '/s') },
    { what: 'getOrCompute that hits in memory', unit: 'µs', ours: get.compute!, peers: [], limits: [], target: atMost(3, get.compute!, 'µs') },
    { what: 'put of 4 KB in bulk, 2,000 under way, durable', unit: '1/s', ours: put.ours!, peers: named(put, 'lmdb, the bytes alone'), limits: [], target: atLeast(100_000, put.ours!, '/s') },
  ]
}

async function large({ dir, pick }: Context): Promise<Finding[]> {
  const cache = await openCache({ dir: join(dir, 'large'), minFree: 0, memory: 0 })
  const numbers = pick({ tiny: 20_000, quick: 1_000_000, full: 1_000_000 })
  for (let n = 0; n < 8; n++) await cache.put(key(n), new Float32Array(numbers).fill(n))
  const times = pick({ tiny: 100, quick: 20_000, full: 50_000 })
  for (let n = 0; n < 8; n++) check(((await cache.get(key(n)))!.value as Float32Array)[numbers - 1] === n, `value ${n}`)
  const { ours } = await inTurns(pick({ tiny: 1, quick: 5, full: 11 }), {
    ours: async () => times / await seconds(async () => { for (let n = 0; n < times; n++) await cache.get(key(n % 8)) }),
  })
  await cache.close()
  return [{ what: 'get of 4 MB, mapped, verified before', unit: '1/s', ours, peers: [], limits: [], target: atLeast(50_000, ours, '/s') }]
}

export const values: Question = { name: 'values', about: 'values by key', run }
