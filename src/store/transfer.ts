import { constants } from 'node:fs'
import { copyFile, link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DiskFullError } from '../core/errors.js'
import { native } from '../native/load.js'
import { blobPath, type Layout } from './layout.js'
import { bytesFree } from './space.js'
import type { VerifyProgress } from './verify.js'

export interface ListedBlob {
  readonly digest: string
  readonly bytes: number
}

export interface Transferred {
  /** Blobs that were copied or linked, and their bytes; others were there already. */
  readonly copied: number
  readonly bytes: number
  readonly linked: number
  /** Blobs that are not there any more, or not of the size that was written. */
  readonly missing: readonly string[]
}

export interface TransferOptions {
  /** Hard links where both folders are on one file system; else copies. */
  readonly link: boolean
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: VerifyProgress) => void) | undefined
}

/** Files that are copied at the same time: a disk is busy with few. */
const JOBS = 4

/**
 * Brings blobs from one cache's folder into another's, durably: each is written to `tmp/`, synced and renamed, so that a name in `blobs/` always means a whole file. What is there already,
 * in its full size, stays; blobs never change.
 */
export async function transferBlobs(from: Layout, to: Layout, blobs: readonly ListedBlob[], { link: wantsLinks, signal, onProgress }: TransferOptions): Promise<Transferred> {
  const bytesTotal = blobs.reduce((sum, { bytes }) => sum + bytes, 0)
  const done = { copied: 0, bytes: 0, linked: 0, missing: [] as string[] }
  const folders = new Set<string>()
  let [seen, seenBytes] = [0, 0]
  let links = wantsLinks
  const queue = blobs[Symbol.iterator]()
  const one = async ({ digest, bytes }: ListedBlob): Promise<void> => {
    const [source, target] = [blobPath(from, digest), blobPath(to, digest)]
    if (await sizeOf(target) === bytes) return
    const part = join(to.tmp, `transfer-${digest}`)
    await rm(part, { force: true })
    await mkdir(dirname(target), { recursive: true })
    if (await sizeOf(source) !== bytes) {
      done.missing.push(digest)
      return
    }
    const linked = links && await tryLink(source, part)
    if (links && !linked) links = false
    if (!linked) await copyDurably(source, part)
    if (await sizeOf(part) !== bytes) {
      await rm(part, { force: true })
      done.missing.push(digest)
      return
    }
    await rename(part, target)
    folders.add(dirname(target))
    done.copied++
    done.bytes += bytes
    if (linked) done.linked++
  }
  const work = async (): Promise<void> => {
    for (const blob of queue) {
      signal?.throwIfAborted()
      try {
        await one(blob)
      } catch (cause) {
        const { code } = cause as NodeJS.ErrnoException
        if (code === 'ENOSPC' || code === 'EDQUOT') throw new DiskFullError({ dir: to.dir, bytesFree: await bytesFree(to.dir), bytesNeeded: bytesTotal - seenBytes }, { cause })
        if (code !== 'ENOENT' || await sizeOf(blobPath(from, blob.digest)) !== undefined) throw cause
        done.missing.push(blob.digest)
      }
      seen++
      seenBytes += blob.bytes
      onProgress?.({ blobs: seen, bytes: seenBytes, blobsTotal: blobs.length, bytesTotal })
    }
  }
  const results = await Promise.allSettled(Array.from({ length: JOBS }, work))
  for (const result of results) if (result.status === 'rejected') throw result.reason
  for (const folder of folders) await native().fsyncPath(folder)
  await native().fsyncPath(to.blobs)
  return done
}

/** Removes blobs that are not among these, and whatever an interrupted transfer left; gives how many blobs. */
export async function removeOthers(layout: Layout, keep: ReadonlySet<string>): Promise<number> {
  let removed = 0
  for (const folder of await readdir(layout.blobs)) {
    if (!/^[0-9a-f]{2}$/.test(folder)) continue
    for (const name of await readdir(join(layout.blobs, folder))) {
      if (!/^[0-9a-f]{64}$/.test(name) || keep.has(name)) continue
      await rm(join(layout.blobs, folder, name), { force: true })
      removed++
    }
  }
  for (const name of await readdir(layout.tmp)) await rm(join(layout.tmp, name), { recursive: true, force: true })
  return removed
}

/** Moves an index file to where it counts: at one moment the old one is there, at the next the new one. */
export async function installIndex(from: string, to: Layout): Promise<void> {
  await native().fsyncPath(from)
  await rm(join(to.index, 'lock.mdb'), { force: true })
  await rename(from, join(to.index, 'data.mdb'))
  await native().fsyncPath(to.index)
  await native().fsyncPath(to.dir)
}

async function tryLink(source: string, target: string): Promise<boolean> {
  try {
    await link(source, target)
    return true
  } catch (error) {
    // Another file system, one without hard links, too many of them, or a file of somebody else.
    if (['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

export async function copyDurably(source: string, target: string): Promise<void> {
  await copyFile(source, target, constants.COPYFILE_FICLONE)
  const file = await open(target, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
