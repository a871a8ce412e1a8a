import { closeSync, fsyncSync, openSync } from 'node:fs'
import { noise, writeAll } from './files.js'

/** mm along x, y and z, as of a CT whose slices lie further apart than its pixels. */
export const VOXEL_MM = [0.9, 0.9, 1.25] as const

/** A body of ellipsoids in air with noise in it, in Hounsfield units, x fastest, as NIfTI has it. */
export function phantom(extents: readonly [number, number, number], seed: number): Int16Array {
  const [nx, ny, nz] = extents
  const voxels = new Int16Array(nx * ny * nz)
  for (let z = 0, at = 0; z < nz; z++) {
    const w = (2 * z + 1) / nz - 1
    for (let y = 0; y < ny; y++) {
      const v = (2 * y + 1) / ny - 1
      for (let x = 0; x < nx; x++, at++) {
        const u = (2 * x + 1) / nx - 1
        const organ = (u - 0.3) ** 2 / 0.05 + (v + 0.1) ** 2 / 0.1 + (w - 0.2) ** 2 / 0.2
        const tissue = u * u / 0.8 + v * v / 0.5 + w * w > 1 ? -1000 : organ < 1 ? 120 : 30
        voxels[at] = tissue + 40 * noise(at + seed * 7919)
      }
    }
  }
  return voxels
}

/** Writes a NIfTI-1 image of int16 whose axes run left, posterior and superior. */
export function writeNifti(path: string, extents: readonly [number, number, number], voxels: Int16Array): void {
  const fd = openSync(path, 'w')
  try {
    writeAll(fd, niftiHeader(extents))
    writeAll(fd, new Uint8Array(voxels.buffer, voxels.byteOffset, voxels.byteLength))
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** 348 bytes, and four that say that no extensions follow. */
export function niftiHeader(extents: readonly number[]): Buffer {
  const header = Buffer.alloc(352)
  header.writeInt32LE(348, 0)
  for (const [k, value] of [extents.length, ...extents, ...Array<number>(7 - extents.length).fill(1)].entries()) header.writeInt16LE(value, 40 + 2 * k)
  header.writeInt16LE(4, 70)
  header.writeInt16LE(16, 72)
  for (const [k, value] of [1, ...VOXEL_MM].entries()) header.writeFloatLE(value, 76 + 4 * k)
  header.writeFloatLE(352, 108)
  header.writeUInt8(2, 123)
  header.writeInt16LE(1, 254)
  const [x, y, z] = VOXEL_MM
  for (const [k, value] of [-x, 0, 0, 120, 0, -y, 0, 100, 0, 0, z, -80].entries()) header.writeFloatLE(value, 280 + 4 * k)
  header.write('n+1\0', 344, 'latin1')
  return header
}
