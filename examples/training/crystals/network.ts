// A small graph network in the manner of SchNet (K. T. Schütt et al., 2017): atoms begin as vectors of their element; in each layer an atom adds up those of its neighbours, weighted by functions of the distance; what a crystal is, is the
// mean over its atoms.
import type { Tensor2D, Variable } from '@tensorflow/tfjs'
import type { Batch, Tensor } from 'tensorcache'
import type { Judgement, Model, Tf } from '../task.js'
import type { Variables } from '../variables.js'
import { segments } from './segments.js'

const WIDTH = 24
const LAYERS = 2
const ELEMENTS = 104
/** Bells over the distance, 0.25 Å apart up to 4.5 Å, as wide as they are apart. */
const [BELLS, SPACING, FIRST] = [15, 0.25, 1]

/** What is learnt is (heat − mean) / deviation. */
export interface Scale {
  readonly mean: number
  readonly deviation: number
}

export function network(tf: Tf, variables: Variables, target: string, { mean, deviation }: Scale): Model {
  const embedding = variables.weight('embedding', [ELEMENTS, WIDTH])
  const layers = Array.from({ length: LAYERS }, (_, k) => ({
    filter: dense(variables, `filter_${k}`, BELLS, WIDTH),
    own: dense(variables, `own_${k}`, WIDTH, WIDTH),
    near: dense(variables, `near_${k}`, WIDTH, WIDTH),
  }))
  const [hidden, out] = [dense(variables, 'hidden', WIDTH, WIDTH), dense(variables, 'out', WIDTH, 1)]
  const apply = (x: Tensor2D, { weight, bias }: Dense): Tensor2D => tf.add(tf.matMul(x, weight as unknown as Tensor2D), bias)

  const predict = (batch: Batch): Tensor2D => {
    const numbers = (batch.numbers as Tensor<'int32'>).data
    const [atoms, graphs] = [numbers.length, batch.indices.length]
    const ends = (batch.edge_index as Tensor<'int32'>).data
    const sources = segments(tf, ends.subarray(0, ends.length / 2), atoms)
    const targets = segments(tf, ends.subarray(ends.length / 2), atoms)
    const ofCrystal = segments(tf, (batch.batch as Tensor<'int32'>).data, graphs)
    const bells = expanded(tf, (batch.edge_distance as Tensor<'float32'>).data)
    let h = segments(tf, numbers, ELEMENTS).take(embedding as unknown as Tensor2D)
    for (const { filter, own, near } of layers) {
      const messages = tf.mul(targets.take(h), apply(bells, filter)) as Tensor2D
      h = tf.add(h, tf.tanh(tf.add(apply(h, own), apply(sources.sum(messages), near))))
    }
    const perAtom = apply(tf.softplus(apply(h, hidden)), out)
    return tf.div(ofCrystal.sum(perAtom), counts(tf, batch))
  }
  return {
    judge(batch): Judgement {
      const truth = tf.tensor2d((batch[target] as Tensor<'float32'>).data, [batch.indices.length, 1])
      const off = tf.sub(predict(batch), tf.div(tf.sub(truth, mean), deviation))
      return { loss: tf.mean(tf.square(off)), error: tf.mul(tf.mean(tf.abs(off)), deviation) }
    },
  }
}

interface Dense {
  readonly weight: Variable
  readonly bias: Variable
}

function dense(variables: Variables, name: string, from: number, to: number): Dense {
  return { weight: variables.weight(`${name}.weight`, [from, to]), bias: variables.zeros(`${name}.bias`, [to]) }
}

/** Distances in Å as heights of bells, [edges, BELLS]. */
function expanded(tf: Tf, distances: Float32Array): Tensor2D {
  const middles = tf.range(0, BELLS).mul(SPACING).add(FIRST)
  return tf.exp(tf.neg(tf.square(tf.div(tf.sub(tf.reshape(tf.tensor1d(distances), [-1, 1]), middles), SPACING)))) as Tensor2D
}

/** Atoms of each crystal, [graphs, 1]. */
function counts(tf: Tf, batch: Batch): Tensor2D {
  const { data } = batch.ptr as Tensor<'int32'>
  return tf.tensor2d(Float32Array.from(data.subarray(1), (stop, k) => stop - data[k]!), [batch.indices.length, 1])
}
