import { philox4x32 } from '../../core/philox.js'

/**
 * `out[e] = in[e] + (shift + scale · z)` in float32, each operation rounded; z is the normal number of word e % 4 of Philox block e / 4, so that all elements can be computed by themselves. `words` are the two of the
 * key and the last three of the counter. native/src/rows/noise.cc computes the same numbers; tests compare the two.
 */
export function addNormal(input: Float32Array, out: Float32Array, words: Uint32Array, [scale, shift]: Float32Array): void {
  const [k0, k1, c1, c2, c3] = words as unknown as [number, number, number, number, number]
  const block = new Uint32Array(4)
  for (let at = 0; at < out.length; at++) {
    if (at % 4 === 0) philox4x32(at / 4, c1, c2, c3, k0, k1, block)
    out[at] = input[at]! + Math.fround(shift! + Math.fround(scale! * normalOf(block[at % 4]!)))
  }
}

/**
 * A standard normal number from one random word: the quantile of (word + 1/2) / 2^32, by Wichura's PPND7 (algorithm AS 241, Applied Statistics 37, 1988; about 7 digits), rounded to float32. Plain IEEE
 * double arithmetic in this order, and a logarithm of our own, since that of the system may differ in the last bit: the same bits everywhere. Between -6.34 and 6.34.
 */
export function normalOf(word: number): number {
  const q = (word + 0.5) * 2 ** -32 - 0.5
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q
    return Math.fround(q * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1))
  }
  // The smaller tail, in units of 2^-33; it is below 0.075, so the root is below 5, where the algorithm has another branch.
  const units = q < 0 ? 2 * word + 1 : 2 ** 33 - 2 * word - 1
  const r = Math.sqrt(33 * Math.LN2 - logOf(units)) - 1.6
  const z = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) / ((0.12021132975 * r + 0.73700164250) * r + 1)
  return Math.fround(q < 0 ? -z : z)
}

/** Natural logarithm of an odd integer below 2^30: by log f = 2 artanh((f - 1) / (f + 1)) for f from 1/√2 to √2, to 13 digits. */
function logOf(value: number): number {
  let exponent = 31 - Math.clz32(value)
  let f = value / 2 ** exponent
  if (f > Math.SQRT2) {
    f /= 2
    exponent++
  }
  const s = (f - 1) / (f + 1)
  const t = s * s
  return exponent * Math.LN2 + 2 * s * (1 + t * (1 / 3 + t * (1 / 5 + t * (1 / 7 + t * (1 / 9 + t * (1 / 11 + t * (1 / 13 + t / 15)))))))
}
