import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DiskFullError, StoreError } from '../core/errors.js'
import type { Events } from '../core/events.js'
import { toHex } from '../core/hash.js'
import { native } from '../native/load.js'
import type { Codec, Compression } from './compression.js'
import { FrameWriter } from './frame-writer.js'
import { blobPath, type Layout } from './layout.js'
import type { EncodedBlob } from './shard-format.js'
import { bytesFree, requireSpace } from './space.js'

export interface WrittenBlob {
  /** 64 hex digits */
  readonly digest: string
  readonly sha256: Uint8Array
  readonly checksums: Uint8Array
  readonly chunkBytes: number
  /** Of the file. */
  readonly bytes: number
  /** Undefined when it is as it is. */
  readonly codec: Codec | undefined
}

export interface BlobWriting {
  /** Of the checksums. */
  readonly chunkBytes: number
  /** Bytes that stay free on the disk. */
  readonly minFree: number
  readonly events?: Events | undefined
  readonly compression?: Compression | undefined
}

/**
 * How a blob gets into the store:
 *
 *   1. its name in tmp/ is recorded as pending (with the lease, by the caller), so that a crash leaves a trace
 *   2. the bytes, compressed if they are to be, are written to tmp/, hashed on the way
 *   3. fsync of the file
 *   4. read-only, rename to blobs/ab/<digest>
 *   5. fsync of the folder and of its parent
 *   6. one index transaction makes its entries visible, checks the lease's token and clears the pending record (by `Store.publishShard` and `publishManifest`, which call this)
 *
 * A crash before 4 leaves a file in tmp/ that its dead owner no longer needs; between 4 and 6 a blob without a record. Both are swept. After 6
 * nothing is missing. A blob that exists already is replaced by the same bytes, which also mends one that rotted.
 */
export async function writeBlobFile(layout: Layout, name: string, blob: EncodedBlob, { chunkBytes, minFree, events, compression }: BlobWriting): Promise<WrittenBlob> {
  const parts = compression === undefined ? blob.parts : await compressed(blob, compression)
  const total = parts.reduce((sum, part) => sum + part.byteLength, 0)
  await requireSpace(layout.dir, total, minFree, events)
  const path = join(layout.tmp, name)
  // Asynchronous throughout: a rename waits for the file system's journal while another file is synced.
  try {
    const file = await open(path, 'wx', 0o600)
    let written
    try {
      written = await native().writeBlob(file.fd, parts, chunkBytes)
      await file.chmod(0o444)
    } finally {
      await file.close()
    }
    if (written.bytes !== total) throw new StoreError(layout.dir, `wrote ${written.bytes} of ${total} bytes`)
    const digest = toHex(written.sha256)
    const target = blobPath(layout, digest)
    await mkdir(dirname(target), { recursive: true })
    await rename(path, target)
    await native().fsyncPath(dirname(target))
    // Always: the process that made the folder may not have come to it.
    await native().fsyncPath(layout.blobs)
    return { digest, sha256: written.sha256, checksums: written.checksums, chunkBytes, bytes: total, codec: compression?.codec }
  } catch (cause) {
    await rm(path, { force: true })
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new DiskFullError({ dir: layout.dir, bytesFree: await bytesFree(layout.dir), bytesNeeded: total }, { cause })
    throw cause
  }
}

/** The frames of the file, all of them: SHA-256 over a shard takes a tenth of what compressing it does, so that writing them as they come would gain little. */
async function compressed({ parts, shuffled }: EncodedBlob, compression: Compression): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = []
  for await (const frame of new FrameWriter(parts, compression, { shuffled })) frames.push(Uint8Array.from(frame))
  return frames
}
