import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { tempDir } from '../support/temp.js'
import { canMount } from './full.js'
import { canTrace } from './support.js'
import { workTogether } from './together.js'
import { countCalls, failValues, fillValues, killValues, spread } from './values.js'

/** The calls by which values change the disk, and those around them. */
const CALLS = ['pwrite64', 'pwritev', 'fsync', 'fdatasync', 'rename', 'unlink', 'mkdir', 'fchmod', 'openat', 'close', 'fallocate', 'ftruncate', 'statx', 'statfs', 'mmap', 'munmap', 'msync', 'write']
const FAILING = ['pwrite64', 'pwritev', 'fsync', 'fdatasync', 'rename', 'unlink', 'mkdir', 'fchmod', 'openat', 'fallocate', 'ftruncate']

describe('values, long forms', () => {
  test.skipIf(!canTrace())('a process that is killed at any of 330 system calls leaves a sound cache', async () => {
    const counts = await countCalls(tempDir(), CALLS)
    const kills = spread(counts, 330)
    expect(await killValues(tempDir(), kills)).toBeGreaterThanOrEqual(300)
  })

  test.skipIf(!canTrace())('the n-th call that fails with EIO, ENOSPC or EMFILE, once or from then on, is an error and no more', async () => {
    const counts = await countCalls(tempDir(), FAILING)
    const failures = spread(counts, 60).flatMap(([call, when]): [string, string, string][] => {
      const error = call === 'openat' ? 'EMFILE' : 'EIO'
      return [[call, error, String(when)], [call, 'ENOSPC', `${when}+`]]
    })
    expect(await failValues(tempDir(), failures)).toBeGreaterThan(60)
  })

  test.skipIf(!canMount(tempDir()))('full disks of 20 sizes never crash a process, and nothing acknowledged is lost', async () => {
    expect(await fillValues(tempDir(), Array.from({ length: 20 }, (_, k) => k * 12))).toBeGreaterThan(10)
  })

  test('8 processes for 15 seconds: no wrong byte, nothing acknowledged is lost, no dangling entry, accounting exact', async () => {
    expect(await workTogether(join(tempDir(), 'cache'), { processes: 8, rounds: 1, ms: 15_000 })).toBeGreaterThan(400)
  })
})
