import { FormatError } from '../core/errors.js'
import { brief } from './brief.js'
import type { StoredFile } from './stored-file.js'

/**
 * The central directory of a zip file (APPNOTE 6.3: records 4.3.12 to 4.3.16, zip64 4.5.3). It alone says what the file holds; local headers
 * and data descriptors must agree with it (zip-member.ts). Nothing is ever extracted, so names are labels; those that would be
 * dangerous as paths are refused all the same, because no honest writer makes them.
 */
export interface ZipMember {
  readonly name: string
  readonly flags: number
  /** 0 stored, 8 deflated; others are refused when used. */
  readonly method: number
  readonly crc: number
  readonly storedBytes: number
  readonly bytes: number
  /** Local header. */
  readonly offset: number
  /** Where the next member, or the directory, begins: everything of this one lies before. */
  readonly limit: number
}

export const FLAG_ENCRYPTED = 1 << 0
export const FLAG_DESCRIPTOR = 1 << 3
export const FLAG_UTF8 = 1 << 11
/** Patch data, strong encryption, masked headers. */
export const FLAGS_UNSUPPORTED = 1 << 5 | 1 << 6 | 1 << 13
export const STORED = 0
export const DEFLATED = 8
export const LOCAL_BYTES = 30

export const MEMBERS_MAX = 2 ** 18
export const DIRECTORY_BYTES_MAX = 2 ** 28
const END_BYTES = 22
const COMMENT_BYTES_MAX = 65_535
const LOCATOR_BYTES = 20
const END64_BYTES = 56
const ENTRY_BYTES = 46
/** Two bits of deflate copy 258 bytes at most: one byte never gives more than 1,032. */
const RATIO_MAX = 1032

/** Reads the directory. Throws FormatError. Members come in directory order. */
export async function readZipDirectory(file: StoredFile): Promise<ZipMember[]> {
  const fail: Fail = (place, expected, found) => { throw new FormatError({ file: file.path, place, expected, found }) }
  const end = await findEnd(file, fail)
  if (end.entries > MEMBERS_MAX) fail('zip directory', `at most ${MEMBERS_MAX} members`, `${end.entries}`)
  if (end.bytes > DIRECTORY_BYTES_MAX) fail('zip directory', `at most ${DIRECTORY_BYTES_MAX} bytes`, `${end.bytes}`)
  if (end.offset + end.bytes !== end.at) fail('zip directory', `to end where its end record begins, at byte ${end.at}`, `offset ${end.offset} and ${end.bytes} bytes`)

  const bytes = await file.header(end.offset, end.bytes)
  const view = viewOf(bytes)
  const members: Omit<ZipMember, 'limit'>[] = []
  const names = new Set<string>()
  let at = 0
  for (let k = 0; k < end.entries; k++) {
    const left = bytes.length - at
    if (left < ENTRY_BYTES) fail(`zip directory, entry ${k}`, `${ENTRY_BYTES} bytes`, `${left}`)
    if (view.getUint32(at, true) !== 0x02014b50) fail(`zip directory, entry ${k}`, 'signature PK\\1\\2', hex(view.getUint32(at, true)))
    const lengths = [28, 30, 32].map((field) => view.getUint16(at + field, true))
    const [nameBytes, extraBytes] = [lengths[0]!, lengths[1]!]
    const total = ENTRY_BYTES + lengths.reduce((sum, length) => sum + length, 0)
    if (left < total) fail(`zip directory, entry ${k}`, `${total} bytes`, `${left}`)
    const flags = view.getUint16(at + 8, true)
    const name = readName(bytes.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes), flags, k, fail)
    if (names.has(name)) fail(`zip directory, entry ${k}`, 'each name once', `${brief(name)} again`)
    names.add(name)
    const place = `zip member ${brief(name)}`
    const sizes = readSizes(view, at, at + ENTRY_BYTES + nameBytes, extraBytes, place, fail)
    const member = { name, flags, method: view.getUint16(at + 10, true), crc: view.getUint32(at + 16, true), ...sizes }
    checkMember(member, place, fail)
    members.push(member)
    at += total
  }
  if (at !== bytes.length) fail('zip directory', `${end.entries} entries`, `${bytes.length - at} bytes after them`)
  return withLimits(members, end.offset, fail)
}

