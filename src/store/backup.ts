import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StoreError } from '../core/errors.js'
import { fromHex, toHex } from '../core/hash.js'
import { makeFolder, overlap } from '../core/paths.js'
import { assertIndexFile, assertUnused } from './index-file.js'
import { layoutOf, prepareLayout, STORE_FORMAT, type Layout } from './layout.js'
import { Store } from './store.js'
import { openTables } from './tables.js'
import { copyDurably, installIndex, removeOthers, transferBlobs, type ListedBlob } from './transfer.js'
import { abandonWork, assertFinished, beginWork, endWork, unfinishedWork } from './unfinished.js'
import { verifyStore, type DamagedBlob, type VerifyProgress } from './verify.js'
import { Writer } from './writer.js'

export interface BackupRequest {
  readonly target: string
  readonly link: boolean
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: VerifyProgress) => void) | undefined
}

/** What a backup has, and what was done for it. */
export interface BackedUp {
  /** Blobs of the backup. */
  readonly blobs: number
  /** Bytes of the backup's blobs. */
  readonly bytes: number
  /** Blobs that were brought there now. */
  readonly copied: number
  /** Bytes of what was brought there now. */
  readonly copiedBytes: number
  /** How many of these as hard links. */
  readonly linked: number
  /** Blobs that an older backup had and this one has not. */
  readonly removed: number
  /** Blobs whose file was not there: what they held is a miss in the backup. */
  readonly missing: readonly string[]
}

export interface RestoreRequest {
  readonly from: string
  readonly dir: string
  /** Writes over a cache that is there. */
  readonly force: boolean
  readonly link: boolean
  /** Reads every blob again and compares its SHA-256 with its name. */
  readonly verify: boolean
  readonly jobs: number
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: VerifyProgress) => void) | undefined
}

/** What was restored. */
export interface Restored extends BackedUp {
  /** With `verify`: blobs whose bytes are not those that were written. */
  readonly damaged: readonly DamagedBlob[]
}

/** In the folder of a backup: says that it is one. */
const NOTE = 'backup.json'

/**
 * A copy of the cache as it is at one moment, while others write:
 *
 *   1. a hold in the index keeps the files of removed blobs where they are (`hold`)
 *   2. LMDB copies its index as of one transaction; what belongs to living processes is taken out of the copy
 *   3. the blobs of that copy are linked or copied, those that an older backup brought are not
 *   4. the copied index takes the place of the older one, in one rename
 *   5. blobs that only the older backup had go
 *
 * A kill before 4 leaves the older backup as it was, and after it the new one whole.
 */
export async function backupStore(store: Store, { target, link, signal, onProgress }: BackupRequest): Promise<BackedUp> {
  const from = store.layout
  const to = layoutOf(target)
  assertTarget(from, to)
  prepareLayout(to)
  const isFirst = !existsSync(join(to.index, 'data.mdb')) || unfinishedWork(to) !== undefined
  // An older backup stays what it is until the moment in which the new one takes its place.
  if (isFirst) beginWork(to, 'backup')
  writeFileSync(join(to.dir, NOTE), JSON.stringify({ format: STORE_FORMAT, from: from.dir, begun: new Date().toISOString() }))
  const release = await hold(store)
  let installed = !isFirst
  try {
    const next = layoutOf(join(to.tmp, `next-${randomBytes(4).toString('hex')}`))
    makeFolder(next.index)
    await store.host.tables.root.backup(next.index, true)
    signal?.throwIfAborted()
    const writer = new Writer(next)
    try {
      await writer.run('detach', undefined)
      const blobs = await listBlobs(next)
      const { copied, bytes, linked, missing } = await transferBlobs(from, to, blobs, { link, signal, onProgress })
      for (const digest of missing) await writer.run('dropBlob', { digest: fromHex(digest) })
      await writer.close()
      const gone = new Set(missing)
      const kept = blobs.filter(({ digest }) => !gone.has(digest))
      await installIndex(join(next.index, 'data.mdb'), to)
      if (isFirst) endWork(to)
      installed = true
      const removed = await removeOthers(to, new Set(kept.map(({ digest }) => digest)))
      const done = { blobs: kept.length, bytes: kept.reduce((sum, blob) => sum + blob.bytes, 0), copied, copiedBytes: bytes, linked, removed, missing }
      writeFileSync(join(to.dir, NOTE), JSON.stringify({ format: STORE_FORMAT, from: from.dir, ended: new Date().toISOString(), blobs: done.blobs, bytes: done.bytes }))
      return done
    } finally {
      await writer.close()
      rmSync(next.dir, { recursive: true, force: true })
    }
  } finally {
    if (!installed) abandonWork(to, 'backup')
    await release()
  }
}

/**
 * Keeps files of blobs that others remove: whoever collects leaves what is younger than the oldest announcement of a living writer (`collect`, `sweep`), and this announcement
 * is older than every file. It ends with this process at the latest, and its heartbeat tells other containers that it lives.
 */
