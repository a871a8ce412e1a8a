// Rows of atoms for edges, and sums over the edges of atoms. On TensorFlow.js' CPU backend `unsortedSegmentSum`, which is also the gradient of `gather`, goes through all rows once for each segment: 870 ms for 1,600 rows of 24 into 160
// segments (2 cores of an EPYC). `scatterND` adds rows up where they belong: 0.2 ms.
import type { Tensor2D } from '@tensorflow/tfjs'
import type { Tf } from '../task.js'

export interface Segments {
  /** Rows [n, width] → [ids, width]. */
  take(rows: Tensor2D): Tensor2D
  /** Rows [ids, width] → sums [n, width]. */
  sum(rows: Tensor2D): Tensor2D
}

/** `ids`: of each row on the one side, its row on the other, which has `count` of them. To be used in the tidy that it was made in. */
export function segments(tf: Tf, ids: Int32Array, count: number): Segments {
  const flat = tf.tensor1d(ids, 'int32')
  const indices = tf.reshape(flat, [ids.length, 1])
  const gathered = (rows: Tensor2D): Tensor2D => tf.gather(rows, flat)
  const added = (rows: Tensor2D): Tensor2D => tf.scatterND(indices, rows, [count, rows.shape[1]]) as Tensor2D
  return {
    take: tf.customGrad((rows) => ({ value: gathered(rows as Tensor2D), gradFunc: (dy) => added(dy as Tensor2D) })) as (rows: Tensor2D) => Tensor2D,
    sum: tf.customGrad((rows) => ({ value: added(rows as Tensor2D), gradFunc: (dy) => gathered(dy as Tensor2D) })) as (rows: Tensor2D) => Tensor2D,
  }
}