export type Fail = (place: string, expected: string, found: string) => never

interface End { entries: number; bytes: number; offset: number; at: number }

/** The end record lies before a comment of its own length that reaches to the end of the file; with zip64, two more records lie before it. */
async function findEnd(file: StoredFile, fail: Fail): Promise<End> {
  if (file.size < END_BYTES) fail('zip end record', `at least ${END_BYTES} bytes`, `${file.size}`)
  const tailBytes = Math.min(file.size, END_BYTES + COMMENT_BYTES_MAX + LOCATOR_BYTES)
  const tail = await file.header(file.size - tailBytes, tailBytes)
  const view = viewOf(tail)
  let at = tailBytes - END_BYTES
  const lowest = Math.max(0, at - COMMENT_BYTES_MAX)
  while (at >= lowest && !(view.getUint32(at, true) === 0x06054b50 && view.getUint16(at + 20, true) === tailBytes - END_BYTES - at)) at--
  if (at < lowest) fail('zip end record', 'one in the last 64 KiB, followed by its comment', 'none (the file is cut off, or something was appended)')
  const place = file.size - tailBytes + at
  const end = { entries: view.getUint16(at + 10, true), bytes: view.getUint32(at + 12, true), offset: view.getUint32(at + 16, true), at: place }
  const disks = [view.getUint16(at + 4, true), view.getUint16(at + 6, true), view.getUint16(at + 8, true)]
  if (at >= LOCATOR_BYTES && view.getUint32(at - LOCATOR_BYTES, true) === 0x07064b50) return findEnd64(file, view, at - LOCATOR_BYTES, place - LOCATOR_BYTES, end, fail)
  if (disks[0] !== 0 || disks[1] !== 0 || disks[2] !== end.entries) fail('zip end record', 'a file of one part', `part ${disks[0]}, directory in part ${disks[1]}`)
  return end
}

async function findEnd64(file: StoredFile, tail: DataView, locator: number, locatorPlace: number, small: End, fail: Fail): Promise<End> {
  const offset = exact(tail.getBigUint64(locator + 8, true), 'zip64 locator', fail)
  if (tail.getUint32(locator + 4, true) !== 0 || tail.getUint32(locator + 16, true) > 1) fail('zip64 locator', 'a file of one part', `${tail.getUint32(locator + 16, true)} parts`)
  if (offset > locatorPlace - END64_BYTES) fail('zip64 locator', `an end record before byte ${locatorPlace - END64_BYTES}`, `offset ${offset}`)
  const view = viewOf(await file.header(offset, END64_BYTES))
  if (view.getUint32(0, true) !== 0x06064b50) fail('zip64 end record', 'signature PK\\6\\6', hex(view.getUint32(0, true)))
  const length = exact(view.getBigUint64(4, true), 'zip64 end record', fail)
  if (offset + 12 + length !== locatorPlace) fail('zip64 end record', `to end at its locator, at byte ${locatorPlace}`, `offset ${offset} and ${12 + length} bytes`)
  const counts = [24, 32, 40, 48].map((field) => exact(view.getBigUint64(field, true), 'zip64 end record', fail)) as [number, number, number, number]
  if (view.getUint32(16, true) !== 0 || view.getUint32(20, true) !== 0 || counts[0] !== counts[1]) fail('zip64 end record', 'a file of one part', 'several')
  const end = { entries: counts[1], bytes: counts[2], offset: counts[3], at: offset }
  for (const [name, full] of [['entries', 0xffff], ['bytes', 0xffffffff], ['offset', 0xffffffff]] as const) {
    if (small[name] !== full && small[name] !== end[name]) fail(`zip end record, ${name}`, `${end[name]} as in the zip64 record, or all ones`, `${small[name]}`)
  }
  return end
}

