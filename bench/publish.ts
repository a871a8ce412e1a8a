// How much of the disk's speed does publishing use? A build whose recipe costs nothing reads, identifies, hashes and writes; beside it the same bytes are
// written by plain means, in files of the same size, each with fsync.
import { closeSync, fsyncSync, openSync, readdirSync, rmSync, statSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { join } from 'node:path'
import { npy, openCache, recipe, select } from 'tensorcache'
import { fillNoise, noise, writeAll, writeNpy } from './lib/files.js'
import { inTurns, named, seconds } from './lib/measure.js'
import { check, type Context, type Finding, type Question, type Target } from './lib/question.js'

const ROW = 256 * 256

async function run({ dir, pick }: Context): Promise<Finding[]> {
  const rows = pick({ tiny: 8, quick: 2048, full: 4096 })
  const bytes = rows * ROW * 4
  const path = join(dir, 'rows.npy')
  writeNpy(path, 'float32', [rows, 256, 256], fillNoise)
  const cacheDir = join(dir, 'cache')

  const build = async (): Promise<number> => {
    // Removing takes a while, and so does giving the blocks back: neither is publishing.
    rmSync(cacheDir, { recursive: true, force: true })
    await settle(dir)
    const cache = await openCache({ dir: cacheDir, minFree: 0 })
    const source = await npy(path, { fields: { x: 'data' } })
    const took = await seconds(async () => {
      const { report } = await cache.dataset(source, recipe([select({ fields: ['x'] })]))
      if (report.computed !== rows) throw new Error(`${report.computed} items of ${rows} were computed`)
    })
    source.close()
    await cache.close()
    return bytes / 1e9 / took
  }

  await build()
  await checkCache(cacheDir, path, rows)
  const shard = largestFile(cacheDir)
  const content = new Uint8Array(new Float32Array(shard / 4).map((_, i) => noise(i)).buffer)
  const files = Math.max(1, Math.round(bytes / content.length))
  const results = await inTurns(pick({ tiny: 1, quick: 4, full: 9 }), {
    build,
    'write + fsync, one at a time': async () => {
      await settle(dir)
      const took = await seconds(() => writeOneByOne(dir, content, files))
      removePlain(dir, files)
      return files * content.length / 1e9 / took
    },
    'write + fsync, two at a time': async () => {
      await settle(dir)
      const took = await seconds(() => writeTwoAtATime(dir, content, files))
      removePlain(dir, files)
      return files * content.length / 1e9 / took
    },
  })
  const limits = named(results, 'write + fsync, one at a time', 'write + fsync, two at a time')
  const disk = Math.max(...limits.map(({ median }) => median))
  const target: Target = { text: '≥ 80 % of the disk', reached: results.build.median >= 0.8 * disk }
  return [{ what: `${(bytes / 2 ** 20).toFixed(0)} MiB in shards of ${(shard / 2 ** 20).toFixed(0)} MiB`, unit: 'GB/s', ours: results.build, peers: limits.filter(({ median }) => median === disk), limits: limits.filter(({ median }) => median !== disk), target }]
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

/** Waits until what was written or freed before has reached the disk. */
async function settle(dir: string): Promise<void> {
  const folder = await openFile(dir)
  await folder.sync()
  await folder.close()
}

function largestFile(cacheDir: string): number {
  const blobs = join(cacheDir, 'blobs')
  const sizes = readdirSync(blobs, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => statSync(join(entry.parentPath, entry.name)).size)
  return Math.floor(Math.max(...sizes) / 4096) * 4096
}

function writeOneByOne(dir: string, content: Uint8Array, files: number): void {
  for (let i = 0; i < files; i++) {
    const fd = openSync(join(dir, `plain-${i}`), 'w')
    writeAll(fd, content)
    fsyncSync(fd)
    closeSync(fd)
  }
}

async function writeTwoAtATime(dir: string, content: Uint8Array, files: number): Promise<void> {
  const numbers = Array.from({ length: files }, (_, i) => i)[Symbol.iterator]()
  const writer = async (): Promise<void> => {
    for (const i of numbers) {
      const file = await openFile(join(dir, `plain-${i}`), 'w')
      for (let at = 0; at < content.length;) at += (await file.write(content, at, content.length - at)).bytesWritten
      await file.sync()
      await file.close()
    }
  }
  await Promise.all([writer(), writer()])
}

function removePlain(dir: string, files: number): void {
  for (let i = 0; i < files; i++) rmSync(join(dir, `plain-${i}`))
}

export const publish: Question = { name: 'publish', about: 'bytes per second into the store', run }
