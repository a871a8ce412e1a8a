import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { serve, type Remote } from '../sources/remote.js'
import { rawBytes } from '../sources/staged-folder.js'
import { niftiBytes } from '../sources/nifti-write.js'
import { pattern } from '../sources/write.js'
import { killAt, root, runChild } from './support.js'

const ITEMS = 8
const SHAPE = [24, 20, 16]
const child = join(root, 'test/stress/staged-child.mjs')
const liveChild = join(root, 'test/stress/staged-live-child.mjs')
/** The calls by which raw files, locks and shards come and go. */
export const STAGED_CALLS = ['rename', 'unlink', 'rmdir', 'mkdir', 'link', 'write', 'pwrite64', 'fsync', 'openat', 'sendto', 'connect', 'close']

async function world(): Promise<{ remote: Remote; bytes: number }> {
  const volumes = Array.from({ length: ITEMS }, (_, k) => niftiBytes(pattern('int16', SHAPE, k + 1)))
  return { remote: await serve(Object.fromEntries(volumes.map((bytes, k) => [`v${k}.nii`, { bytes, etag: `"${k}"` }]))), bytes: volumes[0]!.length }
}

const rawOf = (staging: string): string[] => ['parts', 'ready', 'pins'].flatMap((place) => existsSync(join(staging, place)) ? readdirSync(join(staging, place)) : [])

/** Names of the files of whole items. */
function wholeOf(staging: string): string[] {
  const ready = join(staging, 'ready')
  return existsSync(ready) ? readdirSync(ready, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.nii')).map((name) => name.slice(name.lastIndexOf('/') + 1)) : []
}

/**
 * Kills builds of staged items while they fetch, compute, publish and clean up. The next process must have the right bytes, fetch no item again that lay there whole, and leave no raw file.
 */
export async function killStaged(dir: string, kills: readonly (readonly [call: string, when: number])[]): Promise<{ killed: number; resumed: number }> {
  const { remote, bytes } = await world()
  const options = (name: string): object => ({ dir: join(dir, `cache-${name}`), staging: join(dir, `staging-${name}`), url: remote.url, items: ITEMS, diskBudget: 4 * bytes, shape: SHAPE })
  const expected = (await runChild(options('reference'), [], 60_000, child)).output!
  expect(expected.computed).toBe(ITEMS)
  let killed = 0
  let resumed = 0
  for (const [index, [call, when]] of kills.entries()) {
    const where = `after a kill at ${call} ${when}`
    const staging = join(dir, `staging-${index}`)
    const victim = await runChild(options(String(index)), killAt(call, when), 60_000, child)
    if (victim.output === undefined) killed++
    else expect(victim.output.sums, where).toBe(expected.sums)
    const whole = wholeOf(staging)
    resumed += whole.length
    remote.log.length = 0
    const heir = await runChild(options(String(index)), [], 60_000, child)
    expect(heir.output, `${where}: ${heir.stderr}`).toMatchObject({ digest: expected.digest, sums: expected.sums })
    expect(remote.gets().filter((name) => whole.includes(name)), where).toEqual([])
    expect(rawOf(staging), where).toEqual([])
    remote.log.length = 0
    expect((await runChild(options(String(index)), [], 60_000, child)).output, where).toMatchObject({ digest: expected.digest, computed: 0 })
    expect(remote.gets(), where).toEqual([])
  }
  return { killed, resumed }
}

/** Processes that build one dataset at once, from one staging folder, within one budget. */
export async function stageTogether(dir: string, processes: number): Promise<void> {
  const { remote, bytes } = await world()
  const options = { dir: join(dir, 'cache'), staging: join(dir, 'staging'), url: remote.url, items: ITEMS, diskBudget: 3 * bytes }
  const results = await Promise.all(Array.from({ length: processes }, () => runChild(options, [], 120_000, child)))
  for (const { output, stderr } of results) expect(output, stderr).toMatchObject({ items: ITEMS, digest: results[0]!.output!.digest })
  expect(results.reduce((sum, { output }) => sum + output!.computed, 0)).toBe(ITEMS)
  expect(rawOf(options.staging)).toEqual([])
}

/**
 * Kills loops over staged items that are not cached while they fetch, read and make room. The next process must have the right bytes, keep to the budget, and leave
 * neither parts nor pins.
 */
export async function killLoops(dir: string, kills: readonly (readonly [call: string, when: number])[]): Promise<{ killed: number }> {
  const { remote, bytes } = await world()
  const options = (name: string): object => ({ staging: join(dir, `staging-${name}`), url: remote.url, items: ITEMS, diskBudget: 4 * bytes, shape: SHAPE })
  const expected = (await runChild(options('reference'), [], 60_000, liveChild)).output!
  expect(expected.items).toBe(2 * ITEMS)
  let killed = 0
  for (const [index, [call, when]] of kills.entries()) {
    const where = `after a kill at ${call} ${when}`
    const staging = join(dir, `staging-${index}`)
    const victim = await runChild(options(String(index)), killAt(call, when), 60_000, liveChild)
    if (victim.output === undefined) killed++
    else expect(victim.output.sums, where).toBe(expected.sums)
    const heirs = await Promise.all([1, 2].map(() => runChild(options(String(index)), [], 60_000, liveChild)))
    for (const { output, stderr } of heirs) expect(output, `${where}: ${stderr}`).toMatchObject({ items: 2 * ITEMS, sums: expected.sums })
    expect(rawBytes(staging), where).toBeLessThanOrEqual(4 * bytes)
    expect(readdirSync(join(staging, 'pins')), where).toEqual([])
    expect(readdirSync(join(staging, 'parts')).filter((name) => !name.includes('-nobody')), where).toEqual([])
  }
  return { killed }
}
