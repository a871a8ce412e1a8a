import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Layout } from './layout.js'

/** Files that were set aside: damaged blobs, and an index that was made again. */
export interface Quarantined {
  readonly files: number
  readonly bytes: number
}

export function quarantined(layout: Layout): Quarantined {
  return sum(list(layout))
}

/** Removes them. What is set aside meanwhile may stay. */
export function emptyQuarantine(layout: Layout): Quarantined {
  const all = list(layout)
  for (const { path } of all) rmSync(path, { recursive: true, force: true })
  return sum(all)
}

function list({ quarantine }: Layout): { path: string; bytes: number }[] {
  // A cache that is opened read-only gets no folders.
  return !existsSync(quarantine) ? [] : readdirSync(quarantine).map((name) => {
    const path = join(quarantine, name)
    return { path, bytes: statSync(path, { throwIfNoEntry: false })?.size ?? 0 }
  })
}

function sum(all: readonly { bytes: number }[]): Quarantined {
  return { files: all.length, bytes: all.reduce((total, { bytes }) => total + bytes, 0) }
}
