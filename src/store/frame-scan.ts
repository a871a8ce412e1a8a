import { FormatError } from '../core/errors.js'
import type { MappedFile } from '../native/addon.js'
import { FRAME_BYTES, type Codec, type FrameIndex } from './compression.js'

const ZSTD_MAGIC = 0xfd2fb528
const LZ4_MAGIC = 0x184d2204
const SKIPPABLE = 0x184d2a50
/** A frame of 1 MiB in blocks of at least 1 KiB; anything with more of them was made to keep us busy. */
const BLOCKS_MAX = 1024

interface Frame { readonly end: number; readonly bytes: number }

/**
 * The frame index of a file from the file alone: goes from header to header and inflates nothing. What is accepted is what `FrameWriter` writes; anything else is a FormatError that names the frame and
 * its byte. Whether the frames can be decoded is found out by reading them.
 */
export function readFrameIndex(file: MappedFile): FrameIndex {
  const bytes = new Bytes(file)
  const codec = codecOf(bytes)
  const next = { lz4: lz4Frame, zstd: zstdFrame, gzip: gzipMember }[codec]
  const ends: number[] = []
  let total = 0
  let last = FRAME_BYTES
  for (let at = 0; at < file.size;) {
    bytes.place = `frame ${ends.length} at byte ${at}`
    if (codec !== 'gzip' && ends.length > 0 && isSkippable(bytes, at)) {
      const end = at + 8 + bytes.u32(at + 4)
      if (end !== file.size) bytes.refuse('a seek table that ends the file', `one that ends at byte ${end} of ${file.size}`)
      break
    }
    const frame = next(bytes, at)
    if (frame.bytes > FRAME_BYTES) bytes.refuse(`at most ${FRAME_BYTES} bytes`, `${frame.bytes}`)
    if (last < FRAME_BYTES || (frame.bytes === 0 && ends.length > 0)) bytes.refuse('the end of the file after a short frame', 'another frame')
    last = frame.bytes
    total += frame.bytes
    ends.push(frame.end)
    at = frame.end
  }
  return { codec, bytes: total, ends: Float64Array.from(ends) }
}

/** By the first four bytes of a file, little-endian; undefined when no codec's file begins so. A safetensors file cannot: its header would be larger than it may be. */
export function codecOfMagic(magic: number): Codec | undefined {
  if (magic === ZSTD_MAGIC) return 'zstd'
  if (magic === LZ4_MAGIC) return 'lz4'
  return (magic & 0xffffff) === 0x088b1f ? 'gzip' : undefined
}

function codecOf(bytes: Bytes): Codec {
  const magic = bytes.u32(0)
  return codecOfMagic(magic) ?? bytes.refuse('a zstd frame, an LZ4 frame or a gzip member', `0x${magic.toString(16).padStart(8, '0')}`)
}

function isSkippable(bytes: Bytes, at: number): boolean {
  return ((bytes.u32(at) ^ SKIPPABLE) >>> 4) === 0
}

/** RFC 8878, with content size and checksum, without dictionary; the sizes of the blocks lead to its end. */
function zstdFrame(bytes: Bytes, at: number): Frame {
  if (bytes.u32(at) !== ZSTD_MAGIC) bytes.refuse('a zstd frame', `0x${bytes.u32(at).toString(16)}`)
  const flags = bytes.u8(at + 4)
  const [sizeFlag, single, checksum, dictionary] = [flags >> 6, flags >> 5 & 1, flags >> 2 & 1, flags & 3]
  if ((sizeFlag === 0 && single === 0) || checksum === 0 || dictionary !== 0) bytes.refuse('a content size, a checksum and no dictionary', `descriptor 0x${flags.toString(16)}`)
  const sizeAt = at + 6 - single
  const size = sizeFlag === 0 ? bytes.u8(sizeAt) : sizeFlag === 1 ? bytes.u16(sizeAt) + 256 : bytes.u32(sizeAt)
  if (sizeFlag === 3 && bytes.u32(sizeAt + 4) !== 0) bytes.refuse(`at most ${FRAME_BYTES} bytes`, 'over 4 GiB')
  let block = sizeAt + 2 ** sizeFlag
  for (let blocks = 0; ; blocks++) {
    if (blocks === BLOCKS_MAX) bytes.refuse(`at most ${BLOCKS_MAX} blocks`, 'more')
    const header = bytes.u16(block) | bytes.u8(block + 2) << 16
    const type = header >> 1 & 3
    if (type === 3) bytes.refuse('a block of a known type', 'type 3')
    block += 3 + (type === 1 ? 1 : header >> 3)
    if ((header & 1) === 1) break
  }
  return { end: bytes.inside(block + 4), bytes: size }
}

/** LZ4 frame format 1.6.4, of one block at most, with content size and checksum. */
function lz4Frame(bytes: Bytes, at: number): Frame {
  const flags = bytes.u16(at + 4)
  if (bytes.u32(at) !== LZ4_MAGIC || flags !== 0x606c) bytes.refuse('an LZ4 frame with content size, checksum and blocks of 1 MiB', `0x${bytes.u32(at).toString(16)}, flags 0x${flags.toString(16)}`)
  if (bytes.u32(at + 10) !== 0) bytes.refuse(`at most ${FRAME_BYTES} bytes`, 'over 4 GiB')
  const size = bytes.u32(at + 6)
  const block = size === 0 ? 0 : 4 + (bytes.u32(at + 15) & 0x7fffffff)
  if (bytes.u32(at + 15 + block) !== 0) bytes.refuse('one block', 'more')
  return { end: bytes.inside(at + 15 + block + 8), bytes: size }
}

/** RFC 1952, with the member's size in the extra field "TC". */
function gzipMember(bytes: Bytes, at: number): Frame {
  const right = bytes.u32(at) === 0x04088b1f && bytes.u16(at + 10) === 8 && bytes.u32(at + 12) === 0x00044354
  if (!right) bytes.refuse('a gzip member with its size in an extra field', `0x${bytes.u32(at).toString(16)}`)
  const size = bytes.u32(at + 16)
  if (size < 30) bytes.refuse('a member of at least 30 bytes', `${size}`)
  return { end: bytes.inside(at + size), bytes: bytes.u32(at + size - 4) }
}

/** Numbers in a file; what lies behind its end is a FormatError at `place`. */
class Bytes {
  place = 'first bytes'
  readonly #file: MappedFile
  #begin = 0
  #view = new DataView(new ArrayBuffer(0))

  constructor(file: MappedFile) {
    this.#file = file
  }

  u8(at: number): number {
    return this.#at(at, 1).getUint8(at - this.#begin)
  }

  u16(at: number): number {
    return this.#at(at, 2).getUint16(at - this.#begin, true)
  }

  u32(at: number): number {
    return this.#at(at, 4).getUint32(at - this.#begin, true)
  }

  inside(at: number): number {
    if (at > this.#file.size) this.refuse(`${at - this.#file.size} more bytes`, `the end of the file at byte ${this.#file.size}`)
    return at
  }

  refuse(expected: string, found: string): never {
    throw new FormatError({ file: this.#file.path, place: this.place, expected, found })
  }

  #at(at: number, bytes: number): DataView {
    this.inside(at + bytes)
    if (at < this.#begin || at + bytes > this.#begin + this.#view.byteLength) {
      this.#begin = at
      this.#view = new DataView(this.#file.view(at, Math.min(2 ** 30, this.#file.size - at)))
    }
    return this.#view
  }
}
