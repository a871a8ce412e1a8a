/** What a NIfTI header says about where its voxels lie. */
export interface NiftiGeometry {
  readonly shape: readonly number[]
  /** `pixdim[0]` is the sign of the qform's z axis, `pixdim[1 … 3]` the sizes of a voxel. */
  readonly pixdim: readonly number[]
  readonly units: number
  readonly qformCode: number
  readonly sformCode: number
  /** b, c, d */
  readonly quaternion: readonly number[]
  readonly origin: readonly number[]
  /** Three rows of four. */
  readonly sform: readonly number[]
}

/** How far below 0 the square of the quaternion's first part may be rounded: three units in the last place of what the header stores, as nibabel has it. */
const SQUARE_MIN = { 1: -3 * 2 ** -23, 2: -3 * 2 ** -52 } as const
/** `xyzt_units & 7`: metres and micrometres in mm. Everything else is taken for mm. */
const MM_PER_UNIT: Readonly<Record<number, (value: number) => number>> = { 1: (value) => value * 1000, 3: (value) => value / 1000 }

type Fail = (part: string, expected: string, found: string) => never

/**
 * The affine [4, 4] that nibabel gives: the sform where there is one, else the qform, else voxel sizes around the centre with x to the left; in mm, whatever unit the
 * header says. Throws FormatError when it is not finite.
 */
export function affineOf(geometry: NiftiGeometry, version: 1 | 2, fail: Fail): Float64Array {
  const [part, rows] = geometry.sformCode > 0 ? ['srow', geometry.sform] as const : geometry.qformCode > 0 ? ['quatern', qform(geometry, version, fail)] as const : ['pixdim', centred(geometry)] as const
  if (!rows.every(Number.isFinite)) fail(part, 'finite numbers', rows.join(', '))
  const toMm = MM_PER_UNIT[geometry.units & 7]
  return Float64Array.from([...toMm === undefined ? rows : rows.map(toMm), 0, 0, 0, 1])
}

/** nibabel repairs headers as it loads them: sizes of 0 are 1, negative ones are taken as positive. */
function voxelSizes({ pixdim }: NiftiGeometry): [number, number, number] {
  const size = (k: number): number => pixdim[k] === 0 ? 1 : Math.abs(pixdim[k]!)
  return [size(1), size(2), size(3)]
}

/** A rotation by the unit quaternion (a, b, c, d) with a ≥ 0, times voxel sizes. Adding 0 makes 0 of −0, as a matrix product does. */
function qform(geometry: NiftiGeometry, version: 1 | 2, fail: Fail): number[] {
  const [x, y, z] = geometry.quaternion as [number, number, number]
  const square = 1 - (x * x + y * y + z * z)
  if (square < SQUARE_MIN[version]) fail('quatern', 'a quaternion whose parts b, c, d have a length of at most 1', `${Math.sqrt(1 - square)}`)
  const w = Math.sqrt(square < 0 ? 0 : square)
  const s = 2 / (w * w + x * x + y * y + z * z)
  const [X, Y, Z] = [x * s, y * s, z * s]
  const rotation = [
    [1 - (y * Y + z * Z), x * Y - w * Z, x * Z + w * Y],
    [x * Y + w * Z, 1 - (x * X + z * Z), y * Z - w * X],
    [x * Z - w * Y, y * Z + w * X, 1 - (x * X + y * Y)],
  ]
  const sizes = voxelSizes(geometry)
  if (geometry.pixdim[0] === -1) sizes[2] = -sizes[2]
  return rotation.flatMap((row, i) => [...row.map((value, k) => value * sizes[k]! + 0), geometry.origin[i]!])
}

/** No coordinate system: the centre of the voxels is the origin. Axes that the image does not have count as 1. */
function centred(geometry: NiftiGeometry): number[] {
  const sizes = voxelSizes(geometry).map((size, axis) => axis < geometry.shape.length ? size : 1)
  sizes[0] = -sizes[0]!
  return [0, 1, 2].flatMap((row) => [0, 1, 2, 3].map((column) => column === 3 ? -((geometry.shape[row] ?? 1) - 1) / 2 * sizes[row]! : column === row ? sizes[row]! : 0))
}
