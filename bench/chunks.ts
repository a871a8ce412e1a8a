// Rows of a chunked array on disk: zarrita reads chunks from a zarr store, and we rows from a cache. Random rows in batches, with a chunk per row, which is best for them, and with chunks of 32 rows; and the whole
// array from nothing to one typed array, plain and compressed.
import { join } from 'node:path'
import FileSystemStore from '@zarrita/storage/fs'
import { create, get, open, set, slice } from 'zarrita'
import { npy, openCache, recipe, select, type CompressionOption } from 'tensorcache'
import { noise, writeNpy } from './lib/files.js'
import { inTurns, named, seconds } from './lib/measure.js'
import { check, timesPeer, type Context, type Finding, type Question } from './lib/question.js'

const [HEIGHT, WIDTH] = [64, 64]
const ROW = HEIGHT * WIDTH
const BATCH = 32
const ZSTD = { codec: 'zstd', level: 3, shuffle: false } as const
const RANDOM = { size: BATCH, shuffle: true, seed: 7 } as const

/** Whole numbers from -20 to 20: zstd makes them about a fifth. */
const valueAt = (i: number): number => Math.round(20 * noise(i))

type Zarr = Awaited<ReturnType<typeof opened>>

async function run({ dir, pick }: Context): Promise<Finding[]> {
  const rows = pick({ tiny: 96, quick: 1024, full: 16_384 })
  const path = join(dir, 'rows.npy')
  writeNpy(path, 'float32', [rows, HEIGHT, WIDTH], (piece, first) => { for (let i = 0; i < piece.length; i++) piece[i] = valueAt(first + i) })
  const stores = { single: join(dir, 'single.zarr'), plain: join(dir, 'plain.zarr'), zstd: join(dir, 'zstd.zarr') }
  await written(stores.single, rows, 1)
  await written(stores.plain, rows, BATCH)
  await written(stores.zstd, rows, BATCH, [{ name: 'zstd', configuration: { level: ZSTD.level, checksum: false } }])
  const caches = { plain: join(dir, 'cache'), zstd: join(dir, 'cache-zstd') }
  const key = await built(caches.plain, path, 'none')
  await built(caches.zstd, path, ZSTD)

  const isWhole = (data: Float32Array): void => check(data.length === rows * ROW && data.every((value, i) => value === valueAt(i)), 'the whole array')
  for (const store of Object.values(stores)) isWhole(await wholeOf(store))
  for (const cache of Object.values(caches)) isWhole(await wholeOfCache(cache, key))

  // --- rows at random, both sides open and every file in the page cache
  await using cache = await openCache({ dir: caches.plain, minFree: 0 })
  const dataset = (await cache.openDataset(key))!
  const order: number[][] = []
  let right = true
  for await (const { indices, x } of dataset.batches(RANDOM)) {
    order.push([...indices])
    right &&= isBatch(x.data as Float32Array, indices)
  }
  check(right && order.flat().length === rows, 'random rows')
  const [single, chunked] = await Promise.all([opened(stores.single), opened(stores.plain)])
  for (const array of [single, chunked]) check(isBatch(await batchOf(array, order[0]!), order[0]!), 'random rows of zarrita')
  // A chunk for each row of a batch: so many are enough.
  const few = order.slice(0, pick({ tiny: 1, quick: 8, full: 32 }))
  const repetitions = pick({ tiny: 1, quick: 3, full: 11 })
  const random = await inTurns(repetitions, {
    ours: async () => rows / await seconds(async () => { for await (const { x } of dataset.batches(RANDOM)) check(x.data.length > 0, 'a batch') }),
    'zarrita, a chunk per row': async () => rows / await seconds(async () => { for (const which of order) await batchOf(single, which) }),
    'zarrita, chunks of 32 rows': async () => few.flat().length / await seconds(async () => { for (const which of few) await batchOf(chunked, which) }),
  })

  // --- all of it, opened anew
  const gigabytes = rows * ROW * 4 / 1e9
  const theirs = (store: string) => async (): Promise<number> => gigabytes / await seconds(() => wholeOf(store))
  const ours = (of: string) => async (): Promise<number> => gigabytes / await seconds(() => wholeOfCache(of, key))
  const whole = await inTurns(repetitions, { ours: ours(caches.plain), 'zarrita, unchecked': theirs(stores.plain), zstd: ours(caches.zstd), 'zarrita, unchecked, zstd': theirs(stores.zstd) })
  const what = `${rows} rows of ${HEIGHT} × ${WIDTH} float32`
  const peers = named(random, 'zarrita, a chunk per row', 'zarrita, chunks of 32 rows')
  const [plain] = named(whole, 'zarrita, unchecked')
  const [zstd] = named(whole, 'zarrita, unchecked, zstd')
  return [
    { what: `${what} at random, in batches of ${BATCH}`, unit: 'rows/s', ours: random.ours, peers, limits: [], target: timesPeer(1, random.ours, peers[0], 'zarrita') },
    { what: `all of ${what}, opened anew, ours verified`, unit: 'GB/s', ours: whole.ours, peers: [plain!], limits: [], target: timesPeer(1, whole.ours, plain, 'zarrita') },
    { what: `the same, compressed with zstd ${ZSTD.level}`, unit: 'GB/s', ours: whole.zstd, peers: [zstd!], limits: [], target: timesPeer(1, whole.zstd, zstd, 'zarrita') },
  ]
}

