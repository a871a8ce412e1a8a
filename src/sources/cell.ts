/**
 * Lattice rows a, b, c in Å from lengths and angles in degrees: c lies along z and a in the xz plane, as pymatgen's `Lattice.from_parameters` has it.
 * Undefined when the cell has no volume.
 */
export function latticeOf(lengths: readonly number[], angles: readonly number[]): Float64Array | undefined {
  const [a, b, c] = lengths as [number, number, number]
  const [cosAlpha, cosBeta, cosGamma] = angles.map(cosDegrees) as [number, number, number]
  const sinAlpha = sinDegrees(angles[0]!)
  const sinBeta = sinDegrees(angles[1]!)
  const cosGammaStar = (cosAlpha * cosBeta - cosGamma) / (sinAlpha * sinBeta)
  const square = (1 - cosGammaStar) * (1 + cosGammaStar)
  if (!(square * (sinAlpha * sinBeta) ** 2 > FLATNESS_MIN)) return undefined
  // + 0 turns -0 into 0.
  return Float64Array.of(
    a * sinBeta, 0, a * cosBeta + 0,
    -b * sinAlpha * cosGammaStar + 0, b * sinAlpha * Math.sqrt(square), b * cosAlpha + 0,
    0, 0, c)
}

/** Square of the volume over (abc)²: below this, angles given with a few digits no longer say what the volume is. */
const FLATNESS_MIN = 1e-10

/**
 * The standard axes of Cartesian coordinates, which are not those above: a lies along x, b in the xy plane. Same form of the result.
 */
export function standardAxesOf(lengths: readonly number[], angles: readonly number[]): Float64Array {
  const [a, b, c] = lengths as [number, number, number]
  const [cosAlpha, cosBeta, cosGamma] = angles.map(cosDegrees) as [number, number, number]
  const sinGamma = sinDegrees(angles[2]!)
  const y = (cosAlpha - cosBeta * cosGamma) / sinGamma
  return Float64Array.of(a, 0, 0, b * cosGamma, b * sinGamma, 0, c * cosBeta, c * y, c * Math.sqrt(1 - cosBeta * cosBeta - y * y))
}

/** Inverse of a 3 × 3 matrix, C order. */
export function inverse(m: ArrayLike<number>): Float64Array {
  const [a, b, c, d, e, f, g, h, i] = Array.from(m) as [number, number, number, number, number, number, number, number, number]
  const [x, y, z] = [e * i - f * h, f * g - d * i, d * h - e * g]
  const determinant = a * x + b * y + c * z
  return Float64Array.of(x, c * h - b * i, b * f - c * e, y, a * i - c * g, c * d - a * f, z, b * g - a * h, a * e - b * d).map((value) => value / determinant)
}

// Math.cos and Math.sin differ in their last bit between versions of V8, which would make other bytes of the same file. These use only
// operations whose result IEEE 754 prescribes, and are exact at multiples of 30 degrees where the value is.

/** Of an angle from 0 to 180. */
export function cosDegrees(degrees: number): number {
  if (degrees > 90) return -cosDegrees(180 - degrees)
  if (degrees === 60) return 0.5
  return degrees > 45 ? sinSeries(90 - degrees) : cosSeries(degrees)
}

/** Of an angle from 0 to 180. */
export function sinDegrees(degrees: number): number {
  if (degrees > 90) return sinDegrees(180 - degrees)
  if (degrees === 30) return 0.5
  return degrees > 45 ? cosSeries(90 - degrees) : sinSeries(degrees)
}

/** Taylor series up to 45 degrees: the first term left out is below 2⁻⁵⁶ of the sum. */
function sinSeries(degrees: number): number {
  const x = degrees * (Math.PI / 180)
  return x + x * series(x * x, 17)
}

function cosSeries(degrees: number): number {
  const x = degrees * (Math.PI / 180)
  return 1 + series(x * x, 18)
}

/** Sum of (−square)^k / (last! / (last − 2k)!) from the highest power down to k = 1. */
function series(square: number, last: number): number {
  let sum = 0
  for (let n = last; n >= 2; n -= 2) sum = (-square / (n * (n - 1))) * (1 + sum)
  return sum
}
