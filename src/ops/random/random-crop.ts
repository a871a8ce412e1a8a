import { axesParam, lastAxes, sizesParam } from '../axes.js'
import { describe, fieldsParam } from '../fields.js'
import type { Fail } from '../op.js'
import type { FieldSpecs } from '../../core/tensor.js'
import { moveFields, movedFields } from './moved.js'
import { checkRandom, failed, specsOf, statesOf, type RandomOp } from './random-op.js'

/** Options of `randomCrop`. */
export interface RandomCropOptions {
  /** Extents of what is cut out. */
  readonly shape: readonly number[]
  /** Axes that `shape` is about; default: the last as many as it has. */
  readonly axes?: readonly number[]
  /** Fields that are cut, all at the same place; default: all that have these axes. */
  readonly fields?: readonly string[]
}

/** Cuts a box of one shape out of each item, every place being equally likely: any dtype. Images' affines follow. Throws TypeError, also for an item that is smaller. */
export function randomCrop(options: RandomCropOptions): RandomOp {
  const where = 'randomCrop'
  checkRandom(where, options, ['shape', 'axes'])
  const shape = sizesParam(where, 'shape', options.shape, 1)
  const given = axesParam(where, options.axes)
  if (given !== undefined && given.length !== shape.length) throw new TypeError(`${where}: axes must be as many as the extents of shape, ${shape.length}, not ${given.length}`)
  const axes = given ?? shape.map((_, k) => k - shape.length)
  const named = fieldsParam(where, options.fields)
  const chosen = (specs: FieldSpecs, fail: Fail): string[] => {
    const names = movedFields(specs, named, axes, fail)
    const first = specs[names[0]!]!
    for (const name of names) {
      const { shape: whole } = specs[name]!
      lastAxes(axes, shape.length, whole.length)!.forEach((axis, k) => {
        const other = first.shape[lastAxes(axes, shape.length, first.shape.length)![k]!]
        if (whole[axis] !== null && whole[axis]! < shape[k]!) fail(`cannot cut ${shape.join(' × ')} out of field ${name}, ${describe(statesOf(specs)[name]!)}`)
        if (whole[axis] !== null && other !== null && whole[axis] !== other) fail(`fields ${names[0]} and ${name} differ along the axes that are cut; name those that lie on each other`)
      })
    }
    return names
  }
  return {
    kind: 'random', name: where, params: { shape, axes, ...(named !== undefined && { fields: named }) },
    infer(specs, fail) {
      const cut = { ...specs }
      for (const name of chosen(specs, fail)) {
        const { dtype, shape: whole } = specs[name]!
        const at = lastAxes(axes, shape.length, whole.length)!
        cut[name] = { dtype, shape: whole.map((extent, axis) => at.includes(axis) ? shape[at.indexOf(axis)]! : extent) }
      }
      return cut
    },
    apply(item, random, make) {
      const names = chosen(specsOf(item), failed)
      const first = item[names[0]!]!.shape
      const starts = lastAxes(axes, shape.length, first.length)!.map((axis, k) => random.decide.below(first[axis]! - shape[k]! + 1))
      return moveFields(item, names, (whole) => {
        const at = lastAxes(axes, shape.length, whole.length)!
        return whole.map((extent, axis) => {
          const k = at.indexOf(axis)
          return { from: axis, scale: 1, extent: k < 0 ? extent : shape[k]!, shift: k < 0 ? 0 : starts[k]! }
        })
      }, make)
    },
  }
}
