import { IntegrityError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import { HASH_BYTES } from '../core/keys.js'

/**
 * One key-value entry of the index. Little-endian:
 *
 *   u8 format · u8 flags · u16 0 · u32 bytes of the key · u32 of the metadata · u32 dependencies ·
 *   f64 created · f64 expires (ms since 1970; infinity: never) · f64 seconds it took to compute (NaN: not known) · f64 bytes of the value ·
 *   key (UTF-8; none where the index key says it) · metadata (JSON) · dependencies (32 bytes each) · the value's small encoding, or the digest of its blob
 */
const FORMAT = 1
const HEADER_BYTES = 48
const [BLOB, KEEP] = [1, 2]
/** Keys of the index end at 1,978 bytes; long ones are named by their hash. */
const PLAIN_BYTES_MAX = 200
const PREFIX_BYTES = 5

export interface Entry {
  readonly key: string
  /** Milliseconds since 1970. */
  readonly created: number
  /** Milliseconds since 1970; Infinity when it does not expire. */
  readonly expires: number
  /** Seconds it took to compute; NaN when nobody said. */
  readonly seconds: number
  /** Bytes of the value. */
  readonly bytes: number
  /** Pruned only when asked for by name. */
  readonly keep: boolean
  /** JSON. */
  readonly metadata: string
  /** Digests of what it was made from: it goes when one of them does. */
  readonly dependsOn: readonly Uint8Array[]
  /** The value itself, or the digest of the blob that holds it. */
  readonly small: Uint8Array | undefined
  readonly blob: Uint8Array | undefined
}

/** Bytes of its record. */
export function entryBytes(entry: Entry): number {
  return HEADER_BYTES + keyBytesOf(entry.key) + Buffer.byteLength(entry.metadata) + entry.dependsOn.length * HASH_BYTES + (entry.small ?? entry.blob!).byteLength
}

/** Keys that stand in the index as they are need not stand in the record as well. */
function keyBytesOf(key: string): number {
  const bytes = Buffer.byteLength(key)
  return bytes > PLAIN_BYTES_MAX ? bytes : 0
}

/** Writes its record at `at` and gives where it ends. */
export function writeEntry(into: Buffer, at: number, entry: Entry): number {
  const keyBytes = keyBytesOf(entry.key)
  if (keyBytes > 0) into.write(entry.key, at + HEADER_BYTES)
  const metadataBytes = entry.metadata === '' ? 0 : into.write(entry.metadata, at + HEADER_BYTES + keyBytes)
  into[at] = FORMAT
  into[at + 1] = (entry.small === undefined ? BLOB : 0) | (entry.keep ? KEEP : 0)
  into.writeUInt16LE(0, at + 2)
  into.writeUInt32LE(keyBytes, at + 4)
  into.writeUInt32LE(metadataBytes, at + 8)
  into.writeUInt32LE(entry.dependsOn.length, at + 12)
  into.writeDoubleLE(entry.created, at + 16)
  into.writeDoubleLE(entry.expires, at + 24)
  into.writeDoubleLE(entry.seconds, at + 32)
  into.writeDoubleLE(entry.bytes, at + 40)
  let end = at + HEADER_BYTES + keyBytes + metadataBytes
  for (const digest of entry.dependsOn) {
    into.set(digest, end)
    end += HASH_BYTES
  }
  const payload = entry.small ?? entry.blob!
  into.set(payload, end)
  return end + payload.byteLength
}

/** Its record, in memory of its own. */
export function encodeEntry(entry: Entry): Buffer {
  const record = Buffer.allocUnsafeSlow(entryBytes(entry))
  writeEntry(record, 0, entry)
  return record
}

const NOTHING: readonly Uint8Array[] = []

/**
 * What is in the record, as views of it. `length` of `record` counts: lmdb lends buffers that are longer. `key`: the entry's, where it is known or does not matter, or else the index's.
 * Throws IntegrityError.
 */
export function decodeEntry(record: Buffer, file: string, key: string | Uint8Array): Entry {
  const { length } = record
  if (length < HEADER_BYTES || record[0] !== FORMAT) throw new IntegrityError(file, 'holds an entry that is none')
  const keyEnd = HEADER_BYTES + record.readUInt32LE(4)
  const metadataEnd = keyEnd + record.readUInt32LE(8)
  const dependencies = record.readUInt32LE(12)
  const end = metadataEnd + dependencies * HASH_BYTES
  const flags = record[1]!
  const isBlob = (flags & BLOB) !== 0
  if (end > length || (isBlob && end + HASH_BYTES !== length)) throw new IntegrityError(file, 'holds an entry that ends early')
  const payload = record.subarray(end, length)
  return {
    key: typeof key === 'string' ? key : keyEnd > HEADER_BYTES ? record.toString('utf8', HEADER_BYTES, keyEnd) : Buffer.from(key.subarray(PREFIX_BYTES)).toString(),
    created: record.readDoubleLE(16), expires: record.readDoubleLE(24), seconds: record.readDoubleLE(32), bytes: record.readDoubleLE(40),
    keep: (flags & KEEP) !== 0,
    metadata: metadataEnd === keyEnd ? '' : record.toString('utf8', keyEnd, metadataEnd),
    dependsOn: dependencies === 0 ? NOTHING : Array.from({ length: dependencies }, (_, k) => record.subarray(metadataEnd + k * HASH_BYTES, metadataEnd + (k + 1) * HASH_BYTES)),
    small: isBlob ? undefined : payload,
    blob: isBlob ? payload : undefined,
  }
}

/** When an entry expires and where its value begins, without making anything else of it. */
export function glance(record: Buffer): { expires: number; bytes: number; isBlob: boolean; keep: boolean } {
  return { expires: record.readDoubleLE(24), bytes: record.readDoubleLE(40), isBlob: (record[1]! & BLOB) !== 0, keep: (record[1]! & KEEP) !== 0 }
}

/** Under which the entry `key` of a namespace lies: the namespace's number, so that a namespace is a range, then the key or its hash. */
export function entryKey(namespace: number, key: string): Buffer {
  const bytes = Buffer.byteLength(key)
  const isPlain = bytes <= PLAIN_BYTES_MAX
  const made = Buffer.allocUnsafe(PREFIX_BYTES + (isPlain ? bytes : HASH_BYTES))
  made.writeUInt32BE(namespace, 0)
  made[4] = isPlain ? 0 : 1
  if (isPlain) made.write(key, PREFIX_BYTES)
  else made.set(sha256(key), PREFIX_BYTES)
  return made
}

const LOOKUP_BYTES_MAX = 64
const lookup = Buffer.alloc(PREFIX_BYTES + LOOKUP_BYTES_MAX)
const lookups = Array.from({ length: LOOKUP_BYTES_MAX + 1 }, (_, bytes) => lookup.subarray(0, PREFIX_BYTES + bytes))

/** The same in memory that the next call writes over, for whoever uses it at once: short ASCII takes a loop and no buffer. */
export function lookupKey(namespace: number, key: string): Buffer {
  const { length } = key
  if (length > LOOKUP_BYTES_MAX) return entryKey(namespace, key)
  for (let i = 0; i < length; i++) {
    const unit = key.charCodeAt(i)
    if (unit > 127) return entryKey(namespace, key)
    lookup[PREFIX_BYTES + i] = unit
  }
  lookup[0] = namespace >>> 24
  lookup[1] = namespace >>> 16
  lookup[2] = namespace >>> 8
  lookup[3] = namespace
  return lookups[length]!
}

/** The entries of a namespace are those from `first` on, before `last`. */
export function namespaceRange(namespace: number): { start: Buffer; end: Buffer } {
  const [start, end] = [Buffer.alloc(4), Buffer.alloc(4)]
  start.writeUInt32BE(namespace)
  end.writeUInt32BE(namespace + 1)
  return { start, end }
}

/** The digest of an entry's value: of the file that holds it, or of its small encoding. */
export function entryDigest({ small, blob }: Entry): string {
  return toHex(blob ?? sha256(small!))
}