// --- zarrita --------------------------------------------------------------------------------------------------------------------------

async function written(folder: string, rows: number, rowsOfChunk: number, codecs: { name: string; configuration: Record<string, never> | object }[] = []): Promise<void> {
  const array = await create(new FileSystemStore(folder), {
    shape: [rows, HEIGHT, WIDTH], chunkShape: [rowsOfChunk, HEIGHT, WIDTH], dtype: 'float32', codecs: [{ name: 'bytes', configuration: { endian: 'little' } }, ...codecs] as never,
  })
  for (let first = 0; first < rows; first += BATCH) {
    const data = Float32Array.from({ length: BATCH * ROW }, (_, i) => valueAt(first * ROW + i))
    await set(array, [slice(first, first + BATCH), null, null], { data, shape: [BATCH, HEIGHT, WIDTH], stride: [ROW, WIDTH, 1] })
  }
}

async function opened(folder: string) {
  return await open.v3(new FileSystemStore(folder), { kind: 'array' })
}

async function wholeOf(folder: string): Promise<Float32Array> {
  return (await get(await opened(folder))).data as Float32Array
}

/** As a training loop wants them: rows side by side. */
async function batchOf(array: Zarr, which: readonly number[]): Promise<Float32Array> {
  const batch = new Float32Array(which.length * ROW)
  await Promise.all(which.map(async (row, k) => batch.set((await get(array, [row, null, null])).data as Float32Array, k * ROW)))
  return batch
}

// --- ours -----------------------------------------------------------------------------------------------------------------------------

async function built(dir: string, path: string, compression: CompressionOption): Promise<string> {
  await using cache = await openCache({ dir, minFree: 0, compression })
  const source = await npy(path, { fields: { x: 'data' } })
  const { key } = await cache.dataset(source, recipe([select({ fields: ['x'] })]))
  source.close()
  return key
}

/** Everything is verified on the way. */
async function wholeOfCache(dir: string, key: string): Promise<Float32Array> {
  const cache = await openCache({ dir, minFree: 0 })
  const dataset = (await cache.openDataset(key))!
  for await (const { x } of dataset.batches({ size: dataset.length })) {
    await cache.close()
    return x.data as Float32Array
  }
  throw new Error('no rows')
}

function isBatch(data: Float32Array, which: ArrayLike<number>): boolean {
  return data.every((value, i) => value === valueAt(which[Math.floor(i / ROW)]! * ROW + i % ROW))
}

export const chunks: Question = { name: 'chunks', about: 'rows of a chunked array on disk, beside a zarr store', run }
