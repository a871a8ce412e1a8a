/** The atoms of a cell: atomic numbers [n], fractions [n, 3], rows a, b, c [3, 3] in Å. */
export interface Cell {
  readonly numbers: Int32Array
  readonly fracCoords: Float64Array
  readonly lattice: Float64Array
}

/** Three rows of three. */
export type Matrix = readonly [Vector, Vector, Vector]
export type Vector = readonly [number, number, number]

/** A replacement must be shorter by more than rounding: of vectors of equal length the one that is there stays. */
const SHORTER = 1 - 1e-9
/** Of the entries of a whole-number matrix that was found in float64. */
const WHOLE = 1e-3
const PASSES_MAX = 1000

/**
 * The cell of the finest lattice that has the translations of `vectors` (rows: fractions of the cell's lattice; a primitive basis of any kind). Its vectors are
 * the shortest, in the place and orientation nearest to the cell's own, of the same handedness; each site is the first of its copies. Undefined
 * when the vectors span no finer lattice than the cell's. Throws when they are no translations of the cell, or when copies lie farther than `tolerance` (Å) apart.
 */
export function primitiveCell(cell: Cell, vectors: Matrix, tolerance: number): Cell | undefined {
  const copies = Math.round(1 / Math.abs(determinant(vectors)))
  if (copies === 1) return undefined
  const found = inverse(vectors).map((row) => row.map(Math.round)) as unknown as Matrix
  const product = times(found, vectors)
  const whole = product.every((row, i) => row.every((value, j) => Math.abs(value - (i === j ? 1 : 0)) < WHOLE))
  if (!whole || Math.abs(determinant(found)) !== copies) throw new Error('the translations found do not fit the cell')
  const rows = matrixOf(cell.lattice)
  const inner = reduced(hermite(found), rows)
  const lattice = solve(inner, rows)
  return { ...merged(cell, inner, lattice, copies, tolerance), lattice: Float64Array.from(lattice.flat()) }
}

/** Lower triangular, with a positive diagonal and smaller entries before it: the one such matrix that integer column operations make of `m`. */
function hermite(m: Matrix): Matrix {
  const h = m.map((row) => [...row])
  const add = (to: number, from: number, factor: number): void => { for (const row of h) row[to] = row[to]! + factor * row[from]! }
  for (let r = 0; r < 3; r++) {
    const row = h[r]!
    for (let c = r + 1; c < 3; c++) {
      while (row[c] !== 0) {
        add(r, c, -Math.trunc(row[r]! / row[c]!))
        for (const each of h) [each[r], each[c]] = [each[c]!, each[r]!]
      }
    }
    if (row[r]! < 0) for (const each of h) each[r] = -each[r]!
    for (let c = 0; c < r; c++) add(c, r, -Math.floor(row[c]! / row[r]!))
  }
  return h as unknown as Matrix
}

/**
 * With `m` · p = `rows`: the same for the shortest p (Minkowski-reduced: no p_i gets shorter by adding whole multiples of the others; multiples of −1, 0, 1 decide
 * that in three dimensions).
 */
function reduced(m: Matrix, rows: Matrix): Matrix {
  const inner = m.map((row) => [...row])
  const p = solve(m, rows).map((row) => [...row] as [number, number, number])
  const replace = (i: number, by: Vector, j: number, x: number, k = j, y = 0): void => {
    p[i] = [...by]
    // row = Σ inner_i p_i: what p_i was given is taken from the others.
    for (const row of inner) {
      row[j] = row[j]! - x * row[i]!
      row[k] = row[k]! - y * row[i]!
    }
  }
  for (let pass = 0, changed = true; changed && pass < PASSES_MAX; pass++) {
    changed = false
    for (let i = 0; i < 3; i++) {
      for (const j of [(i + 1) % 3, (i + 2) % 3]) {
        const x = -Math.round(dot(p[i]!, p[j]!) / dot(p[j]!, p[j]!))
        const shorter = combined(p[i]!, x, p[j]!, 0, p[j]!)
        if (x === 0 || dot(shorter, shorter) >= SHORTER * dot(p[i]!, p[i]!)) continue
        replace(i, shorter, j, x)
        changed = true
      }
      const [j, k] = [(i + 1) % 3, (i + 2) % 3]
      for (const [x, y] of [[1, 1], [1, -1], [-1, 1], [-1, -1]] as const) {
        const shorter = combined(p[i]!, x, p[j]!, y, p[k]!)
        if (dot(shorter, shorter) >= SHORTER * dot(p[i]!, p[i]!)) continue
        replace(i, shorter, j, x, k, y)
        changed = true
      }
    }
  }
  return inner as unknown as Matrix
}

