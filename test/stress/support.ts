import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { npzBytes } from '../support/npy.js'

export const root = resolve(import.meta.dirname, '../..')
export const child = join(root, 'test/stress/child.mjs')

export interface ChildResult {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly output: { digest: string; computed: number; items: number; sums: string } & { error?: string; code?: string } | undefined
  readonly stderr: string
}

/** An NPZ of `items` float64 rows with labels; the values depend on `salt` only. */
export function writeInput(path: string, items: number, width: number, salt = 1): void {
  const x = new Float64Array(items * width)
  let state = salt >>> 0 || 1
  for (let i = 0; i < x.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    x[i] = state / 2 ** 32 - 0.5
  }
  const y = Int32Array.from({ length: items }, (_, i) => i)
  writeFileSync(path, npzBytes({ x: { dtype: 'float64', shape: [items, width], data: x }, y: { dtype: 'int32', shape: [items], data: y } }))
}

/** Runs the child under `prefix` (a strace command line, say) and waits for it. */
export function runChild(options: object, prefix: readonly string[] = [], timeoutMs = 60_000, script = child): Promise<ChildResult> {
  const command = [...prefix, process.execPath, script, JSON.stringify(options)]
  return new Promise((done) => {
    const spawned = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    spawned.stdout.on('data', (data: Buffer) => { stdout += data.toString() })
    spawned.stderr.on('data', (data: Buffer) => { stderr += data.toString() })
    const timer = setTimeout(() => spawned.kill('SIGKILL'), timeoutMs)
    spawned.on('close', (status, signal) => {
      clearTimeout(timer)
      let output: ChildResult['output']
      try {
        output = JSON.parse(stdout) as ChildResult['output']
      } catch {
        output = undefined
      }
      done({ status, signal, output, stderr })
    })
  })
}

/** strace can kill a process at its n-th call of a kind; without it (or without the right to trace) those tests cannot run. */
export function canTrace(): boolean {
  return spawnSync('strace', ['-f', '-qq', '-o', '/dev/null', 'true']).status === 0
}

/** strace counts the calls of each thread by itself: with one thread for all work on files, the n-th call is the same in every run, or nearly so. */
const TRACE = ['strace', '-f', '-qq', '-E', 'UV_THREADPOOL_SIZE=1', '-o', '/dev/null']

/** A command line that kills the process at the `when`-th call of `call` of one of its threads. */
export function killAt(call: string, when: number): string[] {
  return [...TRACE, '-e', `trace=${call}`, '-e', `inject=${call}:signal=SIGKILL:when=${when}`]
}

/** A command line that makes the `when`-th call of `call` of each of its threads fail with `error`. */
export function failAt(call: string, error: string, when: string): string[] {
  return [...TRACE, '-e', `trace=${call}`, '-e', `inject=${call}:error=${error}:when=${when}`]
}
