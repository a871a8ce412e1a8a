import type { Affine } from './geometry.js'

/** The world's axes, negative end first: to the left or right, posterior or anterior, inferior or superior. */
const ENDS = [['L', 'R'], ['P', 'A'], ['I', 'S']] as const

/** An axis of an image, as the world's axis that it runs along most, and whether it runs towards that one's positive end. */
export interface AxisDirection {
  readonly world: number
  readonly positive: boolean
}

/** `RAS` and the like: each letter says towards which end of the world an axis runs. Undefined for what is none. */
export function directionsOf(axcodes: string): AxisDirection[] | undefined {
  const directions = Array.from(axcodes, (letter): AxisDirection | undefined => {
    const world = ENDS.findIndex((ends) => (ends as readonly string[]).includes(letter))
    return world < 0 ? undefined : { world, positive: ENDS[world]![1] === letter }
  })
  const worlds = new Set(directions.map((direction) => direction?.world))
  return directions.length === 3 && worlds.size === 3 && !worlds.has(undefined) ? directions as AxisDirection[] : undefined
}

export function axcodesOf(directions: readonly AxisDirection[]): string {
  return directions.map(({ world, positive }) => ENDS[world]![positive ? 1 : 0]).join('')
}

/**
 * Where an image's axes run: as nibabel's `io_orientation`, the world axis of the largest entry of each column of the rotation that is nearest to the affine, one column after the other, each world axis
 * once. That rotation is the orthogonal factor of the polar decomposition, found by Newton's iteration (Higham, Functions of Matrices, 2008, 8.3). Undefined for an affine that is flat.
 */
export function orientationOf(affine: Affine): AxisDirection[] | undefined {
  const columns = [0, 1, 2].map((axis) => {
    const column = [0, 1, 2].map((row) => affine[4 * row + axis]!)
    const length = Math.hypot(...column)
    return column.map((entry) => entry / length)
  })
  const rotation = nearestRotation(columns)
  if (rotation === undefined) return undefined
  const taken = new Set<number>()
  return rotation.map((column) => {
    const world = [0, 1, 2].filter((row) => !taken.has(row)).reduce((best, row) => (Math.abs(column[row]!) > Math.abs(column[best]!) ? row : best))
    taken.add(world)
    return { world, positive: column[world]! >= 0 }
  })
}

/** Columns of the orthogonal matrix nearest to these. The iteration doubles its digits each time; 40 are enough for anything that is not flat. */
function nearestRotation(columns: readonly (readonly number[])[]): number[][] | undefined {
  let current = columns.map((column) => [...column])
  for (let round = 0; round < 40; round++) {
    const [a, b, c] = current as [number[], number[], number[]]
    // The columns of the inverse transposed are the cross products over the determinant.
    const cofactors = [cross(b, c), cross(c, a), cross(a, b)]
    const determinant = dot(a, cofactors[0]!)
    if (!(Math.abs(determinant) > 1e-12)) return undefined
    const next = current.map((column, k) => column.map((entry, row) => (entry + cofactors[k]![row]! / determinant) / 2))
    const change = Math.max(...next.flatMap((column, k) => column.map((entry, row) => Math.abs(entry - current[k]![row]!))))
    current = next
    if (change < 1e-15) break
  }
  return current
}

function cross([a0, a1, a2]: readonly number[], [b0, b1, b2]: readonly number[]): number[] {
  return [a1! * b2! - a2! * b1!, a2! * b0! - a0! * b2!, a0! * b1! - a1! * b0!]
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a[0]! * b[0]! + a[1]! * b[1]! + a[2]! * b[2]!
}