/** Sites of the finer cell, in the order of their first copies. */
function merged({ numbers, fracCoords }: Cell, inner: Matrix, lattice: Matrix, copies: number, tolerance: number): { numbers: Int32Array; fracCoords: Float64Array } {
  const sites: { readonly first: number; readonly at: Vector; copies: number }[] = []
  for (let atom = 0; atom < numbers.length; atom++) {
    const at = wrapped(rowTimes(vectorAt(fracCoords, atom), inner))
    const site = sites.find((other) => numbers[other.first] === numbers[atom] && apart(at, other.at, lattice) <= tolerance)
    if (site === undefined) sites.push({ first: atom, at, copies: 1 })
    else site.copies++
  }
  const odd = sites.find((site) => site.copies !== copies)
  if (odd !== undefined) throw new Error(`atom ${odd.first} has ${odd.copies} copies where the lattice has ${copies}; a smaller symprec may tell them apart`)
  return { numbers: Int32Array.from(sites, ({ first }) => numbers[first]!), fracCoords: Float64Array.from(sites.flatMap(({ at }) => at)) }
}

/** The first two atoms that are less than `distance` (Å) apart, themselves or in neighbouring cells. */
export function coincident({ numbers, fracCoords, lattice }: Cell, distance: number): readonly [number, number] | undefined {
  const rows = matrixOf(lattice)
  for (let i = 0; i < numbers.length; i++) {
    for (let j = i + 1; j < numbers.length; j++) if (apart(vectorAt(fracCoords, i), vectorAt(fracCoords, j), rows) < distance) return [i, j]
  }
  return undefined
}

/** In Å, of the images that are nearest by fractions: exact for atoms that are close together. */
function apart(a: Vector, b: Vector, lattice: Matrix): number {
  const step = rowTimes(a.map((x, axis) => x - b[axis]! - Math.round(x - b[axis]!)) as unknown as Vector, lattice)
  return Math.sqrt(dot(step, step))
}

function wrapped(at: Vector): Vector {
  return at.map((x) => {
    const inside = x - Math.floor(x)
    return inside < 1 ? inside : 0
  }) as unknown as Vector
}

/** p of m · p = rows, for a matrix of whole numbers. */
function solve(m: Matrix, rows: Matrix): Matrix {
  const whole = determinant(m)
  // Each row of the adjugate in lowest terms, so that halves of a vector are exact. + 0 turns -0 into 0.
  return adjugate(m).map((row) => {
    const common = row.reduce(gcd, Math.abs(whole))
    return rowTimes(row.map((value) => value / common) as unknown as Vector, rows).map((value) => value / (whole / common) + 0)
  }) as unknown as Matrix
}

function adjugate([[a, b, c], [d, e, f], [g, h, i]]: Matrix): Matrix {
  return [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f], [d * h - e * g, b * g - a * h, a * e - b * d]]
}

export function determinant([[a, b, c], [d, e, f], [g, h, i]]: Matrix): number {
  return a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g)
}

function inverse(m: Matrix): Matrix {
  const volume = determinant(m)
  return adjugate(m).map((row) => row.map((value) => value / volume)) as unknown as Matrix
}

function times(a: Matrix, b: Matrix): Matrix {
  return a.map((row) => rowTimes(row, b)) as unknown as Matrix
}

function rowTimes([x, y, z]: Vector, [a, b, c]: Matrix): Vector {
  return [x * a[0] + y * b[0] + z * c[0], x * a[1] + y * b[1] + z * c[1], x * a[2] + y * b[2] + z * c[2]]
}

function combined(a: Vector, x: number, b: Vector, y: number, c: Vector): Vector {
  return [a[0] + x * b[0] + y * c[0], a[1] + x * b[1] + y * c[1], a[2] + x * b[2] + y * c[2]]
}

function dot(a: Vector, b: Vector): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

function gcd(a: number, b: number): number {
  return b === 0 ? Math.abs(a) : gcd(b, a % b)
}

function vectorAt(coords: Float64Array, atom: number): Vector {
  return [coords[3 * atom]!, coords[3 * atom + 1]!, coords[3 * atom + 2]!]
}

export function matrixOf(values: Float64Array): Matrix {
  return [vectorAt(values, 0), vectorAt(values, 1), vectorAt(values, 2)]
}
