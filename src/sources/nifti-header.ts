import { sizeOf, type DType } from '../core/dtype.js'
import { FormatError } from '../core/errors.js'
import { brief } from './brief.js'
import { affineOf } from './nifti-affine.js'
import { exactBytes } from './npy-header.js'

/**
 * The header of NIfTI-1 (348 bytes) and NIfTI-2 (540 bytes), of a `.nii` file or of the `.hdr` of a pair. This file is the one gate: it checks everything a header
 * says before anything else uses it. Header extensions lie between header and `vox_offset` and are never looked at.
 */
export interface NiftiHeader {
  readonly version: 1 | 2
  /** True when the header and the data lie in one file. */
  readonly single: boolean
  readonly bigEndian: boolean
  /** The type of the elements as the standard names it. */
  readonly type: string
  /** Undefined when elements of this type are not read; `reason` says why. The image is refused when it is used. */
  readonly dtype: DType | undefined
  readonly reason: string | undefined
  /** `dim[1] … dim[dim[0]]`, x first; axes of 1 at the end are kept, as nibabel does. */
  readonly shape: readonly number[]
  /** Where the data begins, in the file that holds it. */
  readonly dataOffset: number
  /** Bytes of the data; 0 when the elements are not read. */
  readonly dataBytes: number
  /** `slope · x + inter`; undefined when the header asks for no scaling, or for one that changes nothing. */
  readonly scale: { readonly slope: number; readonly inter: number } | undefined
  /** [4, 4], rows first: voxel (x, y, z) to world, in mm. */
  readonly affine: Float64Array
}

/** The longest header; what is given to the gate holds as much of it as the file does. */
export const NIFTI_HEADER_BYTES = 540
const BYTES_BY_VERSION = { 1: 348, 2: 540 } as const
/** Header and the four bytes that say whether extensions follow: data of a single file begins here or later. */
const SINGLE_OFFSET_MIN = { 1: 352, 2: 544 } as const
const AXES_MAX = 7
/** Codes of a coordinate system; others mean none, as nibabel reads them. */
const XFORM_CODE_MAX = 5
/** `\r\n\x1a\n` behind the magic of NIfTI-2: a transfer as text changes it. Writers that leave it out write zeros. */
const LINE_ENDS = '\r\n\x1a\n'

const TYPES: Readonly<Record<number, readonly [name: string, bits: number, dtype: DType | undefined]>> = {
  1: ['binary', 1, undefined], 2: ['uint8', 8, 'uint8'], 4: ['int16', 16, 'int16'], 8: ['int32', 32, 'int32'], 16: ['float32', 32, 'float32'],
  32: ['complex64', 64, 'complex64'], 64: ['float64', 64, 'float64'], 128: ['rgb24', 24, undefined], 256: ['int8', 8, 'int8'], 512: ['uint16', 16, 'uint16'],
  768: ['uint32', 32, 'uint32'], 1024: ['int64', 64, 'int64'], 1280: ['uint64', 64, 'uint64'], 1536: ['float128', 128, undefined],
  1792: ['complex128', 128, 'complex128'], 2048: ['complex256', 256, undefined], 2304: ['rgba32', 32, undefined],
}
const REASONS: Readonly<Record<string, string>> = {
  binary: 'it holds single bits', rgb24: 'it holds colours (rgb24), not numbers', rgba32: 'it holds colours (rgba32), not numbers',
  float128: 'it holds numbers of extended precision (float128), whose form depends on the machine that wrote them', complex256: 'it holds numbers of extended precision (complex256), whose form depends on the machine that wrote them',
}

type Fail = (part: string, expected: string, found: string) => never

