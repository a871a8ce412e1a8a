import { promisify } from 'node:util'
import { constants, deflateRaw } from 'node:zlib'
import { fromHex, toHex } from '../core/hash.js'
import type { InflateIndex } from '../native/addon.js'
import { native } from '../native/load.js'

/**
 * Seek index of a gzip file, as bytes: places where inflating can begin, and the CRC-32 of each block of the inflated bytes, with which every range is compared. docs/formats/gzip-index.md has
 * the layout. It is bound to the file's content; this file is the gate through which such bytes come in.
 */

/** What an index is of. */
export interface IndexedFile {
  /** SHA-256 of the file, 64 hex digits. */
  readonly digest: string
  readonly size: number
  /** Inflated bytes that are wanted of it. */
  readonly bytes: number
}

/** A change of what the numbers mean is another version; others are not read. */
const MAGIC = Buffer.from('tcgzidx\x01', 'latin1')
/** So many points at most: 8 MiB of windows before they are deflated. */
export const POINTS_MAX = 256
/** Inflating from one to the next takes about 10 ms, deflating a window 0.25 ms. */
const SPACING_MIN = 6 * 2 ** 20
/** Blocks between two points. What is read is inflated up to one block further, and a check has 4 bytes. */
const BLOCKS_PER_POINT = 48
const HEADER_BYTES = 120
const POINT_BYTES = 56
const WINDOW_BYTES = 32768
/** Bytes behind those that are wanted: `native/src/inflate/stream.cc`. */
const TRAILING_MAX = 16 * 2 ** 20

/** As native code has them: numbers of an index's own. */
export const INDEX_NUMBERS = ['passed', 'memberFrom', 'memberCrc', 'membersChecked', 'complete'] as const
/** And of each point. */
export const POINT_NUMBERS = ['at', 'kind', 'block', 'next', 'storedLeft', 'runFrom', 'runCrc', 'runBefore', 'windowBytes', 'packedBytes'] as const
/** Which of them are written as u64 and as u32, in their order in the file. */
const POINT_LONG = ['at', 'block', 'next', 'runFrom'] as const
const POINT_SHORT = ['kind', 'storedLeft', 'runCrc', 'runBefore', 'windowBytes', 'packedBytes'] as const

/** Bytes between points, and in a block. */
export function spacingOf(bytes: number): { readonly every: number; readonly block: number } {
  const every = Math.max(SPACING_MIN, Math.ceil((bytes + TRAILING_MAX) / POINTS_MAX))
  return { every, block: Math.ceil(every / BLOCKS_PER_POINT) }
}

const deflate = promisify(deflateRaw)
/** Levels and matches gain nothing on the low bits of images, and runs are what else there is. */
const PACKING = { level: 1, strategy: constants.Z_RLE } as const

/** Windows of the points from number `from` on, deflated one by one. */
export async function packWindows({ numbers, windows }: InflateIndex, from: number): Promise<Uint8Array[]> {
  const packed: Uint8Array[] = []
  let at = 0
  for (let k = INDEX_NUMBERS.length + from * POINT_NUMBERS.length; k < numbers.length; k += POINT_NUMBERS.length) {
    const bytes = numbers[k + POINT_NUMBERS.indexOf('packedBytes')]!
    const window = windows.subarray(at, at += bytes)
    const smaller = await deflate(window, PACKING)
    // As long as the window itself would be taken for it.
    packed.push(smaller.length < bytes ? smaller : window)
  }
  return packed
}

