import { checkOptions, show } from '../core/options.js'
import { fieldsParam, objectParam } from './fields.js'
import { callOf, needsSame, type DeviceOp, type FieldState, type OpCall } from './op.js'

/** Keeps the named fields. What is not needed for them is not read and is in no key. */
export const selectOp: DeviceOp = {
  name: 'select', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const options = objectParam('select', given)
    checkOptions('select', options, ['fields'])
    const fields = fieldsParam('select', options.fields)
    if (fields === undefined) throw new TypeError('select: fields must be given')
    return { fields }
  },
  infer(fields, params, fail) {
    const kept: Record<string, FieldState> = {}
    for (const name of params.fields as string[]) kept[name] = fields[name] ?? fail(`there is no field ${show(name)}; there are ${Object.keys(fields).join(', ')}`)
    return kept
  },
  needs: needsSame,
  lower(builder, params) {
    builder.choose(Object.fromEntries((params.fields as string[]).map((name) => [name, name])))
  },
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
/** Names that items and batches use themselves. */
const RESERVED = ['id', 'ids', 'indices']

/** Gives fields new names: `rename({ diffraction: 'x' })`. The others stay. */
export const renameOp: DeviceOp = {
  name: 'rename', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const names = objectParam('rename', given)
    if (Object.keys(names).length === 0) throw new TypeError('rename: give at least one { from: to }')
    for (const [from, to] of Object.entries(names)) {
      if (typeof to !== 'string' || !NAME.test(to) || RESERVED.includes(to)) throw new TypeError(`rename: ${show(from)} cannot be called ${show(to)}; a name has letters, digits and _, and is none of ${RESERVED.join(', ')}`)
    }
    return { ...names }
  },
  infer(fields, params, fail) {
    for (const name of Object.keys(params)) if (fields[name] === undefined) fail(`there is no field ${show(name)}; there are ${Object.keys(fields).join(', ')}`)
    const renamed: Record<string, FieldState> = {}
    for (const [name, field] of Object.entries(fields)) {
      const to: string = params[name] ?? name
      if (Object.hasOwn(renamed, to)) fail(`two fields would be called ${show(to)}`)
      renamed[to] = field
    }
    return renamed
  },
  needs(fields, params, wanted) {
    return new Set(Object.keys(fields).filter((name) => wanted.has(params[name] ?? name)))
  },
  lower(builder, params) {
    builder.choose(Object.fromEntries(Object.keys(builder.fields()).map((name) => [params[name] ?? name, name])))
  },
}

export function select(options: { readonly fields: readonly string[] }): OpCall {
  return callOf(selectOp, options)
}

export function rename(names: Readonly<Record<string, string>>): OpCall {
  return callOf(renameOp, names)
}
