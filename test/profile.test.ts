import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { events, npz, startProfile, type Cache, type Profile, type Source, type StageFacts } from '../src/index.js'
import { inStage, isProfiled, stepsInStage } from '../src/core/stages.js'
import { runCli } from './support/cli.js'
import { engines } from './support/gpu.js'
import { range, smallCache, steps, writeRows } from './support/data.js'
import { tempDir } from './support/temp.js'

const adapters = (await engines()).map(({ facts }) => facts)
const ROWS = 500
const WIDTH = 600
const INPUT_BYTES = ROWS * (8 * WIDTH + 4)

let source: Source
let file: string
const caches: Cache[] = []
beforeAll(async () => {
  file = join(tempDir(), 'rows.npz')
  writeRows(file, range(1, ROWS + 1), WIDTH)
  source = await npz(file)
})
afterAll(async () => {
  source.close()
  for (const cache of caches) await cache.close()
})
async function fresh(): Promise<Cache> {
  caches.push(await smallCache(join(tempDir(), 'cache')))
  return caches.at(-1)!
}

async function profiled(work: () => Promise<unknown>): Promise<Profile> {
  const profile = startProfile()
  try {
    await work()
  } finally {
    profile.stop()
  }
  return profile
}
const stagesOf = (profile: Profile): Record<string, { bytes: number; count: number; seconds: number; busySeconds: number }> => Object.fromEntries(profile.summary().map((stage) => [stage.stage, stage]))

describe('a profile', () => {
  test('of a build has its stages, with their bytes', async () => {
    const cache = await fresh()
    let written = 0
    const profile = await profiled(async () => { written = (await cache.dataset(source, steps)).report.bytes })
    const stages = stagesOf(profile)
    expect(stages.read!.bytes).toBe(INPUT_BYTES)
    expect(stages.write!.bytes).toBe(written)
    // Of every item what went in and what came out.
    expect(stages.hash!.bytes).toBe(INPUT_BYTES + ROWS * (4 * WIDTH + 4))
    expect(stages.cast!.bytes).toBe(ROWS * 8 * WIDTH)
    expect(stages.compute!.bytes).toBe(ROWS * 8 * WIDTH)
    for (const { seconds, busySeconds, count } of Object.values(stages)) {
      expect(count).toBeGreaterThan(0)
      expect(busySeconds).toBeLessThanOrEqual(Math.min(seconds, profile.seconds) + 1e-9)
    }
  })

  test('of a build that finds everything reads, computes and writes nothing', async () => {
    const cache = await fresh()
    await cache.dataset(source, steps)
    expect(stagesOf(await profiled(() => cache.dataset(source, steps)))).toEqual({})
  })

  test('of an epoch without a cache says what was read and computed, and what the loop waited for', async () => {
    const live = await (await fresh()).dataset(source, steps, { cache: false })
    const profile = await profiled(async () => { for await (const _ of live.batches({ size: 50, shuffle: true, seed: 1 })); })
    const stages = stagesOf(profile)
    expect(stages.read!.bytes).toBe(INPUT_BYTES)
    expect(stages.cast!.bytes).toBe(ROWS * 8 * WIDTH)
    expect(stages.wait!.count).toBeGreaterThan(0)
    expect(Object.keys(stages)).not.toContain('write')
  })

  test('is a trace in which what lies on one line does not overlap', async () => {
    const cache = await fresh()
    const profile = await profiled(() => cache.dataset(source, steps))
    const { traceEvents } = JSON.parse(profile.trace()) as { traceEvents: { name: string; ph: string; tid: number; ts: number; dur: number; args: { name?: string; bytes?: number } }[] }
    const names = new Map(traceEvents.filter(({ ph, name }) => ph === 'M' && name === 'thread_name').map(({ tid, args }) => [tid, args.name!]))
    const pieces = traceEvents.filter(({ ph }) => ph === 'X')
    expect(pieces.length).toBe(profile.summary().reduce((sum, { count }) => sum + count, 0))
    const ends = new Map<number, number>()
    for (const { name, tid, ts, dur } of pieces) {
      expect(names.get(tid)).toMatch(new RegExp(`^${name} \\d+$`))
      // Whole microseconds, each at least one.
      expect(ts).toBeGreaterThanOrEqual((ends.get(tid) ?? 0) - 2)
      ends.set(tid, ts + dur)
    }
  })

  test('keeps so many pieces for the trace and counts all', async () => {
    const profile = startProfile({ maxEvents: 3 })
    for (let k = 0; k < 200; k++) await inStage('hash', 5, () => undefined)
    profile.stop()
    expect(stagesOf(profile).hash).toMatchObject({ count: 200, bytes: 1000 })
    const { traceEvents, otherData } = JSON.parse(profile.trace()) as { traceEvents: { ph: string }[]; otherData: { dropped: number } }
    expect([traceEvents.filter(({ ph }) => ph === 'X').length, otherData.dropped]).toEqual([3, 197])
    expect(() => startProfile({ max: 3 } as never)).toThrow(/maxEvents/)
  })

  test('counts time in which several pieces are under way once', async () => {
    const profile = startProfile()
    const wait = (ms: number): Promise<void> => new Promise((done) => { setTimeout(done, ms) })
    await Promise.all(range(0, 5).map(() => inStage('compute', 0, () => wait(30))))
    await inStage('compute', 0, () => wait(10))
    profile.stop()
    const { seconds, busySeconds } = stagesOf(profile).compute!
    expect(seconds).toBeGreaterThan(0.15)
    expect(busySeconds).toBeLessThan(seconds - 0.1)
    expect(busySeconds).toBeGreaterThan(0.035)
  })
})

