import { fieldsParam } from '../fields.js'
import { floats } from './random-noise.js'
import { checkRandom, failed, probabilityParam, rangeParam, specsOf, type RandomOp } from './random-op.js'

/** Options of `randomIntensity`. */
export interface RandomIntensityOptions {
  /** Factor, drawn between [low, high] for each item; default 1. */
  readonly scale?: number | readonly [number, number]
  /** Added afterwards, drawn between [low, high] for each item; default 0. */
  readonly offset?: number | readonly [number, number]
  /** That an item is changed at all; default 1. */
  readonly probability?: number
  /** Fields that are changed, all alike; default: all of float32. */
  readonly fields?: readonly string[]
}

/** Multiplies an item by one random number and adds another, in float32: `x · scale + offset`, each operation rounded. float32, same shape. Throws TypeError. */
export function randomIntensity(options: RandomIntensityOptions): RandomOp {
  const where = 'randomIntensity'
  checkRandom(where, options, ['scale', 'offset', 'probability'])
  const scale = rangeParam(where, 'scale', options.scale ?? 1, -Infinity)
  const offset = rangeParam(where, 'offset', options.offset ?? 0, -Infinity)
  const probability = probabilityParam(where, options.probability, 1)
  const fields = fieldsParam(where, options.fields)
  return {
    kind: 'random', name: where, params: { scale, offset, probability, ...(fields !== undefined && { fields }) },
    infer(specs, fail) {
      floats(specs, fields, fail)
      return specs
    },
    apply(item, random, make) {
      if (!random.happens(probability)) return item
      const factor = Math.fround(random.between(...scale))
      const more = Math.fround(random.between(...offset))
      const changed = { ...item }
      for (const name of floats(specsOf(item), fields, failed)) {
        const { shape, data: from } = item[name]!
        const target = make(name, 'float32', shape)
        const into = target.data as Float32Array
        for (let at = 0; at < into.length; at++) into[at] = Math.fround(from[at] as number * factor) + more
        changed[name] = target
      }
      return changed
    },
  }
}