/** `windows` are those of the points. */
export function encodeIndex(file: IndexedFile, { numbers, checks }: Pick<InflateIndex, 'numbers' | 'checks'>, windows: readonly Uint8Array[]): Buffer {
  const points = (numbers.length - INDEX_NUMBERS.length) / POINT_NUMBERS.length
  const out = Buffer.alloc(HEADER_BYTES + points * POINT_BYTES + checks.byteLength + windows.reduce((sum, { length }) => sum + length, 0))
  const long = (at: number, value: number): void => { out.writeBigUInt64LE(BigInt(value), at) }
  const own = Object.fromEntries(INDEX_NUMBERS.map((name, k) => [name, numbers[k]!])) as Record<typeof INDEX_NUMBERS[number], number>
  const { every, block } = spacingOf(file.bytes)
  MAGIC.copy(out)
  out.set(fromHex(file.digest), 16)
  ;[file.size, file.bytes, every, block, own.passed, own.memberFrom, own.membersChecked].forEach((value, k) => { long(48 + 8 * k, value) })
  ;[own.memberCrc, own.complete, points, checks.length].forEach((value, k) => { out.writeUInt32LE(value, 104 + 4 * k) })
  let at = HEADER_BYTES
  for (let k = 0; k < points; k++) {
    const first = INDEX_NUMBERS.length + k * POINT_NUMBERS.length
    const of = (name: typeof POINT_NUMBERS[number]): number => name === 'packedBytes' ? windows[k]!.length : numbers[first + POINT_NUMBERS.indexOf(name)]!
    for (const name of POINT_LONG) { long(at, of(name)); at += 8 }
    for (const name of POINT_SHORT) at = out.writeUInt32LE(of(name), at)
  }
  for (const check of checks) at = out.writeUInt32LE(check, at)
  for (const window of windows) {
    out.set(window, at)
    at += window.length
  }
  out.writeBigUInt64LE(native().xxh64(out.subarray(16)), 8)
  return out
}

/** Undefined for what is no sound index of this file. */
export function decodeIndex(file: IndexedFile, given: Uint8Array): (InflateIndex & { readonly packed: Uint8Array[] }) | undefined {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength)
  if (bytes.length < HEADER_BYTES || MAGIC.compare(bytes, 0, 8) !== 0 || bytes.readBigUInt64LE(8) !== native().xxh64(bytes.subarray(16))) return undefined
  const long = (at: number): number => Number(bytes.readBigUInt64LE(at))
  const [size, wanted, everySaid, blockSaid, passed, memberFrom, membersChecked] = Array.from({ length: 7 }, (_, k) => long(48 + 8 * k)) as [number, number, number, number, number, number, number]
  const [memberCrc, complete, points, checks] = [104, 108, 112, 116].map((at) => bytes.readUInt32LE(at)) as [number, number, number, number]
  const { every, block } = spacingOf(file.bytes)
  if (toHex(bytes.subarray(16, 48)) !== file.digest || size !== file.size || wanted !== file.bytes || everySaid !== every || blockSaid !== block) return undefined
  if (!(passed <= file.bytes + TRAILING_MAX * 2 && memberFrom <= passed && membersChecked <= size && complete <= 1 && points <= POINTS_MAX)) return undefined
  // A complete one has a check for everything, another one for whole blocks.
  if (checks !== (complete === 1 ? Math.ceil(passed / block) : Math.floor(passed / block)) || (complete === 1 && passed < file.bytes)) return undefined
  const windowsAt = HEADER_BYTES + points * POINT_BYTES + checks * 4
  if (bytes.length < windowsAt) return undefined

  const numbers = new Float64Array(INDEX_NUMBERS.length + points * POINT_NUMBERS.length)
  numbers.set([passed, memberFrom, memberCrc, membersChecked, complete])
  const packed: Uint8Array[] = []
  let [before, window] = [0, windowsAt]
  for (let k = 0; k < points; k++) {
    const at = HEADER_BYTES + k * POINT_BYTES
    const of = Object.fromEntries([...POINT_LONG.map((name, i) => [name, long(at + 8 * i)]), ...POINT_SHORT.map((name, i) => [name, bytes.readUInt32LE(at + 8 * POINT_LONG.length + 4 * i)])]) as Record<typeof POINT_NUMBERS[number], number>
    const inOrder = of.at > before && of.at <= passed + block && of.runFrom <= of.at && of.runFrom >= Math.floor(of.at / block) * block
    const inFile = of.kind <= 2 && of.block <= of.next && of.next <= 8 * size && of.windowBytes <= Math.min(WINDOW_BYTES, of.at)
    if (!inOrder || !inFile || of.packedBytes > Math.min(of.windowBytes, bytes.length - window)) return undefined
    POINT_NUMBERS.forEach((name, i) => { numbers[INDEX_NUMBERS.length + k * POINT_NUMBERS.length + i] = of[name] })
    packed.push(Uint8Array.from(bytes.subarray(window, window + of.packedBytes)))
    window += of.packedBytes
    before = of.at
  }
  if (window !== bytes.length) return undefined
  const crcs = Uint32Array.from({ length: checks }, (_, k) => bytes.readUInt32LE(HEADER_BYTES + points * POINT_BYTES + 4 * k))
  return { numbers, checks: crcs, windows: Uint8Array.from(bytes.subarray(windowsAt)), packed }
}