describe.skipIf(adapters.length === 0)('on a GPU', () => {
  test('the stages of its thread are told here, by the clock of this one', async () => {
    const cache = await fresh()
    const heard: StageFacts[] = []
    const listen = (message: unknown): void => { heard.push(message as StageFacts) }
    subscribe(events.stage, listen)
    const began = performance.now()
    try {
      await cache.dataset(source, steps, { device: `webgpu:${adapters[0]!.name}` })
    } finally {
      unsubscribe(events.stage, listen)
    }
    const of = (stage: string): StageFacts[] => heard.filter((facts) => facts.stage === stage)
    const bytes = (stage: string): number => of(stage).reduce((sum, facts) => sum + facts.bytes, 0)
    expect(bytes('upload')).toBeGreaterThanOrEqual(ROWS * 8 * WIDTH)
    expect(bytes('readback')).toBeGreaterThanOrEqual(ROWS * 4 * WIDTH)
    for (const { start, seconds } of [...of('upload'), ...of('compute'), ...of('readback')]) {
      expect(start).toBeGreaterThanOrEqual(began - 1)
      expect(start + seconds * 1000).toBeLessThanOrEqual(performance.now() + 1)
    }
  })
})

describe('stages', () => {
  test('are measured only while somebody listens, by whatever means', async () => {
    expect(isProfiled()).toBe(false)
    const heard: StageFacts[] = []
    const listen = (message: unknown): void => { heard.push(message as StageFacts) }
    subscribe(events.stage, listen)
    expect(isProfiled()).toBe(true)
    await inStage('read', (text: string) => text.length, async () => 'abc')
    unsubscribe(events.stage, listen)
    await inStage('read', 1, () => undefined)
    expect(heard).toHaveLength(1)
    expect(heard[0]).toMatchObject({ stage: 'read', bytes: 3 })
    expect(isProfiled()).toBe(false)
  })

  test('leave what is iterated as it is: its values, its end, its error, and that it was left early', async () => {
    let left = 0
    async function * numbers(): AsyncGenerator<number> {
      try {
        yield 1
        yield 2
        throw new Error('three')
      } finally {
        left++
      }
    }
    for (const listens of [false, true]) {
      const profile = listens ? startProfile() : undefined
      const seen: number[] = []
      await expect((async () => { for await (const number of stepsInStage('read', (n) => n, numbers())) seen.push(number) })()).rejects.toThrow('three')
      for await (const number of stepsInStage('read', (n) => n, numbers())) {
        seen.push(number)
        break
      }
      profile?.stop()
      expect(seen).toEqual([1, 2, 1])
      if (profile !== undefined) expect(stagesOf(profile).read!.bytes).toBe(4)
    }
    expect(left).toBe(4)
  })
})

test('build --profile prints a table, or an object; --trace writes what a viewer opens', () => {
  const dir = tempDir()
  writeFileSync(join(dir, 'tensorcache.yaml'), `cache: { dir: cache }\ndatasets:\n  rows: { source: { type: npz, path: ${file} }, recipe: [{ cast: { dtype: float32, fields: [x] } }] }\n`)
  const trace = join(dir, 'trace.json')
  const { stdout } = runCli(dir, ['build', '--profile', '--trace', trace])
  expect(stdout).toMatch(/^stage +busy +of the time +in all +pieces +bytes +speed$/m)
  for (const stage of ['read', 'cast', 'hash', 'write']) expect(stdout).toMatch(new RegExp(`^${stage} +\\S`, 'm'))
  expect((JSON.parse(readFileSync(trace, 'utf8')) as { traceEvents: unknown[] }).traceEvents.length).toBeGreaterThan(4)
  const { stdout: json } = runCli(dir, ['build', '--profile', '--format', 'json'])
  expect(JSON.parse(json.trim().split('\n').at(-1)!)).toEqual({ profile: [], seconds: expect.any(Number) as number })
})
