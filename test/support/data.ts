import { writeFileSync } from 'node:fs'
import { openCache, type Cache, type CacheOptions, type Dataset } from '../../src/index.js'
import { cast, normalize, recipe, type Recipe, type Source } from '../../src/index.js'
import { npzBytes } from './npy.js'

/** Pseudo-random numbers in [-0.5, 0.5) that depend on the seed only. */
export function noise(length: number, seed: number): Float64Array {
  let state = seed >>> 0
  return Float64Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32 - 0.5
  })
}

/** An .npz with `x` float64 [items, width] and `y` int32 [items]; row i depends on `seeds[i]` only. */
export function writeRows(path: string, seeds: readonly number[], width: number): void {
  const x = new Float64Array(seeds.length * width)
  seeds.forEach((seed, i) => x.set(noise(width, seed), i * width))
  writeFileSync(path, npzBytes({ x: { dtype: 'float64', shape: [seeds.length, width], data: x }, y: { dtype: 'int32', shape: [seeds.length], data: Int32Array.from(seeds) } }))
}

export const range = (start: number, stop: number): number[] => Array.from({ length: stop - start }, (_, i) => start + i)

export const steps: Recipe = recipe([cast({ dtype: 'float32', fields: ['x'] }), normalize({ mode: 'zscore', fields: ['x'] })])

/** A cache with small shards (1 MiB) and no reserve. */
export function smallCache(dir: string, options: CacheOptions = {}): Promise<Cache> {
  return openCache({ dir, minFree: 0, memoryBudget: 6 * 2 ** 20, ...options })
}

/** Everything an item has, as plain values. */
export async function items(dataset: Dataset): Promise<{ id: string; [field: string]: unknown }[]> {
  const all = []
  for (let i = 0; i < dataset.length; i++) {
    const item = await dataset.get(i)
    all.push(Object.fromEntries(Object.entries(item).map(([name, value]) => [name, typeof value === 'string' ? value : { dtype: value.dtype, shape: [...value.shape], data: Array.from(value.data as Float32Array) }])) as { id: string })
  }
  return all
}

export type { Source }
