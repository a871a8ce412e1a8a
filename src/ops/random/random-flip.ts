import { show } from '../../core/options.js'
import { axesParam, resolveAxes } from '../axes.js'
import { fieldsParam } from '../fields.js'
import { moveFields, movedFields } from './moved.js'
import { checkRandom, failed, probabilityParam, specsOf, type RandomOp } from './random-op.js'

/** Options of `randomFlip`. */
export interface RandomFlipOptions {
  /** Axes that may be flipped, each by itself; negative ones count from the end. */
  readonly axes: number | readonly number[]
  /** Of each axis; default 0.5. */
  readonly probability?: number
  /** Fields that are flipped, all alike; default: all that have these axes. */
  readonly fields?: readonly string[]
}

/** Flips items along axes, each with a probability: any dtype, same shape. Images' affines follow. Throws TypeError. */
export function randomFlip(options: RandomFlipOptions): RandomOp {
  const where = 'randomFlip'
  checkRandom(where, options, ['axes', 'probability'])
  const axes = axesParam(where, options.axes)
  if (axes === undefined) throw new TypeError(`${where}: axes must be a list of different integers, not ${show(options.axes)}`)
  const probability = probabilityParam(where, options.probability, 0.5)
  const fields = fieldsParam(where, options.fields)
  return {
    kind: 'random', name: where, params: { axes, probability, ...(fields !== undefined && { fields }) },
    infer(specs, fail) {
      movedFields(specs, fields, axes, fail)
      return specs
    },
    apply(item, random, make) {
      const flipped = axes.filter(() => random.happens(probability))
      if (flipped.length === 0) return item
      return moveFields(item, movedFields(specsOf(item), fields, axes, failed), (shape) => {
        const of = resolveAxes(flipped, shape.length)!
        return shape.map((extent, axis) => of.includes(axis) ? { from: axis, extent, scale: -1, shift: extent - 1 } : { from: axis, extent, scale: 1, shift: 0 })
      }, make)
    },
  }
}
