// A small convolutional network: patches of 4 × 4 pixels become 8 numbers, a convolution looks at 3 × 3 of them, and their mean decides.
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs'
import type { Batch, Tensor } from 'tensorcache'
import { toTensor } from 'tensorcache/tfjs'
import type { Model, Tf } from '../task.js'
import type { Variables } from '../variables.js'
import { convolution } from './convolution.js'

const PATCH = 4
const [FIRST, SECOND] = [8, 12]

export function network(tf: Tf, variables: Variables, size: number, classes: number): Model {
  const patches = variables.weight('patches', [PATCH * PATCH, FIRST])
  const patchesBias = variables.zeros('patches.bias', [FIRST])
  const kernel = variables.weight('kernel', [3, 3, FIRST, SECOND])
  const kernelBias = variables.zeros('kernel.bias', [SECOND])
  const out = variables.weight('out', [SECOND, classes])
  const outBias = variables.zeros('out.bias', [classes])
  const convolved = convolution(tf)
  const side = size / PATCH

  /** Images [n, size, size] → a score per class. */
  const scores = (images: Tensor): Tensor2D => {
    const n = images.shape[0]!
    const cut = tf.transpose(tf.reshape(toTensor(tf, images), [n, side, PATCH, side, PATCH]), [0, 1, 3, 2, 4])
    const first = tf.relu(tf.add(tf.matMul(tf.reshape(cut, [n * side * side, PATCH * PATCH]), patches), patchesBias))
    const second = tf.relu(tf.add(convolved(tf.reshape(first, [n, side, side, FIRST]) as Tensor4D, kernel), kernelBias))
    return tf.add(tf.matMul(tf.mean(tf.reshape(second, [n, side * side, SECOND]), 1) as Tensor2D, out as unknown as Tensor2D), outBias)
  }
  return {
    judge({ x, y }: Batch) {
      const found = scores(x as Tensor)
      const labels = tf.oneHot(toTensor(tf, y as Tensor), classes)
      const loss = tf.neg(tf.mean(tf.sum(tf.mul(labels, tf.logSoftmax(found)), 1)))
      const wrong = tf.notEqual(tf.argMax(found, 1), tf.argMax(labels, 1))
      return { loss: tf.reshape(loss, []), error: tf.reshape(tf.mean(tf.cast(wrong, 'float32')), []) }
    },
  }
}
