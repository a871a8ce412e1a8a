/** Changes of entries, in one buffer: what goes to the writer thread is a single transfer however many there are. */

export type EntryChange =
  | { readonly kind: 'put'; readonly key: Uint8Array; readonly record: Uint8Array }
  | { readonly kind: 'remove'; readonly key: Uint8Array }

const HEAD_BYTES = 9

/** u8 0 put, 1 remove · u32 bytes of the key · u32 of the record · key · record, for each. */
export function packChanges(changes: readonly EntryChange[]): Uint8Array {
  const size = changes.reduce((sum, change) => sum + HEAD_BYTES + change.key.byteLength + (change.kind === 'put' ? change.record.byteLength : 0), 0)
  const packed = Buffer.allocUnsafeSlow(size)
  let at = 0
  for (const change of changes) {
    packed[at] = change.kind === 'put' ? 0 : 1
    packed.writeUInt32LE(change.key.byteLength, at + 1)
    packed.writeUInt32LE(change.kind === 'put' ? change.record.byteLength : 0, at + 5)
    packed.set(change.key, at += HEAD_BYTES)
    at += change.key.byteLength
    if (change.kind === 'remove') continue
    packed.set(change.record, at)
    at += change.record.byteLength
  }
  return packed
}

/** The changes again, as views. */
export function * unpackChanges(packed: Uint8Array): Generator<{ key: Buffer; record: Buffer | undefined }> {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
  for (let at = 0; at < bytes.length;) {
    const isPut = bytes[at] === 0
    const keyEnd = at + HEAD_BYTES + bytes.readUInt32LE(at + 1)
    const end = keyEnd + bytes.readUInt32LE(at + 5)
    yield { key: bytes.subarray(at + HEAD_BYTES, keyEnd), record: isPut ? bytes.subarray(keyEnd, end) : undefined }
    at = end
  }
}
