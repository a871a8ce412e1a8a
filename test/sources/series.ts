import { gzipSync } from 'node:zlib'
import type { DType } from '../../src/core/dtype.js'
import { sizeOf } from '../../src/core/dtype.js'
import { bytesOf } from '../../src/core/tensor.js'
import type { Notes } from '../../src/sources/source.js'
import { niftiParts } from './nifti-write.js'
import { pattern, type Plain } from './write.js'

/** Frame `k` of a 4-D image. */
export function frameOf({ dtype, shape, data }: Plain, k: number): Plain {
  const [size, frames] = [sizeOf(dtype), shape[3]!]
  const all = Buffer.from(bytesOf(data))
  const out = Buffer.alloc(all.length / frames)
  for (let i = 0; i < out.length / size; i++) all.copy(out, i * size, (i * frames + k) * size, (i * frames + k + 1) * size)
  const { array } = { array: data.constructor as new (buffer: ArrayBufferLike, offset: number, length: number) => Plain['data'] }
  const bytes = Uint8Array.from(out)
  return { dtype, shape: shape.slice(0, 3), data: new array(bytes.buffer, 0, bytes.length / data.BYTES_PER_ELEMENT) }
}

/** As large as what has resume points: [32, 32, 16, 832] of int16, 27 MB, 33 kB a frame. */
export const LONG = { shape: [32, 32, 16, 832], frames: 832, frameBytes: 32 * 32 * 16 * 2 } as const

/** A `.nii` of that shape. Another seed, other voxels. */
export function longSeries(seed = 1, dtype: DType = 'int16'): Buffer {
  const { header } = niftiParts(pattern(dtype, [1, 1, 1, 1]), { lies: { axes: 4, dim: LONG.shape } })
  const data = new Int16Array(LONG.frameBytes / 2 * LONG.frames)
  let state = seed
  for (let k = 0; k < data.length; k++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    // Tissue with noise, and in every other plane of a frame nothing.
    data[k] = k % 2048 < 1024 ? 400 + ((k >> 6) % 50) + (state >>> 27) : 0
  }
  return Buffer.concat([header, Buffer.from(data.buffer)])
}

export function longGz(bytes: Buffer, members = 1): Buffer {
  const each = Math.ceil(bytes.length / members)
  return Buffer.concat(Array.from({ length: members }, (_, k) => gzipSync(bytes.subarray(k * each, (k + 1) * each), { level: 1 })))
}

/** Notes in memory, to look at and to damage. */
export class MapNotes implements Notes {
  readonly kept = new Map<string, Uint8Array>()
  puts = 0

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.kept.get(key)
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    this.puts++
    this.kept.set(key, Uint8Array.from(bytes))
  }
}
