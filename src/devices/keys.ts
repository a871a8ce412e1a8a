import { DTYPES, type DType } from '../core/dtype.js'

/**
 * Elements as unsigned integers that order like their values: an element's key is its bits, with the sign flipped where there is one, and with all bits flipped of a floating number below zero. So a comparison with a
 * number is one of integers, exact for every dtype, on every device. NaN has keys beyond those of the infinities; -0 comes before +0; every bool above 0 is 1.
 */

/** The first and the last key of the values above the threshold: the first is greater than the last where there are none. Real dtypes. */
export function keysAbove(dtype: DType, threshold: number): readonly [first: bigint, last: bigint] {
  const { size, kind } = DTYPES[dtype]
  const all = (1n << BigInt(8 * size)) - 1n
  const sign = 1n << BigInt(8 * size - 1)
  const infinity = INFINITIES[dtype]
  const valueOf = (key: bigint): bigint | number => {
    if (infinity !== undefined) return floatOf(dtype, key >= sign ? key ^ sign : key ^ all)
    return kind === 'bool' ? (key === 0n ? 0n : 1n) : kind === 'int' ? key - sign : key
  }
  const last = infinity === undefined ? all : infinity ^ sign
  // The smallest that is above; JavaScript compares integers of any size with a float64 exactly.
  let [low, high] = [infinity === undefined ? 0n : all ^ last, last + 1n]
  while (low < high) {
    const middle = (low + high) / 2n
    if (valueOf(middle) > threshold) high = middle
    else low = middle + 1n
  }
  // Of all 64-bit keys the one after the last has no room.
  return low > last ? [1n, 0n] : [low, last]
}

/** Bits of +infinity. */
const INFINITIES: Partial<Record<DType, bigint>> = { float16: 0x7c00n, bfloat16: 0x7f80n, float32: 0x7f800000n, float64: 0x7ff0000000000000n }

const view = new DataView(new ArrayBuffer(8))

function floatOf(dtype: DType, bits: bigint): number {
  if (dtype === 'float16') {
    const [exponent, fraction] = [Number(bits >> 10n) & 31, Number(bits) & 1023]
    const size = exponent === 31 ? Infinity : exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
    return bits >> 15n === 0n ? size : -size
  }
  view.setBigUint64(0, bits << BigInt(64 - 8 * DTYPES[dtype].size))
  return dtype === 'float64' ? view.getFloat64(0) : view.getFloat32(0)
}
