// How fast are compressed volumes read? Inflating is the limit, so zlib stands beside us: it makes the bytes, and we the voxels in C order. Then several files on all cores, and frames of a series of
// volumes in a random order, with the seek index of a first pass.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gunzipSync, gzipSync } from 'node:zlib'
import { nifti, type Tensor } from 'tensorcache'
import { noise } from './lib/files.js'
import { inTurns, named, seconds } from './lib/measure.js'
import type { Peer } from './lib/peer.js'
import { niftiHeader, phantom } from './lib/phantom.js'
import { check, timesPeer, type Context, type Finding, type Question } from './lib/question.js'

/** As dcm2niix and FSL write. */
const LEVEL = 6
const SERIES_FRAME = [64, 64, 40] as const

async function run(context: Context): Promise<Finding[]> {
  const peer = await context.peer('gzip_volumes')
  return [...await volumes(context, peer), ...await frames(context, peer)]
}

async function volumes({ dir, pick }: Context, peer: Peer | undefined): Promise<Finding[]> {
  const extent = pick({ tiny: 16, quick: 192, full: 256 })
  const count = pick({ tiny: 2, quick: 1, full: 4 }) * availableParallelism()
  const paths = Array.from({ length: count }, (_, k) => join(dir, `volume-${k}.nii.gz`))
  let bytes = 0
  for (const [k, path] of paths.entries()) {
    const voxels = phantom([extent, extent, extent], k)
    const plain = Buffer.concat([niftiHeader([extent, extent, extent]), Buffer.from(voxels.buffer)])
    bytes = plain.length
    writeFileSync(path, gzipSync(plain, { level: LEVEL }), { flush: true })
    if (k > 0) continue
    await read([path], ({ data, shape }) => {
      // The file has x fastest, C order z.
      check(shape.every((found) => found === extent) && voxels.every((voxel, at) => voxel === data[((at % extent) * extent + Math.floor(at / extent) % extent) * extent + Math.floor(at / extent / extent)]), 'voxels')
      check(gunzipSync(readFileSync(path)).equals(plain), 'zlib')
    })
    await agrees(peer, dir, path, null, voxels.length)
  }
  await peer?.call('start', { processes: availableParallelism() })

  const repetitions = pick({ tiny: 1, quick: 3, full: 15 })
  const rate = (files: number, work: () => Promise<number>) => async (): Promise<number> => files * bytes / 1e6 / await work()
  // One buffer for everything: in the pieces it takes by default it needs half as long again.
  const all = { chunkSize: bytes }
  const one = await inTurns(repetitions, {
    ours: rate(1, () => read(paths.slice(0, 1))),
    'node:zlib into one buffer': rate(1, () => seconds(() => gunzipSync(readFileSync(paths[0]!), all))),
    'Python zlib': peer && rate(1, () => peer.call('one', { path: paths[0]! })),
    'gzip -dc': rate(1, () => gzipDc(paths.slice(0, 1))),
    nibabel: peer && rate(1, () => peer.call('volume', { path: paths[0]! })),
  })
  const gunzipAll = async (): Promise<unknown> => await Promise.all(paths.map(async (path) => await promisify(gunzip)(readFileSync(path), all)))
  const several = await inTurns(repetitions, {
    ours: rate(count, () => read(paths)),
    'gzip -dc, all at once': rate(count, () => gzipDc(paths)),
    'node:zlib on its pool': rate(count, () => seconds(gunzipAll)),
    'Python zlib, a process per core': peer && rate(count, () => peer.call('several', { paths })),
  })
  const size = `${extent}³ int16 .nii.gz of level ${LEVEL}`
  const singles = named(one, 'node:zlib into one buffer', 'Python zlib', 'gzip -dc', 'nibabel')
  const alls = named(several, 'gzip -dc, all at once', 'node:zlib on its pool', 'Python zlib, a process per core')
  return [
    { what: `one file, ${size} → voxels`, unit: 'MB/s inflated', ours: one.ours, peers: singles, limits: [], target: timesPeer(0.95, one.ours, singles[0], 'zlib') },
    { what: `${count} files, ${size} → voxels, ${availableParallelism()} cores`, unit: 'MB/s inflated', ours: several.ours, peers: alls, limits: [], target: timesPeer(0.95, several.ours, alls[0], 'gzip') },
  ]
}

