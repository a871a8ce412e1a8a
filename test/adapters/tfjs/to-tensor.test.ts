import * as tf from '@tensorflow/tfjs'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { toTensor } from '../../../src/adapters/tfjs.js'
import { DTYPES, type DType, type TypedArray } from '../../../src/core/dtype.js'
import type { Tensor } from '../../../src/core/tensor.js'
import { bitsAt, decode, encode, putBits } from '../../reference/numbers.js'

const tensor = <D extends DType>(dtype: D, data: TypedArray, shape: readonly number[] = [DTYPES[dtype].kind === 'complex' ? data.length / 2 : data.length]): Tensor<D> => ({ dtype, shape, data }) as Tensor<D>

/** dtype, shape and numbers of what becomes of it; nothing is left behind. */
function became(given: Tensor, options?: Parameters<typeof toTensor>[2]): { dtype: string; shape: number[]; numbers: number[] } {
  const before = tf.memory().numTensors
  const made = toTensor(tf, given, options)
  const found = { dtype: made.dtype, shape: [...made.shape], numbers: Array.from(made.dataSync()) }
  made.dispose()
  expect(tf.memory().numTensors).toBe(before)
  return found
}

/** The exact cast, element by element. */
function reference(from: DType, data: TypedArray): Float32Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const out = new Float32Array(data.length)
  for (let i = 0; i < out.length; i++) putBits(new DataView(out.buffer), 4, i, encode('float32', decode(from, bitsAt(view, DTYPES[from].size, i))))
  return out
}

