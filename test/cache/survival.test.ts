// Short forms of test/stress: enough to notice that a promise was broken; the long forms look into the corners.
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { canMount } from '../stress/full.js'
import { canTrace } from '../stress/support.js'
import { workTogether } from '../stress/together.js'
import { failValues, fillValues, killValues } from '../stress/values.js'
import { tempDir } from '../support/temp.js'

describe('values', () => {
  test('processes that are killed in the middle lose nothing that was acknowledged, and leave nothing half', async () => {
    expect(await workTogether(join(tempDir(), 'cache'), { processes: 4, rounds: 2, ms: 1000 })).toBeGreaterThan(160)
  })

  test.skipIf(!canTrace())('a process that is killed at a system call leaves a sound cache', async () => {
    expect(await killValues(tempDir(), [['fsync', 2], ['rename', 2], ['pwrite64', 30], ['pwrite64', 90], ['unlink', 1], ['fdatasync', 20], ['openat', 60], ['fchmod', 1]])).toBeGreaterThan(4)
  })

  test.skipIf(!canTrace())('a call that fails is an error, and the cache stays sound', async () => {
    expect(await failValues(tempDir(), [['fsync', 'EIO', '3'], ['rename', 'EIO', '1'], ['pwritev', 'ENOSPC', '1+'], ['fallocate', 'ENOSPC', '1+'], ['pwrite64', 'ENOSPC', '40+'], ['pwrite64', 'EIO', '100'], ['pwrite64', 'EIO', '40'], ['openat', 'EMFILE', '60+']])).toBeGreaterThan(2)
  })

  test.skipIf(!canMount(tempDir()))('a full disk is an error, not a crash', async () => {
    expect(await fillValues(tempDir(), [0, 100])).toBe(2)
  })
})
