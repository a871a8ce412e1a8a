// How fast are values by key? Small ones from memory and from the index, put in bulk, large ones mapped; beside lmdb as it is, cacache, a folder of files, and what Python has.
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import cacache from 'cacache'
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

const MANY = 500
/** Of many, so many at a time: 32 MB that are not durable yet. */
const WINDOW = 8000
/** cacache, joblib and plain files keep one file or two for each: so many are enough. */
const FILES = 2000

async function underWay(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: Math.min(WINDOW, count) }, async () => { while (next < count) await work(next++) }))
}

/** Who syncs would pay for what others of the run left to be written: ext4 writes all of it before a commit of its journal. */
function afterSync<T extends Readonly<Record<string, (() => Promise<number>) | undefined>>>(contestants: T): T {
  return Object.fromEntries(Object.entries(contestants).map(([name, run]) => [name, run && (() => { spawnSync('sync'); return run() })])) as unknown as T
}

async function small({ dir, pick, peer }: Context): Promise<Finding[]> {
  const count = pick({ tiny: 200, quick: 10_000, full: 50_000 })
  // So many that the start of a thread does not count.
  const puts = pick({ tiny: 200, quick: 20_000, full: 200_000 })
  const folder = join(dir, 'files')
  mkdirSync(folder)
  const raw = openLmdb({ path: join(dir, 'lmdb'), encoding: 'binary', overlappingSync: false })
  const bytes = (n: number): Buffer => Buffer.from(batch(n).input_ids.buffer)
  const python = await peer('values')
  const asked = (call: string, values: number, args: Readonly<Record<string, unknown>>) => {
    const able = python?.has(call)
    return able && (async (): Promise<number> => values / await able.call(call, args))
  }
  const joblib = join(dir, 'joblib')
  mkdirSync(joblib)
  const few = Math.min(count, pick({ tiny: FILES, quick: FILES / 4, full: FILES }))
  const files = async (folder: string): Promise<number> => few / await seconds(() => underWay(few, (n) => writeFile(join(folder, key(n)), bytes(n))))
  let round = 0
  const prepared = pick({ tiny: <T>(contestants: T): T => contestants, quick: afterSync, full: afterSync })
  const put = await inTurns(pick({ tiny: 1, quick: 2, full: 7 }), prepared({
    ours: async () => {
      rmSync(join(dir, `put-${round - 1}`), { recursive: true, force: true })
      const cache = await openCache({ dir: join(dir, `put-${round++}`), minFree: 0 })
      const took = await seconds(() => underWay(puts, (n) => cache.put(key(n), batch(n))))
      check(isRight((await cache.get(key(puts - 1)))?.value, puts - 1), 'the last value')
      await cache.close()
      return puts / took
    },
    'lmdb, the bytes alone': async () => {
      await raw.clearAsync()
      const took = await seconds(() => underWay(puts, (n) => raw.put(key(n), bytes(n))))
      return puts / took
    },
    'a file each, not synced': () => files(folder),
    cacache: async () => few / await seconds(() => underWay(few, (n) => cacache.put(join(dir, 'cacache'), key(n), bytes(n)))),
    'py-lmdb, the bytes alone': asked('put_lmdb', count, { folder: join(dir, 'py-lmdb'), count }),
    'diskcache, not synced': asked('put_diskcache', count, { folder: join(dir, 'diskcache'), count }),
    'joblib, not synced': asked('put_joblib', few, { folder: joblib, count: few }),
  }))

  const disk = await openCache({ dir: join(dir, `put-${round - 1}`), minFree: 0, memory: 0 })
  for (let n = 0; n < few; n++) check((await cacache.get(join(dir, 'cacache'), key(n))).data.equals(bytes(n)), `cacache ${n}`)
  for (let n = 0; n < count; n++) check(isRight((await disk.get(key(n)))?.value, n), `value ${n}`)
  const times = pick({ tiny: 100, quick: 20_000, full: 300_000 })
  const place = (n: number): number => (n * 7919) % count
  const each = (cache: Cache) => async (): Promise<number> => {
    let right = 0
    const took = await seconds(async () => { for (let n = 0; n < times; n++) if ((await cache.get(key(place(n))))!.value !== undefined) right++ })
    check(right === times, 'every value')
    return times / took
  }
  const get = await inTurns(pick({ tiny: 1, quick: 3, full: 11 }), {
    disk: each(disk),
    many: async () => {
      const wanted = Array.from({ length: times }, (_, n) => key(place(n)))
      let right = 0
      const took = await seconds(async () => { for (let n = 0; n < times; n += MANY) right += (await disk.getMany(wanted.slice(n, n + MANY))).size })
      check(right === times, 'every value')
      return times / took
    },
    // Bytes of its own, as ours are; and in the buffer that the next look-up writes over, which is what lmdb itself takes of ours.
    'lmdb, the bytes alone': async () => times / await seconds(() => { for (let n = 0; n < times; n++) raw.getBinary(key(place(n))) }),
    lent: async () => times / await seconds(() => { for (let n = 0; n < times; n++) raw.getBinaryFast(key(place(n))) }),
    'a file each': async () => few / await seconds(async () => { for (let n = 0; n < few; n++) await readFile(join(folder, key(n))) }),
    cacache: async () => few / await seconds(async () => { for (let n = 0; n < few; n++) await cacache.get(join(dir, 'cacache'), key(n)) }),
    'py-lmdb, the bytes alone': asked('get_lmdb', times, { times, count }),
    diskcache: asked('get_diskcache', count, { times: count, count }),
    joblib: asked('get_joblib', few, { times: few, count: few }),
  })
  await disk.close()
  await raw.close()
  python?.stop()

  // Afterwards: what the collector has to go through for 50,000 values that stay is no part of reading from the disk.
  const memory = await openCache({ dir: join(dir, `put-${round - 1}`), minFree: 0, memory: { bytes: '1GiB', items: count } })
  for (let n = 0; n < count; n++) check(isRight((await memory.get(key(n)))?.value, n), `value ${n}`)
  const held = await inTurns(pick({ tiny: 1, quick: 3, full: 11 }), {
    get: each(memory),
    compute: async () => {
      const took = await seconds(async () => { for (let n = 0; n < times; n++) await memory.getOrCompute(key(place(n)), () => 0) })
      return took / times * 1e6
    },
  })
  await memory.close()
  const peers = named(get, 'lmdb, the bytes alone', 'py-lmdb, the bytes alone', 'diskcache', 'joblib', 'cacache', 'a file each')
  const limits = [{ ...get.lent!, name: 'lmdb, into a buffer that the next look-up writes over' }]
  return [
    { what: 'get of 4 KB from memory', unit: '1/s', ours: held.get, peers, limits: [], target: atLeast(1_000_000, held.get, '/s') },
    { what: 'get of 4 KB from disk, checked and copied', unit: '1/s', ours: get.disk!, peers, limits, target: atLeast(600_000, get.disk!, '/s') },
    { what: `getMany of ${MANY}, the same from disk`, unit: '1/s', ours: get.many!, peers, limits, target: undefined },
    { what: 'getOrCompute that hits in memory', unit: 'µs', ours: held.compute, peers: [], limits: [], target: atMost(3, held.compute, 'µs') },
    { what: `put of 4 KB in bulk, ${WINDOW} under way, durable`, unit: '1/s', ours: put.ours!, peers: named(put, 'lmdb, the bytes alone', 'py-lmdb, the bytes alone', 'diskcache, not synced', 'joblib, not synced', 'cacache', 'a file each, not synced'), limits: [], target: atLeast(100_000, put.ours!, '/s') },
  ]
}

async function large({ dir, pick }: Context): Promise<Finding[]> {
  const cache = await openCache({ dir: join(dir, 'large'), minFree: 0, memory: 0 })
  const numbers = pick({ tiny: 20_000, quick: 1_000_000, full: 1_000_000 })
  for (let n = 0; n < 8; n++) await cache.put(key(n), new Float32Array(numbers).fill(n))
  const times = pick({ tiny: 100, quick: 10_000, full: 50_000 })
  for (let n = 0; n < 8; n++) check(((await cache.get(key(n)))!.value as Float32Array)[numbers - 1] === n, `value ${n}`)
  const { ours } = await inTurns(pick({ tiny: 1, quick: 3, full: 11 }), {
    ours: async () => times / await seconds(async () => { for (let n = 0; n < times; n++) await cache.get(key(n % 8)) }),
  })
  await cache.close()
  return [{ what: 'get of 4 MB, mapped, verified before', unit: '1/s', ours, peers: [], limits: [], target: atLeast(50_000, ours, '/s') }]
}

export const values: Question = { name: 'values', about: 'values by key', run }
