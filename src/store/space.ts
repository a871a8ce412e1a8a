import { closeSync, openSync, statSync, statfsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { DiskFullError } from '../core/errors.js'
import { native } from '../native/load.js'
import type { Layout } from './layout.js'
import type { Tables } from './tables.js'

/**
 * LMDB should never meet a full disk: after a failed commit a process writes no more, and after some it cannot even read (native/src/io/lmdb_guard.h has
 * what else went wrong). So the blocks of its file are allocated ahead of use, and a transaction begins only when its worst case fits into them.
 */
const PAGE_BYTES = 4096
/** Allocated beyond the pages in use, always: more than any single small transaction can dirty. */
const MARGIN_BYTES = 2 * 2 ** 20
const STEP_BYTES = 8 * 2 ** 20

/** Bytes of the file system of `dir`, and those free for unprivileged users. */
export async function diskSpace(dir: string): Promise<{ free: number; total: number }> {
  const { bavail, blocks, bsize } = await statfs(dir)
  return { free: bavail * bsize, total: blocks * bsize }
}

/** Free bytes for unprivileged users on the file system of `dir`. */
export async function bytesFree(dir: string): Promise<number> {
  return (await diskSpace(dir)).free
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
