import * as ort from 'onnxruntime-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fromOrtTensor, toOrtTensor } from '../../../src/adapters/onnx.js'
import { DTYPES, type DType } from '../../../src/core/dtype.js'
import { bytesOf, emptyTensor, type Tensor } from '../../../src/core/tensor.js'

const REFUSED: readonly DType[] = ['bfloat16', 'complex64', 'complex128']
const TAKEN = (Object.keys(DTYPES) as DType[]).filter((dtype) => !REFUSED.includes(dtype))

/** Bytes that are all different, bools 0 and 1. */
function sample(dtype: DType): Tensor {
  const tensor = emptyTensor(dtype, [2, 3])
  bytesOf(tensor.data).forEach((_, k, bytes) => { bytes[k] = dtype === 'bool' ? k % 2 : k + 1 })
  return tensor
}

describe('tensors', () => {
  test.each(TAKEN)('%s goes there and back in the same memory', (dtype) => {
    const tensor = sample(dtype)
    const made = toOrtTensor(ort, tensor)
    expect(made).toBeInstanceOf(ort.Tensor)
    expect([made.type, made.dims]).toEqual([dtype, [2, 3]])
    // Of float16 on Node 24, too: see toOrtTensor.
    expect(made.data).toBe(tensor.data)
    const back = fromOrtTensor(made)
    expect(back).toEqual(tensor)
    expect(back.data.buffer).toBe(tensor.data.buffer)
    expect(back.data.constructor).toBe(DTYPES[dtype].array)
  })

  test('a part of a buffer stays a part', () => {
    const data = Float32Array.from({ length: 10 }, (_, k) => k).subarray(3, 9)
    const made = toOrtTensor(ort, { dtype: 'float32', shape: [3, 2], data })
    expect(made.data).toBe(data)
    expect(fromOrtTensor(made)).toEqual({ dtype: 'float32', shape: [3, 2], data })
  })

  test('numbers without axes, and nothing at all', () => {
    expect(fromOrtTensor(toOrtTensor(ort, { dtype: 'int64', shape: [], data: BigInt64Array.of(7n) }))).toEqual({ dtype: 'int64', shape: [], data: BigInt64Array.of(7n) })
    expect(fromOrtTensor(toOrtTensor(ort, { dtype: 'float32', shape: [0, 4], data: new Float32Array(0) })).shape).toEqual([0, 4])
  })

  test.each(REFUSED)('%s is refused by name', (dtype) => {
    expect(() => toOrtTensor(ort, sample(dtype))).toThrow(TypeError)
    expect(() => toOrtTensor(ort, sample(dtype))).toThrow(new RegExp(`no tensors of ${dtype}`))
  })

  test.each<[string, unknown, RegExp]>([
    ['no tensor', 7, /expected a tensor .* not 7/],
    ['a dtype that is none', { dtype: 'float', shape: [1], data: new Float32Array(1) }, /expected a tensor/],
    ['too little data', { dtype: 'float32', shape: [3], data: new Float32Array(2) }, /shape \[3\], whose data are 3 numbers, not 2/],
    ['data of another class', { dtype: 'float32', shape: [2], data: new Float64Array(2) }, /lies in a Float32Array, not in a Float64Array/],
  ])('%s is refused', (_what, given, message) => {
    expect(() => toOrtTensor(ort, given as Tensor)).toThrow(message)
  })

  test('another package than onnxruntime is refused', () => {
    expect(() => toOrtTensor({} as typeof ort, sample('int8'))).toThrow(/onnxruntime-node or onnxruntime-web/)
  })

  test('what has no fields is refused', () => {
    expect(() => fromOrtTensor(new ort.Tensor('string', ['a'], [1]))).toThrow(/tensors of string are none of float32/)
    expect(() => fromOrtTensor({ type: 'float32', dims: [1], location: 'gpu-buffer', get data(): never { throw new Error('not downloaded') } })).toThrow(/lies in gpu-buffer; await tensor.getData/)
    expect(() => fromOrtTensor({} as never)).toThrow(/expected a tensor of onnxruntime/)
  })
})

// As Node 24 has it: onnxruntime then looks at float16 through it.
describe.skipIf('Float16Array' in globalThis)('where JavaScript has a Float16Array', () => {
  class Float16Array extends Uint16Array {}
  beforeAll(() => { (globalThis as { Float16Array?: unknown }).Float16Array = Float16Array })
  afterAll(() => { delete (globalThis as { Float16Array?: unknown }).Float16Array })

  test('its bits come back as they are', () => {
    const bits = Uint16Array.of(0x3c00, 0xc000)
    const half = new Float16Array(bits.buffer)
    const back = fromOrtTensor({ type: 'float16', dims: [2], data: half, location: 'cpu' })
    expect(back.data.constructor).toBe(Uint16Array)
    expect(back.data.buffer).toBe(bits.buffer)
  })
})
