// CT-like torsos, stored in five ways, with masks → one orientation, one voxel size, one shape. All by a configuration file and the command line: built, built again, one added; a damaged blob mended; which hash is which
// volume; the same from a server. Then a picture to look at.
import { chmodSync, cpSync, createReadStream, mkdirSync, openSync, closeSync, readdirSync, readFileSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename, join } from 'node:path'
import { nifti, openCache, recipe, type Dataset, type Source, type Tensor } from 'tensorcache'
import { Transcript } from '../command.js'
import { inExamples } from '../folder.js'
import { writeSheet } from '../sheet.js'
import { rowOf, type View } from './slices.js'

export interface VolumesResult {
  /** Commands as they were typed, and what they said. */
  readonly transcript: string
  /** A PNG with three slices of every volume, as it is stored and as it is in the cache. */
  readonly sheet: string
  /** Files that the server gave away. */
  readonly fetched: number
}

const here = inExamples('volumes/')

export async function volumes(dir: string): Promise<VolumesResult> {
  mkdirSync(dir, { recursive: true })
  for (const name of ['scans', 'tensorcache.yaml', 'served.yaml']) cpSync(join(here, name), join(dir, name), { recursive: true })
  const shell = new Transcript(dir)
  const list = join(dir, 'scans/torsos.csv')
  const rows = readFileSync(list, 'utf8').trimEnd().split('\n')

  writeFileSync(list, `${rows.slice(0, -1).join('\n')}\n`)
  await shell.tensorcache('build')
  await shell.tensorcache('build')
  shell.remark('A fifth torso arrives.')
  writeFileSync(list, `${rows.join('\n')}\n`)
  await shell.tensorcache('build', 'torsos')
  await shell.tensorcache('map', 'torsos')

  shell.remark(`One bit of the file ${flipBit(join(dir, 'cache/blobs'))} is flipped.`)
  await shell.tensorcache('verify', '--fix')

  const { server, base, fetched } = await serve(join(dir, 'scans'))
  try {
    const urls = rows.slice(1).map((row) => row.split(',')).map(([image, mask, lesion]) => `${image!.replace(/\..*/, '')},${base}/${image},${base}/${mask},${lesion}`)
    writeFileSync(join(dir, 'served.csv'), `VolumeName,ImageUrl,MaskUrl,LesionVolume\n${urls.join('\n')}\n`)
    shell.remark('The same files from a server.')
    await shell.tensorcache('build', 'served', '--config', 'served.yaml')
  } finally {
    server.close()
    server.closeAllConnections()
  }
  return { transcript: shell.text, sheet: await draw(dir), fetched: fetched() }
}

/** In the middle of the largest blob; gives the first digits of its name. */
function flipBit(blobs: string): string {
  const paths = readdirSync(blobs, { recursive: true, encoding: 'utf8' }).map((name) => join(blobs, name)).filter((path) => statSync(path).isFile())
  const path = paths.reduce((largest, one) => (statSync(one).size > statSync(largest).size ? one : largest))
  chmodSync(path, 0o600)
  const file = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  const at = Math.floor(statSync(path).size / 2)
  readSync(file, byte, 0, 1, at)
  byte[0]! ^= 1
  writeSync(file, byte, 0, 1, at)
  closeSync(file)
  return basename(path).slice(0, 16)
}

