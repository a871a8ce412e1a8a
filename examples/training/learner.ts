import type { AdamOptimizer, Tensor as TfTensor } from '@tensorflow/tfjs'
import type { Batch, Tensor } from 'tensorcache'
import { toTensor } from 'tensorcache/tfjs'
import type { Judgement, Model, Tf } from './task.js'
import type { Variables } from './variables.js'

/** All that a learner knows, as plain data. */
export type Learnt = {
  readonly variables: Readonly<Record<string, Tensor>>
  /** Of Adam: steps made, then the moments of each variable. */
  readonly optimizer: readonly Tensor[]
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

  /**
   * For a checkpoint. Adam goes on as one that was loaded from it: it multiplies the powers of its betas from step to step, does not say them, and on loading makes them with `pow`, with other last bits.
   */
  async state(): Promise<Learnt> {
    const variables = Object.fromEntries([...this.#variables.all].map(([name, variable]) => [name, plain(variable)]))
    // The number of steps is a tensor of its own, the moments are Adam's.
    const weights = await this.#adam.getWeights()
    const optimizer = weights.map(({ tensor }) => plain(tensor))
    weights[0]!.tensor.dispose()
    await this.#load(optimizer)
    return { variables, optimizer }
  }

  async restore({ variables, optimizer }: Learnt): Promise<void> {
    for (const [name, variable] of this.#variables.all) this.#tf.tidy(() => { variable.assign(toTensor(this.#tf, variables[name]!, { copy: true })) })
    await this.#load(optimizer)
  }

  dispose(): void {
    this.#adam.dispose()
    this.#variables.dispose()
  }

  async #load(optimizer: readonly Tensor[]): Promise<void> {
    this.#adam.dispose()
    this.#adam = this.#tf.train.adam(this.#rate)
    const weights = optimizer.map((tensor, k) => ({ name: `${k}`, tensor: toTensor(this.#tf, tensor, { copy: true }) }))
    await this.#adam.setWeights(weights)
    for (const { tensor } of weights) tensor.dispose()
  }
}

function plain(tensor: TfTensor): Tensor {
  return { dtype: tensor.dtype as 'float32' | 'int32', shape: tensor.shape, data: tensor.dataSync().slice() as Float32Array }
}
