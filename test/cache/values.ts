import fc from 'fast-check'
import { arrayDType, DTYPES, dtypeOf, type DType, type TypedArray } from '../../src/core/dtype.js'
import { bytesOf, type Tensor } from '../../src/core/tensor.js'

const dtypes = Object.keys(DTYPES) as DType[]

function arrayOf(dtype: DType, bytes: Uint8Array): TypedArray {
  const { size, array } = DTYPES[dtype]
  const whole = Math.floor(bytes.length / size) * size
  return new array(new Uint8Array(bytes.subarray(0, whole)).buffer)
}

const bytes = fc.uint8Array({ maxLength: 70 })
const typedArray = fc.tuple(fc.constantFrom(...dtypes.filter((dtype) => arrayDType(dtype) === dtype)), bytes).map(([dtype, data]) => arrayOf(dtype, data))
const tensor = fc.tuple(fc.constantFrom(...dtypes), bytes, fc.integer({ min: 0, max: 4 })).map(([dtype, given, form]): Tensor => {
  const all = arrayOf(dtype, given)
  const per = DTYPES[dtype].kind === 'complex' ? 2 : 1
  const count = all.length / per
  if (form === 0 && count > 0) return { dtype, shape: [], data: all.slice(0, per) } as Tensor
  if (form === 1) return { dtype, shape: [3, 0, 2], data: all.slice(0, 0) } as Tensor
  if (form === 2) return { dtype, shape: [Math.floor(count / 2), 2], data: all.slice(0, Math.floor(count / 2) * 2 * per) } as Tensor
  return { dtype, shape: form === 3 ? [1, count, 1] : [count], data: all } as Tensor
})
const name = fc.oneof(fc.constantFrom('__proto__', 'constructor', '', 'toString', '$f', '$a', '$', 'a.b', '0', '7', 'dtype', 'shape', 'data', 'tensorcache', '__metadata__', 'ß', '\ud800', 'input_ids', 'x'.repeat(300)), fc.string({ unit: 'binary', maxLength: 6 }))
const text = fc.oneof(fc.string(), fc.string({ unit: 'binary', maxLength: 80 }), fc.constantFrom('\ud800', '\udc00x', '😀'.repeat(40), 'a'.repeat(47), 'a'.repeat(48), 'ß'.repeat(63)), fc.array(fc.integer({ min: 0xd7f0, max: 0xe010 }), { maxLength: 60 }).map((units) => String.fromCharCode(...units)))
const plain = fc.oneof(fc.constantFrom(null, true, false, undefined, -0, 0, NaN, Infinity, -Infinity, 2 ** 31, -(2 ** 31), 2 ** 53, -(2 ** 53), 2 ** 53 - 1, -(2 ** 53) + 1, 127, 128, 1e300, 5e-324), fc.integer(), fc.maxSafeInteger(), fc.double(), fc.bigInt(), fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }), text)

/** Any value with every kind of leaf. */
export const anyValue = fc.letrec<{ node: unknown }>((tie) => ({
  node: fc.oneof({ maxDepth: 5, depthSize: 'small', withCrossShrink: true }, plain, typedArray, tensor,
    fc.array(tie('node'), { maxLength: 5 }),
    fc.array(fc.tuple(name, tie('node')), { maxLength: 5 }).map((entries) => Object.fromEntries(entries))),
})).node.filter((value) => value !== undefined)

/** Where two values differ; undefined when a program cannot tell them apart but by identity. */
export function difference(a: unknown, b: unknown, path = '$'): string | undefined {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return Object.is(a, b) ? undefined : `${path}: ${String(a)} and ${String(b)}`
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return `${path}: of different classes`
  if (dtypeOf(a) !== undefined) return Buffer.compare(bytesOf(a as TypedArray), bytesOf(b as TypedArray)) === 0 ? undefined : `${path}: other elements`
  const [names, others] = [Object.keys(a), Object.keys(b)]
  if (names.length !== others.length || names.some((each, i) => each !== others[i])) return `${path}: names ${names.join()} and ${others.join()}`
  if (Array.isArray(a) && a.length !== (b as unknown[]).length) return `${path}: other length`
  for (const each of names) {
    const found = difference((a as Record<string, unknown>)[each], (b as Record<string, unknown>)[each], `${path}.${each}`)
    if (found !== undefined) return found
  }
  return undefined
}

export function leavesOf(value: unknown): TypedArray[] {
  if (typeof value !== 'object' || value === null) return []
  return dtypeOf(value) === undefined ? Object.keys(value).flatMap((each) => leavesOf((value as Record<string, unknown>)[each])) : [value as TypedArray]
}
