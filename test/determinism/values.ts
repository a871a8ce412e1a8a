import { DTYPES, type DType, type TypedArray } from '../../src/core/dtype.js'

/** Seeded random numbers (mulberry32): the same values on every run. */
export class Random {
  #state: number
  constructor(seed: number) { this.#state = seed >>> 0 }
  /** 0 … 2^32 - 1 */
  bits(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
  unit(): number { return this.bits() / 2 ** 32 }
  below(n: number): number { return Math.floor(this.unit() * n) }
  pick<T>(list: readonly T[]): T { return list[this.below(list.length)]! }
}

/** What goes into arithmetic: ordinary numbers, and in between those where devices differ. */
export type Flavour = 'plain' | 'edges' | 'cancel'

const TINY = 2 ** -126
/** Finite float32 values around which guards, flushes and roundings change their mind. */
export const EDGES: readonly number[] = [
  0, -0, TINY, -TINY, TINY * (1 + 2 ** -23), -TINY * (1 + 2 ** -23), TINY * (1 - 2 ** -23), 2 ** -149, -(2 ** -149), 2 ** -127, 2 ** -125, -(2 ** -125),
  3 * 2 ** -127, 1.5 * 2 ** -126, 1, -1, 1 + 2 ** -23, 1 - 2 ** -24, 2 ** -63, -(2 ** -63), 2 ** -64, 3e-20, 255, 65535, 16777216, 16777215,
]

export function floats(n: number, random: Random, flavour: Flavour): Float32Array {
  const out = new Float32Array(n)
  const big = Math.fround(1e8 * (1 + random.unit()))
  for (let i = 0; i < n; i++) {
    const ordinary = (random.unit() - 0.5) * 2 ** (random.below(24) - 8)
    if (flavour === 'plain') out[i] = ordinary
    // Of different sizes: if all were alike, sums would lose every bit that tells one order from another.
    else if (flavour === 'cancel') out[i] = i % 2 === 0 ? big * (random.unit() - 0.5) : (random.unit() - 0.5) * 64 - out[i - 1]!
    else out[i] = random.below(3) === 0 ? random.pick(EDGES) : random.below(2) === 0 ? random.pick(EDGES) * 2 ** (random.below(5) - 2) : ordinary * 2 ** -random.below(130)
  }
  return out
}

/** Any bit pattern of a dtype, with its special values over-represented. NaN with payloads included. */
export function anyBits(dtype: DType, n: number, random: Random): TypedArray {
  const { array, size, kind } = DTYPES[dtype]
  const parts = kind === 'complex' ? 2 : 1
  const out = new array(new ArrayBuffer(n * size), 0, n * parts)
  const words = new Uint8Array(out.buffer)
  for (let i = 0; i < words.length; i++) words[i] = random.bits()
  for (let i = 0; i < n * parts; i++) if (random.below(2) === 0) writeSpecial(dtype, out, i, random)
  return out
}

const SPECIAL_FLOATS: readonly number[] = [
  0, -0, 0.5, -0.5, 0.999999, -0.999999, 1, -1, 1.5, 2.5, -1.5, 127, 127.5, 128, -128, -128.5, -129, 255, 255.5, 256, 32767, 32767.5, 32768, -32768, -32769, 65504,
  65519, 65519.99, 65520, 65535, 65536, 2147483520, 2147483647, 2147483648, -2147483648, -2147483649, 4294967040, 4294967295, 4294967296, 2 ** 53, 2 ** 63, -(2 ** 63),
  2 ** 63 - 1024, 2 ** 64, 2 ** 64 - 2048, 3.4028234663852886e38, 3.4028235677973366e38, 3.4028235677973362e38, 3.3895313892515355e38, 3.39e38, 1e39, 1e308, -1e308, Infinity,
  -Infinity, NaN, 2 ** -14, 2 ** -24, 2 ** -25, 2 ** -25 * (1 + 2 ** -20), 2 ** -25 * (1 + 2 ** -52), 3 * 2 ** -25, 2 ** -126, 2 ** -127, 2 ** -149, 2 ** -150, 2 ** -150 * (1 + 2 ** -52), 2 ** -133,
  2 ** -134, 2 ** -1022, 2 ** -1074,
  // Halfway cases of half, bfloat and float, and the same with a bit far below: a double rounding shows here.
  1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -40, 1 + 2 ** -11 - 2 ** -40, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -40, 1 + 2 ** -8 - 2 ** -40, 1 + 2 ** -24, 1 + 3 * 2 ** -24,
  1 + 2 ** -24 + 2 ** -52, 1 + 2 ** -24 - 2 ** -52,
]
const SPECIAL_INTEGERS: readonly bigint[] = [
  0n, 1n, -1n, 127n, 128n, -128n, 255n, 256n, 2047n, 2049n, 2051n, 32767n, 32768n, 65504n, 65519n, 65520n, 65535n, 65536n, 131072n, 16777217n, 16777219n, 2147483647n, -2147483648n, 4294967295n,
  (1n << 53n) + 1n, (1n << 53n) + 3n, (1n << 62n) + (1n << 38n), (1n << 62n) + (1n << 38n) + 1n, (1n << 62n) + (1n << 38n) - 1n, (1n << 62n) + (1n << 54n), (1n << 62n) + (1n << 54n) + 1n,
  (1n << 62n) + (1n << 54n) - 1n, (1n << 63n) - 1n, -(1n << 63n), (1n << 64n) - 1n, (1n << 63n) + (1n << 39n), (1n << 63n) + (1n << 39n) + 1n, -(1n << 62n) - (1n << 54n) - 1n,
]

const scratch = new DataView(new ArrayBuffer(8))
function writeSpecial(dtype: DType, out: TypedArray, i: number, random: Random): void {
  if (out instanceof BigInt64Array || out instanceof BigUint64Array) out[i] = random.pick(SPECIAL_INTEGERS)
  else if (dtype === 'float16' || dtype === 'bfloat16') {
    const top = dtype === 'float16' ? [0x0000, 0x0001, 0x03ff, 0x0400, 0x7bff, 0x7c00, 0x7c01, 0x7dff, 0x7e00, 0x7fff, 0x3c00] : [0x0000, 0x0001, 0x007f, 0x0080, 0x7f7f, 0x7f80, 0x7f81, 0x7fbf, 0x7fc0, 0x7fff, 0x3f80, 0x0080]
    out[i] = random.pick(top) | (random.below(2) << 15)
  } else if (DTYPES[dtype].kind === 'float' || DTYPES[dtype].kind === 'complex') out[i] = random.pick(SPECIAL_FLOATS)
  else {
    scratch.setBigInt64(0, BigInt.asIntN(64, random.pick(SPECIAL_INTEGERS)), true)
    out[i] = out.BYTES_PER_ELEMENT === 1 ? scratch.getUint8(0) : out.BYTES_PER_ELEMENT === 2 ? scratch.getUint16(0, true) : scratch.getUint32(0, true)
  }
}
