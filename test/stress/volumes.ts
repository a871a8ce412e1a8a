import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { niftiParts } from '../sources/nifti-write.js'
import { root, runChild } from './support.js'

const MIB = 2 ** 20
/** Beyond the budget: 32 MiB of scratch memory, heaps of three threads, which grow for the first few hundred items, and code that is run for the first time. 20 to 64 MiB were seen. */
const BESIDE_BYTES = 80 * MIB

type Extents = readonly [number, number, number]

/** An int16 volume, mostly a hole of the file, in which one row of sixteen is written: everywhere but at the edges, which are 0. `salt` says what lies there and where it begins. */
export function writeVolume(path: string, [nx, ny, nz]: Extents, salt: number, mm: Extents = [-1.2, 1, 1.5]): void {
  const { header } = niftiParts({ dtype: 'int16', shape: [1, 1, 1], data: Int16Array.of(0) }, { sform: [mm[0], 0, 0, 0, 0, mm[1], 0, 0, 0, 0, mm[2], 0], lies: { axes: 3, dim: [nx, ny, nz] } })
  const row = Int16Array.from({ length: nx }, (_, x) => (x * 7 + salt * 131) % 1000 + 1)
  const file = openSync(path, 'w')
  writeSync(file, header)
  ftruncateSync(file, header.length + 2 * nx * ny * nz)
  const margin = Math.floor(nz / (8 + salt % 16))
  for (let z = margin; z < nz - margin; z++) {
    for (let y = Math.floor(ny / 8); y < ny * 7 / 8; y += 16) writeSync(file, row, 0, row.byteLength, header.length + 2 * (z * ny + y) * nx)
  }
  closeSync(file)
}

interface Built {
  readonly computed: number
  /** Bytes. */
  readonly peak: number
  readonly shape: readonly number[]
}

async function build(dir: string, paths: readonly string[], options: { memoryBudget: number; jobs?: number; spacing?: number }): Promise<Built> {
  const warm = join(dir, 'warm.nii')
  writeVolume(warm, [8, 8, 8], 1)
  const { output, stderr } = await runChild({ dir: join(dir, `cache-${performance.now()}`), warm, paths, ...options }, [], 600_000, join(root, 'test/stress/volumes-child.mjs'))
  if (output?.digest === undefined) throw new Error(`the build failed: ${output?.error ?? ''}${stderr}`)
  return output as unknown as Built
}

/** Volumes of many sizes, up to 200 × 200 × 200 (16 MB as they are stored, 19 MB at 1.5 mm), far more of them than the budget: the peak does not follow their number. Gives the largest. */
export async function manyVolumes(dir: string, count: number, cases: readonly { readonly memoryBudget: number; readonly jobs: number }[]): Promise<number> {
  mkdirSync(dir, { recursive: true })
  const paths = Array.from({ length: count }, (_, k) => join(dir, `v${k}.nii`))
  paths.forEach((path, k) => writeVolume(path, [200 - k % 7 * 20, 200 - k % 5 * 20, 200 - k % 3 * 20], k))
  let most = 0
  for (const options of cases) {
    const { computed, peak } = await build(dir, paths, options)
    expect(computed).toBe(count)
    expect(peak, `${count} volumes, ${JSON.stringify(options)}: ${Math.round(peak / MIB)} MiB`).toBeLessThan(options.memoryBudget + BESIDE_BYTES)
    most = Math.max(most, peak)
  }
  return most
}

/** How often the volume as float32, before it is resampled, fits into what building it takes: voxels of `mm`, to 1.5 mm. */
export async function copiesOf(dir: string, extent: number, mm: Extents): Promise<number> {
  mkdirSync(dir, { recursive: true })
  const path = join(dir, 'large.nii')
  writeVolume(path, [extent, extent, extent], 1, mm)
  const { computed, peak, shape } = await build(dir, [path], { memoryBudget: 64 * MIB })
  expect(computed).toBe(1)
  // It was cropped, not emptied.
  expect(Math.min(...shape)).toBeGreaterThan(extent / 4)
  return peak / (4 * extent ** 3)
}