async function frames({ dir, pick }: Context, peer: Peer | undefined): Promise<Finding[]> {
  const count = pick({ tiny: 8, quick: 100, full: 400 })
  const path = join(dir, 'series.nii.gz')
  const body = phantom(SERIES_FRAME, 0)
  const frame = body.length
  const data = Int16Array.from({ length: frame * count }, (_, at) => body[at % frame]! + 20 * noise(at))
  writeFileSync(path, gzipSync(Buffer.concat([niftiHeader([...SERIES_FRAME, count]), Buffer.from(data.buffer)]), { level: LEVEL }), { flush: true })

  // What a cache keeps between runs.
  const kept = new Map<string, Uint8Array>()
  const notes = { get: async (key: string) => kept.get(key), put: async (key: string, bytes: Uint8Array) => { kept.set(key, bytes.slice()) } }
  const first = await seconds(() => readFrames(path, [count - 1], notes))
  const size = [...kept.values()].reduce((sum, { length }) => sum + length, 0)
  const some = Array.from({ length: pick({ tiny: 4, quick: 20, full: 100 }) }, (_, k) => Math.floor((noise(k) + 1) / 2 * count))
  const few = some.slice(0, pick({ tiny: 1, quick: 2, full: 6 }))
  await readFrames(path, few, notes, ({ data: found }, k) => {
    const [nx, ny, nz] = SERIES_FRAME
    for (let at = 0; at < frame; at++) check(found[((at % nx) * ny + Math.floor(at / nx) % ny) * nz + Math.floor(at / nx / ny)] === data[k * frame + at], `frame ${k}`)
  })
  await agrees(peer, dir, path, some[0]!, frame)

  const repetitions = pick({ tiny: 1, quick: 2, full: 9 })
  const results = await inTurns(repetitions, {
    ours: async () => some.length / await readFrames(path, some, notes),
    nibabel: peer && (async () => few.length / await peer.call('frames', { path, which: few })),
  })
  // nibabel begins anew with each frame: some in the middle stand for all.
  const middle = few.map((_, k) => (count >> 1) + k)
  const ordered = await inTurns(repetitions, {
    ours: async () => count / await readFrames(path, undefined, notes),
    nibabel: peer && (async () => middle.length / await peer.call('frames', { path, which: middle })),
  })
  const what = `${count} frames of ${SERIES_FRAME.join(' × ')} int16 .nii.gz of level ${LEVEL}`
  const index = `the first pass took ${(first * 1000).toFixed(0)} ms; the index has ${(size / 1e6).toFixed(2)} MB, the series ${(2 * data.length / 1e6).toFixed(0)} MB`
  return [
    { what: `frames at random, ${what}`, unit: 'frames/s', ours: results.ours, peers: named(results, 'nibabel'), limits: [], target: timesPeer(5, results.ours, named(results, 'nibabel')[0]), note: index },
    { what: `frames in order, ${what}`, unit: 'frames/s', ours: ordered.ours, peers: named(ordered, 'nibabel'), limits: [], target: timesPeer(1, ordered.ours, named(ordered, 'nibabel')[0]) },
  ]
}

type Use = (image: Tensor & { readonly data: Int16Array }, item: number) => void

/** Seconds from opening the files to having had every volume. */
async function read(paths: readonly string[], use?: Use): Promise<number> {
  return await seconds(async () => {
    const source = await nifti(paths)
    for await (const run of source.read(0, source.length, { fields: ['image'] })) use?.(imageOf(run), run.start)
    source.close()
  })
}

/** The same with some frames of a series, or all of them in order. */
async function readFrames(path: string, which: readonly number[] | undefined, notes: object, use?: Use): Promise<number> {
  const options = { fields: ['image'], notes: notes as never }
  return await seconds(async () => {
    const source = await nifti(path, { frames: true })
    for (const [start, stop] of which?.map((k) => [k, k + 1] as const) ?? [[0, source.length] as const]) {
      for await (const run of source.read(start, stop, options)) use?.(imageOf(run), run.start)
    }
    source.close()
  })
}

function imageOf({ fields }: { readonly fields: object }): Tensor & { readonly data: Int16Array } {
  const { dtype, shape, data } = (fields as { image: Tensor }).image
  return { dtype, shape: shape.slice(1), data: data as Int16Array }
}

async function gzipDc(paths: readonly string[]): Promise<number> {
  return await seconds(() => Promise.all(paths.map(async (path) => {
    const child = spawn('gzip', ['-dc', path], { stdio: ['ignore', 'ignore', 'inherit'] })
    const [code] = await once(child, 'exit') as [number]
    check(code === 0, 'gzip -dc')
  })))
}

/** Stops when nibabel has other voxels than we. */
async function agrees(peer: Peer | undefined, dir: string, path: string, frame: number | null, count: number): Promise<void> {
  if (peer === undefined) return
  const to = join(dir, 'theirs')
  await peer.call('save', { path, frame, to })
  const theirs = readFileSync(to)
  const same: Use = ({ data }) => check(data.length === count && theirs.equals(Buffer.from(data.buffer, data.byteOffset, data.byteLength)), 'nibabel')
  if (frame === null) await read([path], same)
  else await readFrames(path, [frame], { get: async () => undefined, put: async () => undefined }, same)
}

export const gzip: Question = { name: 'gzip', about: 'compressed volumes, whole and by frames', run }
