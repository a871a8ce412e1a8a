import type { DType } from '../../core/dtype.js'
import type { Tensor } from '../../core/tensor.js'

/** How a session is made: all of it is part of the key. */
export interface SessionSettings {
  readonly providers: readonly string[]
  readonly threads: number
  readonly graphOptimizationLevel: string
  /** Configuration entries of onnxruntime. */
  readonly extra: Readonly<Record<string, string>>
}

export interface ThreadData {
  readonly path: string
  readonly settings: SessionSettings
  /** Int32: [0] is 1 while the model runs, [1] is 1 when it must not run any more. */
  readonly state: SharedArrayBuffer
}

/** A tensor in memory of the main thread, lent until the reply. */
export interface LentTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly address: bigint
  readonly bytes: number
}

export type Request =
  | { readonly kind: 'run'; readonly id: number; readonly feeds: Readonly<Record<string, LentTensor>>; readonly fetches: readonly string[] }
  | { readonly kind: 'close' }

export type Reply =
  /** Names and element types, as onnxruntime has them. */
  | { readonly kind: 'open'; readonly inputs: readonly string[]; readonly outputs: readonly string[] }
  | { readonly kind: 'refused'; readonly reason: 'missing' | 'provider' | 'model'; readonly message: string }
  | { readonly kind: 'done'; readonly id: number; readonly outputs: Readonly<Record<string, Tensor>> }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string }