describe('toTensor', () => {
  test('gives tensors of the namespace it is given, of any rank', () => {
    const made = toTensor(tf, tensor('float32', Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]))
    expectTypeOf(made).toEqualTypeOf<tf.Tensor>()
    expect(made).toBeInstanceOf(tf.Tensor)
    expect(made.arraySync()).toEqual([[1, 2, 3], [4, 5, 6]])
    made.dispose()
    expect(became(tensor('float32', Float32Array.of(7), []))).toEqual({ dtype: 'float32', shape: [], numbers: [7] })
    expect(became(tensor('int16', new Int16Array(0), [0, 4]))).toEqual({ dtype: 'int32', shape: [0, 4], numbers: [] })
    expect(became(tensor('uint8', Uint8Array.of(1, 2), [1, 1, 1, 2, 1, 1, 1]))).toMatchObject({ shape: [1, 1, 1, 2, 1, 1, 1], numbers: [1, 2] })
  })

  test.each<[DType, TypedArray, string, number[]]>([
    ['float32', Float32Array.of(-0, 1.5, NaN, Infinity), 'float32', [-0, 1.5, NaN, Infinity]],
    ['int32', Int32Array.of(-(2 ** 31), 2 ** 31 - 1), 'int32', [-(2 ** 31), 2 ** 31 - 1]],
    ['bool', Uint8Array.of(0, 1, 1), 'bool', [0, 1, 1]],
    ['int8', Int8Array.of(-128, 127), 'int32', [-128, 127]],
    ['uint8', Uint8Array.of(0, 255), 'int32', [0, 255]],
    ['int16', Int16Array.of(-32_768, 32_767), 'int32', [-32_768, 32_767]],
    ['uint16', Uint16Array.of(0, 65_535), 'int32', [0, 65_535]],
    ['uint32', Uint32Array.of(0, 2 ** 31 - 1), 'int32', [0, 2 ** 31 - 1]],
    ['int64', BigInt64Array.of(-(2n ** 31n), -1n, 0n, 2n ** 31n - 1n), 'int32', [-(2 ** 31), -1, 0, 2 ** 31 - 1]],
    ['uint64', BigUint64Array.of(0n, 2n ** 31n - 1n), 'int32', [0, 2 ** 31 - 1]],
    ['complex64', Float32Array.of(1, -2, 3.5, NaN), 'complex64', [1, -2, 3.5, NaN]],
    ['complex128', Float64Array.of(0.1, 1e300, -(2 ** -149), 4), 'complex64', [Math.fround(0.1), Infinity, -(2 ** -149), 4]],
  ])('%s', (dtype, data, to, numbers) => {
    expect(became(tensor(dtype, data))).toEqual({ dtype: to, shape: [numbers.length / (to === 'complex64' ? 2 : 1)], numbers })
  })

  test.each(['float16', 'bfloat16'] as const)('%s: every value there is, exactly', (dtype) => {
    const bits = Uint16Array.from({ length: 2 ** 16 }, (_, k) => k)
    const made = became(tensor(dtype, bits))
    expect(made.dtype).toBe('float32')
    expect(made.numbers.filter(Number.isNaN).length).toBe(dtype === 'float16' ? 2046 : 254)
    expect(made.numbers).toEqual(Array.from(reference(dtype, bits)))
  })

  test('float64 is rounded once, to nearest, ties to even', () => {
    const ties = [1, 1 + 2 ** -24, 1 + 3 * 2 ** -24, 2 ** -150, 2 ** -150 * 1.0000001, 2 ** 128 - 2 ** 103, 2 ** 128 - 2 ** 103 - 2 ** 75, 1e-320, 0.1, -1e39, 1e300, NaN, -Infinity, -0]
    const data = Float64Array.from([...ties, ...ties.map((value) => -value), ...Array.from({ length: 1000 }, (_, k) => Math.sin(k) * 2 ** (k % 300 - 150))])
    expect(became(tensor('float64', data)).numbers).toEqual(Array.from(reference('float64', data)))
  })

  test.each<[DType, TypedArray, string]>([
    ['uint32', Uint32Array.of(1, 2, 3, 2 ** 31, 4, 5), 'toTensor: uint32 value 2147483648 at [1, 0] is no int32'],
    ['int64', BigInt64Array.of(0n, 0n, 0n, 0n, 0n, 2n ** 31n), 'int64 value 2147483648 at [1, 2] is no int32'],
    ['int64', BigInt64Array.of(-(2n ** 31n) - 1n, 0n, 0n, 0n, 0n, 0n), 'int64 value -2147483649 at [0, 0] is no int32'],
    ['int64', BigInt64Array.of(0n, 2n ** 32n, 0n, 0n, 0n, 0n), 'int64 value 4294967296 at [0, 1] is no int32'],
    ['uint64', BigUint64Array.of(0n, 0n, 2n ** 31n, 0n, 0n, 0n), 'uint64 value 2147483648 at [0, 2] is no int32'],
    ['uint64', BigUint64Array.of(0n, 0n, 2n ** 64n - 1n, 0n, 0n, 0n), 'uint64 value 18446744073709551615 at [0, 2] is no int32'],
  ])('%s that does not fit is refused with value and place: %#', (dtype, data, message) => {
    const before = tf.memory().numTensors
    expect(() => toTensor(tf, tensor(dtype, data, [2, 3]))).toThrow(message)
    expect(() => toTensor(tf, tensor(dtype, data, [2, 3]))).toThrow(TypeError)
    expect(tf.memory().numTensors).toBe(before)
  })

  describe('another dtype', () => {
    test.each<[DType, TypedArray, 'float32' | 'int32' | 'bool', number[]]>([
      ['uint8', Uint8Array.of(0, 255), 'float32', [0, 255]],
      ['bool', Uint8Array.of(0, 1), 'float32', [0, 1]],
      ['bool', Uint8Array.of(0, 1), 'int32', [0, 1]],
      ['int32', Int32Array.of(2 ** 24, -(2 ** 30)), 'float32', [2 ** 24, -(2 ** 30)]],
      ['uint32', Uint32Array.of(2 ** 31), 'float32', [2 ** 31]],
      ['int64', BigInt64Array.of(-(2n ** 62n), 3n), 'float32', [-(2 ** 62), 3]],
      ['uint64', BigUint64Array.of(2n ** 63n), 'float32', [2 ** 63]],
      ['float32', Float32Array.of(-3, -0, 2 ** 30), 'int32', [-3, 0, 2 ** 30]],
      ['float64', Float64Array.of(2 ** 31 - 1), 'int32', [2 ** 31 - 1]],
      ['float16', Uint16Array.of(0x3c00, 0xc000), 'int32', [1, -2]],
      ['bfloat16', Uint16Array.of(0x3f80, 0x0000), 'bool', [1, 0]],
      ['int64', BigInt64Array.of(0n, 1n), 'bool', [0, 1]],
      ['float64', Float64Array.of(1, 0), 'bool', [1, 0]],
    ])('%s %s as %s', (dtype, data, to, numbers) => {
      expect(became(tensor(dtype, data), { dtype: to })).toEqual({ dtype: to, shape: [numbers.length], numbers })
    })

    test.each<[DType, TypedArray, 'float32' | 'int32' | 'bool', string]>([
      ['int32', Int32Array.of(0, 2 ** 24 + 1), 'float32', 'int32 value 16777217 at [1] is no float32'],
      ['uint32', Uint32Array.of(2 ** 32 - 1), 'float32', 'uint32 value 4294967295 at [0] is no float32'],
      ['int64', BigInt64Array.of(2n ** 53n + 1n), 'float32', 'int64 value 9007199254740993 at [0] is no float32'],
      ['float32', Float32Array.of(1, 1.5), 'int32', 'float32 value 1.5 at [1] is no int32'],
      ['float32', Float32Array.of(NaN), 'int32', 'float32 value NaN at [0] is no int32'],
      ['float64', Float64Array.of(2 ** 32), 'int32', 'float64 value 4294967296 at [0] is no int32'],
      ['float16', Uint16Array.of(0x7c00), 'int32', 'float16 value Infinity at [0] is no int32'],
      ['uint8', Uint8Array.of(1, 2), 'bool', 'uint8 value 2 at [1] is neither 0 nor 1'],
      ['int64', BigInt64Array.of(-1n), 'bool', 'int64 value -1 at [0] is neither 0 nor 1'],
      ['complex64', Float32Array.of(1, 2), 'float32', 'dtype is "float32", but the tensor is complex64'],
    ])('%s %s is not made %s', (dtype, data, to, message) => {
      expect(() => toTensor(tf, tensor(dtype, data), { dtype: to })).toThrow(message)
    })
  })

  test.each<[DType, TypedArray, boolean]>([
    ['float32', Float32Array.of(1, 2), true],
    ['int32', Int32Array.of(1, 2), true],
    ['bool', Uint8Array.of(1, 0), true],
    ['uint32', Uint32Array.of(1, 2), true],
    ['uint8', Uint8Array.of(1, 2), false],
    ['float64', Float64Array.of(1, 2), false],
    ['int64', BigInt64Array.of(1n, 2n), false],
    ['complex64', Float32Array.of(1, 2, 3, 4), false],
  ])('%s: whose array it keeps', (dtype, data, shared) => {
    const [kept, copied] = [toTensor(tf, tensor(dtype, data)), toTensor(tf, tensor(dtype, data), { copy: true })]
    const before = [...kept.dataSync()]
    data.fill(data[0]! as never).reverse()
    data[0] = (typeof data[0] === 'bigint' ? 0n : 0) as never
    expect([...copied.dataSync()]).toEqual(before)
    if (shared) expect([...kept.dataSync()]).not.toEqual(before)
    else expect([...kept.dataSync()]).toEqual(before)
    kept.dispose()
    copied.dispose()
  })

  test('a view keeps to its part of the memory', () => {
    const memory = Float32Array.from({ length: 10 }, (_, k) => k)
    expect(became(tensor('float32', memory.subarray(3, 5))).numbers).toEqual([3, 4])
    expect(became(tensor('uint32', new Uint32Array(Uint32Array.of(9, 8, 7, 6).buffer, 4, 2)), { copy: true }).numbers).toEqual([8, 7])
    expect(became(tensor('int64', new BigInt64Array(BigInt64Array.of(2n ** 40n, 5n, -6n).buffer, 8, 2))).numbers).toEqual([5, -6])
  })

  test('when the complex one fails, its parts do not stay', () => {
    const before = tf.memory().numTensors
    const failing = { ...tf, complex: () => { throw new Error('no complex numbers here') } }
    expect(() => toTensor(failing as unknown as typeof tf, tensor('complex64', Float32Array.of(1, 2)))).toThrow('no complex numbers here')
    expect(tf.memory().numTensors).toBe(before)
  })

  test('misuse is a TypeError', () => {
    const one = tensor('float32', Float32Array.of(1))
    expect(() => toTensor({} as typeof tf, one)).toThrow("tf must be the namespace of TensorFlow.js, import * as tf from '@tensorflow/tfjs', not a Object")
    expect(() => toTensor(tf, Float32Array.of(1) as never)).toThrow('toTensor: expected a tensor { dtype, shape, data }, not an instance of Float32Array')
    tf.tidy(() => { expect(() => toTensor(tf, tf.scalar(1) as never)).toThrow('expected a tensor') })
    expect(() => toTensor(tf, { ...one, shape: [2] })).toThrow('whose data are 2 numbers, not 1')
    expect(() => toTensor(tf, { ...one, dtype: 'int32' } as never)).toThrow('whose data lies in a Int32Array')
    expect(() => toTensor(tf, one, { dtpye: 'int32' } as never)).toThrow('misspelled option "dtpye" should be "dtype"')
    expect(() => toTensor(tf, one, { dtype: 'complex64' as never })).toThrow('dtype must be one of float32, int32, bool, not "complex64"')
  })
})