async function hold(store: Store): Promise<() => Promise<void>> {
  if (store.readonly) throw new StoreError(store.layout.dir, 'is opened read-only; a backup has to keep others from removing files meanwhile')
  const owner = store.newOwner()
  const name = store.tmpName(owner)
  const { writer } = store.host
  await store.claim(randomBytes(32), owner, [])
  await writer.run('announce', { pending: [name], owner, now: 0 })
  return async () => {
    // Not by `retire` alone, which would have the next who opens the cache look for orphans.
    await writer.run('renounce', { pending: [name] }).catch(() => undefined)
    await store.retire(owner)
    await store.entries.collect().catch(() => undefined)
  }
}

function assertTarget(from: Layout, to: Layout): void {
  if (overlap(from.dir, to.dir)) throw new StoreError(to.dir, 'lies in the cache, or the cache in it; a backup needs a folder of its own')
  if (!existsSync(to.dir)) return
  if (readdirSync(to.dir).length > 0 && !existsSync(join(to.dir, NOTE))) throw new StoreError(to.dir, 'is not empty, and holds no backup')
  assertUnused(to, 'backup')
  const work = unfinishedWork(to)
  if (work !== undefined && work !== 'backup') assertFinished(to)
}

/**
 * Makes a cache of a backup, which stays as it is:
 *
 *   1. the folder must be empty, or `force`; a marker keeps others from opening it until the end, and after a kill until this is run again
 *   2. the blobs are copied or linked, those that are there already are not; each must have its size
 *   3. the index is copied and takes its place in one rename; what the folder held besides goes
 *   4. the cache is opened once, and with `verify` read whole
 */
export async function restoreStore({ from: source, dir, force, link, verify, jobs, signal, onProgress }: RestoreRequest): Promise<Restored> {
  const from = layoutOf(source)
  const to = layoutOf(dir)
  if (!existsSync(join(from.dir, NOTE)) || !existsSync(join(from.index, 'data.mdb'))) throw new StoreError(source, 'holds no backup')
  assertFinished(from)
  assertIndexFile(from)
  const isOurs = unfinishedWork(to) === 'restore'
  const held = existsSync(to.dir) ? readdirSync(to.dir) : []
  if (held.length > 0 && !force && !isOurs) throw new StoreError(dir, 'is not empty; to write over the cache that is there say so with force (--yes)')
  if (held.length > 0 && !isOurs && !existsSync(to.blobs)) throw new StoreError(dir, 'is not empty, and holds no cache')
  if (existsSync(to.dir) && realpathSync(from.dir) === realpathSync(to.dir)) throw new StoreError(dir, 'is the backup itself')
  assertUnused(to, 'restore')
  prepareLayout(to)
  const hadCache = !isOurs && existsSync(join(to.index, 'data.mdb'))
  beginWork(to, 'restore')
  let done: Omit<Restored, 'damaged'>
  try {
    done = await bring(from, to, { link, signal, onProgress })
  } catch (error) {
    // What was there is still whole; what was brought is in nobody's way.
    if (hadCache) endWork(to)
    else abandonWork(to, 'restore')
    throw error
  }
  const store = await Store.open({ dir, readonly: true, minFree: 0 })
  try {
    const damaged = verify ? (await verifyStore(store, { jobs, signal, onProgress })).damaged : []
    return { ...done, damaged }
  } finally {
    await store.close()
  }
}

async function bring(from: Layout, to: Layout, { link, signal, onProgress }: Pick<RestoreRequest, 'link' | 'signal' | 'onProgress'>): Promise<Omit<Restored, 'damaged'>> {
  const blobs = await listBlobs(from)
  const { copied, bytes, linked, missing } = await transferBlobs(from, to, blobs, { link, signal, onProgress })
  const next = layoutOf(join(to.tmp, 'next'))
  rmSync(next.dir, { recursive: true, force: true })
  makeFolder(next.index)
  await copyDurably(join(from.index, 'data.mdb'), join(next.index, 'data.mdb'))
  if (missing.length > 0) {
    const writer = new Writer(next)
    for (const digest of missing) await writer.run('dropBlob', { digest: fromHex(digest) })
    await writer.close()
  }
  // Somebody may have been about to open it when the marker was written.
  assertUnused(to, 'restore')
  await installIndex(join(next.index, 'data.mdb'), to)
  // From here on it is the backup's.
  const gone = new Set(missing)
  const kept = blobs.filter(({ digest }) => !gone.has(digest))
  const removed = await removeOthers(to, new Set(kept.map(({ digest }) => digest)))
  rmSync(join(to.dir, NOTE), { force: true })
  endWork(to)
  return { blobs: kept.length, bytes: kept.reduce((sum, blob) => sum + blob.bytes, 0), copied, copiedBytes: bytes, linked, removed, missing }
}

async function listBlobs(layout: Layout): Promise<ListedBlob[]> {
  const tables = openTables(layout, { readOnly: true })
  try {
    return Array.from(tables.blobs.getRange(), ({ key, value }) => ({ digest: toHex(key as Buffer), bytes: value.bytes }))
  } finally {
    await tables.root.close()
  }
}
