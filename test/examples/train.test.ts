import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { heats } from '../../examples/training/crystals/heats.js'
import { grains } from '../../examples/training/patterns/grains.js'
import type { Progress } from '../../examples/training/progress.js'
import { fall } from '../../examples/training/report.js'
import type { Task } from '../../examples/training/task.js'
import { train, type Trained } from '../../examples/training/train.js'
import { openCache } from '../../src/index.js'
import { tempDir } from '../support/temp.js'

const root = resolve(import.meta.dirname, '../..')
// Inside the project, so that 'tensorcache' resolves to it; as deep as build/examples, which finds its data from there.
const compiled = join(root, 'build', `train-${process.pid}`)
const KILL_SEED = Number(process.env.KILL_SEED ?? Date.now() % 2 ** 31)

beforeAll(() => { execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'tsconfig.examples.json'), '--outDir', compiled]) })
afterAll(() => rmSync(compiled, { recursive: true, force: true }))

interface Step { readonly step: number; readonly epoch: number; readonly digest: string; readonly loss: number }

/** What a log says, up to its last whole line. */
function stepsIn(log: string): Step[] {
  if (!existsSync(log)) return []
  return readFileSync(log, 'utf8').split('\n').slice(0, -1).map((line) => {
    const [step, epoch, digest, loss] = line.split(' ')
    return { step: Number(step), epoch: Number(epoch), digest: digest!, loss: Number(loss) }
  })
}

/** Numbers in [0, 1) that depend on the seed only. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
}

interface Child { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly output: string }

/** Runs the command, and kills it when `isTime` says so. */
async function command(args: readonly string[], isTime: () => boolean = () => false): Promise<Child> {
  const child = spawn(process.execPath, [join(compiled, 'training/main.js'), ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { output += text })
  const poll = setInterval(() => { if (isTime()) child.kill('SIGKILL') }, 3)
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((done) => child.on('close', (...how) => done(how)))
  clearInterval(poll)
  return { code, signal, output }
}

const figures = (history: Trained['history']): unknown => history.map(({ epoch, loss, valLoss, valError }) => ({ epoch, loss, valLoss, valError }))

describe.each<[Task, { epochs: number; steps: number }]>([[heats(), { epochs: 2, steps: 28 }], [grains, { epochs: 3, steps: 30 }]])('$name', (task, { epochs, steps }) => {
  test('killed again and again and resumed, it has the batches and the losses of a run that was left alone, to the last bit', async () => {
    const dir = tempDir()
    const alone = join(dir, 'alone.log')
    const whole = await train(task, { dir: join(dir, 'alone'), epochs, log: alone, every: 100, compare: false })
    const expected = stepsIn(alone)
    expect(expected.map(({ step }) => step)).toEqual(Array.from({ length: steps }, (_, k) => k))
    expect(new Set(expected.map(({ digest }) => digest)).size, 'every batch is another').toBe(steps)

    const log = join(dir, 'killed.log')
    const cache = join(dir, 'killed')
    const args = [task.name, '--dir', cache, '--epochs', String(epochs), '--every', '3', '--log', log, '--no-compare', '--resume']
    const random = randomOf(KILL_SEED)
    const hint = `KILL_SEED=${KILL_SEED}`
    const reached = (): number => Math.max(-1, ...stepsIn(log).map(({ step }) => step))
    for (const half of [0, 1]) {
      // After a step of this half of them, and up to 40 ms later, wherever it is then: in a step, in a checkpoint, between two epochs.
      const last = half * steps / 2 + Math.floor(random() * (steps / 2 - 4))
      const wait = 40 * random()
      let since: number | undefined
      const { signal, output } = await command(args, () => {
        if (reached() >= last) since ??= performance.now()
        return since !== undefined && performance.now() - since >= wait
      })
      expect(signal, `${hint}: ${output}`).toBe('SIGKILL')
    }
    // And once at any time from the start of the process on.
    const until = performance.now() + 1500 * random()
    await command(args, () => performance.now() > until)
    const { code, output } = await command(args)
    expect(code, `${hint}: ${output}`).toBe(0)

    const seen = stepsIn(log)
    expect(output, hint).toContain('resumed after step')
    expect(seen.length, hint).toBeGreaterThanOrEqual(steps)
    // Also those that were made twice.
    for (const step of seen) expect(step, hint).toEqual(expected[step.step])
    expect([...new Set(seen.map(({ step }) => step))], hint).toEqual(expected.map(({ step }) => step))
    await using kept = await openCache({ dir: cache, minFree: 0 })
    const { history, step } = (await kept.get('newest', { namespace: `training/${task.name}` }))!.value as unknown as Progress
    expect(step).toBe(steps)
    expect(figures(history), hint).toEqual(figures(whole.history))
  })

  test('the loss falls as it is said, and the cache gives the batches that are computed without it', async () => {
    const trained = await train(task, { dir: tempDir() })
    expect(trained.history).toHaveLength(task.epochs)
    expect(fall(trained)).toBeGreaterThan(task.falls)
    expect(trained.history.at(-1)!.valLoss).toBeLessThan(trained.history[0]!.valLoss)
    expect(trained.comparison!.digest).toMatch(/^[0-9a-f]{64}$/)
  })
})

test('what is trained goes on for more epochs, not with another order, and begins anew unless it is told to resume', async () => {
  const dir = tempDir()
  const first = await train(grains, { dir, epochs: 1, compare: false })
  const second = await train(grains, { dir, epochs: 2, compare: false, resume: true })
  expect(second.resumedAt).toBe(first.steps)
  expect(second.history.slice(0, 1)).toEqual(first.history)
  await expect(train(grains, { dir, epochs: 3, compare: false, resume: true, seed: 2 })).rejects.toThrow(/restore: the state is of other data/)
  const anew = await train(grains, { dir, epochs: 1, compare: false })
  expect([anew.resumedAt, figures(anew.history)]).toEqual([undefined, figures(first.history)])
})

test.each([['nothing', []], ['an unknown option', ['patterns', '--epoch', '3']]])('%s to train is refused with the usage', async (_, args) => {
  const { code, output } = await command(args)
  expect(code).toBe(2)
  expect(output).toMatch(/usage: main\.js crystals\|patterns/)
})
