import { createHash } from 'node:crypto'

/** `Hash.update` ends at 2^31 bytes. */
const PIECE_BYTES = 2 ** 30

/** SHA-256 of small data, on the calling thread. Large data goes to the addon, off the event loop. */
export function sha256(...parts: readonly (string | NodeJS.ArrayBufferView)[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) {
    if (typeof part === 'string' || part.byteLength <= PIECE_BYTES) hash.update(part)
    else for (let at = 0; at < part.byteLength; at += PIECE_BYTES) hash.update(new Uint8Array(part.buffer, part.byteOffset + at, Math.min(PIECE_BYTES, part.byteLength - at)))
  }
  return hash.digest()
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

export function fromHex(hex: string): Buffer {
  return Buffer.from(hex, 'hex')
}
