import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { runChild, writeInput } from './support.js'

/** Mounting needs root and the right to mount. */
export function canMount(dir: string): boolean {
  const point = join(dir, 'probe')
  mkdirSync(point, { recursive: true })
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', point]).status !== 0) return false
  spawnSync('umount', [point])
  return true
}

/**
 * Builds into file systems that are too small. The process must end by itself with a DiskFullError (or have had room enough), never by a signal; what it published before
 * must be right, and when there is room again the build goes on from there.
 */
export async function fillDisks(dir: string, sizesKiB: readonly number[]): Promise<{ full: number }> {
  const file = join(dir, 'input.npz')
  writeInput(file, 96, 8192)
  const expected = (await runChild({ dir: join(dir, 'reference'), file })).output!
  const point = join(dir, 'small')
  mkdirSync(point, { recursive: true })
  let full = 0
  for (const size of sizesKiB) {
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}k`, 'tmpfs', point]).status).toBe(0)
    try {
      const cache = join(point, 'cache')
      const tight = await runChild({ dir: cache, file })
      expect(tight.signal, `${size} KiB: ${tight.stderr}`).toBeNull()
      if (tight.output?.digest === undefined) {
        full++
        expect(tight.output, `${size} KiB: ${tight.stderr}`).toMatchObject({ code: expect.stringMatching(/^(E_DISK_FULL|E_STORE)$/) })
      } else {
        expect(tight.output.sums).toBe(expected.sums)
      }
      // The same process image again on the still full disk: an error once more, and no crash.
      const again = await runChild({ dir: cache, file })
      expect(again.signal, `${size} KiB, second: ${again.stderr}`).toBeNull()
      expect(spawnSync('mount', ['-o', 'remount,size=64m', point]).status).toBe(0)
      const roomy = await runChild({ dir: cache, file })
      expect(roomy.output, `${size} KiB, with room again: ${roomy.stderr}`).toMatchObject({ digest: expected.digest, sums: expected.sums })
    } finally {
      spawnSync('umount', [point])
    }
  }
  return { full }
}
