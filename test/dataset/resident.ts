import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { noise } from '../support/data.js'
import { writeSparse, writeSparseNpz } from '../sources/sparse.js'
import { npyHeader } from '../sources/write.js'

const child = resolve(import.meta.dirname, 'resident-child.mjs')

export interface Read { readonly way: 'groups shuffled' | 'rows shuffled' | 'rows ordered' | 'cached shuffled' | 'cached ordered'; readonly path: string; readonly cacheDir?: string; readonly memoryBudget?: number; readonly residencyBytes?: number; readonly batches?: number; readonly size?: number }
export interface Peak { readonly peakMiB: number; readonly items: number; readonly sum: number; readonly computed?: number }

/** Reads in a process of its own. */
export async function readApart(read: Read): Promise<Peak> {
  const { stdout } = await promisify(execFile)(process.execPath, [child, JSON.stringify(read)], { maxBuffer: 2 ** 20 })
  return JSON.parse(stdout) as Peak
}

/** Points of a plane with a row of zeros each, which occupy no disk. */
export function writePoints(dir: string, name: string, points: number, rowBytes: number): string {
  const path = join(dir, `${name}.npz`)
  writeSparseNpz(path, [
    { name: 'xcoords', shape: [points], data: Float64Array.from(noise(points, 1)) }, { name: 'ycoords', shape: [points], data: Float64Array.from(noise(points, 2)) },
    { name: 'x', shape: [points, rowBytes / 8] },
  ])
  return path
}

/** Rows that are all different, so that a dataset of them has as many bytes as they have. */
export function writeDifferentRows(dir: string, rows: number, rowBytes: number): string {
  const path = join(dir, 'rows.npy')
  const head = npyHeader(`{'descr': '<f8', 'fortran_order': False, 'shape': (${rows}, ${rowBytes / 8}), }`)
  writeSparse(path, head.length + rows * rowBytes, [[0, head], ...Array.from({ length: rows }, (_, k) => [head.length + k * rowBytes, Buffer.from(Float64Array.of(k + 1).buffer)] as const)])
  return path
}
