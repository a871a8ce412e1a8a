import { DTYPES, type DType, type TypedArray } from '../../core/dtype.js'
import { show } from '../../core/options.js'
import { tensorFault, type Tensor } from '../../core/tensor.js'

/** What both packages, onnxruntime-node and onnxruntime-web, have of a tensor. */
export interface OrtTensor {
  /** Name of its element type, which is ours as well. */
  readonly type: string
  /** Its shape. */
  readonly dims: readonly number[]
  /** A typed array where it lies in the processor's memory. */
  readonly data: unknown
  /** Where its data lies: `cpu`, `cpu-pinned`, or elsewhere. */
  readonly location?: string
}

/** The part of `onnxruntime-node` or `onnxruntime-web` that is used: `import * as ort from 'onnxruntime-node'`. */
export interface OrtLibrary {
  /** Makes a tensor of type, data and dims. Overloaded there; what is passed is checked here. */
  readonly Tensor: new (...args: any[]) => OrtTensor
}

/** Element types of onnxruntime's JavaScript tensors: they have our names. */
const TYPES: readonly DType[] = ['float32', 'float64', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'bool', 'float16']

/** Undefined where onnxruntime or this library has no tensors of that name. */
export function dtypeOfOrt(type: string): DType | undefined {
  return TYPES.find((name) => name === type)
}

/**
 * A tensor for onnxruntime over the same memory. `ort` is the package that will run it. float16 goes in, and stays, as bits in a Uint16Array.
 * Throws TypeError for bfloat16 and complex numbers, of which onnxruntime has no tensors in JavaScript, and for what is no tensor.
 */
export function toOrtTensor<L extends OrtLibrary>(ort: L, tensor: Tensor): InstanceType<L['Tensor']> {
  if (typeof ort?.Tensor !== 'function') throw new TypeError(`toOrtTensor: ort must be the package onnxruntime-node or onnxruntime-web, not ${show(ort)}`)
  if (!Array.isArray(tensor?.shape) || !ArrayBuffer.isView(tensor.data) || !Object.hasOwn(DTYPES, tensor.dtype)) throw new TypeError(`toOrtTensor: expected a tensor { dtype, shape, data }, not ${show(tensor)}`)
  if (!TYPES.includes(tensor.dtype)) throw new TypeError(`toOrtTensor: onnxruntime has no tensors of ${tensor.dtype} in JavaScript; ${tensor.dtype === 'bfloat16' ? 'cast to float32 first' : 'make the real and the imaginary part an axis of float32 or float64'}`)
  const fault = tensorFault(tensor)
  if (fault !== undefined) throw new TypeError(`toOrtTensor: it ${fault}`)
  const made = new ort.Tensor(tensor.dtype, tensor.data, [...tensor.shape]) as InstanceType<L['Tensor']>
  // Where JavaScript has a Float16Array (Node 24) the package looks at the bits through one, which its own binding, as of 1.30, takes for empty: "not enough space: expected 128, got 0".
  if (made.data !== tensor.data) Object.defineProperty(made, 'data', { value: tensor.data, enumerable: true })
  return made
}

/** The tensor over the same memory. Throws TypeError for texts and packed 4-bit numbers, and for what does not lie in the CPU's memory. */
export function fromOrtTensor(tensor: OrtTensor): Tensor {
  if (typeof tensor?.type !== 'string' || !Array.isArray(tensor.dims)) throw new TypeError(`fromOrtTensor: expected a tensor of onnxruntime, not ${show(tensor)}`)
  const { type, dims, location = 'cpu' } = tensor
  // Its data cannot even be asked for.
  if (!location.startsWith('cpu')) throw new TypeError(`fromOrtTensor: the tensor lies in ${location}; await tensor.getData() and make one of that`)
  const dtype = dtypeOfOrt(type)
  if (dtype === undefined) throw new TypeError(`fromOrtTensor: tensors of ${type} are none of ${TYPES.join(', ')}`)
  const data = tensor.data as TypedArray
  return { dtype, shape: [...dims as number[]], data: dtype === 'float16' ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data } as Tensor
}
