import { show } from '../../core/options.js'
import { axesParam, resolveAxes } from '../axes.js'
import { describe, fieldsParam } from '../fields.js'
import { moveFields, movedFields, type AxisMove } from './moved.js'
import { checkRandom, failed, probabilityParam, specsOf, statesOf, type RandomOp } from './random-op.js'

/** Options of `randomRotate90`. */
export interface RandomRotate90Options {
  /** The plane: two axes; default the last two. */
  readonly axes?: readonly [number, number]
  /** That an item is turned at all; default 1, of which a quarter of the turns are by 0 degrees. */
  readonly probability?: number
  /** Fields that are turned, all alike; default: all that have these axes. */
  readonly fields?: readonly string[]
}

/**
 * Turns items by 0, 90, 180 or 270 degrees in a plane, each equally likely, from the first axis towards the second, as numpy.rot90: any dtype. Both axes must have one extent where shapes are to stay equal. Images' affines
 * follow. Throws TypeError.
 */
export function randomRotate90(options: RandomRotate90Options = {}): RandomOp {
  const where = 'randomRotate90'
  checkRandom(where, options, ['axes', 'probability'])
  const axes = axesParam(where, options.axes ?? [-2, -1])!
  if (axes.length !== 2) throw new TypeError(`${where}: axes must be two different integers, not ${show(options.axes)}`)
  const probability = probabilityParam(where, options.probability, 1)
  const fields = fieldsParam(where, options.fields)
  return {
    kind: 'random', name: where, params: { axes, probability, ...(fields !== undefined && { fields }) },
    infer(specs, fail) {
      const turned = { ...specs }
      for (const name of movedFields(specs, fields, axes, fail)) {
        const { dtype, shape } = specs[name]!
        const [a, b] = resolveAxes(axes, shape.length) as [number, number]
        if (shape[a] !== null && shape[a] === shape[b]) continue
        if (shape[a] !== null && shape[b] !== null) fail(`expected a square in the plane of axes ${axes.join(', ')}, found field ${name} of ${describe(statesOf(specs)[name]!)}: turned by 90 degrees it has another shape`)
        turned[name] = { dtype, shape: shape.map((extent, axis) => axis === a || axis === b ? null : extent) }
      }
      return turned
    },
    apply(item, random, make) {
      const isTurned = random.happens(probability)
      const turns = random.decide.below(4)
      if (!isTurned || turns === 0) return item
      return moveFields(item, movedFields(specsOf(item), fields, axes, failed), (shape) => {
        const [a, b] = resolveAxes(axes, shape.length) as [number, number]
        const stays = (axis: number): AxisMove => ({ from: axis, extent: shape[axis]!, scale: 1, shift: 0 })
        const back = (axis: number): AxisMove => ({ from: axis, extent: shape[axis]!, scale: -1, shift: shape[axis]! - 1 })
        // One turn: result[i, j] = item[j, n - 1 - i].
        const along = { 1: [back(b), stays(a)], 2: [back(a), back(b)], 3: [stays(b), back(a)] }[turns]!
        return shape.map((_, axis) => axis === a ? along[0]! : axis === b ? along[1]! : stays(axis))
      }, make)
    },
  }
}
