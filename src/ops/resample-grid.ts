import { show } from '../core/options.js'
import { spacingOf, type Affine } from './geometry.js'
import type { Fail } from './op.js'
import type { AxisPlan, ResampleEdges } from './resample-tables.js'

/** Where the voxels of a given size lie: see `resample`. */
export type ResampleGeometry = 'center' | 'nibabel' | 'monai'

/** Where the samples of x, y and z are taken, and where they lie. */
export interface Grid {
  readonly plans: readonly [AxisPlan, AxisPlan, AxisPlan]
  readonly affine: Affine
}

export interface GridRequest {
  /** mm along x, y and z */
  readonly spacing: readonly number[]
  readonly geometry: ResampleGeometry
  readonly edges: ResampleEdges
}

/** Samples along an axis: more are a misspelled spacing. A metre has a million micrometres. */
const SAMPLES_MAX = 2 ** 20
/** Voxels by which a sample may be off where an affine is taken for straight. Turning an affine about with float32 numbers leaves a tenth of it over 512 voxels. */
const STRAIGHT = 1e-3
/** mm. MONAI leaves voxels that are as near to the wanted size as they are. */
const MONAI_TOLERANCE = 1e-3

/** The grid over an image of these extents, none of which is 0. `name` is the affine's. */
export function gridOf(affine: Affine, name: string, extents: readonly number[], request: GridRequest, fail: Fail): Grid {
  const sizes = spacingOf(affine)
  if (sizes.includes(0)) fail(`field ${name} is flat: its axes do not span space`)
  const grid = GRIDS[request.geometry](affine, name, extents, sizes, request, fail)
  grid.plans.forEach(({ to }, axis) => {
    if (!(to <= SAMPLES_MAX)) fail(`spacing ${request.spacing[axis]} mm makes ${to} samples of ${extents[axis]} voxels of ${sizes[axis]} mm; expected at most ${SAMPLES_MAX}`)
  })
  return grid
}

type GridOf = (affine: Affine, name: string, extents: readonly number[], sizes: readonly number[], request: GridRequest, fail: Fail) => Grid

const GRIDS: Readonly<Record<ResampleGeometry, GridOf>> = {
  // Both cover the same extent, so the voxels are of the size nearest to the wanted one that divides it.
  center(affine, _name, extents, sizes, { spacing, edges }) {
    const plans = xyz((axis) => ({ from: extents[axis]!, to: Math.max(1, roundEven((extents[axis]! * sizes[axis]!) / spacing[axis]!)), alignCorners: false, edges }))
    const shift = plans.map(({ from, to }) => (from - to) / (2 * to))
    return { plans, affine: lattice(affine, plans.map(({ from, to }) => from / to), (row) => shift.reduce((origin, by, axis) => origin + affine[4 * row + axis]! * by, affine[4 * row + 3]!)) }
  },

  // nibabel.spaces.vox2out_vox: from the least corner of the box around all centres, in steps of the wanted size, until the box is covered.
  nibabel(affine, name, extents, _sizes, { spacing, edges }, fail) {
    requireUpright(affine, name, extents, fail)
    const low: number[] = []
    const plans = xyz((axis) => {
      const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((corner) => {
        const at = extents.map((extent, k) => ((corner >> k) & 1) * (extent - 1))
        return affine[4 * axis]! * at[0]! + affine[4 * axis + 1]! * at[1]! + affine[4 * axis + 2]! * at[2]! + affine[4 * axis + 3]!
      })
      low.push(Math.min(...corners))
      const to = Math.ceil((Math.max(...corners) - low[axis]!) / spacing[axis]!) + 1
      return { from: extents[axis]!, to, alignCorners: false, edges: edges === 'constant' ? 'empty' : edges, step: spacing[axis]! / affine[5 * axis]! }
    })
    const made = new Float64Array(16)
    for (let row = 0; row < 3; row++) {
      made[5 * row] = spacing[row]!
      made[4 * row + 3] = low[row]!
    }
    made[15] = 1
    return { plans, affine: made }
  },

  // MONAI 1.3, Spacing and compute_shape_offset with scale_extent false: the first voxel stays where it is, and the last lies nearest to where the last one lay.
  monai(affine, name, extents, sizes, { spacing, edges }, fail) {
    requireRectangular(affine, name, extents, sizes, fail)
    const wanted = spacing.map((size, axis) => (Math.abs(size - sizes[axis]!) <= MONAI_TOLERANCE ? sizes[axis]! : size))
    const plans = xyz((axis) => ({
      from: extents[axis]!, to: roundEven(((extents[axis]! - 1) * sizes[axis]!) / wanted[axis]! + 1), alignCorners: false, edges, step: wanted[axis]! / sizes[axis]!,
    }))
    return { plans, affine: lattice(affine, wanted.map((size, axis) => size / sizes[axis]!), (row) => affine[4 * row + 3]!) }
  },
}

function xyz(plan: (axis: number) => AxisPlan): [AxisPlan, AxisPlan, AxisPlan] {
  return [plan(0), plan(1), plan(2)]
}

/** Its columns scaled, with another origin. */
function lattice(affine: Affine, scale: readonly number[], origin: (row: number) => number): Affine {
  return affine.map((entry, k) => (k >= 12 ? entry : k % 4 === 3 ? origin(k >> 2) : entry * scale[k % 4]!))
}

/** As NumPy rounds: a half goes to the even neighbour. */
function roundEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below
}

/** Refuses an affine whose axes do not run along the world's, each towards its positive end. */
function requireUpright(affine: Affine, name: string, extents: readonly number[], fail: Fail): void {
  const found = (): string => show([...affine.subarray(0, 12)])
  const column = (axis: number): number[] => [0, 1, 2].map((row) => affine[4 * row + axis]!)
  const along = [0, 1, 2].map((axis) => column(axis).reduce((best, entry, row, all) => (Math.abs(entry) > Math.abs(all[best]!) ? row : best), 0))
  const smallest = Math.min(...along.map((row, axis) => Math.abs(column(axis)[row]!)))
  for (const [axis, row] of along.entries()) {
    const astray = Math.max(...column(axis).map((entry, k) => (k === row ? 0 : Math.abs(entry))))
    if (astray * (extents[axis]! - 1) > STRAIGHT * smallest) fail(`field ${name} lies obliquely, ${found()}: geometry "nibabel" samples along the world's axes, for which such an image is read along all axes at once: reslice({ to: 'world', spacing }); "center" and "monai" go along the image's own axes`)
  }
  if (along.some((row, axis) => row !== axis || column(axis)[row]! < 0)) fail(`the axes of field ${name} do not run right, anterior and superior, ${found()}: geometry "nibabel" needs orient({ axcodes: 'RAS' }) before`)
}

/** Refuses an affine whose axes do not meet at right angles: MONAI takes samples along axes that do. */
function requireRectangular(affine: Affine, name: string, extents: readonly number[], sizes: readonly number[], fail: Fail): void {
  for (const [a, b] of [[0, 1], [0, 2], [1, 2]] as const) {
    const cosine = [0, 1, 2].reduce((sum, row) => sum + affine[4 * row + a]! * affine[4 * row + b]!, 0) / (sizes[a]! * sizes[b]!)
    if (Math.abs(cosine) * (Math.max(extents[a]!, extents[b]!) - 1) > STRAIGHT) fail(`axes ${a} and ${b} of field ${name} do not meet at a right angle (cosine ${cosine}): geometry "monai" would make them; reslice({ to: 'world', spacing }) does, and "center" keeps the angle`)
  }
}
