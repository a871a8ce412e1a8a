// Elements as exact values, one at a time: no rounding but the one that is asked for. Written to be read, not to be fast.
import { DTYPES, type DType } from '../../src/core/dtype.js'

/** A real number: a sign and m · 2^e exactly, or an infinity, or a NaN with its fraction aligned to the 52 bits of a float64. */
export type Exact =
  | { readonly kind: 'finite'; readonly negative: boolean; readonly m: bigint; readonly e: number }
  | { readonly kind: 'infinite'; readonly negative: boolean }
  | { readonly kind: 'nan'; readonly negative: boolean; readonly fraction: bigint }

interface FloatFormat { readonly fraction: number; readonly exponent: number }

const FORMATS: Partial<Record<DType, FloatFormat>> = {
  float16: { fraction: 10, exponent: 5 }, bfloat16: { fraction: 7, exponent: 8 }, float32: { fraction: 23, exponent: 8 }, float64: { fraction: 52, exponent: 11 },
}

/** The bits of element `index` as one unsigned integer. */
export function bitsAt(view: DataView, size: number, index: number): bigint {
  let bits = 0n
  for (let k = size - 1; k >= 0; k--) bits = (bits << 8n) | BigInt(view.getUint8(index * size + k))
  return bits
}

export function putBits(view: DataView, size: number, index: number, bits: bigint): void {
  for (let k = 0; k < size; k++) view.setUint8(index * size + k, Number((bits >> BigInt(8 * k)) & 0xffn))
}

/** What bits of a real dtype mean. */
export function decode(dtype: DType, bits: bigint): Exact {
  const format = FORMATS[dtype]
  const width = DTYPES[dtype].size * 8
  if (format === undefined) {
    if (dtype === 'bool') return { kind: 'finite', negative: false, m: bits === 0n ? 0n : 1n, e: 0 }
    const value = DTYPES[dtype].kind === 'int' ? BigInt.asIntN(width, bits) : bits
    return { kind: 'finite', negative: value < 0n, m: value < 0n ? -value : value, e: 0 }
  }
  const negative = (bits >> BigInt(width - 1)) === 1n
  const field = Number((bits >> BigInt(format.fraction)) & ((1n << BigInt(format.exponent)) - 1n))
  const fraction = bits & ((1n << BigInt(format.fraction)) - 1n)
  const top = 2 ** format.exponent - 1
  const bias = 2 ** (format.exponent - 1) - 1
  if (field === top) return fraction === 0n ? { kind: 'infinite', negative } : { kind: 'nan', negative, fraction: fraction << BigInt(52 - format.fraction) }
  if (field === 0) return { kind: 'finite', negative, m: fraction, e: 1 - bias - format.fraction }
  return { kind: 'finite', negative, m: fraction | (1n << BigInt(format.fraction)), e: field - bias - format.fraction }
}

/** The bits of the dtype's value for an exact one: rounding to nearest, ties to even; integers truncate and saturate, NaN becomes 0. */
export function encode(dtype: DType, value: Exact): bigint {
  const format = FORMATS[dtype]
  if (format !== undefined) return encodeFloat(format, value)
  if (dtype === 'bool') return value.kind === 'finite' && value.m === 0n ? 0n : 1n
  return encodeInteger(dtype, value)
}

function encodeFloat({ fraction, exponent }: FloatFormat, value: Exact): bigint {
  const sign = value.negative ? 1n << BigInt(fraction + exponent) : 0n
  const infinity = ((1n << BigInt(exponent)) - 1n) << BigInt(fraction)
  if (value.kind === 'infinite') return sign | infinity
  if (value.kind === 'nan') return sign | infinity | (value.fraction >> BigInt(52 - fraction)) | (1n << BigInt(fraction - 1))
  if (value.m === 0n) return sign
  const lowest = 2 - 2 ** (exponent - 1)
  const leading = value.m.toString(2).length - 1 + value.e
  const scale = Math.max(leading, lowest)
  // The value in units of the last place, rounded.
  const shift = scale - fraction - value.e
  let units = shift <= 0 ? value.m << BigInt(-shift) : value.m >> BigInt(shift)
  if (shift > 0) {
    const rest = value.m - (units << BigInt(shift))
    const half = 1n << BigInt(shift - 1)
    if (rest > half || (rest === half && (units & 1n) === 1n)) units += 1n
  }
  const bits = units + (BigInt(scale - lowest) << BigInt(fraction))
  return sign | (bits >= infinity ? infinity : bits)
}

function encodeInteger(dtype: DType, value: Exact): bigint {
  const width = DTYPES[dtype].size * 8
  const signed = DTYPES[dtype].kind === 'int'
  const low = signed ? -(1n << BigInt(width - 1)) : 0n
  const high = signed ? (1n << BigInt(width - 1)) - 1n : (1n << BigInt(width)) - 1n
  if (value.kind === 'nan') return 0n
  const whole = value.kind === 'infinite' ? high + 1n : value.e >= 0 ? value.m << BigInt(value.e) : value.m >> BigInt(-value.e)
  const exact = value.negative ? -whole : whole
  return BigInt.asUintN(width, exact < low || (value.kind === 'infinite' && value.negative) ? low : exact > high ? high : exact)
}

/** Whether bits of a floating dtype are NaN or infinite. */
export function isNonFinite(dtype: DType, bits: bigint): boolean {
  return FORMATS[dtype] !== undefined && decode(dtype, bits).kind !== 'finite'
}

/** Whether a > b; never where either is NaN. */
export function isGreater(a: Exact, b: Exact): boolean {
  if (a.kind === 'nan' || b.kind === 'nan') return false
  const least = Math.min(...[a, b].map((value) => value.kind === 'finite' ? value.e : 0))
  // Whole numbers of the same unit; infinities are beyond them all, and as large as each other.
  const units = (value: Exact): bigint => {
    const size = value.kind === 'finite' ? value.m << BigInt(value.e - least) : value.kind === 'infinite' ? 1n << 4096n : 0n
    return value.negative ? -size : size
  }
  return units(a) > units(b)
}

/** +0 for everything up to 2^-126, the value itself otherwise. */
export function guard(x: number): number {
  return Math.abs(x) <= 2 ** -126 ? 0 : x
}

export const add = (a: number, b: number): number => guard(Math.fround(a + b))
export const subtract = (a: number, b: number): number => guard(Math.fround(a - b))
export const multiply = (a: number, b: number): number => guard(Math.fround(a * b))
