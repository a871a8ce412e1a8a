import { closeSync, openSync, statSync, statfsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { DiskFullError } from '../core/errors.js'
import type { Events } from '../core/events.js'
import { native } from '../native/load.js'
import type { Layout } from './layout.js'
import type { Tables } from './tables.js'

/**
 * LMDB must never meet a full disk: after one failed commit, further writes have corrupted the heap (lmdb 3.5.6, seen in 8 of 12 runs).
 * So the blocks of its file are allocated ahead of use, and a transaction begins only when its worst case fits into them.
 */
const PAGE_BYTES = 4096
/** Allocated beyond the pages in use, always: more than any single small transaction can dirty. */
const MARGIN_BYTES = 2 * 2 ** 20
const STEP_BYTES = 8 * 2 ** 20

/** Free bytes for unprivileged users on the file system of `dir`. */
export async function bytesFree(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir)
  return bavail * bsize
}

/** Rejects with DiskFullError unless `bytes` fit and `minFree` stays. */
export async function requireSpace(dir: string, bytes: number, minFree: number, events?: Events): Promise<void> {
  const free = await bytesFree(dir)
  const low = free - bytes < minFree
  events?.turn('low-disk', low, () => ({ folder: dir, free, needed: bytes, minFree }))
  if (low) throw new DiskFullError({ dir, bytesFree: free, bytesNeeded: bytes + minFree })
}

/**
 * Makes sure that a transaction touching `entries` random keys and writing `payload` bytes finds allocated blocks. Copy-on-write touches at
 * most one leaf per entry (never more leaves than there are), its branches, and as much again for the free list.
 */
export function reserveIndex(layout: Layout, tables: Tables, entries: number, payload: number): void {
  const stats = tables.root.getStats() as { lastPageNumber: number }
  const leaves = Math.min(entries, (tables.items.getStats() as { treeLeafPageCount: number }).treeLeafPageCount + Math.ceil(entries / 40))
  const needed = (stats.lastPageNumber + 1) * PAGE_BYTES + 2 * leaves * PAGE_BYTES + 2 * payload + MARGIN_BYTES
  const path = join(layout.index, 'data.mdb')
  const allocated = statSync(path).blocks * 512
  if (allocated >= needed) return
  const fd = openSync(path, 'r+')
  try {
    // A generous step first; close to the end of the disk, just what is needed.
    for (const target of [needed + STEP_BYTES, needed]) {
      if (native().fallocate(fd, 0, target, true) === 0) return
    }
  } finally {
    closeSync(fd)
  }
  const { bavail, bsize } = statfsSync(layout.dir)
  throw new DiskFullError({ dir: layout.dir, bytesFree: bavail * bsize, bytesNeeded: needed - allocated })
}
