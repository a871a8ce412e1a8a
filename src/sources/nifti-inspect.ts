import type { DType } from '../core/dtype.js'
import { pathOf } from './nifti-items.js'
import { NiftiVolume } from './nifti-volume.js'

export interface NiftiInfo {
  readonly path: string
  readonly format: 'nifti'
  /** Of all its files. */
  readonly bytes: number
  readonly version: 1 | 2
  /** Undefined when the elements are not read; `unusable` says why. */
  readonly dtype: DType | undefined
  readonly type: string
  readonly shape: readonly number[]
  readonly byteOrder: 'little' | 'big'
  readonly compressed: boolean
  readonly scale: { readonly slope: number; readonly inter: number } | undefined
  /** Rows of the affine [4, 4], voxel to world in mm. */
  readonly affine: readonly (readonly number[])[]
  readonly unusable: string | undefined
}

/** What the header of a NIfTI image says, for people. Rejects with FileError, FormatError. */
export async function inspectNifti(path: string | URL): Promise<NiftiInfo> {
  const { header, files } = await NiftiVolume.open(pathOf(path))
  const { version, dtype, type, shape, bigEndian, scale, affine, reason } = header
  return {
    path: files[0]!.path, format: 'nifti', bytes: files.reduce((sum, { size }) => sum + size, 0), version, dtype, type, shape, byteOrder: bigEndian ? 'big' : 'little',
    compressed: files.at(-1)!.isGzip, scale, affine: [0, 4, 8, 12].map((at) => [...affine.subarray(at, at + 4)]), unusable: reason,
  }
}
