import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readApart, writeDifferentRows, writePoints } from '../dataset/resident.js'
import { tempDir } from '../support/temp.js'

/** 128 × 128 float64. */
const ROW = 2 ** 17

describe('64 GB of rows in an NPZ, without a cache, with the options that nobody set', () => {
  // The last one reads 16 GB of it.
  test.each([['groups shuffled', 8, 60], ['rows shuffled', 64, 200], ['rows ordered', 64, 2000]] as const)('%s: at most 256 MiB', { timeout: 1_800_000 }, async (way, size, batches) => {
    const dir = tempDir()
    const nothing = await readApart({ way, path: writePoints(dir, 'small', 600, 8), batches: 1, size })
    const read = await readApart({ way, path: writePoints(dir, 'large', 500_000, ROW), batches, size })
    console.log(`${way}: ${read.peakMiB.toFixed(0)} MiB; ${nothing.peakMiB.toFixed(0)} MiB for next to nothing`)
    expect(read).toMatchObject({ items: batches * size, sum: 0 })
    expect(read.peakMiB - nothing.peakMiB).toBeLessThan(256)
  })
})

test('a cached dataset of 2 GB that is read with a budget of 64 MiB', { timeout: 1_800_000 }, async () => {
  const dir = tempDir()
  const rows = 16_000
  const read = { path: writeDifferentRows(dir, rows, ROW), cacheDir: join(dir, 'cache') }
  expect(await readApart({ ...read, way: 'cached ordered', batches: 1 })).toMatchObject({ computed: rows })
  const nothing = await readApart({ ...read, way: 'cached ordered', batches: 1, memoryBudget: 2 ** 26 })
  for (const way of ['cached shuffled', 'cached ordered'] as const) {
    const bounded = await readApart({ ...read, way, memoryBudget: 2 ** 26 })
    console.log(`${way}: ${bounded.peakMiB.toFixed(0)} MiB; ${nothing.peakMiB.toFixed(0)} MiB for next to nothing`)
    expect(bounded).toMatchObject({ items: 2 * rows, computed: 0 })
    expect(bounded.peakMiB - nothing.peakMiB, way).toBeLessThan(128)
  }
})
