import type { AdamOptimizer, Tensor as TfTensor, Variable } from '@tensorflow/tfjs'
import type { Batch, Tensor } from 'tensorcache'
import { toTensor } from 'tensorcache/tfjs'
import type { Judgement, Model, Tf } from './task.js'
import type { Variables } from './variables.js'

/** All that a learner knows, as plain data. */
export type Learnt = {
  readonly variables: Readonly<Record<string, Tensor>>
  /** Of Adam: steps made, then the moments of each variable. */
  readonly optimizer: readonly Tensor[]
  /** Adam's powers of its two betas. */
  readonly powers: readonly Tensor[]
}

/** A model and Adam, which go on from where they were to the last bit. */
export class Learner {
  readonly #tf: Tf
  readonly #variables: Variables
  readonly #model: Model
  readonly #rate: number
  #adam: AdamOptimizer

  constructor(tf: Tf, variables: Variables, model: Model, rate: number) {
    this.#tf = tf
    this.#variables = variables
    this.#model = model
    this.#rate = rate
    this.#adam = tf.train.adam(rate)
  }

  /** One step; gives the loss before it. */
  step(batch: Batch): number {
    const loss = this.#adam.minimize(() => this.#model.judge(batch).loss, true, [...this.#variables.all.values()])!
    const [value] = loss.dataSync()
    loss.dispose()
    return value!
  }

  judge(batch: Batch): { loss: number; error: number } {
    return this.#tf.tidy(() => {
      const { loss, error }: Judgement = this.#model.judge(batch)
      return { loss: loss.dataSync()[0]!, error: error.dataSync()[0]! }
    })
  }

  /** For a checkpoint. */
  async state(): Promise<Learnt> {
    const weights = await this.#adam.getWeights()
    const learnt = {
      variables: Object.fromEntries([...this.#variables.all].map(([name, variable]) => [name, plain(variable)])),
      optimizer: weights.map(({ tensor }) => plain(tensor)),
      powers: powersOf(this.#adam).map(plain),
    }
    // The number of steps is a tensor that was made for us; the moments are Adam's own.
    weights[0]!.tensor.dispose()
    return learnt
  }

  async restore({ variables, optimizer, powers }: Learnt): Promise<void> {
    const tensorOf = (tensor: Tensor): TfTensor => toTensor(this.#tf, tensor, { copy: true })
    this.#adam.dispose()
    this.#adam = this.#tf.train.adam(this.#rate)
    const weights = optimizer.map((tensor, k) => ({ name: `${k}`, tensor: tensorOf(tensor) }))
    await this.#adam.setWeights(weights)
    for (const { tensor } of weights) tensor.dispose()
    this.#tf.tidy(() => {
      for (const [name, variable] of this.#variables.all) variable.assign(tensorOf(variables[name]!))
      powersOf(this.#adam).forEach((power, k) => power.assign(tensorOf(powers[k]!)))
    })
  }

  dispose(): void {
    this.#adam.dispose()
    this.#variables.dispose()
  }
}

/**
 * Adam multiplies the powers of its betas from step to step. `getWeights` leaves them out and `setWeights` makes them with `pow`, which is off in the last bit, so that a resumed run would drift away from one that was left alone. They are
 * private (TensorFlow.js 4.22).
 */
function powersOf(adam: AdamOptimizer): Variable[] {
  const { accBeta1, accBeta2 } = adam as unknown as { readonly accBeta1: Variable; readonly accBeta2: Variable }
  return [accBeta1, accBeta2]
}

function plain(tensor: TfTensor): Tensor {
  return { dtype: tensor.dtype as 'float32' | 'int32', shape: tensor.shape, data: tensor.dataSync().slice() as Float32Array }
}
