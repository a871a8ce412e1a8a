import { describe, expect, test } from 'vitest'
import { tempDir } from '../support/temp.js'
import { flipBits } from './flips.js'
import { canMount, fillDisks } from './full.js'
import { buildTogether } from './many.js'

describe('long forms', () => {
  test('1,000 bit flips are all noticed', async () => {
    const { met } = await flipBits(tempDir(), 1000)
    expect(met).toBeGreaterThan(500)
  })

  test('4 processes build one dataset and compute each item once', async () => {
    for (let round = 0; round < 5; round++) await buildTogether(tempDir(), 4, 256)
  })

  test.skipIf(!canMount(tempDir()))('full disks of 24 sizes never crash a process', async () => {
    const sizes = Array.from({ length: 24 }, (_, k) => 256 + k * 400)
    const { full } = await fillDisks(tempDir(), sizes)
    expect(full).toBeGreaterThan(10)
  })
})
