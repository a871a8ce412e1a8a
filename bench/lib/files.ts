import { closeSync, fsyncSync, ftruncateSync, openSync, writeFileSync, writeSync } from 'node:fs'

const DESCR = { float32: '<f4', float64: '<f8', int16: '<i2', int32: '<i4' } as const
export type FileDType = keyof typeof DESCR

/** The header of a .npy file, version 1. */
export function npyHeader(dtype: FileDType, shape: readonly number[]): Buffer {
  const dict = `{'descr': '${DESCR[dtype]}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`
  const text = `${dict}${' '.repeat((64 - (10 + dict.length + 1) % 64) % 64)}\n`
  const start = Buffer.from('\x93NUMPY\x01\x00\0\0', 'latin1')
  start.writeUInt16LE(text.length, 8)
  return Buffer.concat([start, Buffer.from(text)])
}

/** Writes an array piece by piece: `fill` makes the elements from `first` on. */
export function writeNpy(path: string, dtype: 'float32' | 'float64', shape: readonly number[], fill: (piece: Float32Array | Float64Array, first: number) => void): void {
  const fd = openSync(path, 'w')
  try {
    writeAll(fd, npyHeader(dtype, shape))
    const count = shape.reduce((product, extent) => product * extent, 1)
    const piece = new (dtype === 'float32' ? Float32Array : Float64Array)(Math.min(count, 2 ** 21))
    for (let first = 0; first < count; first += piece.length) {
      const part = piece.subarray(0, Math.min(piece.length, count - first))
      fill(part, first)
      writeAll(fd, new Uint8Array(part.buffer, part.byteOffset, part.byteLength))
    }
    // Otherwise the disk would be busy writing it back while something is timed.
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Writes an array that is in memory. */
export function writeArray(path: string, dtype: FileDType, shape: readonly number[], { buffer, byteOffset, byteLength }: ArrayBufferView): void {
  writeFileSync(path, Buffer.concat([npyHeader(dtype, shape), new Uint8Array(buffer, byteOffset, byteLength)]), { flush: true })
}

/** A file of zeros that occupies no blocks but the header's. */
export function writeSparseNpy(path: string, dtype: FileDType, shape: readonly number[], bytes: number): void {
  const fd = openSync(path, 'w')
  const header = npyHeader(dtype, shape)
  writeAll(fd, header)
  ftruncateSync(fd, header.length + bytes)
  closeSync(fd)
}

export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, Math.min(bytes.length - at, 2 ** 30))
}

/** Numbers in [-1, 1) that differ everywhere: xorshift32 of the position, so that no two items are the same. */
export function noise(position: number): number {
  let x = (position + 0x9e3779b9) | 0
  x = Math.imul(x ^ x >>> 16, 0x85ebca6b)
  x = Math.imul(x ^ x >>> 13, 0xc2b2ae35)
  return (x ^ x >>> 16) / 2 ** 31
}

export function fillNoise(piece: Float32Array | Float64Array, first: number): void {
  for (let i = 0; i < piece.length; i++) piece[i] = noise(first + i)
}
