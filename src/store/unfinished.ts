import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StoreError } from '../core/errors.js'
import type { Layout } from './layout.js'
import { isAlive, ownerName, thisProcess } from '../core/owner.js'

/**
 * A file `unfinished` in a cache's folder says that its index and its blobs do not belong together yet, and who is at it: somebody who opened the cache then would take good
 * blobs for orphans. It goes when the work is done; after a kill it stays until the work is done again.
 */
const NAME = 'unfinished'
/** Owner of work that was given up. */
const NOBODY = 'nobody'

export type Work = 'backup' | 'reindex' | 'restore'

interface Marker { readonly work: Work; readonly owner: string }

/** Throws StoreError when somebody is at work on the folder already. A dead one's place is taken. */
export function beginWork(layout: Layout, work: Work): void {
  const held = markerOf(layout)
  const me = ownerName(thisProcess())
  if (held !== undefined && mayLive(held)) throw new StoreError(layout.dir, underWay(layout, held))
  if (held !== undefined) rmSync(join(layout.dir, NAME), { force: true })
  // Exclusively: of two that came at the same time one is refused here.
  try {
    writeFileSync(join(layout.dir, NAME), JSON.stringify({ work, owner: me } satisfies Marker), { flag: 'wx' })
  } catch (cause) {
    throw new StoreError(layout.dir, `a ${work} cannot begin (${(cause as Error).message})`, { cause })
  }
}

export function endWork(layout: Layout): void {
  rmSync(join(layout.dir, NAME), { force: true })
}

/** It failed half-way: nobody is at it, and it has to be done again. */
export function abandonWork(layout: Layout, work: Work): void {
  writeFileSync(join(layout.dir, NAME), JSON.stringify({ work, owner: NOBODY } satisfies Marker))
}

/** The work that was begun and not ended, if any. */
export function unfinishedWork(layout: Layout): Work | undefined {
  return markerOf(layout)?.work
}

/** Throws StoreError while the folder is no whole cache. */
export function assertFinished(layout: Layout): void {
  const held = markerOf(layout)
  if (held === undefined) return
  throw new StoreError(layout.dir, mayLive(held) ? underWay(layout, held) : `a ${held.work} of it was interrupted; run it again`)
}

/** Of a process in another container nothing is known. */
function mayLive({ owner }: Marker): boolean {
  return owner !== NOBODY && isAlive(owner) !== false
}

function underWay(layout: Layout, { work, owner }: Marker): string {
  return `a ${work} of it is under way (${owner})${isAlive(owner) === undefined ? `; if that process is gone, remove ${join(layout.dir, NAME)} and run it again` : ''}`
}

function markerOf({ dir }: Layout): Marker | undefined {
  let text: string
  try {
    text = readFileSync(join(dir, NAME), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined
    throw error
  }
  try {
    const { work, owner } = JSON.parse(text) as Partial<Marker>
    if (typeof owner === 'string' && (work === 'backup' || work === 'reindex' || work === 'restore')) return { work, owner }
  } catch {
    // Killed before it was written.
  }
  return { work: 'reindex', owner: NOBODY }
}