/** Sizes and offset of an entry: all ones stand for a value in the zip64 extra field, in this order. */
function readSizes(view: DataView, entry: number, extra: number, extraBytes: number, place: string, fail: Fail): { storedBytes: number; bytes: number; offset: number } {
  let [bytes, storedBytes, offset] = [view.getUint32(entry + 24, true), view.getUint32(entry + 20, true), view.getUint32(entry + 42, true)]
  const disk = view.getUint16(entry + 34, true)
  let at = findExtra(view, extra, extraBytes, 0x0001, place, fail)
  const wide = (): number => {
    if (at === undefined || at.length < 8) return fail(place, 'a zip64 extra field with its sizes', 'none, or one that is too short')
    const value = exact(view.getBigUint64(at.start, true), place, fail)
    at = { start: at.start + 8, length: at.length - 8 }
    return value
  }
  if (bytes === 0xffffffff) bytes = wide()
  if (storedBytes === 0xffffffff) storedBytes = wide()
  if (offset === 0xffffffff) offset = wide()
  if (disk !== 0 && disk !== 0xffff) fail(place, 'a file of one part', `part ${disk}`)
  return { storedBytes, bytes, offset }
}

/** The data of the extra field `id`, if there is one; a field that leaves the extra bytes, or comes twice, is refused. */
export function findExtra(view: DataView, start: number, length: number, id: number, place: string, fail: Fail): { start: number; length: number } | undefined {
  let found: { start: number; length: number } | undefined
  // Fewer than four bytes at the end are padding, as some writers leave.
  for (let at = start; start + length - at >= 4;) {
    const size = view.getUint16(at + 2, true)
    if (size > start + length - at - 4) fail(place, `an extra field of at most ${start + length - at - 4} bytes`, `${size}`)
    if (view.getUint16(at, true) === id) {
      if (found !== undefined) fail(place, 'one zip64 extra field', 'two')
      found = { start: at + 4, length: size }
    }
    at += 4 + size
  }
  return found
}

function readName(bytes: Uint8Array, flags: number, entry: number, fail: Fail): string {
  const place = `zip directory, entry ${entry}`
  // Without the flag the encoding is anybody's guess, unless it is ASCII.
  if ((flags & FLAG_UTF8) === 0 && bytes.some((byte) => byte > 0x7f)) fail(place, 'a name in ASCII, or marked as UTF-8', 'other bytes')
  let name: string
  try {
    name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return fail(place, 'a name in UTF-8', 'bytes that are none')
  }
  if (name === '') fail(place, 'a name', 'none')
  if (/\p{Cc}/u.test(name)) fail(place, 'a name without control characters', brief(name))
  if (name.includes('\\')) fail(place, 'a name without backslashes', brief(name))
  if (name.startsWith('/') || /^[A-Za-z]:/.test(name)) fail(place, 'a relative name', brief(name))
  if (name.split('/').includes('..')) fail(place, 'a name without ".."', brief(name))
  return name
}

function checkMember(member: Omit<ZipMember, 'limit'>, place: string, fail: Fail): void {
  if ((member.flags & FLAG_ENCRYPTED) !== 0) return
  if (member.method === STORED && member.bytes !== member.storedBytes) fail(place, `${member.storedBytes} bytes, as are stored`, `a declared size of ${member.bytes}`)
  if (member.method === DEFLATED && member.bytes > member.storedBytes * RATIO_MAX) {
    fail(place, `at most ${member.storedBytes * RATIO_MAX} bytes from ${member.storedBytes} deflated ones`, `a declared size of ${member.bytes}`)
  }
}

/** Members may lie in any order with gaps between them, but may not share a byte with each other or with the directory. */
function withLimits(members: readonly Omit<ZipMember, 'limit'>[], directory: number, fail: Fail): ZipMember[] {
  const order = members.map((_, k) => k).sort((a, b) => members[a]!.offset - members[b]!.offset)
  const limits: number[] = members.map(() => 0)
  order.forEach((k, position) => {
    const member = members[k]!
    const next = order[position + 1]
    const limit = next === undefined ? directory : Math.min(directory, members[next]!.offset)
    const stop = member.offset + LOCAL_BYTES + member.storedBytes
    if (stop > limit) {
      const what = next === undefined || limit === directory ? 'the directory' : `member ${brief(members[next]!.name)}`
      fail(`zip member ${brief(member.name)}`, `to end before ${what} begins, at byte ${limit}`, `bytes ${member.offset} to at least ${stop}`)
    }
    limits[k] = limit
  })
  return members.map((member, k) => ({ ...member, limit: limits[k]! }))
}

function exact(value: bigint, place: string, fail: Fail): number {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : fail(place, `at most ${Number.MAX_SAFE_INTEGER}`, `${value}`)
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}
