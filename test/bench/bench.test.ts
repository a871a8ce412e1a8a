import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

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

  interface Ran { readonly status: number; readonly stdout: string; readonly stderr: string }
  const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> => new Promise((done) => {
    const child = execFile(process.execPath, [join(compiled, 'run.js'), '--dir', dir, ...args], { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26, env: { ...process.env, ...env } }, (_, stdout, stderr) => {
      done({ status: child.exitCode ?? -1, stdout, stderr })
    })
  })

  test('every question runs and finds its results right', async () => {
    const { questions } = await import('../../bench/questions.js')
    const { status, stdout, stderr } = await run(['--tiny'])
    expect(status, stderr).toBe(0)
    for (const question of Object.keys(questions)) expect(stdout, question).toMatch(new RegExp(`^${question}: \\S`, 'm'))
    // Each line of README is found among the findings.
    expect(stdout).not.toContain('README has lines')
    expect(stdout).toMatch(/^\d+ measured: .*questions failed: 0\n/m)
    expect(readdirSync(dir)).toEqual([])
  })

  test('questions are chosen by name', async () => {
    const { status, stdout } = await run(['--tiny', 'resample'])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^resample: /m)
    expect(stdout).not.toMatch(/^cast: /m)
    const wrong = await run(['--tiny', 'resmaple'])
    expect(wrong.status).toBe(2)
    expect(wrong.stderr).toContain('There is no question resmaple')
  })

  test('a question that fails is a line of the table, and the others go on', async () => {
    // No cache opens with this; resample needs none.
    const { status, stdout } = await run(['--tiny', 'batches', 'resample'], { TENSORCACHE_CHECK: 'perhaps' })
    expect(status).toBe(1)
    expect(stdout).toMatch(/^batches: .*\n {2}FAILED: .*TENSORCACHE_CHECK/m)
    expect(stdout).toMatch(/^resample: .*\n· /m)
    expect(stdout).toContain('questions failed: 1')
    expect(readdirSync(dir)).toEqual([])
  })
})
