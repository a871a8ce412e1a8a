import { describe, expect, test } from 'vitest'
import { tempDir } from '../support/temp.js'
import { CALLS, killBuilds } from './kill.js'
import { canTrace } from './support.js'

describe.skipIf(!canTrace())('a build that is killed', () => {
  test('at any of 112 system calls leaves a cache that serves right bytes and can be completed', { timeout: 3_000_000 }, async () => {
    // Early calls, calls in the middle of shards, and late ones, where the manifest is written.
    const kills = CALLS.flatMap((call) => [1, 3, 7, 12, 20, 33, 55].map((when) => [call, when] as const))
    expect(kills.length).toBeGreaterThanOrEqual(100)
    const { killed } = await killBuilds(tempDir(), kills)
    expect(killed).toBeGreaterThan(50)
  })
})
