import { isDType } from '../../core/dtype.js'
import { boolean, checkOptions, choice, show } from '../../core/options.js'
import { kindOf } from '../../core/plain.js'
import { tensorFault, type Tensor } from '../../core/tensor.js'
import { BECOMES, converted, parts, type TfDType } from './convert.js'
import { checkNamespace, type TensorFlow, type TensorOf } from './namespace.js'

/** Options of `toTensor`. */
export interface ToTensorOptions {
  /** Another dtype than the table has for real numbers. Integers and bool are never rounded: a value that the dtype cannot hold is a TypeError. */
  readonly dtype?: TfDType
  /**
   * Gives TensorFlow.js an array of its own. Default false: where nothing is converted it keeps the array that is given, and whoever writes to that changes the tensor. Needed for memory that is
   * used again (batches with `reuse: true`), and where somebody writes to what `dataSync()` gives, which on the CPU backend is that very array.
   */
  readonly copy?: boolean
}

export const DTYPES_TO: readonly TfDType[] = ['float32', 'int32', 'bool']

/**
 * A tensor of TensorFlow.js, which the caller disposes. Throws TypeError for what is no tensor, and for a value that has no place in the new dtype.
 *
 * | dtype | becomes | |
 * |---|---|---|
 * | float32, int32, bool | the same | the array itself, unless `copy` |
 * | uint32 | int32 | a view of it where all values are below 2^31, otherwise TypeError |
 * | int8, uint8, int16, uint16 | int32 | exact |
 * | int64, uint64 | int32 | exact; TypeError where a value does not fit |
 * | float16, bfloat16 | float32 | exact |
 * | float64 | float32 | rounded to nearest, ties to even; beyond ±3.4e38 it is infinity, as in NumPy |
 * | complex64 | complex64 | real and imaginary parts taken apart |
 * | complex128 | complex64 | parts rounded as float64 is |
 *
 * With `dtype`: `float32` takes integers that it has exactly (all up to 2^24), `int32` floats that are whole numbers and fit, `bool` 0 and 1.
 */
export function toTensor<T extends TensorFlow>(tf: T, tensor: Tensor, options: ToTensorOptions = {}): TensorOf<T> {
  const where = 'toTensor'
  checkNamespace(where, tf)
  checkOptions(where, options, ['dtype', 'copy'])
  const dtype = options.dtype === undefined ? undefined : choice(where, 'dtype', options.dtype, DTYPES_TO)
  const copy = boolean(where, 'copy', options.copy, false)
  if (!isTensor(tensor)) throw new TypeError(`${where}: expected a tensor { dtype, shape, data }, not ${kindOf(tensor)}`)
  const fault = tensorFault(tensor)
  if (fault !== undefined) throw new TypeError(`${where}: the tensor ${fault}`)
  return made(where, tf, tensor, dtype, copy)
}

export function isTensor(value: unknown): value is Tensor {
  const { dtype, shape, data } = (value ?? {}) as Partial<Tensor>
  return isDType(dtype) && Array.isArray(shape) && ArrayBuffer.isView(data)
}

/** `toTensor` of what is known to be a tensor. */
export function made<T extends TensorFlow>(where: string, tf: T, tensor: Tensor, dtype: TfDType | undefined, copy: boolean): TensorOf<T> {
  const to = dtype ?? BECOMES[tensor.dtype]
  const isComplex = BECOMES[tensor.dtype] === 'complex64'
  if (isComplex && dtype !== undefined) throw new TypeError(`${where}: dtype is ${show(dtype)}, but the tensor is ${tensor.dtype}, which becomes complex64; take tf.real or tf.imag of that`)
  if (to === 'complex64') return complexOf(tf, tensor as Tensor<'complex64'>)
  const values = converted(where, tensor, to)
  const isShared = values.buffer === tensor.data.buffer
  return tf.tensor(copy && isShared ? values.slice() : values, tensor.shape, to) as TensorOf<T>
}

function complexOf<T extends TensorFlow>(tf: T, tensor: Tensor<'complex64'>): TensorOf<T> {
  const { real, imag } = parts(tensor)
  const halves: TensorOf<T>[] = []
  try {
    for (const half of [real, imag]) halves.push(tf.tensor(half, tensor.shape, 'float32') as TensorOf<T>)
    return tf.complex(halves[0], halves[1]) as TensorOf<T>
  } finally {
    // The backends keep their numbers for the complex tensor.
    for (const half of halves) half.dispose()
  }
}
