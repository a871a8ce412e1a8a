import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { npz, type Cache, type Dataset, type Tensor } from '../../src/index.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const ITEMS = 300
const dir = tempDir()
let cache: Cache
let dataset: Dataset

beforeAll(async () => {
  writeRows(join(dir, 'a.npz'), range(0, ITEMS), 1024)
  cache = await smallCache(join(dir, 'cache'))
  dataset = await cache.dataset(await npz(join(dir, 'a.npz')), steps)
})
afterAll(() => cache.close())

interface Seen { readonly seen: number[]; readonly sum: number; readonly digest: string }

async function readers(count: number, epoch: number, mode: object): Promise<Seen[]> {
  return Promise.all(range(0, count).map(async (index) => {
    const worker = new Worker(new URL('./workers-child.mjs', import.meta.url), { workerData: { dir: join(dir, 'cache'), key: dataset.key, index, count, epoch, mode } })
    const [message] = await once(worker, 'message') as [Seen]
    const [code] = await once(worker, 'exit') as [number]
    expect(code).toBe(0)
    return message
  }))
}

describe('worker threads of one process', () => {
  test.each([['to read only', { readonly: true }], ['to write as well', { minFree: 0 }]])('four read one dataset, opened %s, beside the main thread: every item once, the same bytes', async (_, mode) => {
    for (const epoch of [0, 1]) {
      const [workers, own] = await Promise.all([readers(4, epoch, mode), (async () => {
        const seen: number[] = []
        let sum = 0
        for await (const batch of dataset.batches({ size: 32, shuffle: true, seed: 7, epoch })) {
          seen.push(...(batch.y as Tensor<'int32'>).data)
          for (const value of (batch.x as Tensor<'float32'>).data) sum += value
        }
        return { seen, sum }
      })()])
      expect(workers.flatMap(({ seen }) => seen).toSorted((a, b) => a - b)).toEqual(range(0, ITEMS))
      expect(own.seen.toSorted((a, b) => a - b)).toEqual(range(0, ITEMS))
      expect(workers.reduce((sum, worker) => sum + worker.sum, 0)).toBeCloseTo(own.sum, 2)
      for (const { digest } of workers) expect(digest).toBe(dataset.digest)
    }
  })

  test('a reader that is stopped in the middle leaves the others alone', async () => {
    const doomed = new Worker(new URL('./workers-child.mjs', import.meta.url), { workerData: { dir: join(dir, 'cache'), key: dataset.key, index: 0, count: 1, epoch: 0, mode: { readonly: true } } })
    await once(doomed, 'online')
    const others = readers(2, 3, { readonly: true })
    await doomed.terminate()
    expect((await others).flatMap(({ seen }) => seen).toSorted((a, b) => a - b)).toEqual(range(0, ITEMS))
  })
})
