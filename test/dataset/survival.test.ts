// Short forms of test/stress: enough to notice that a promise was broken; the long forms look into the corners.
import { describe, expect, test } from 'vitest'
import { flipBits } from '../stress/flips.js'
import { canMount, fillDisks } from '../stress/full.js'
import { killBuilds } from '../stress/kill.js'
import { buildTogether } from '../stress/many.js'
import { killStaged, stageTogether } from '../stress/staged.js'
import { canTrace } from '../stress/support.js'
import { tempDir } from '../support/temp.js'

describe('survival', () => {
  test.skipIf(!canTrace())('a build killed at a system call is completed by the next one', { timeout: 120_000 }, async () => {
    const { killed } = await killBuilds(tempDir(), [['pwrite64', 2], ['fsync', 4], ['rename', 1], ['rename', 4], ['openat', 70], ['fchmod', 2]])
    expect(killed).toBeGreaterThan(2)
  })

  test('flipped bits are noticed and mended', { timeout: 60_000 }, async () => {
    const { met } = await flipBits(tempDir(), 25)
    expect(met).toBeGreaterThan(5)
  })

  test('three processes build one dataset and compute each item once', { timeout: 60_000 }, async () => {
    await buildTogether(tempDir(), 3, 96)
  })

  test.skipIf(!canTrace())('a build of staged items killed while fetching, publishing and cleaning up is completed by the next one', { timeout: 120_000 }, async () => {
    const { killed } = await killStaged(tempDir(), [['rename', 4], ['rename', 12], ['mkdir', 9], ['fsync', 3], ['rmdir', 2], ['unlink', 12]])
    expect(killed).toBeGreaterThan(3)
  })

  test('three processes build one dataset of staged items', { timeout: 60_000 }, async () => {
    await stageTogether(tempDir(), 3)
  })

  test.skipIf(!canMount(tempDir()))('a full disk is an error, not a crash', { timeout: 60_000 }, async () => {
    const { full } = await fillDisks(tempDir(), [700, 3000])
    expect(full).toBeGreaterThan(0)
  })
})
