/** What is used of TensorFlow.js, by its form: `@tensorflow/tfjs`, `@tensorflow/tfjs-node` and `@tensorflow/tfjs-node-gpu` all have it, and none of them has to be installed for these types. */

import { show } from '../../core/options.js'

/** What is used of a `tf.Tensor`. */
export interface TfTensor {
  /** Extents, the slowest first. */
  readonly shape: readonly number[]
  /** `float32`, `int32`, `bool`, `complex64` or `string`. */
  readonly dtype: string
  /** True after `dispose`. */
  readonly isDisposed: boolean
  /** True after `tf.keep(tensor)`. */
  readonly kept: boolean
  /** Lets its memory go. */
  dispose(): void
}

/** What is used of a namespace of TensorFlow.js. */
export interface TensorFlow {
  /** `tf.tensor`. */
  tensor(values: Float32Array | Int32Array | Uint8Array, shape?: any, dtype?: any): TfTensor
  /** `tf.complex`. */
  complex(real: any, imag: any): TfTensor
}

/** What is used of a `tf.data.Dataset`. */
export interface TfGenerated {
  /** Number of elements. */
  readonly size: number
  /** Begins an iteration. */
  iterator(): Promise<unknown>
}

/** What is used of `tf.data`. */
export interface TfData {
  /** `tf.data.generator`. */
  generator(make: any): TfGenerated
}

/** A namespace with `tf.data`, which `@tensorflow/tfjs-core` alone has not. */
export interface TensorFlowWithData extends TensorFlow {
  /** `tf.data`. */
  readonly data: TfData
}

/** `tf.Tensor` of a namespace. */
export type TensorOf<T extends TensorFlow> = ReturnType<T['tensor']>

export function checkNamespace(where: string, tf: unknown): void {
  const { tensor, complex } = (tf ?? {}) as Partial<TensorFlow>
  if (typeof tensor !== 'function' || typeof complex !== 'function') throw new TypeError(`${where}: tf must be the namespace of TensorFlow.js, import * as tf from '@tensorflow/tfjs', not ${show(tf)}`)
}
