import { toHex } from '../core/hash.js'
import { shuffledIndex } from '../core/shuffle.js'
import { native } from '../native/load.js'
import type { BrokenRecord, CheckSmall } from './audit.js'
import { blobPath, type Layout } from './layout.js'
import { damagedIndex } from './index-file.js'
import { probeIndex } from './probe.js'
import type { Store } from './store.js'
import type { BlobRecord } from './tables.js'

/** A blob whose bytes are not those that were written. */
export interface DamagedBlob {
  /** Its name: the SHA-256 it should have, 64 hex digits. */
  readonly digest: string
  /** What it held. */
  readonly kind: BlobRecord['kind']
  /** Where it lies. */
  readonly path: string
  /** What is wrong with it. */
  readonly reason: string
}

export interface VerifyReport {
  /** Blobs that were read, and their bytes. */
  readonly blobs: number
  readonly bytes: number
  /** Blobs there were. */
  readonly of: number
  readonly damaged: readonly DamagedBlob[]
  /** Datasets and values of the index that were looked at, and those that lead nowhere. */
  readonly records: number
  readonly broken: readonly BrokenRecord[]
}

/** How far reading blobs has come. */
export interface VerifyProgress {
  /** Blobs that were read. */
  readonly blobs: number
  /** Their bytes. */
  readonly bytes: number
  /** Blobs there are to read. */
  readonly blobsTotal: number
  /** Their bytes. */
  readonly bytesTotal: number
}

export interface VerifyOptions {
  /** Blobs that are hashed at the same time. Default 2. */
  readonly jobs?: number
  /** So many of all blobs, chosen by `seed`, instead of all. */
  readonly sample?: ((of: number) => number) | undefined
  readonly seed?: bigint | undefined
  /** What is wrong with a small value; by default nothing. */
  readonly checkSmall?: CheckSmall | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: VerifyProgress) => void) | undefined
}

/** A file is hashed in pieces of this size: what progress and a signal wait for. */
const PIECE_BYTES = 64 * 2 ** 20

/**
 * Reads blobs of the index again and compares their SHA-256 with their names, and follows every dataset and value of the index to its blobs. Changes nothing. Damage is
 * reported, not thrown, but for that of the index itself, which leaves nothing to be told by: StoreError. Others may write meanwhile: what they removed is no damage.
 */
export async function verifyStore(store: Store, options: VerifyOptions = {}): Promise<VerifyReport> {
  const { jobs = 2, sample, seed = 0n, signal, onProgress, checkSmall = () => undefined } = options
  const index = await probeIndex(store.layout, signal)
  if (index !== undefined && 'fault' in index) throw damagedIndex(store.layout.dir, index.fault)
  const all = [...store.blobs()]
  const count = sample?.(all.length) ?? all.length
  const chosen = count >= all.length ? all : Array.from({ length: count }, (_, k) => all[shuffledIndex(all.length, seed, 0, k)]!)
  const bytesTotal = chosen.reduce((sum, { record }) => sum + record.bytes, 0)
  const damaged: DamagedBlob[] = []
  let blobs = 0
  let bytes = 0
  const queue = chosen[Symbol.iterator]()
  const work = async (): Promise<void> => {
    for (const { digest, record } of queue) {
      signal?.throwIfAborted()
      const tell = (): void => onProgress?.({ blobs, bytes, blobsTotal: chosen.length, bytesTotal })
      const found = await blobFault(store.layout, digest, record.bytes, signal, (count) => {
        bytes += count
        tell()
      })
      const reason = found?.reason ?? store.audit.blobFault(digest)
      // Dropped meanwhile by somebody who met the same damage, or pruned: no longer ours to judge.
      if (reason !== undefined && store.hasBlob(digest)) damaged.push({ digest, kind: record.kind, path: blobPath(store.layout, digest), reason })
      blobs++
      tell()
    }
  }
  await Promise.all(Array.from({ length: jobs }, work))
  const { records, broken } = await store.audit.broken(checkSmall, signal)
  return { blobs, bytes, of: all.length, damaged: damaged.sort((a, b) => a.digest < b.digest ? -1 : 1), records, broken }
}

/** What opening or reading a file says when it is the file that is wrong; EFAULT is what a mapping says of bytes that the disk does not give. All else, such as too many open files, says nothing about it. */
const DAMAGE: ReadonlySet<string | undefined> = new Set(['ENOENT', 'EFAULT', 'EIO', 'EISDIR', 'ENOTDIR', 'ELOOP', 'ENODEV'])

/** What is wrong with the file of a blob; `inode` is the file that was read, as far as there was one. Rejects when the file cannot be looked at for a reason that is not its own. */
export async function blobFault(layout: Layout, digest: string, bytes: number, signal?: AbortSignal, onBytes?: (count: number) => void): Promise<{ readonly reason: string; readonly inode: bigint | undefined } | undefined> {
  let inode: bigint | undefined
  try {
    const file = new (native().MappedFile)(blobPath(layout, digest))
    try {
      const { size, stat } = file
      inode = stat.ino
      if (size !== bytes) return { reason: `has ${size} bytes, ${bytes} were written`, inode }
      const hash = new (native().Sha256)()
      for (let at = 0; at < size; at += PIECE_BYTES) {
        signal?.throwIfAborted()
        const length = Math.min(PIECE_BYTES, size - at)
        await hash.updateFile(file, at, length)
        onBytes?.(length)
      }
      const found = toHex(hash.digest())
      return found === digest ? undefined : { reason: `has the SHA-256 ${found}`, inode }
    } finally {
      file.close()
    }
  } catch (error) {
    signal?.throwIfAborted()
    const { code, message } = error as NodeJS.ErrnoException
    if (!DAMAGE.has(code)) throw error
    return { reason: code === 'ENOENT' ? 'is missing' : `cannot be read (${message})`, inode }
  }
}
