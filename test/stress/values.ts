import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openCache } from '../../src/index.js'
import { blobPath } from '../../src/store/layout.js'
import { Diary, expectSound } from '../support/soundness.js'
import { failAt, killAt, root } from './support.js'

const work = join(root, 'test/stress/values-work.mjs')
const NAMESPACE = 'work'
/** What was there before, by number. */
const BEFORE = new Map([['old0', 1], ['old1', 2], ['old2', 3], ['old3', 4], ['old4', 5]])
/** One that is damaged before the work begins. */
const DAMAGED = 'damaged'

interface Run { readonly status: number | null; readonly signal: NodeJS.Signals | null; readonly out: string; readonly err: string }

function run(dir: string, prefix: readonly string[] = [], timeoutMs = 120_000): Promise<Run> {
  const [command, ...args] = [...prefix, process.execPath, work, dir, NAMESPACE]
  return new Promise((done) => {
    const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    child.stdout.on('data', (data: Buffer) => { out += data.toString() })
    child.stderr.on('data', (data: Buffer) => { err += data.toString() })
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      done({ status, signal, out, err })
    })
  })
}

/** A cache with something in it, every other value in a file. */
export async function prepare(dir: string): Promise<void> {
  const cache = await openCache({ dir, minFree: 0 })
  for (const [key, n] of BEFORE) await cache.put(key, { n, data: new Float32Array(n % 2 === 0 ? 12_000 : 20).fill(n) }, { namespace: NAMESPACE })
  await cache.put(DAMAGED, { n: 9, data: new Float32Array(12_000).fill(9) }, { namespace: NAMESPACE })
  const { blob } = cache.store.entries.get(NAMESPACE, DAMAGED)!
  const path = blobPath(cache.store.layout, Buffer.from(blob!).toString('hex'))
  await cache.close()
  const bytes = readFileSync(path)
  bytes[20_000]! ^= 1
  rmSync(path)
  writeFileSync(path, bytes)
}

/** Everything acknowledged is there, and the cache is sound and goes on working. */
async function check(dir: string, { out }: Run, where: string): Promise<Diary> {
  const diary = new Diary(out, BEFORE)
  const cache = await openCache({ dir, minFree: 0, memory: 0 })
  await diary.check(cache, NAMESPACE, where)
  expect(await cache.get(DAMAGED, { namespace: NAMESPACE }), where).toBeUndefined()
  await expectSound(cache, dir, where, 1)
  await cache.put('afterwards', { n: 99, data: new Float32Array(12_000).fill(99) }, { namespace: NAMESPACE })
  expect((await cache.get<{ n: number }>('afterwards', { namespace: NAMESPACE }))!.value.n, where).toBe(99)
  await cache.close()
  return diary
}

/** How often an undisturbed process makes each of these calls, on the thread that makes most. */
export async function countCalls(dir: string, calls: readonly string[]): Promise<Map<string, number>> {
  await prepare(join(dir, 'counted'))
  const log = join(dir, 'calls.log')
  const { status, err } = await run(join(dir, 'counted'), ['strace', '-f', '-qq', '-o', log, '-e', `trace=${calls.join(',')}`])
  expect(status, err).toBe(0)
  const counts = new Map<string, Map<string, number>>()
  for (const line of readFileSync(log, 'utf8').split('\n')) {
    const [, thread, call] = /^(\d+) +(\w+)\(/.exec(line) ?? []
    if (thread === undefined || call === undefined) continue
    const threads = counts.get(call) ?? new Map<string, number>()
    counts.set(call, threads.set(thread, (threads.get(thread) ?? 0) + 1))
  }
  return new Map(Array.from(counts, ([call, threads]) => [call, Math.max(...threads.values())]))
}

/** Disturbs one process after the other, each on a copy of the same cache, `jobs` at a time. Gives how many of them died or met an error. */
async function each<T>(dir: string, disturbances: readonly T[], disturb: (cache: string, disturbance: T) => Promise<boolean>, jobs = 2): Promise<number> {
  const template = join(dir, 'template')
  await prepare(template)
  let disturbed = 0
  const queue = disturbances.entries()
  const job = async (): Promise<void> => {
    for (const [index, disturbance] of queue) {
      const cache = join(dir, `cache-${index}`)
      cpSync(template, cache, { recursive: true })
      if (await disturb(cache, disturbance)) disturbed++
      rmSync(cache, { recursive: true, force: true })
    }
  }
  await Promise.all(Array.from({ length: jobs }, job))
  return disturbed
}

/** At least so many places to kill at, from the first to the last of each call, in equal steps. */
export function spread(counts: ReadonlyMap<string, number>, least: number): [call: string, when: number][] {
  for (let most = 1; ; most++) {
    const places = Array.from(counts).flatMap(([call, count]) => {
      const chosen = Math.min(most, count)
      return Array.from({ length: chosen }, (_, k): [string, number] => [call, Math.max(1, Math.round((k + 1) * count / chosen))])
    })
    if (places.length >= least || most > 10_000) return places
  }
}

/** Kills at the n-th call. */
export function killValues(dir: string, kills: readonly (readonly [call: string, when: number])[]): Promise<number> {
  return each(dir, kills, async (cache, [call, when]) => {
    const victim = await run(cache, killAt(call, when))
    const diary = await check(cache, victim, `killed at ${call} ${when}`)
    return !diary.ended
  })
}

/** Lets the n-th call, and with `+` all that follow it, fail. The process must end by itself. */
export function failValues(dir: string, failures: readonly (readonly [call: string, error: string, when: string])[]): Promise<number> {
  return each(dir, failures, async (cache, [call, error, when]) => {
    const where = `${call} ${when} fails with ${error}`
    const victim = await run(cache, failAt(call, error, when))
    expect([victim.signal, victim.status === 0 || victim.err !== ''], `${where}: ${victim.status} ${victim.err}`).toEqual([null, true])
    const diary = await check(cache, victim, where)
    return !diary.ended || /^x /m.test(victim.out)
  })
}

/** Works where so many KiB are free: errors of ours, never a signal, and nothing acknowledged is lost. */
export async function fillValues(dir: string, freeKiB: readonly number[]): Promise<number> {
  const point = join(dir, 'small')
  mkdirSync(point, { recursive: true })
  let full = 0
  for (const free of freeKiB) {
    const where = `${free} KiB free`
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', point]).status).toBe(0)
    try {
      const cache = join(point, 'cache')
      await prepare(cache)
      const { blocks, bfree, bsize } = statfsSync(point)
      expect(spawnSync('mount', ['-o', `remount,size=${(blocks - bfree) * bsize / 1024 + free}k`, point]).status, where).toBe(0)
      const tight = await run(cache)
      expect([tight.signal, tight.status], `${where}: ${tight.err}`).toEqual([null, 0])
      if (/^x E_DISK_FULL/m.test(tight.out)) full++
      expect(tight.out.match(/^x (?!E_DISK_FULL|E_STORE).*/m), where).toBeNull()
      expect(spawnSync('mount', ['-o', 'remount,size=64m', point]).status).toBe(0)
      await check(cache, tight, where)
    } finally {
      // Views of values keep their mappings until they are collected.
      spawnSync('umount', ['-l', point])
    }
  }
  return full
}
