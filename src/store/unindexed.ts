import { FormatError, IntegrityError } from '../core/errors.js'
import { toHex } from '../core/hash.js'
import { FORMAT } from '../core/keys.js'
import type { MappedFile } from '../native/addon.js'
import { native } from '../native/load.js'
import { FRAME_BYTES, type Codec } from './compression.js'
import { FrameCache } from './frame-cache.js'
import { codecOfMagic } from './frame-scan.js'
import { FramedBlob } from './framed-blob.js'
import { MappedBlob } from './mapped-blob.js'
import type { OpenBlob } from './open-blob.js'
import { chunkBytesFor, OWN } from './shard-format.js'
import { headerEnd, storedTensors } from './stored-tensors.js'
import type { BlobRecord } from './tables.js'

/** What a blob's file says by itself; the caller closes `blob`. */
export interface UnindexedBlob {
  readonly blob: OpenBlob
  readonly codec: Codec | undefined
  readonly kind: BlobRecord['kind']
  readonly bytes: number
  readonly chunkBytes: number
  readonly checksums: Uint8Array
  /** Milliseconds since 1970: when the file was written. */
  readonly created: number
}

/** Of what is no shard. */
const CHUNK_BYTES = 2 ** 18
const FRAMES_KEPT_BYTES = 4 * FRAME_BYTES
/** A multiple of every chunk size. */
const PIECE_BYTES = 2 ** 30
const KINDS: readonly string[] = ['shard', 'manifest', 'value'] satisfies BlobRecord['kind'][]

/**
 * Opens a blob of which the index says nothing: Chunk checksums are made only after the SHA-256 of the file has agreed with
 * its name. Rejects with IntegrityError when it does not, or when the file is no blob of ours; with other errors when the file cannot be read.
 */
export async function openUnindexed(path: string, digest: string, signal?: AbortSignal): Promise<UnindexedBlob> {
  const file = new (native().MappedFile)(path)
  try {
    const { size, stat } = file
    const hash = new (native().Sha256)()
    for (let at = 0; at < size; at += PIECE_BYTES) {
      signal?.throwIfAborted()
      await hash.updateFile(file, at, Math.min(PIECE_BYTES, size - at))
    }
    const found = toHex(hash.digest())
    if (found !== digest) throw new IntegrityError(path, `has the SHA-256 ${found}`)
    const codec = size < 4 ? undefined : codecOfMagic(new DataView(file.view(0, 4)).getUint32(0, true))
    const framed = codec === undefined ? undefined : await FramedBlob.open(path, digest, { bytes: size }, new FrameCache(FRAMES_KEPT_BYTES))
    const { kind, chunkBytes } = kindOf(path, size, framed ?? headerOf(file))
    const checksums = await checksumsOf(file, chunkBytes)
    return { blob: framed ?? await MappedBlob.open(path, digest, { bytes: size, chunkBytes }, checksums), codec, kind, bytes: size, chunkBytes, checksums, created: Number(stat.mtimeNs / 1_000_000n) }
  } catch (error) {
    if (error instanceof FormatError) throw new IntegrityError(path, `is no blob (${error.message})`, { cause: error })
    throw error
  } finally {
    file.close()
  }
}

/** Kind, and chunks as the writer chose them; any others would do. */
function kindOf(path: string, size: number, { metadata, tensors }: Pick<OpenBlob, 'metadata' | 'tensors'>): { kind: BlobRecord['kind']; chunkBytes: number } {
  const kind = metadata[`${OWN}kind`]
  if (kind === undefined || !KINDS.includes(kind) || metadata[`${OWN}format`] !== String(FORMAT)) throw new IntegrityError(path, `is no blob of format ${FORMAT}`)
  const rows = tensors.get(`${OWN}key`)?.shape[0] ?? 0
  return { kind: kind as BlobRecord['kind'], chunkBytes: kind === 'shard' && rows > 0 ? chunkBytesFor(size / rows) : CHUNK_BYTES }
}

function headerOf(file: MappedFile): Pick<OpenBlob, 'metadata' | 'tensors'> {
  headerEnd(file.path, file.size, new Uint8Array(file.view(0, Math.min(8, file.size))))
  return storedTensors(file)
}

async function checksumsOf(file: MappedFile, chunkBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for (let at = 0; at < file.size; at += PIECE_BYTES) parts.push(await native().xxh64Chunks(new Uint8Array(file.view(at, Math.min(PIECE_BYTES, file.size - at))), chunkBytes))
  return Buffer.concat(parts)
}
