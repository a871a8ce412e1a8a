import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { inTurns, seconds, type Spread } from './measure.js'
import { native } from './internals.js'
import { root } from './root.js'

export interface Facts {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly isa: string
  readonly node: string
  readonly kernel: string
  readonly commit: string | undefined
}

export function facts(): Facts {
  return {
    cpu: cpuModel(),
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    isa: native().isaSelected(),
    node: process.version,
    kernel: `${process.platform} ${release()}`,
    commit: commit(),
  }
}

function cpuModel(): string {
  try {
    return /^model name\s*:\s*(.+)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown'
  } catch {
    return cpus()[0]?.model ?? 'unknown'
  }
}

function commit(): string | undefined {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}

/** Cores that somebody else keeps busy, over some milliseconds in which we do nothing; undefined where the system does not tell. */
export async function coresBusy(ms: number): Promise<number | undefined> {
  const before = cpuTicks()
  await setTimeout(ms)
  const after = cpuTicks()
  if (before === undefined || after === undefined) return undefined
  return (after.busy - before.busy) / (after.all - before.all) * cpus().length
}

function cpuTicks(): { busy: number; all: number } | undefined {
  try {
    // user nice system idle iowait irq softirq steal
    const ticks = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!.trim().split(/\s+/).slice(1, 9).map(Number)
    const all = ticks.reduce((sum, value) => sum + value, 0)
    return { all, busy: all - ticks[3]! - ticks[4]! }
  } catch {
    return undefined
  }
}

/** Bytes per second of one thread's plain copy between two arrays far larger than the caches. */
export async function copySpeed(bytes: number, repetitions = 5): Promise<Spread> {
  const from = new Uint8Array(bytes).fill(1)
  const to = new Uint8Array(bytes)
  return (await inTurns(repetitions, { copy: async () => bytes / 1e9 / await seconds(() => to.set(from)) })).copy
}

/** Peak resident memory of a process that still runs, in MiB. */
export function peakResidentMiB(pid: number | 'self' = 'self'): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}
