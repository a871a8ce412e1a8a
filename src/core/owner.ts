import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/**
 * Who holds leases, pins and unfinished files: a process, told apart from a later one with the same number by its start time. All
 * sharers of a cache directory run on one host, but perhaps in several containers, whose process numbers mean nothing to each other.
 */
export interface Owner {
  readonly host: string
  /** Process-number space, so that numbers are only compared within one. */
  readonly space: string
  readonly pid: number
  /** Start time of the process in clock ticks after boot, with the boot's id. */
  readonly start: string
}

let self: Owner | undefined

export function thisProcess(): Owner {
  self ??= { host: hostname(), space: processSpace(), pid: process.pid, start: startOf(process.pid) ?? '' }
  return self
}

/** A short text for records and file names; unique per process. */
export function ownerName(owner: Owner): string {
  return [owner.host, owner.space, owner.pid, owner.start].map((part) => String(part).replaceAll(/[^A-Za-z0-9_-]/g, '_')).join('.')
}

export function parseOwner(name: string): Owner | undefined {
  const [host, space, pid, start] = name.split('.')
  if (host === undefined || space === undefined || start === undefined || !/^\d+$/.test(pid ?? '')) return undefined
  return { host, space, pid: Number(pid), start }
}

/** `undefined` when it cannot be told from here (another container or host): then only its heartbeat counts. */
export function isAlive(name: string): boolean | undefined {
  const owner = parseOwner(name)
  const me = parseOwner(ownerName(thisProcess()))!
  if (owner === undefined || owner.host !== me.host || owner.space !== me.space) return undefined
  const start = startOf(owner.pid)
  if (start === undefined) return processExists(owner.pid)
  return start.replaceAll(/[^A-Za-z0-9_-]/g, '_') === owner.start
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function processSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replaceAll(/\D/g, '')
  } catch {
    return '0'
  }
}

function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The command name in parentheses may hold spaces; the fields after it do not. Field 22 is the start time; state Z is a dead process.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return 'dead'
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim().slice(0, 8)}-${fields[19]}`
  } catch {
    return undefined
  }
}
