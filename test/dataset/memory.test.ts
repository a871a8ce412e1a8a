// What a build of volumes takes, at most. Long forms: test/stress/volumes.test.ts.
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { copiesOf, manyVolumes } from '../stress/volumes.js'
import { tempDir } from '../support/temp.js'

// VmHWM is of Linux.
describe.skipIf(process.platform !== 'linux')('memory of a build', () => {
  test('many volumes of many sizes: no more than the budget and 80 MiB', async () => {
    await manyVolumes(join(tempDir(), 'volumes'), 24, [{ memoryBudget: 64 * 2 ** 20, jobs: 2 }])
  }, 120_000)

  test('one of 512 × 512 × 512 voxels, int16, far beyond the budget: less than twice its float32 form', async () => {
    expect(await copiesOf(join(tempDir(), 'large'), 512, [-1.2, 1, 1.5])).toBeLessThan(2)
  }, 240_000)
})
