// The forward model of examples/ptychography/make.py, written once more from its description, with sums in place of fast transforms.
import type { Tensor } from '../../src/index.js'

export const SIZE = 48

/** Complex numbers in pairs, [SIZE, SIZE]. */
type Plane = Float64Array

/** |FFT(probe at (x, y) · object)|², float64 [SIZE, SIZE], its zero frequency at [zero, zero]. */
export function farField(object: Tensor<'complex64'>, probe: Tensor<'complex64'>, x: number, y: number, zero: number): Float64Array {
  const [i, j] = [Math.floor(x + 0.5), Math.floor(y + 0.5)]
  const spectrum = transform(Float64Array.from(probe.data), -1)
  for (let v = 0; v < SIZE; v++) for (let u = 0; u < SIZE; u++) turn(spectrum, v * SIZE + u, -2 * Math.PI * (frequency(v) * (y - j) + frequency(u) * (x - i)))
  const wave = transform(spectrum, 1)
  for (let v = 0; v < SIZE; v++) {
    for (let u = 0; u < SIZE; u++) {
      const [from, at] = [2 * ((j - SIZE / 2 + v) * object.shape[1]! + i - SIZE / 2 + u), 2 * (v * SIZE + u)]
      const [re, im, a, b] = [wave[at]!, wave[at + 1]!, object.data[from]!, object.data[from + 1]!]
      wave[at] = re * a - im * b
      wave[at + 1] = re * b + im * a
    }
  }
  const far = transform(wave, -1)
  const intensity = new Float64Array(SIZE * SIZE)
  for (let v = 0; v < SIZE; v++) for (let u = 0; u < SIZE; u++) intensity[(v + zero) % SIZE * SIZE + (u + zero) % SIZE] = far[2 * (v * SIZE + u)]! ** 2 + far[2 * (v * SIZE + u) + 1]! ** 2
  return intensity
}

/** In cycles per pixel, as NumPy's fftfreq. */
const frequency = (k: number): number => (k < SIZE / 2 ? k : k - SIZE) / SIZE

function turn(plane: Plane, at: number, angle: number): void {
  const [re, im, c, s] = [plane[2 * at]!, plane[2 * at + 1]!, Math.cos(angle), Math.sin(angle)]
  plane[2 * at] = re * c - im * s
  plane[2 * at + 1] = re * s + im * c
}

/** Discrete Fourier transform of rows, then of columns; sign -1 forwards, 1 backwards, divided by SIZE². */
function transform(plane: Plane, sign: -1 | 1): Plane {
  const factor = sign === 1 ? 1 / SIZE : 1
  const along = (from: Plane, step: number, line: number): Plane => {
    const to = new Float64Array(from.length)
    for (let k = 0; k < SIZE; k++) {
      for (let n = 0; n < SIZE; n++) {
        const [c, s] = [Math.cos(2 * Math.PI * (k * n % SIZE) / SIZE), sign * Math.sin(2 * Math.PI * (k * n % SIZE) / SIZE)]
        for (let row = 0; row < SIZE; row++) {
          const [at, out] = [2 * (row * line + n * step), 2 * (row * line + k * step)]
          to[out]! += factor * (from[at]! * c - from[at + 1]! * s)
          to[out + 1]! += factor * (from[at]! * s + from[at + 1]! * c)
        }
      }
    }
    return to
  }
  return along(along(plane, 1, SIZE), SIZE, 1)
}
