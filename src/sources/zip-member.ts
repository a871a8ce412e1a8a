import { FormatError, UnsupportedError } from '../core/errors.js'
import { brief } from './brief.js'
import { DeflatedBytes, MappedBytes, type StoredBytes } from './bytes.js'
import type { StoredFile } from './stored-file.js'
import { DEFLATED, FLAG_DESCRIPTOR, FLAG_ENCRYPTED, FLAG_UTF8, FLAGS_UNSUPPORTED, findExtra, hex, LOCAL_BYTES, STORED, viewOf, type Fail, type ZipMember } from './zip.js'

const FLAGS_COMPARED = FLAG_ENCRYPTED | FLAG_DESCRIPTOR | FLAG_UTF8 | FLAGS_UNSUPPORTED

/**
 * The bytes of a member, once its local header, and its data descriptor if it was streamed, have been found to agree with the directory.
 * Throws FormatError, or UnsupportedError for an encrypted member or another compression method.
 */
export async function openZipMember(file: StoredFile, member: ZipMember): Promise<StoredBytes> {
  const place = `zip member ${brief(member.name)}`
  const fail: Fail = (part, expected, found) => { throw new FormatError({ file: file.path, place: part, expected, found }) }
  if ((member.flags & FLAG_ENCRYPTED) !== 0) throw new UnsupportedError({ file: file.path, place, reason: 'it is encrypted' })
  if ((member.flags & FLAGS_UNSUPPORTED) !== 0) throw new UnsupportedError({ file: file.path, place, reason: `it uses zip features that are not read (flags ${hex(member.flags)})` })
  if (member.method !== STORED && member.method !== DEFLATED) {
    throw new UnsupportedError({ file: file.path, place, reason: `it uses compression method ${member.method}; stored (0) and deflate (8) are read` })
  }
  const start = await checkLocalHeader(file, member, place, fail)
  const stop = start + member.storedBytes
  if (stop > member.limit) fail(place, `data that ends by byte ${member.limit}`, `bytes ${start} to ${stop}`)
  if ((member.flags & FLAG_DESCRIPTOR) !== 0) await checkDescriptor(file, member, stop, place, fail)
  return member.method === STORED
    ? new MappedBytes(file, place, start, member.bytes, member.crc)
    : new DeflatedBytes(file, place, start, member.storedBytes, member.bytes, member.crc)
}

/** Returns where the data begins. */
async function checkLocalHeader(file: StoredFile, member: ZipMember, place: string, fail: Fail): Promise<number> {
  const fixed = viewOf(await file.header(member.offset, LOCAL_BYTES))
  if (fixed.getUint32(0, true) !== 0x04034b50) fail(place, `signature PK\\3\\4 at byte ${member.offset}`, hex(fixed.getUint32(0, true)))
  const [nameBytes, extraBytes] = [fixed.getUint16(26, true), fixed.getUint16(28, true)]
  const start = member.offset + LOCAL_BYTES + nameBytes + extraBytes
  if (start > member.limit) fail(place, `a local header that ends by byte ${member.limit}`, `one to byte ${start}`)
  const rest = await file.header(member.offset + LOCAL_BYTES, nameBytes + extraBytes)
  const name = Buffer.from(rest.subarray(0, nameBytes))
  if (!name.equals(Buffer.from(member.name))) fail(`${place}, local header`, `name ${brief(member.name)}`, brief(name.toString()))
  const agree = (what: string, expected: number, found: number): void => {
    if (expected !== found) fail(`${place}, local header`, `${what} ${expected}, as in the directory`, `${found}`)
  }
  agree('method', member.method, fixed.getUint16(8, true))
  agree('flags', member.flags & FLAGS_COMPARED, fixed.getUint16(6, true) & FLAGS_COMPARED)

  let [stored, bytes] = [fixed.getUint32(18, true), fixed.getUint32(22, true)]
  const extraView = viewOf(rest)
  const extra = findExtra(extraView, nameBytes, extraBytes, 0x0001, `${place}, local header`, fail)
  if (stored === 0xffffffff || bytes === 0xffffffff) {
    if (extra === undefined || extra.length < 16) return fail(`${place}, local header`, 'a zip64 extra field with both sizes', 'none, or one that is too short')
    bytes = Number(extraView.getBigUint64(extra.start, true))
    stored = Number(extraView.getBigUint64(extra.start + 8, true))
  }
  const crc = fixed.getUint32(14, true)
  // A streamed member's header was written before its sizes were known.
  if ((member.flags & FLAG_DESCRIPTOR) !== 0 && crc === 0 && stored === 0 && bytes === 0) return start
  agree('CRC-32', member.crc, crc)
  agree('compressed size', member.storedBytes, stored)
  agree('size', member.bytes, bytes)
  return start
}

/** Behind a streamed member: CRC, compressed size, size; with or without a signature, sizes of 4 or 8 bytes. */
async function checkDescriptor(file: StoredFile, member: ZipMember, at: number, place: string, fail: Fail): Promise<void> {
  const bytes = await file.header(at, Math.min(24, member.limit - at))
  const view = viewOf(bytes)
  const word = (offset: number): number => view.getUint32(offset, true)
  const long = (offset: number): number => Number(view.getBigUint64(offset, true))
  for (const start of [4, 0]) {
    if (start === 4 && (bytes.length < 16 || word(0) !== 0x08074b50)) continue
    if (bytes.length >= start + 12 && word(start) === member.crc && word(start + 4) === member.storedBytes && word(start + 8) === member.bytes) return
    if (bytes.length >= start + 20 && word(start) === member.crc && long(start + 4) === member.storedBytes && long(start + 12) === member.bytes) return
  }
  fail(`${place}, data descriptor`, `CRC-32 ${hex(member.crc)} and sizes ${member.storedBytes}, ${member.bytes}, as in the directory`, 'others')
}
