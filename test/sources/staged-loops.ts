import { join } from 'node:path'
import { expect } from 'vitest'
import { http, npy, openCache, recipe, staged, type BatchOptions, type Source } from '../../src/index.js'
import { range } from '../support/data.js'
import { serve, type Remote } from './remote.js'
import { rawBytes, rawFiles } from './staged-folder.js'
import { npyBytes } from './write.js'

/** Files of one row each, on a server. */
export async function world(files: number, elements: number): Promise<{ remote: Remote; fileBytes: number; names: string[] }> {
  const names = range(0, files).map((k) => `f${k}.npy`)
  const served = Object.fromEntries(names.map((name, k) => [name, { bytes: npyBytes({ dtype: 'int32', shape: [1, elements], data: new Int32Array(elements).fill(k) }), etag: `"${k}"` }]))
  return { remote: await serve(served), fileBytes: served[names[0]!]!.bytes.length, names }
}

export interface Staged { readonly dir: string; readonly diskBudget: number; readonly concurrency?: number; readonly ahead?: number }

export function openFiles(remote: Remote, names: readonly string[], elements: number, options: Staged): Promise<Source> {
  return staged({
    items: names.map((name) => ({ id: name, files: [{ url: `${remote.url}/${name}` }] })), fields: { x: { dtype: 'int32', shape: [elements] } },
    open: (paths) => npy(paths[0]!, { fields: { x: 'data' } }), reader: { name: 'one-row', version: 1 }, fetch: http({ retries: 1, backoff: 1, timeout: 2000 }), ...options,
  })
}

/** Fetches when of `room` files the one that is needed last goes: nobody can do with fewer. */
export function beladyFetches(uses: readonly number[], room: number): number {
  return fetches(uses, room, (here, at) => {
    const next = (file: number): number => { const found = uses.indexOf(file, at + 1); return found < 0 ? Infinity : found }
    return here.reduce((last, file) => next(file) > next(last) ? file : last)
  })
}

/** The same when the one that was used longest ago goes. */
export function lruFetches(uses: readonly number[], room: number): number {
  return fetches(uses, room, (here) => here[0]!)
}

function fetches(uses: readonly number[], room: number, goes: (here: readonly number[], at: number) => number): number {
  let here: number[] = []
  let count = 0
  uses.forEach((file, at) => {
    if (!here.includes(file)) {
      count++
      if (here.length === room) here = here.filter((other) => other !== goes(here, at))
    }
    here = [...here.filter((other) => other !== file), file]
  })
  return count
}

/** Epochs over files of which a few fit on the disk. */
export async function loopStaged(dir: string, { files, elements, room, ahead, epochs, order }: { files: number; elements: number; room: number; ahead: number; epochs: number; order: Omit<BatchOptions, 'epoch'> }): Promise<{ fetched: number; belady: number; lru: number; most: number; budget: number; before: number }> {
  const { remote, fileBytes, names } = await world(files, elements)
  const staging = join(dir, 'staging')
  const budget = room * fileBytes
  let most = 0
  for (const file of remote.files.values()) file.fault = () => { most = Math.max(most, rawBytes(staging)); return undefined }
  const source = await openFiles(remote, names, elements, { dir: staging, diskBudget: budget, ahead })
  await using cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
  const live = await cache.dataset(source, recipe([]), { cache: false })
  const uses: number[] = []
  /** Fetched when the first batch was there. */
  let before = 0
  for (let epoch = 0; epoch < epochs; epoch++) {
    for await (const { indices, x } of live.batches({ ...order, epoch })) {
      before ||= remote.gets().length
      most = Math.max(most, rawBytes(staging))
      indices.forEach((index, k) => { expect([x.data[k * elements], x.data[(k + 1) * elements - 1]]).toEqual([index, index]) })
      uses.push(...indices)
    }
  }
  const fetched = remote.gets().length
  expect(uses).toHaveLength(epochs * files)
  await live.close()
  source.close()
  expect(rawFiles(staging).filter((name) => !/^[0-9a-f]{64}-\d+$/.test(name)), 'parts and pins').toEqual([])
  await remote.close()
  return { fetched, belady: beladyFetches(uses, room), lru: lruFetches(uses, room), most, budget, before }
}
