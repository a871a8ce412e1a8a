// Frames of a long series in the cache: what is inflated of its file, and what of a note that was damaged.
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { toHex } from '../../src/core/hash.js'
import { cast, nifti, normalize, recipe, type Cache, type Dataset, type Tensor } from '../../src/index.js'
import { spacingOf } from '../../src/sources/gzip-index.js'
import type { NiftiSource } from '../../src/sources/nifti-source.js'
import { blobPath, layoutOf } from '../../src/store/layout.js'
import { NOTES } from '../../src/store/notes.js'
import { collect } from '../contracts/source.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { LONG, longGz, longSeries } from '../sources/series.js'
import { file } from '../sources/write.js'

const RAW = longSeries()
const GZ = longGz(RAW)
const one = recipe([cast({ dtype: 'float32', fields: ['image'] })])
const two = recipe([normalize({ mode: 'zscore', fields: ['image'] })])

let cache: Cache
let dir: string
let niftiPath: string
beforeEach(async () => {
  const folder = tempDir()
  dir = join(folder, 'cache')
  cache = await smallCache(dir, { memoryBudget: 64 * 2 ** 20 })
  writeFileSync(niftiPath = join(folder, 'long.nii.gz'), GZ)
})
afterEach(() => cache.close())

async function built(steps = one): Promise<{ dataset: Dataset; inflated: number }> {
  const source = await nifti(niftiPath, { frames: true })
  const dataset = await cache.dataset(source, steps)
  const inflated = await (source as NiftiSource).inflated()
  source.close()
  return { dataset, inflated }
}

/** The file of the one note. */
function noteOf({ store }: Cache): string {
  const found = [...store.entries.keys(NOTES, Date.now())]
  expect(found.length).toBe(1)
  return blobPath(layoutOf(dir), toHex(found[0]!.entry.blob!))
}

/** Five ranges, in work at the same time: those that are behind the first pass each begin at a point and go on from there. */
const TWICE = 2 * RAW.length + 5 * spacingOf(RAW.length).every

test('what a build inflates of a file is noted for the next one', async () => {
  const first = await built()
  expect(first.dataset.length).toBe(LONG.frames)
  expect(first.inflated).toBeLessThan(TWICE)
  expect(readFileSync(noteOf(cache)).includes('tcgzidx')).toBe(true)
  // Its items are known by the file's content.
  expect((await built()).inflated).toBe(0)
  const second = await built(two)
  expect(second.dataset.report.computed).toBe(LONG.frames)
  expect(second.inflated).toBeLessThan(TWICE)
})

test.each<[string, (note: Buffer) => Buffer]>([
  ['a bit', (note) => { note[note.length >> 1]! ^= 4; return note }], ['its end', (note) => note.subarray(0, note.length >> 1)], ['all of it', () => Buffer.alloc(0)], ['its header', (note) => note.fill(0xff, 0, 8)],
])('a note that lost %s changes nothing that is read', async (_, damage) => {
  await built()
  const path = noteOf(cache)
  chmodSync(path, 0o600)
  writeFileSync(path, damage(readFileSync(path)))
  const { dataset } = await built(two)
  const fresh = await smallCache(join(tempDir(), 'cache'))
  const source = await nifti(niftiPath, { frames: true })
  expect(dataset.digest).toBe((await fresh.dataset(source, two)).digest)
  source.close()
  await fresh.close()
})

test('a file that was replaced is read by its own index', async () => {
  const before = await built()
  writeFileSync(niftiPath, longGz(longSeries(2)))
  const after = await built()
  expect(after.dataset.report.computed).toBe(LONG.frames)
  expect(after.dataset.digest).not.toBe(before.dataset.digest)
  const frame = (await after.dataset.get(700)).image as Tensor
  const plain = await nifti(file('plain.nii', longSeries(2)), { frames: true })
  const [run] = await collect(plain.read(700, 701, { fields: ['image'] }))
  expect(Array.from(frame.data as Float32Array)).toEqual(Array.from((run!.fields.image as Tensor).data as Int16Array))
})
