import type { Tensor, Variable } from '@tensorflow/tfjs'
import type { Tf } from './task.js'

/** What a model learns, by name, in the order in which it was made. A seed gives the same beginning on every machine. */
export class Variables {
  readonly #tf: Tf
  readonly #seed: number
  readonly #made = new Map<string, Variable>()

  constructor(tf: Tf, seed: number) {
    this.#tf = tf
    this.#seed = seed
  }

  /** Glorot's uniform distribution: a matrix, a kernel, rows of a table. */
  weight(name: string, shape: number[]): Variable {
    return this.#variable(name, () => this.#tf.initializers.glorotUniform({ seed: 1000 * this.#seed + this.#made.size }).apply(shape))
  }

  zeros(name: string, shape: number[]): Variable {
    return this.#variable(name, () => this.#tf.zeros(shape))
  }

  get all(): ReadonlyMap<string, Variable> {
    return this.#made
  }

  dispose(): void {
    for (const variable of this.#made.values()) variable.dispose()
  }

  #variable(name: string, values: () => Tensor): Variable {
    const variable = this.#tf.tidy(() => this.#tf.variable(values()))
    this.#made.set(name, variable)
    return variable
  }
}