/** A server of a folder's files on the loopback. */
async function serve(folder: string): Promise<{ server: Server; base: string; fetched: () => number }> {
  let fetched = 0
  const server = createServer((request, response) => {
    const path = join(folder, basename(request.url!))
    if (request.method === 'GET') fetched++
    response.setHeader('content-length', statSync(path).size).setHeader('etag', `"${statSync(path).mtimeMs}"`)
    if (request.method === 'HEAD') response.end()
    else createReadStream(path).pipe(response)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  return { server, base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, fetched: () => fetched }
}

interface Volume { readonly id: string; readonly image: Tensor; readonly mask: Tensor<'uint8'>; readonly affine: Tensor<'float64'>; readonly lesion_ml: Tensor<'float64'> }

/** The stored volumes, read and not kept, above those in the cache: slices through the middle of each lesion, and of the series its first frame above the brightest one. */
async function draw(dir: string): Promise<string> {
  const torsos = await nifti(join(dir, 'scans/torsos.csv'), { fields: { image: 'VolumeName', mask: 'MaskName' }, properties: { lesion_ml: 'LesionVolume' }, dtype: 'float32' })
  const series = await nifti(join(dir, 'scans/series'), { time: 'leading' })
  const passing = await openCache({ enabled: false })
  const cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
  const get = async (dataset: Dataset, k: number): Promise<Volume> => await dataset.get(k) as unknown as Volume
  const both = async (source: Source, name: string): Promise<[Volume, Volume][]> => {
    const [stored, made] = [await passing.dataset(source, recipe([])), (await cache.openDataset(name))!]
    return Promise.all(Array.from({ length: stored.length }, async (_, k) => [await get(stored, k), await get(made, k)] as [Volume, Volume]))
  }
  const pairs = (await both(torsos, 'volumes/torsos')).map(([before, after]) => ({
    before: viewOf(before, `${before.id} as stored`, [-1000, 1000]), after: viewOf(after, `made: lesion ${after.lesion_ml.data[0]} ml`, [0, 1]),
  }))
  for (const [before, after] of await both(series, 'volumes/contrast')) {
    pairs.push({ before: viewOf(frameOf(before, 0), 'contrast at 0 s, as stored', [-1000, 1000]), after: viewOf(frameOf(after, 2), 'made: at 24 s', [0, 1]) })
  }
  const path = join(dir, 'torsos.png')
  writeSheet(path, pairs.map(({ before, after }) => [rowOf(before), rowOf(after)]))
  await cache.close()
  await passing.close()
  torsos.close()
  series.close()
  return path
}

/** One of [t, x, y, z]. */
function frameOf(volume: Volume, t: number): Volume {
  const shape = volume.image.shape.slice(1)
  const size = shape.reduce((product, extent) => product * extent)
  return { ...volume, image: { dtype: 'float32', shape, data: (volume.image.data as Float32Array).subarray(t * size, (t + 1) * size) }, mask: { dtype: 'uint8', shape, data: new Uint8Array(size) } }
}

const LESION = 2

function viewOf({ image, mask, affine: { data } }: Volume, title: string, window: View['window']): View {
  const { shape } = image
  const column = (axis: number): number[] => [data[axis]!, data[4 + axis]!, data[8 + axis]!]
  const spacing = [0, 1, 2].map((axis) => Math.hypot(...column(axis)))
  const codes = [0, 1, 2].map((axis) => {
    const world = column(axis).reduce((best, step, row, all) => (Math.abs(step) > Math.abs(all[best]!) ? row : best), 0)
    return (column(axis)[world]! > 0 ? 'RAS' : 'LPI')[world]
  })
  return { caption: `${title}, ${codes.join('')} ${shape.join('×')} of ${spacing.map((mm) => Number(mm.toFixed(2))).join('×')} mm`, image, mask, at: middleOf(mask, shape), spacing, window }
}

/** Of the lesion; of the volume where there is none. */
function middleOf({ data }: Tensor<'uint8'>, [nx, ny, nz]: readonly number[]): number[] {
  const sums = [0, 0, 0]
  let count = 0
  data.forEach((label, at) => {
    if (label !== LESION) return
    count++
    ;[Math.floor(at / (ny! * nz!)), Math.floor(at / nz!) % ny!, at % nz!].forEach((position, axis) => { sums[axis]! += position })
  })
  return count === 0 ? [nx!, ny!, nz!].map((extent) => Math.floor(extent / 2)) : sums.map((sum) => Math.round(sum / count))
}
