import { freemem } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { tempDir } from '../support/temp.js'
import { copiesOf, manyVolumes } from './volumes.js'

const MIB = 2 ** 20
const GIB = 2 ** 30

describe.skipIf(process.platform !== 'linux')('memory of a build, long forms', () => {
  test('400 volumes, budgets of 64 MiB to 256 MiB, 1 to 4 jobs', async () => {
    await manyVolumes(join(tempDir(), 'volumes'), 400, [[64, 1], [64, 2], [128, 2], [128, 4], [256, 4]].map(([budget, jobs]) => ({ memoryBudget: budget! * MIB, jobs: jobs! })))
  })

  test.skipIf(freemem() < 10 * GIB)('one of 1024 × 1024 × 1024 voxels, 2 GiB as int16, 4 GiB as float32', async () => {
    expect(await copiesOf(join(tempDir(), 'large'), 1024, [-1.2, 1, 1.5])).toBeLessThan(2)
  })

  test('one that has as many voxels afterwards', async () => {
    expect(await copiesOf(join(tempDir(), 'same'), 512, [-1.5, 1.5, 1.5])).toBeLessThan(2.2)
  })
})
