import { stat } from 'node:fs/promises'
import { toHex } from '../core/hash.js'
import { native } from '../native/load.js'
import { blobPath } from './layout.js'
import type { Store } from './store.js'

export interface DamagedBlob {
  readonly digest: string
  readonly path: string
  readonly reason: string
}

export interface VerifyReport {
  readonly blobs: number
  readonly bytes: number
  readonly damaged: readonly DamagedBlob[]
}

export interface VerifyOptions {
  /** Blobs that are hashed at the same time. Default 2. */
  readonly jobs?: number
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: { blobs: number; bytes: number }) => void) | undefined
}

/** Reads every blob of the index again and compares its SHA-256 with its name. Changes nothing. Damage is reported, not thrown. */
export async function verifyStore(store: Store, options: VerifyOptions = {}): Promise<VerifyReport> {
  const { jobs = 2, signal, onProgress } = options
  const damaged: DamagedBlob[] = []
  let blobs = 0
  let bytes = 0
  const queue = [...store.blobs()][Symbol.iterator]()
  const work = async (): Promise<void> => {
    for (const { digest, record } of queue) {
      signal?.throwIfAborted()
      const path = blobPath(store.layout, digest)
      const reason = await fault(path, digest, record.bytes)
      // Dropped meanwhile by somebody who met the same damage, or pruned: no longer ours to judge.
      if (reason !== undefined && store.hasBlob(digest)) damaged.push({ digest, path, reason })
      blobs++
      bytes += record.bytes
      onProgress?.({ blobs, bytes })
    }
  }
  await Promise.all(Array.from({ length: jobs }, work))
  return { blobs, bytes, damaged: damaged.sort((a, b) => a.digest < b.digest ? -1 : 1) }
}

async function fault(path: string, digest: string, bytes: number): Promise<string | undefined> {
  try {
    const { size } = await stat(path)
    if (size !== bytes) return `has ${size} bytes, ${bytes} were written`
    const file = new (native().MappedFile)(path)
    try {
      const hash = new (native().Sha256)()
      await hash.updateFile(file, 0, size)
      const found = toHex(hash.digest())
      return found === digest ? undefined : `has the SHA-256 ${found}`
    } finally {
      file.close()
    }
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'is missing' : `cannot be read (${(error as Error).message})`
  }
}
