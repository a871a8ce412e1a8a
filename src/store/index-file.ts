import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { StoreError } from '../core/errors.js'
import type { Layout } from './layout.js'

/** Where a meta page (the first two pages) has what is looked at here; little-endian, as lmdb 3.5.6 writes it on 64-bit machines. */
const META = { magic: 24, version: 28, pageBytes: 48, roots: [88, 136], transaction: 152, bytes: 160 } as const
const MAGIC = 0xbeefc0de
/** An empty tree. */
const NO_ROOT = 2n ** 64n - 1n

/**
 * Throws StoreError when the file of the index is plainly none: lmdb maps it unseen, and garbage or a cut-off file ends the process with a signal instead of an error. This looks at
 * the meta pages alone; what is wrong deeper down is found by whoever walks the whole index (`probeIndex`).
 */
export function assertIndexFile(layout: Layout): void {
  const fault = indexFault(layout)
  if (fault !== undefined) throw damagedIndex(layout.dir, fault)
}

/** LMDB's words for a page that is not what its parent said, for a file that lost pages, and for what follows from either in a transaction that goes on. */
export function isDamage(message: string): boolean {
  return /MDB_(?:CORRUPTED|PAGE_NOTFOUND|PANIC|INVALID|BAD_TXN|CURSOR_FULL)/.test(message)
}

/** What somebody is told whose index cannot be read; `fault` may be the message of such an error, from another thread or process. */
export function damagedIndex(dir: string, fault: string, cause?: unknown): StoreError {
  const said = /the index is damaged \((.*?)\); tensorcache reindex/.exec(fault)?.[1] ?? fault
  return new StoreError(dir, `the index is damaged (${said}); tensorcache reindex makes it again from the blobs`, cause === undefined ? undefined : { cause })
}

/** What became of an index: it is there, damaged or not; or nothing was ever kept; or there are blobs without one. */
export function indexState({ index, blobs }: Layout): 'there' | 'none' | 'lost' {
  // Whoever was about to make an empty one was killed, or its bytes were lost.
  if ((statSync(join(index, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0) > 0) return 'there'
  const hasBlobs = existsSync(blobs) && readdirSync(blobs).some((folder) => /^[0-9a-f]{2}$/.test(folder) && readdirSync(join(blobs, folder)).some((name) => /^[0-9a-f]{64}$/.test(name)))
  return hasBlobs ? 'lost' : 'none'
}

/** What is wrong with it; undefined when nothing is seen. A file that is not there is no damage; an empty one is, for lmdb maps that, too, when it may not write. */
export function indexFault(layout: Layout): string | undefined {
  const path = join(layout.index, 'data.mdb')
  const size = statSync(path, { throwIfNoEntry: false })?.size
  if (size === undefined) return undefined
  if (size === 0) return 'data.mdb is empty'
  const fd = openSync(path, 'r')
  try {
    const first = metaAt(fd, 0)
    if (first === undefined) return 'data.mdb does not begin as an index does'
    const second = metaAt(fd, first.pageBytes)
    if (second === undefined) return 'the second page of data.mdb is not that of an index'
    // Free pages at the end may lie behind the end of the file; those in use do not.
    const { roots, pageBytes } = first.transaction > second.transaction ? first : second
    const beyond = roots.find((root) => root !== NO_ROOT && (root + 1n) * BigInt(pageBytes) > BigInt(size))
    return beyond === undefined ? undefined : `data.mdb has ${size} bytes, its page ${beyond} lies behind them`
  } finally {
    closeSync(fd)
  }
}

function metaAt(fd: number, at: number): { pageBytes: number; roots: bigint[]; transaction: bigint } | undefined {
  const page = Buffer.alloc(META.bytes)
  if (readSync(fd, page, 0, page.length, at) < page.length || page.readUInt32LE(META.magic) !== MAGIC) return undefined
  const pageBytes = page.readUInt32LE(META.pageBytes)
  if (at === 0 && (pageBytes < 512 || pageBytes > 65_536 || (pageBytes & (pageBytes - 1)) !== 0)) return undefined
  return { pageBytes, roots: META.roots.map((offset) => page.readBigUInt64LE(offset)), transaction: page.readBigUInt64LE(META.transaction) }
}

/** A cache that is opened for the first time has no blobs. */
export function warnOfLostIndex(layout: Layout): void {
  if (indexState(layout) === 'lost') process.emitWarning(`tensorcache: ${layout.dir} has blobs and no index; a new one is begun, and what is there is computed again. tensorcache reindex makes the index from the blobs`, { code: 'TENSORCACHE_INDEX_LOST' })
}

/**
 * Numbers of the processes on this machine that have the index open, this one included; of processes of other users, and in other containers, only what may be seen from here.
 * An index that was deleted under them counts.
 */
export function usersOf(layout: Layout): number[] {
  if (process.platform !== 'linux') return []
  if (statSync(layout.dir, { throwIfNoEntry: false }) === undefined) return []
  const real = join(realpathSync(layout.dir), 'index')
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/maps`, 'utf8').includes(` ${real}/data.mdb`)
    } catch {
      // Gone, or not ours to look at.
      return false
    }
  })
}

/** Throws StoreError while any process has the cache open. */
export function assertUnused(layout: Layout, work: string): void {
  const users = usersOf(layout)
  if (users.length > 0) throw new StoreError(layout.dir, `${work} needs the cache for itself; it is open in process ${users.map((pid) => pid === process.pid ? `${pid} (this one)` : pid).join(', ')}`)
}
