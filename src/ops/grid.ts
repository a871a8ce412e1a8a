import type { Affine } from './geometry.js'

/** Where the voxels of a result lie, and how an image is read there. */
export interface Grid {
  readonly affine: Affine
  readonly shape: readonly number[]
}

/** A voxel is 2^40 steps: the unit of AffineStep's matrices (program.ts). */
const STEPS = 2 ** 40
/** Coordinates that int64 holds with what rounding may add. */
const FARTHEST = 2n ** 63n - 2n ** 16n
/** A box that is longer than a whole number of voxels by less than this is not given another one for it: headers have float32. */
const SLACK = 1e-3

/**
 * The grid along the world's axes around an image: nibabel's `vox2out_vox`. Its first voxel's centre is the lowest corner of the box around the centres of the image's own
 * corner voxels, and it has ceil(edge / spacing) + 1 voxels along each axis.
 */
export function worldGrid(affine: Affine, extents: readonly number[], spacing: readonly number[]): Grid {
  const made = new Float64Array(16)
  made[15] = 1
  const shape = spacing.map((size, row) => {
    let [low, edge] = [affine[4 * row + 3]!, 0]
    extents.forEach((extent, axis) => {
      const reach = affine[4 * row + axis]! * (extent - 1)
      if (reach < 0) low += reach
      edge += Math.abs(reach)
    })
    made[5 * row] = size
    made[4 * row + 3] = low
    return Math.ceil(edge / size - SLACK) + 1
  })
  return { affine: made, shape }
}

/** Whether the three axes lie in a plane, but for rounding. */
export function isFlat(affine: Affine): boolean {
  const { determinant } = cofactorsOf(affine)
  const lengths = [0, 1, 2].map((axis) => Math.sqrt([0, 1, 2].reduce((sum, row) => sum + affine[4 * row + axis]! * affine[4 * row + axis]!, 0)))
  return !(Math.abs(determinant) > 1e-12 * lengths[0]! * lengths[1]! * lengths[2]!)
}

/**
 * What takes a voxel of the grid to voxels of the image with affine `from`, for AffineStep: inverse(from) · grid, in float64, rounded once to steps of 2^-40 voxel. For extents of up to 4,096 the coordinates are
 * then right to 2^-27 voxel, and with the rounding on the device to 2^-24. Undefined where a voxel of the grid lies 2^23 voxels away or more.
 */
export function voxelMatrix(from: Affine, grid: Grid): BigInt64Array | undefined {
  const { cofactors, determinant } = cofactorsOf(from)
  const matrix = new BigInt64Array(12)
  for (let row = 0; row < 3; row++) {
    let [low, high] = [0n, 0n]
    for (let column = 0; column < 4; column++) {
      let sum = 0
      for (let k = 0; k < 3; k++) sum += cofactors[3 * k + row]! * (column < 3 ? grid.affine[4 * k + column]! : grid.affine[4 * k + 3]! - from[4 * k + 3]!)
      const entry = Math.round(sum / determinant * STEPS)
      if (!(Math.abs(entry) < 2 ** 63)) return undefined
      matrix[4 * row + column] = BigInt(entry)
      const reach = BigInt(entry) * BigInt(column < 3 ? Math.max(grid.shape[column]! - 1, 0) : 1)
      if (column === 3 || reach < 0n) low += reach
      if (column === 3 || reach > 0n) high += reach
    }
    if (low < -FARTHEST || high > FARTHEST) return undefined
  }
  return matrix
}

/** Of the matrix of the three axes; the inverse is their transpose over the determinant. */
function cofactorsOf(affine: Affine): { cofactors: number[]; determinant: number } {
  const at = (row: number, column: number): number => affine[4 * (row % 3) + column % 3]!
  const cofactors = Array.from({ length: 9 }, (_, i) => {
    const [row, column] = [Math.floor(i / 3), i % 3]
    return at(row + 1, column + 1) * at(row + 2, column + 2) - at(row + 1, column + 2) * at(row + 2, column + 1)
  })
  return { cofactors, determinant: at(0, 0) * cofactors[0]! + at(0, 1) * cofactors[1]! + at(0, 2) * cofactors[2]! }
}
