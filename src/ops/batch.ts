import type { DType } from '../core/dtype.js'
import type { Rows } from '../core/rows.js'

/**
 * Work on many items at once whose results may be of any length: what does not fit the straight-line steps of a program. Plain data; devices know the
 * kernels by name. Items do not see each other.
 */
export interface BatchStep {
  readonly kernel: 'niggli' | 'lattice-parameters' | 'crystal-graph'
  /** Fields it needs; others are not given. */
  readonly reads: readonly string[]
  readonly writes: readonly { readonly field: string; readonly dtype: DType }[]
  /** A written count of what was left out of each item, which the report of a build sums up, and the words for it: `edges were cut by maxNeighbors`. */
  readonly cuts?: { readonly field: string; readonly what: string }
  /** As the kernel takes them. */
  readonly params: Readonly<Record<string, number | boolean | string | null | readonly number[]>>
}

export interface Batch {
  readonly count: number
  readonly fields: Readonly<Record<string, Rows>>
}

export interface BatchResult {
  /** Set when another device than the one that was asked computed all of it. */
  readonly by?: { readonly kind: 'cpu' | 'webgpu'; readonly name: string }
  /** The written fields, ragged or fixed. */
  readonly fields: Readonly<Record<string, Rows>>
  /** Items that cannot be done, in item order, and why; their results mean nothing. */
  readonly faults: readonly { readonly item: number; readonly message: string }[]
}
