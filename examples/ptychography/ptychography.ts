// A ptychographic scan, diffraction patterns and where they were taken → groups of four that lie near each other, as networks for such scans are trained with. Into a cache, from it, and without one: the same batches. One
// pattern is changed: its groups are computed again. Then a picture of groups and patterns to look at.
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cast, group, normalize, npz, openArrays, openCache, recipe, strategyFor, type Dataset, type DType, type LiveDataset, type Source, type Tensor } from 'tensorcache'
import { Transcript } from '../command.js'
import type { Example } from '../example.js'
import { inExamples } from '../folder.js'
import { array, zip } from '../npz.js'
import { draw } from './draw.js'

export interface PtychographyResult {
  /** A row for each way to the batches. */
  readonly table: readonly (readonly string[])[]
  /** SHA-256 of all batches of an epoch: in the cache, and computed when they are read. */
  readonly digests: readonly string[]
  /** Where such data should live, in a sentence each. */
  readonly strategies: readonly string[]
  /** Commands as they were typed, and what they said. */
  readonly transcript: string
  /** Groups that the pattern is in, or in the middle of. */
  readonly touched: readonly string[]
  /** A PNG with groups drawn over the object, and their patterns. */
  readonly sheet: string
}

const here = inExamples('ptychography/')
export const scan = join(here, 'scan.npz')
/** Of the points that a group is drawn from, around its sample. */
export const NEIGHBORS = 7
/** A pattern that the detector is said to have miscounted. */
export const CHANGED = 217

const openScan = (path: string): Promise<Source> => npz(path, { fields: { diffraction: 'diffraction', xcoords: 'xcoords', ycoords: 'ycoords' }, constants: { probe: 'probeGuess', object: 'objectGuess' } })

export const grouped: Example = {
  name: 'ptychography',
  about: '512 diffraction patterns of a scan → 384 groups of 4 that lie near each other: cast → group → scale',
  recipe: recipe([
    cast({ dtype: 'float32', fields: ['diffraction'] }),
    group({ samples: 384, neighbors: NEIGHBORS, size: 4 }),
    // One factor for all patterns, not statistics of each: which of them is brighter is what the object did. The mean sum of a pattern becomes (48 / 2)²; amplitudes are the roots of that.
    normalize({ mode: 'scale', factor: 0.01, fields: ['diffraction'] }),
  ], { seed: 42 }),
  source: () => openScan(scan),
}

export async function ptychography(dir: string): Promise<PtychographyResult> {
  mkdirSync(dir, { recursive: true })
  for (const name of ['scan.npz', 'tensorcache.yaml']) copyFileSync(join(here, name), join(dir, name))
  const source = await openScan(join(dir, 'scan.npz'))
  const cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
  const table = [['way', 'groups', 'computed', 'opened in', 'an epoch in', 'per group', 'SHA-256 of its batches']]
  const digests: string[] = []
  const visit = async (way: string, open: () => Promise<Dataset | LiveDataset>): Promise<number> => {
    const began = performance.now()
    await using dataset = await open()
    const opened = performance.now() - began
    digests.push(await digestOf(dataset))
    const seconds = await fastest(dataset)
    const computed = 'report' in dataset ? String(dataset.report.computed) : 'when read'
    table.push([way, String(dataset.length), computed, `${opened.toFixed(1)} ms`, `${(1000 * seconds).toFixed(1)} ms`, `${(1e6 * seconds / dataset.length).toFixed(0)} µs`, digests.at(-1)!.slice(0, 16)])
    return seconds / dataset.length
  }
  const kept = (): Promise<Dataset> => cache.dataset(source, grouped.recipe, { name: 'groups', namespace: 'ptychography' })
  await visit('into a cache, cold', kept)
  await visit('from the cache, warm', kept)
  const secondsPerItem = await visit('without a cache', () => cache.dataset(source, grouped.recipe, { cache: false }))
  const sheet = join(dir, 'groups.png')
  const groups = await kept()
  await draw(sheet, groups, source, NEIGHBORS)
  const [lasting, touched] = [strategies(groups, secondsPerItem), await around(groups, CHANGED)]
  await groups.close()
  source.close()
  await cache.close()
  return { table, digests, strategies: lasting, transcript: await inShell(dir, touched), touched, sheet }
}

/** Seconds of an epoch, the fastest of five. */
async function fastest(dataset: Dataset | LiveDataset): Promise<number> {
  let least = Infinity
  for (let run = 0; run < 5; run++) {
    const began = performance.now()
    for await (const batch of batchesOf(dataset)) if (batch.ids.length === 0) throw new Error('an empty batch')
    least = Math.min(least, performance.now() - began)
  }
  return least / 1000
}

const batchesOf = (dataset: Dataset | LiveDataset): ReturnType<Dataset['batches']> => dataset.batches({ size: 32, shuffle: true, seed: 7 })

/** Of all that is in the batches: names, dtypes, shapes and bytes. */
async function digestOf(dataset: Dataset | LiveDataset): Promise<string> {
  const hash = createHash('sha256')
  for await (const batch of batchesOf(dataset)) {
    for (const name of Object.keys(dataset.fields).sort()) {
      const { dtype, shape, data } = batch[name] as Tensor
      hash.update(JSON.stringify([name, dtype, shape])).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    }
  }
  return hash.digest('hex')
}

/** Names of the groups that a pattern is in, or in the middle of. */
async function around(groups: Dataset, pattern: number): Promise<string[]> {
  const names: string[] = []
  for await (const { ids, sample, groups: members } of groups.batches({ size: 32, fields: ['sample', 'groups'] })) {
    const size = members.shape[1]
    ids.forEach((id, k) => { if (sample.data[k] === pattern || members.data.subarray(k * size, (k + 1) * size).includes(pattern)) names.push(id) })
  }
  return names
}

/** For this scan, and for one as beamlines make them. */
function strategies({ length, fields }: Dataset, secondsPerItem: number): string[] {
  const { dtype, shape } = fields.diffraction!
  return ([[length, '256MB'], [1_000_000, '8GB']] as const).map(([items, memoryBudget]) => {
    const { strategy, reason } = strategyFor({ items, shape: shape as number[], dtype, memoryBudget, secondsPerItem: Number(secondsPerItem.toPrecision(3)) })
    return `${items.toLocaleString('en-US')} groups, ${memoryBudget} of memory: ${strategy}, because ${reason}`
  })
}

/** The same from a configuration file: what is there is found, what is computed anew is as it was, and of a file with another pattern only that one's groups are computed. */
async function inShell(dir: string, touched: readonly string[]): Promise<string> {
  const shell = new Transcript(dir)
  await shell.tensorcache('build')
  await shell.tensorcache('build', '--no-cache')
  shell.remark(`A count of pattern ${CHANGED} is corrected. Of it are ${touched.join(', ')}.`)
  await correct(join(dir, 'scan.npz'))
  await shell.tensorcache('build')
  return shell.text
}

/** Writes the file anew, with one count of one pattern less. */
async function correct(path: string): Promise<void> {
  const arrays = await openArrays(path)
  const members: Record<string, Buffer> = {}
  for (const [name, lazy] of Object.entries(arrays)) {
    const tensor = await lazy.read()
    if (name === 'diffraction') tensor.data[(CHANGED + 0.5) * tensor.data.length / tensor.shape[0]!]!--
    members[name] = array(DESCR[tensor.dtype]!, tensor.shape, tensor.data)
  }
  arrays[Symbol.dispose]()
  writeFileSync(path, zip(members))
}

const DESCR: Partial<Record<DType, string>> = { uint16: '<u2', float64: '<f8', complex64: '<c8' }
