import { number } from '../../core/options.js'
import type { FieldSpecs } from '../../core/tensor.js'
import { chosenFields, fieldsParam } from '../fields.js'
import type { Fail } from '../op.js'
import { checkRandom, failed, probabilityParam, rangeParam, specsOf, statesOf, type RandomOp } from './random-op.js'

/** Options of `randomNoise`. */
export interface RandomNoiseOptions {
  /** Standard deviation, or two to draw it between for each item: [low, high]. */
  readonly std: number | readonly [number, number]
  /** Default 0. */
  readonly mean?: number
  /** That an item is changed at all; default 1. */
  readonly probability?: number
  /** Fields that noise is added to; default: all of float32. */
  readonly fields?: readonly string[]
}

/** Adds normal noise to every element, in float32: `x + (mean + std · z)`, each operation rounded. float32, same shape. Throws TypeError. */
export function randomNoise(options: RandomNoiseOptions): RandomOp {
  const where = 'randomNoise'
  checkRandom(where, options, ['std', 'mean', 'probability'])
  const std = rangeParam(where, 'std', options.std, 0)
  const mean = number(where, 'mean', options.mean, {}, 0)
  const probability = probabilityParam(where, options.probability, 1)
  const fields = fieldsParam(where, options.fields)
  return {
    kind: 'random', name: where, params: { std, mean, probability, ...(fields !== undefined && { fields }) },
    infer(specs, fail) {
      floats(specs, fields, fail)
      return specs
    },
    apply(item, random, make) {
      if (!random.happens(probability)) return item
      const numbers = Float32Array.of(random.between(...std), mean)
      const noisy = { ...item }
      floats(specsOf(item), fields, failed).forEach((name, number) => {
        const { shape, data } = item[name]!
        const target = make(name, 'float32', shape)
        random.addNormal(data as Float32Array, target.data as Float32Array, number, numbers)
        noisy[name] = target
      })
      return noisy
    },
  }
}

/** Fields of float32 that an op does arithmetic on. */
export function floats(specs: FieldSpecs, named: readonly string[] | undefined, fail: Fail): string[] {
  return chosenFields(statesOf(specs), named, ({ dtype }) => dtype === 'float32' ? undefined : 'it works on float32; cast it in the recipe', fail)
}
