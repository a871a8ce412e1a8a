import { describe, expect, test } from 'vitest'
import { tempDir } from '../support/temp.js'
import { killStaged, STAGED_CALLS, stageTogether } from './staged.js'
import { canTrace } from './support.js'

describe('staged sources', () => {
  test.skipIf(!canTrace())('a build that is killed at any of 96 system calls leaves what the next one needs, and nothing else', { timeout: 3_000_000 }, async () => {
    const kills = STAGED_CALLS.flatMap((call) => [1, 3, 7, 15, 30, 50, 80, 130].map((when) => [call, when] as const))
    const { killed, resumed } = await killStaged(tempDir(), kills)
    expect(killed).toBeGreaterThan(40)
    expect(resumed).toBeGreaterThan(10)
  })

  test('eight processes, ten times', { timeout: 1_800_000 }, async () => {
    for (let round = 0; round < 10; round++) await stageTogether(tempDir(), 8)
  })
})
