import { gzipSync } from 'node:zlib'
import { DTYPES, sizeOf, type DType } from '../../src/core/dtype.js'
import { bytesOf } from '../../src/core/tensor.js'
import { swap, toFortran, type Plain } from './write.js'

/** A writer of NIfTI images: slow, obvious, and able to lie on request. */

export const DATATYPES: { readonly [D in DType]?: readonly [code: number, bits: number] } = {
  uint8: [2, 8], int16: [4, 16], int32: [8, 32], float32: [16, 32], complex64: [32, 64], float64: [64, 64], int8: [256, 8], uint16: [512, 16], uint32: [768, 32], int64: [1024, 64], uint64: [1280, 64], complex128: [1792, 128],
}

export interface NiftiForm {
  version?: 1 | 2
  big?: boolean
  pair?: boolean
  slope?: number
  inter?: number
  /** Rows of the sform, 12 numbers; left out, the image has no coordinate system. */
  sform?: readonly number[]
  /** b, c, d of the qform, and qfac. */
  qform?: readonly number[]
  qfac?: number
  pixdim?: readonly number[]
  units?: number
  extension?: Uint8Array
  /** What fields say instead of the truth. */
  lies?: { sizeofHdr?: number; axes?: number; dim?: readonly number[]; datatype?: number; bitpix?: number; voxOffset?: number; magic?: string; ends?: string; sformCode?: number; qformCode?: number }
}

/** Header (with extensions) and data, in C order, of an image. */
export function niftiParts(image: Plain, form: NiftiForm = {}): { header: Buffer; data: Buffer } {
  const { version = 1, big = false, pair = false, extension = Buffer.alloc(0), lies = {} } = form
  const [code, bits] = DATATYPES[image.dtype]!
  const bytes = version === 1 ? 348 : 540
  const header = Buffer.alloc(bytes + (pair ? 0 : 4))
  const view = new DataView(header.buffer, header.byteOffset, header.length)
  const short = (at: number, value: number): void => view.setInt16(at, value, !big)
  const int = version === 1 ? short : (at: number, value: number): void => view.setInt32(at, value, !big)
  const long = version === 1 ? short : (at: number, value: number): void => view.setBigInt64(at, BigInt(value), !big)
  const float = (at: number, value: number): void => { if (version === 1) view.setFloat32(at, value, !big); else view.setFloat64(at, value, !big) }
  const [wide, real] = version === 1 ? [2, 4] : [8, 8]
  const at = version === 1
    ? { dim: 40, datatype: 70, bitpix: 72, pixdim: 76, offset: 108, slope: 112, inter: 116, units: 123, qcode: 252, scode: 254, quaternion: 256, sform: 280, magic: 344 }
    : { dim: 16, datatype: 12, bitpix: 14, pixdim: 104, offset: 168, slope: 176, inter: 184, units: 500, qcode: 344, scode: 348, quaternion: 352, sform: 400, magic: 4 }
  view.setInt32(0, lies.sizeofHdr ?? bytes, !big)
  long(at.dim, lies.axes ?? image.shape.length)
  const dim = lies.dim ?? image.shape
  for (let k = 0; k < 7; k++) long(at.dim + wide * (k + 1), dim[k] ?? 1)
  short(at.datatype, lies.datatype ?? code)
  short(at.bitpix, lies.bitpix ?? bits)
  float(at.pixdim, form.qfac ?? 1)
  for (let k = 1; k < 8; k++) float(at.pixdim + real * k, form.pixdim?.[k - 1] ?? 1)
  const offset = lies.voxOffset ?? (pair ? 0 : header.length + extension.length)
  if (version === 1) float(at.offset, offset)
  else long(at.offset, offset)
  float(at.slope, form.slope ?? 0)
  float(at.inter, form.inter ?? 0)
  if (version === 1) view.setUint8(at.units, form.units ?? 2)
  else int(at.units, form.units ?? 2)
  int(at.qcode, lies.qformCode ?? (form.qform === undefined ? 0 : 1))
  int(at.scode, lies.sformCode ?? (form.sform === undefined ? 0 : 1))
  form.qform?.forEach((value, k) => float(at.quaternion + real * k, value))
  form.sform?.forEach((value, k) => float(at.sform + real * k, value))
  header.write(lies.magic ?? `${pair ? 'ni' : 'n+'}${version}\0`, at.magic, 'latin1')
  if (version === 2) header.write(lies.ends ?? '\r\n\x1a\n', 8, 'latin1')
  if (extension.length > 0 && !pair) header[bytes] = 1
  const size = sizeOf(image.dtype)
  let data = toFortran(Buffer.from(bytesOf(image.data)), image.shape, size)
  if (big) data = swap(data, DTYPES[image.dtype].kind === 'complex' ? size / 2 : size)
  return { header: Buffer.concat([header, extension]), data }
}

export function niftiBytes(image: Plain, form: NiftiForm = {}): Buffer {
  const { header, data } = niftiParts(image, form)
  return Buffer.concat([header, data])
}

export function niftiGz(image: Plain, form: NiftiForm = {}): Buffer {
  return gzipSync(niftiBytes(image, form))
}

/** Several members, as bgzip and `cat a.gz b.gz` make them. */
export function membersOf(bytes: Uint8Array, each: number): Buffer {
  return Buffer.concat(Array.from({ length: Math.ceil(bytes.length / each) + 1 }, (_, k) => gzipSync(bytes.subarray(k * each, (k + 1) * each))))
}
