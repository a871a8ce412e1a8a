// How much of the disk's speed does publishing use? Shards that lie in memory are published, which means hashed, written, synced, renamed and entered into
// the index; and whole datasets are built with a recipe that costs nothing. Beside them the same bytes are written by plain means, each file with fsync.
import { randomFillSync } from 'node:crypto'
import { readdirSync, rmSync, statSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { npy, openCache, recipe, select } from 'tensorcache'
import { fillNoise, noise, writeNpy } from './lib/files.js'
import { encodeBlob, native } from './lib/internals.js'
import { inTurns, scaled, seconds, type Spread } from './lib/measure.js'
import { check, ofLimit, type Context, type Finding, type Named, type Question } from './lib/question.js'

const ROW = 256 * 256
const ROW_BYTES = ROW * 4
const CHUNK_BYTES = 2 ** 18

async function run({ dir, pick }: Context): Promise<Finding[]> {
  const rows = pick({ tiny: 8, quick: 512, full: 4096 })
  const bytes = rows * ROW_BYTES
  const path = join(dir, 'rows.npy')
  writeNpy(path, 'float32', [rows, 256, 256], fillNoise)
  const cacheDir = join(dir, 'cache')
  const steps = recipe([select({ fields: ['x'] })])

  /** Removing takes a while, and so does giving the blocks back: neither is publishing. */
  const clear = async (): Promise<void> => {
    rmSync(cacheDir, { recursive: true, force: true })
    await settle(dir)
  }
  const build = (fingerprint: 'content' | 'stat') => async (): Promise<number> => {
    await clear()
    const cache = await openCache({ dir: cacheDir, minFree: 0, fingerprint })
    const source = await npy(path, { fields: { x: 'data' } })
    const took = await seconds(async () => {
      const { report } = await cache.dataset(source, steps)
      if (report.computed !== rows) throw new Error(`${report.computed} items of ${rows} were computed`)
    })
    source.close()
    await cache.close()
    return bytes / 1e9 / took
  }
  await build('content')()
  await checkCache(cacheDir, path, rows)

  const shard = largestFile(cacheDir)
  const files = Math.max(1, Math.round(bytes / shard))
  const contents = Array.from({ length: 2 }, (_, which) => new Float32Array(shard / 4).map((_, i) => noise(i + which)))
  await checkShard(cacheDir, contents[0]!)
  const rate = (write: (content: Float32Array, i: number) => Promise<void>, atATime: number): Promise<number> => writeFiles(files, atATime, (i) => {
    // No two shards are the same.
    const content = contents[i % atATime]!
    content[0] = i
    return write(content, i)
  }).then((took) => files * shard / 1e9 / took)
  const plain = (atATime: number) => async (): Promise<number> => {
    await settle(dir)
    const speed = await rate((content, i) => writeSynced(join(dir, `plain-${i}`), content), atATime)
    for (let i = 0; i < files; i++) rmSync(join(dir, `plain-${i}`))
    return speed
  }
  const shards = (atATime: number) => async (): Promise<number> => {
    await clear()
    await using cache = await openCache({ dir: cacheDir, minFree: 0 })
    const publisher = publisherTo(cache)
    // The index starts its writing thread with the first one.
    await publisher.publish(new Float32Array(1024), -1)
    const speed = await rate(publisher.publish, atATime)
    await publisher.retire()
    return speed
  }
  const results = await inTurns(pick({ tiny: 1, quick: 2, full: 9 }), {
    shardByShard: shards(1), plainOne: plain(1), shardsTwo: shards(2), plainTwo: plain(2), build: build('content'), buildStat: build('stat'),
  })
  const one = { name: 'write + fsync, one at a time', ...results.plainOne }
  const two = { name: 'write + fsync, two at a time', ...results.plainTwo }
  const hash = await hashSpeed(pick({ tiny: 2 ** 20, quick: 2 ** 27, full: 2 ** 28 }))
  // What is published is hashed as identity, as item and as file.
  const hashes = (passes: number): Named => ({ name: `SHA-256 ${passes === 1 ? 'once' : `${passes} times`} on all cores`, ...scaled(hash, availableParallelism() / passes) })
  const size = `${(shard / 2 ** 20).toFixed(0)} MiB`
  const row = (what: string, ours: Spread, disk: Named, hashing: Named): Finding => ({ what, unit: 'GB/s', ours, peers: [], limits: [disk, hashing], target: ofLimit(0.8, ours, disk, 'the disk') })
  return [
    row(`shards of ${size} in memory, one at a time`, results.shardByShard, one, { name: 'SHA-256, one thread', ...hash }),
    row(`shards of ${size} in memory, two at a time`, results.shardsTwo, two, hashes(1)),
    row(`a build: ${(bytes / 2 ** 20).toFixed(0)} MiB read, identified, hashed and published`, results.build, two, hashes(4)),
    row(`the same, fingerprint: 'stat'`, results.buildStat, two, hashes(3)),
  ]
}

async function checkCache(cacheDir: string, path: string, rows: number): Promise<void> {
  await using cache = await openCache({ dir: cacheDir, minFree: 0 })
  const source = await npy(path, { fields: { x: 'data' } })
  const dataset = await cache.dataset(source, recipe([select({ fields: ['x'] })]))
  check(dataset.report.hits === rows, 'what was built is there')
  for (const row of [0, rows >> 1, rows - 1]) {
    const { data } = (await dataset.get(row)).x as { data: Float32Array }
    check(data.every((value, i) => value === Math.fround(noise(row * ROW + i))), `row ${row}`)
  }
  source.close()
}

type Cache = Awaited<ReturnType<typeof openCache>>

/** Publishes a shard of one field as a build does, without computing anything. */
function publisherTo({ store }: Cache): { publish(content: Float32Array, i: number): Promise<void>; retire(): Promise<void> } {
  const owner = store.newOwner()
  const publish = async (content: Float32Array, i: number): Promise<void> => {
    const count = Math.max(1, Math.floor(content.byteLength / ROW_BYTES))
    const keys = randomFillSync(new Uint8Array(count * 32))
    const pending = store.tmpName(owner)
    const lease = await store.claim(randomFillSync(new Uint8Array(32)), owner, [pending])
    const segments = encodeBlob([{ name: 'x', dtype: 'float32', shape: [content.length], data: [content] }], { shard: String(i) })
    await store.publishShard(segments, { chunkBytes: CHUNK_BYTES }, keys, lease!, pending, true)
  }
  return { publish, retire: () => store.retire(owner) }
}

async function checkShard(cacheDir: string, content: Float32Array): Promise<void> {
  await using cache = await openCache({ dir: cacheDir, minFree: 0 })
  const before = new Set([...cache.store.blobs()].map(({ digest }) => digest))
  const publisher = publisherTo(cache)
  await publisher.publish(content, 0)
  await publisher.retire()
  const [made] = [...cache.store.blobs()].filter(({ digest }) => !before.has(digest))
  const { data } = await (await cache.store.blob(made!.digest)).tensor('x')
  check(Buffer.compare(bytesOf(data as Float32Array), bytesOf(content)) === 0, 'a published shard')
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

/** Waits until what was written or freed before has reached the disk; blocks that were freed are given back after the commit that frees them. */
async function settle(dir: string): Promise<void> {
  await sync(dir)
  await setTimeout(400)
  await sync(dir)
}

async function sync(dir: string): Promise<void> {
  const folder = await openFile(dir)
  await folder.sync()
  await folder.close()
}

function largestFile(cacheDir: string): number {
  const blobs = readdirSync(join(cacheDir, 'blobs'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const largest = Math.max(...blobs.map((entry) => statSync(join(entry.parentPath, entry.name)).size))
  return Math.floor(largest / ROW_BYTES) * ROW_BYTES
}

function writeFiles(files: number, atATime: number, write: (i: number) => Promise<void>): Promise<number> {
  const numbers = Array.from({ length: files }, (_, i) => i)[Symbol.iterator]()
  const writer = async (): Promise<void> => {
    for (const i of numbers) await write(i)
  }
  return seconds(() => Promise.all(Array.from({ length: atATime }, writer)))
}

async function writeSynced(path: string, content: Float32Array): Promise<void> {
  const bytes = bytesOf(content)
  const file = await openFile(path, 'w')
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten
  await file.sync()
  await file.close()
}

async function hashSpeed(bytes: number): Promise<Spread> {
  const data = new Uint8Array(bytes).fill(1)
  return (await inTurns(3, { hash: async () => bytes / 1e9 / await seconds(() => native().sha256(data)) })).hash
}

export const publish: Question = { name: 'publish', about: 'bytes per second into the store', run }
