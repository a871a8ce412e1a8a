// Volumes in the cache: what a build reads of a folder that grows.
import { renameSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { cast, nifti, normalize, recipe, type Cache, type Dataset, type NiftiOptions, type Source } from '../../src/index.js'
import { range, smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { VolumeFile } from '../../src/sources/volume-file.js'
import { niftiBytes, niftiGz } from '../sources/nifti-write.js'
import { pattern } from '../sources/write.js'

const SHAPE = [9, 8, 7]
const steps = recipe([cast({ dtype: 'float32', fields: ['image'] }), normalize({ mode: 'zscore', fields: ['image'] })])

let cache: Cache
let dir: string
beforeEach(async () => {
  dir = tempDir()
  cache = await smallCache(join(tempDir(), 'cache'))
  for (const k of range(0, 30)) write(k)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await cache.close()
})

function write(k: number, shape = SHAPE): void {
  const path = join(dir, `v${String(k).padStart(3, '0')}.nii.gz`)
  writeFileSync(path, niftiGz(pattern('int16', shape, k + 1), { slope: 0.5, inter: k }))
  // Left alone for long enough to be remembered.
  utimesSync(path, new Date(0), new Date(0))
}

/** Items whose image was read, in order. */
async function built(options: NiftiOptions = {}, ops = steps): Promise<{ read: number[]; dataset: Dataset }> {
  const source = await nifti(dir, options)
  const read: number[] = []
  const watched: Source = new Proxy(source, {
    get(target, name) {
      if (name === 'read') return (start: number, stop: number, rest: never) => (read.push(...range(start, stop)), target.read(start, stop, rest))
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) as unknown : value
    },
  })
  const dataset = await cache.dataset(watched, ops)
  source.close()
  return { read, dataset }
}

test.each([['of one shape', SHAPE], ['of several shapes', [4, 5, 6]]])('volumes %s: the new ones are read, those between them are not', async (_, other) => {
  write(29, other)
  const first = await built()
  expect([first.read.length, first.dataset.report.computed]).toEqual([30, 30])
  const image = (await first.dataset.get(7)).image
  // v0045, say, comes between v004 and v005.
  renameSync(join(dir, 'v003.nii.gz'), join(dir, 'v0265.nii.gz'))
  for (const k of [100, 103]) write(k, other)
  const { read, dataset } = await built()
  expect([dataset.length, dataset.report.computed]).toEqual([32, 2])
  expect(read).toEqual([30, 31])
  expect((await dataset.get(6)).id).toBe('v007')
  expect((await dataset.get(6)).image).toEqual(image)
  expect((await built()).read).toEqual([])
})

test('another slope is another item; another way of reading, too', async () => {
  const first = await built({}, recipe([]))
  writeFileSync(join(dir, 'v005.nii.gz'), niftiGz(pattern('int16', SHAPE, 6), { slope: 0.25, inter: 5 }))
  const second = await built({}, recipe([]))
  expect([second.read, second.dataset.report.computed]).toEqual([[5], 1])
  expect(second.dataset.digest).not.toBe(first.dataset.digest)
  expect((await built({ scaled: false }, recipe([]))).dataset.report.computed).toBe(30)
  expect((await built({ scaled: true }, recipe([]))).dataset.digest).toBe(second.dataset.digest)
})

test('of a thousand volumes ten are new: only their files are read, once more to know them and once for their voxels', async () => {
  dir = tempDir()
  const path = (k: number): string => join(dir, `v${String(k).padStart(4, '0')}.nii`)
  const put = (k: number): void => {
    // Of three sizes, so that nothing is known of all of them.
    writeFileSync(path(k), niftiBytes(pattern('int16', [8, 6 + k % 3, 5], k + 1), { sform: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] }))
    utimesSync(path(k), new Date(0), new Date(0))
  }
  const late = range(0, 10).map((k) => 57 + 97 * k)
  for (const k of range(0, 1000)) if (!late.includes(k)) put(k)
  expect((await built()).dataset.report.computed).toBe(990)
  for (const k of late) put(k)
  // Digests of files are remembered when these have been left alone for longer than a file system's clock may lag.
  await setTimeout(100)
  // Whoever reads more of a file than its header maps it first.
  const mapped = vi.spyOn(VolumeFile.prototype, 'map')
  const { read, dataset } = await built()
  expect([dataset.length, dataset.report.computed, dataset.report.hits]).toEqual([1000, 10, 990])
  expect(read.sort((a, b) => a - b)).toEqual(late)
  expect(mapped.mock.contexts.map((file) => (file as VolumeFile).path).sort()).toEqual(late.flatMap((k) => [path(k), path(k)]))
  mapped.mockClear()
  expect((await built()).read).toEqual([])
  expect(mapped).not.toHaveBeenCalled()
})