/** Checks the first bytes of a header, `NIFTI_HEADER_BYTES` of them or as many as there are. Throws FormatError; element types that are not supported are noted only. */
export function readNiftiHeader(file: string, bytes: Uint8Array): NiftiHeader {
  const fail: Fail = (part, expected, found) => { throw new FormatError({ file, place: `NIfTI header, ${part}`, expected, found }) }
  if (bytes.length < 4) fail('size', `at least ${BYTES_BY_VERSION[1]} bytes`, `${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const form = ([[1, true], [1, false], [2, true], [2, false]] as const).find(([version, little]) => view.getInt32(0, little) === BYTES_BY_VERSION[version])
  if (form === undefined) return fail('sizeof_hdr', '348 or 540 in either byte order', brief(Buffer.from(bytes.subarray(0, 4)).toString('latin1')))
  const [version, little] = form
  if (bytes.length < BYTES_BY_VERSION[version]) fail('size', `at least ${BYTES_BY_VERSION[version]} bytes`, `${bytes.length} bytes`)
  const fields = version === 1 ? fieldsOf1(view, little) : fieldsOf2(view, little, fail)

  const single = readMagic(version, fields.magic, fail)
  if (fields.axes < 1 || fields.axes > AXES_MAX) fail('dim[0]', `1 to ${AXES_MAX}`, `${fields.axes}`)
  const shape = fields.dim.slice(0, fields.axes)
  shape.forEach((extent, axis) => { if (!(extent >= 1 && extent <= Number.MAX_SAFE_INTEGER)) fail(`dim[${axis + 1}]`, `1 to ${Number.MAX_SAFE_INTEGER}`, `${extent}`) })

  const known = Object.hasOwn(TYPES, fields.datatype) ? TYPES[fields.datatype]! : fail('datatype', 'a code of the standard', `${fields.datatype}`)
  const [type, bits, dtype] = known
  if (fields.bitpix !== bits) fail('bitpix', `${bits} for datatype ${fields.datatype} (${type})`, `${fields.bitpix}`)
  const dataBytes = dtype === undefined ? 0 : exactBytes(dtype, shape)
  if (dataBytes === undefined) return fail('dim', 'a size that can be counted exactly', `[${shape.join(', ')}] of ${type}`)

  const dataOffset = fields.voxOffset
  const offsetMin = single ? SINGLE_OFFSET_MIN[version] : 0
  if (!Number.isSafeInteger(dataOffset) || dataOffset < offsetMin || !Number.isSafeInteger(dataOffset + dataBytes)) fail('vox_offset', `a whole number from ${offsetMin} on`, `${dataOffset}`)

  const affine = affineOf({ ...fields, shape, sformCode: codeOf(fields.sformCode), qformCode: codeOf(fields.qformCode) }, version, fail)
  return { version, single, bigEndian: !little, type, dtype, reason: dtype === undefined ? REASONS[type] : undefined, shape, dataOffset, dataBytes, scale: scaleOf(fields.slope, fields.inter, fail), affine }
}

/** Bytes whose order is to be reversed when the file is big-endian. */
export function swapUnitOf(dtype: DType): number {
  return dtype === 'complex64' || dtype === 'complex128' ? sizeOf(dtype) / 2 : sizeOf(dtype)
}

interface Fields {
  readonly magic: string
  readonly axes: number
  readonly dim: readonly number[]
  readonly datatype: number
  readonly bitpix: number
  readonly pixdim: readonly number[]
  readonly voxOffset: number
  readonly slope: number
  readonly inter: number
  readonly units: number
  readonly qformCode: number
  readonly sformCode: number
  readonly quaternion: readonly number[]
  readonly origin: readonly number[]
  readonly sform: readonly number[]
}

const numbers = (count: number, read: (k: number) => number): number[] => Array.from({ length: count }, (_, k) => read(k))
const textAt = (view: DataView, at: number, length: number): string => Buffer.from(view.buffer, view.byteOffset + at, length).toString('latin1')

function fieldsOf1(view: DataView, little: boolean): Fields {
  const int = (at: number): number => view.getInt16(at, little)
  const float = (at: number): number => view.getFloat32(at, little)
  return {
    magic: textAt(view, 344, 4), axes: int(40), dim: numbers(7, (k) => int(42 + 2 * k)), datatype: int(70), bitpix: int(72), pixdim: numbers(8, (k) => float(76 + 4 * k)),
    voxOffset: float(108), slope: float(112), inter: float(116), units: view.getUint8(123), qformCode: int(252), sformCode: int(254),
    quaternion: numbers(3, (k) => float(256 + 4 * k)), origin: numbers(3, (k) => float(268 + 4 * k)), sform: numbers(12, (k) => float(280 + 4 * k)),
  }
}

function fieldsOf2(view: DataView, little: boolean, fail: Fail): Fields {
  const int = (at: number): number => view.getInt32(at, little)
  const float = (at: number): number => view.getFloat64(at, little)
  // Beyond 2^53 a number is no longer exact, and no extent or offset either.
  const long = (at: number): number => Number(view.getBigInt64(at, little))
  const ends = textAt(view, 8, 4)
  if (ends !== LINE_ENDS && ends !== '\0\0\0\0') fail('magic', `${brief(LINE_ENDS)} at byte 8`, `${brief(ends)} (a transfer as text?)`)
  return {
    magic: textAt(view, 4, 4), axes: long(16), dim: numbers(7, (k) => long(24 + 8 * k)), datatype: view.getInt16(12, little), bitpix: view.getInt16(14, little),
    pixdim: numbers(8, (k) => float(104 + 8 * k)), voxOffset: long(168), slope: float(176), inter: float(184), units: int(500), qformCode: int(344), sformCode: int(348),
    quaternion: numbers(3, (k) => float(352 + 8 * k)), origin: numbers(3, (k) => float(376 + 8 * k)), sform: numbers(12, (k) => float(400 + 8 * k)),
  }
}

/** True for a single file. Analyze 7.5, whose header has the same size, has no magic; the side its x axis points to is anybody's guess. */
function readMagic(version: 1 | 2, magic: string, fail: Fail): boolean {
  if (magic === `n+${version}\0`) return true
  if (magic === `ni${version}\0`) return false
  return fail('magic', `n+${version} or ni${version}`, `${brief(magic)}${magic === '\0\0\0\0' ? ' (Analyze 7.5 is not read)' : ''}`)
}

function codeOf(code: number): number {
  return code >= 0 && code <= XFORM_CODE_MAX ? code : 0
}

function scaleOf(slope: number, inter: number, fail: Fail): NiftiHeader['scale'] {
  if (slope === 0 || !Number.isFinite(slope)) return undefined
  if (!Number.isFinite(inter)) fail('scl_inter', 'a finite number beside a slope', `${inter}`)
  return slope === 1 && inter === 0 ? undefined : { slope, inter }
}
