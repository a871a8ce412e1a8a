import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inTurns, spread } from '../../bench/lib/measure.js'

const root = resolve(import.meta.dirname, '../..')
// Inside the project, so that 'tensorcache' resolves to it, and as deep as build/bench.
const compiled = join(root, 'build', `bench-test-${process.pid}`)
let dir: string

// The whole bench at its smallest, so that it cannot rot. It checks results and says nothing about speed: numbers come from `npm run bench`.
describe('bench', () => {
  beforeAll(() => {
    mkdirSync(join(root, 'build'), { recursive: true })
    dir = mkdtempSync(join(root, 'build', 'bench-data-'))
    const { status, stdout } = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'bench/tsconfig.json', '--outDir', compiled], { cwd: root, encoding: 'utf8' })
    expect(status, stdout).toBe(0)
  })
  afterAll(() => {
    rmSync(compiled, { recursive: true, force: true })
    rmSync(dir, { recursive: true, force: true })
  })

  const run = (...args: string[]): ReturnType<typeof spawnSync> & { stdout: string; stderr: string } => (
    spawnSync(process.execPath, [join(compiled, 'run.js'), '--dir', dir, ...args], { cwd: root, encoding: 'utf8' })
  )

  test('every question runs and finds its results right', () => {
    const { status, stdout, stderr } = run('--tiny')
    expect(status, stderr).toBe(0)
    for (const question of ['cast', 'stream', 'resample', 'batches', 'open', 'publish', 'compression', 'loop', 'crystals', 'values', 'entries', 'volumes', 'missing', 'onnx']) expect(stdout, question).toMatch(new RegExp(`^${question} +\\S`, 'm'))
  })

  test('questions are chosen by name', () => {
    const { status, stdout } = run('--tiny', 'resample')
    expect(status).toBe(0)
    expect(stdout).toMatch(/^resample /m)
    expect(stdout).not.toMatch(/^cast /m)
    const wrong = run('--tiny', 'resmaple')
    expect(wrong.status).toBe(2)
    expect(wrong.stderr).toContain('There is no question resmaple')
  })
})

describe('measuring', () => {
  test('median and percentiles lie between samples as NumPy puts them', () => {
    expect(spread([4, 1, 3, 2])).toMatchObject({ median: 2.5, samples: [4, 1, 3, 2] })
    expect(spread([4, 1, 3, 2]).p10).toBeCloseTo(1.3)
    expect(spread([4, 1, 3, 2]).p90).toBeCloseTo(3.7)
    expect(spread([7])).toMatchObject({ median: 7, p10: 7, p90: 7 })
  })

  test('contestants take turns, each first as often as last, and the first run of each does not count', async () => {
    const order: string[] = []
    const contestant = (name: string) => async (): Promise<number> => order.push(name)
    const results = await inTurns(2, { a: contestant('a'), b: contestant('b'), absent: undefined })
    expect(order.join('')).toBe('ababba')
    expect(results.a.samples).toEqual([3, 6])
    expect(results).not.toHaveProperty('absent')
  })
})
