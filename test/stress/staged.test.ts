import { describe, expect, test } from 'vitest'
import { tempDir } from '../support/temp.js'
import { loopStaged } from '../sources/staged-loops.js'
import { killLoops, killStaged, STAGED_CALLS, stageTogether } from './staged.js'
import { canTrace } from './support.js'

describe('staged sources', () => {
  test.skipIf(!canTrace())('a build that is killed at any of 96 system calls leaves what the next one needs, and nothing else', { timeout: 3_000_000 }, async () => {
    const kills = STAGED_CALLS.flatMap((call) => [1, 3, 7, 15, 30, 50, 80, 130].map((when) => [call, when] as const))
    const { killed, resumed } = await killStaged(tempDir(), kills)
    expect(killed).toBeGreaterThan(40)
    expect(resumed).toBeGreaterThan(10)
  })

  test.skipIf(!canTrace())('a loop without a cache that is killed at any of 48 system calls leaves nothing that is in the way of two others', { timeout: 3_000_000 }, async () => {
    const kills = STAGED_CALLS.flatMap((call) => [3, 15, 50, 130].map((when) => [call, when] as const))
    expect((await killLoops(tempDir(), kills)).killed).toBeGreaterThan(15)
  })

  test('two shuffled epochs over 200 files of 1 MB with room for 20', { timeout: 600_000 }, async () => {
    const { fetched, belady, lru, most, budget } = await loopStaged(tempDir(), { files: 200, elements: 250_000, room: 20, ahead: 8, epochs: 2, order: { size: 4, shuffle: true, seed: 1 } })
    console.log(`${fetched} files fetched; at least ${belady}; ${lru} where what was used longest ago goes; at most ${most} of ${budget} bytes`)
    expect(most).toBeLessThanOrEqual(budget)
    expect(fetched).toBeLessThanOrEqual(belady + 8)
    expect(fetched).toBeLessThan(lru)
  })

  test('eight processes, ten times', { timeout: 1_800_000 }, async () => {
    for (let round = 0; round < 10; round++) await stageTogether(tempDir(), 8)
  })
})
