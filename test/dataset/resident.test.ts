// How much memory reading takes: the most that was resident in a process of its own, less than what the same process needs for next to nothing. Files are sparse; the long form, test/stress/resident.test.ts, has larger ones.
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { tempDir } from '../support/temp.js'
import { readApart, writeDifferentRows, writePoints } from './resident.js'

/** 128 × 128 float64. */
const ROW = 2 ** 17
const POINTS = 4000

describe('a dataset without a cache over an NPZ of 500 MB, of which 16 MiB may be resident', () => {
  let dir: string
  beforeAll(() => { dir = tempDir() })

  test.each([['groups shuffled', 4], ['rows shuffled', 32], ['rows ordered', 32]] as const)('%s', async (way, size) => {
    const nothing = await readApart({ way, path: writePoints(dir, 'small', 600, 8), batches: 1, size })
    const read = await readApart({ way, path: writePoints(dir, 'large', POINTS, ROW), residencyBytes: 2 ** 24, batches: 60, size })
    expect(read).toMatchObject({ items: 60 * size, sum: 0 })
    expect(read.peakMiB - nothing.peakMiB).toBeLessThan(160)
  })
})

test('a cached dataset of 256 MB that is read twice, with a budget of 32 MiB', async () => {
  const dir = tempDir()
  const rows = 2000
  const read = { path: writeDifferentRows(dir, rows, ROW), cacheDir: join(dir, 'cache') }
  expect(await readApart({ ...read, way: 'cached ordered', batches: 1 })).toMatchObject({ computed: rows })
  const nothing = await readApart({ ...read, way: 'cached ordered', batches: 1, memoryBudget: 2 ** 25 })
  for (const way of ['cached shuffled', 'cached ordered'] as const) {
    const bounded = await readApart({ ...read, way, memoryBudget: 2 ** 25 })
    expect(bounded).toMatchObject({ items: 2 * rows, computed: 0 })
    expect(bounded.peakMiB - nothing.peakMiB, way).toBeLessThan(128)
    const plentiful = await readApart({ ...read, way })
    expect(plentiful).toMatchObject({ items: 2 * rows, sum: bounded.sum })
    // So the test can fail.
    expect(plentiful.peakMiB - nothing.peakMiB, way).toBeGreaterThan(rows * ROW / 2 ** 20 / 2)
  }
})
