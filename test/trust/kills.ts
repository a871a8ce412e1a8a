import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect } from 'vitest'
import { openCache } from '../../src/index.js'
import { killAt } from '../stress/support.js'
import { smallCache } from '../support/data.js'
import { blobsOf, DAMAGE, fill, pathOf } from './support.js'

const child = resolve(import.meta.dirname, 'child.mjs')
function run(options: object, prefix: readonly string[] = []): { killed: boolean; output: Record<string, unknown> | undefined; stderr: string } {
  const [command, ...rest] = [...prefix, process.execPath, child, JSON.stringify(options)]
  const { status, stdout, stderr } = spawnSync(command!, rest, { encoding: 'utf8', timeout: 60_000 })
  return { killed: status !== 0, output: status === 0 ? JSON.parse(stdout) as Record<string, unknown> : undefined, stderr }
}

export type Kills = readonly (readonly [call: string, when: number])[]

/** The calls by which these works change the disk, and which one of each: early, in the middle, late. */
export const KILLS: Kills = [['rename', 1], ['rename', 2], ['rename', 3], ['fsync', 1], ['fsync', 3], ['pwrite64', 1], ['pwrite64', 4], ['unlink', 1], ['unlink', 2], ['openat', 60]]

/** Kills `verify --fix` at each of these calls, and lets an undisturbed process do it again: then nothing is left to do. Gives how many were killed. */
export async function killFix(dir: string, kills: Kills): Promise<number> {
  const { cache, key, digest } = await fill(dir)
  const victims = [...blobsOf(cache, 'shard'), ...blobsOf(cache, 'manifest')]
  await cache.close()
  for (const victim of victims) DAMAGE['a flipped bit']!(pathOf(join(dir, 'cache'), victim))
  let killed = 0
  for (const [call, when] of kills) {
    const copy = join(dir, `${call}-${when}`)
    cpSync(join(dir, 'cache'), copy, { recursive: true })
    if (run({ what: 'fix', dir: copy }, killAt(call, when)).killed) killed++
    const { output, stderr } = run({ what: 'fix', dir: copy })
    expect(output, `${call} ${when}: ${stderr}`).toMatchObject({ sound: true })
    expect(run({ what: 'fix', dir: copy }).output, `${call} ${when}`).toMatchObject({ sound: true, damaged: [], broken: [], repairs: [] })
    const again = await smallCache(copy)
    expect((await again.openDataset(key))!.digest).toBe(digest)
    await again.close()
    expect(readdirSync(join(copy, 'tmp')), `${call} ${when}`).toEqual([])
    rmSync(copy, { recursive: true })
  }
  return killed
}

/** The same of `reindex`. In between a cache has its old index, or cannot be opened. */
export async function killReindex(dir: string, kills: Kills): Promise<number> {
  const { cache, key, digest } = await fill(dir)
  const count = [...cache.store.blobs()].length
  await cache.close()
  let killed = 0
  for (const [call, when] of kills) {
    const copy = join(dir, `${call}-${when}`)
    cpSync(join(dir, 'cache'), copy, { recursive: true })
    const victim = run({ what: 'reindex', dir: copy }, killAt(call, when))
    if (victim.killed) {
      killed++
      // Whoever opens it now either has the old index, or is told; nobody begins an empty one over the blobs.
      const opened = await openCache({ dir: copy, minFree: 0 }).catch((error: { code: string }) => error.code)
      if (typeof opened === 'string') expect(opened, `${call} ${when}`).toBe('E_STORE')
      else {
        expect(await opened.openDataset(key), `${call} ${when}`).toBeDefined()
        await opened.close()
      }
    }
    // One that was begun is asked for again without a word of force.
    const { output, stderr } = run({ what: 'reindex', dir: copy, force: !existsSync(join(copy, 'unfinished')) })
    expect(output, `${call} ${when}: ${stderr}`).toMatchObject({ blobs: count, datasets: 1, items: 40, damaged: [] })
    const again = await smallCache(copy)
    expect((await again.openDataset(key))!.digest).toBe(digest)
    expect(await again.verify()).toMatchObject({ sound: true })
    await again.close()
    expect(readdirSync(join(copy, 'tmp')), `${call} ${when}`).toEqual([])
    rmSync(copy, { recursive: true })
  }
  return killed
}

/** The same of `backup` and `restore`, into new folders and over older ones: what was there before is whole until the new one is. */
export async function killTransfer(dir: string, what: 'backup' | 'restore', kills: Kills): Promise<number> {
  const { cache, key, digest } = await fill(dir)
  const target = join(dir, 'backup')
  await cache.backup(target)
  await cache.put('more', new Float32Array(40_000), { namespace: 'kept' })
  await cache.delete('large', { namespace: 'kept' })
  await cache.close()
  let killed = 0
  for (const [call, when] of kills) {
    // A new folder, and one that has an older backup, or another cache.
    for (const fresh of [true, false]) {
      const own = join(dir, `cache-${call}-${when}-${fresh}`)
      const copy = join(dir, `target-${call}-${when}-${fresh}`)
      if (!fresh || what === 'backup') cpSync(join(dir, 'cache'), own, { recursive: true })
      if (!fresh || what === 'restore') cpSync(target, copy, { recursive: true })
      const changed = what === 'backup' ? copy : own
      const victim = run({ what, dir: own, target: copy }, killAt(call, when))
      if (victim.killed) {
        killed++
        if (existsSync(join(changed, 'index/data.mdb')) && !existsSync(join(changed, 'unfinished'))) {
          const between = await openCache({ dir: changed, readonly: true })
          expect(await between.verify(), `${call} ${when}`).toMatchObject({ sound: true })
          await between.close()
        } else {
          await expect(openCache({ dir: changed, readonly: true })).rejects.toMatchObject({ code: 'E_STORE' })
        }
      }
      const { output, stderr } = run({ what, dir: own, target: copy })
      expect(output, `${call} ${when} ${fresh}: ${stderr}`).toMatchObject({ missing: [] })
      expect(run({ what, dir: own, target: copy }).output).toMatchObject({ copied: 0, removed: 0 })
      const again = await openCache({ dir: changed, readonly: true })
      expect(await again.verify()).toMatchObject({ sound: true })
      expect((await again.openDataset(key))!.digest).toBe(digest)
      await again.close()
      expect(readdirSync(join(changed, 'tmp')), `${call} ${when}`).toEqual([])
      rmSync(own, { recursive: true })
      rmSync(copy, { recursive: true })
    }
  }
  return killed
}
