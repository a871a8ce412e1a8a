import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { killAt, runChild, writeInput } from './support.js'

/** The calls by which a build changes the disk, and those around them. */
export const CALLS = ['pwrite64', 'fsync', 'fdatasync', 'rename', 'openat', 'fallocate', 'ftruncate', 'write', 'mkdir', 'fchmod', 'close', 'mmap', 'munmap', 'pread64', 'msync', 'unlink']

/**
 * Kills a build at the given calls, one after the other on the same cache and on fresh ones, and after each kill lets an undisturbed process finish
 * it: it must have the right bytes, and nothing may be left over.
 */
export async function killBuilds(dir: string, kills: readonly (readonly [call: string, when: number])[]): Promise<{ killed: number }> {
  const file = join(dir, 'input.npz')
  writeInput(file, 96, 8192)
  const expected = (await runChild({ dir: join(dir, 'reference'), file })).output!
  expect(expected.computed).toBe(96)
  let killed = 0
  for (const [index, [call, when]] of kills.entries()) {
    const cache = join(dir, `cache-${index}`)
    const victim = await runChild({ dir: cache, file }, killAt(call, when))
    // A build with fewer such calls ends by itself; it then must be right.
    if (victim.output === undefined) killed++
    else expect(victim.output.sums, `${call} ${when}`).toBe(expected.sums)
    const heir = await runChild({ dir: cache, file })
    expect(heir.output, `after a kill at ${call} ${when}: ${heir.stderr}`).toMatchObject({ digest: expected.digest, sums: expected.sums })
    expect(readdirSync(join(cache, 'tmp')), `after a kill at ${call} ${when}`).toEqual([])
    const again = await runChild({ dir: cache, file })
    expect(again.output, `${call} ${when}`).toMatchObject({ digest: expected.digest, computed: 0 })
  }
  return { killed }
}
