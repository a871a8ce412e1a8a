import { badFieldName } from '../core/names.js'
import { checkOptions, show } from '../core/options.js'
import { fieldOf, fieldsParam, narrowFields, objectParam } from './fields.js'
import { callOf, needsSame, type DeviceOp, type FieldState, type OpCall, type OpParams } from './op.js'

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
    for (const name of params.fields as string[]) kept[name] = fieldOf(fields, name, fail)
    return kept
  },
  needs: needsSame,
  narrow: (fields, params) => narrowFields(fields, params, () => undefined),
  lower(builder, params) {
    builder.choose(Object.fromEntries((params.fields as string[]).map((name) => [name, name])))
  },
}

/** Gives fields new names: `rename({ diffraction: 'x' })`. The others stay. */
export const renameOp: DeviceOp = {
  name: 'rename', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const names = objectParam('rename', given)
    if (Object.keys(names).length === 0) throw new TypeError('rename: give at least one { from: to }')
    for (const [from, to] of Object.entries(names)) {
      const reason = typeof to === 'string' ? badFieldName(to) : 'a name is text'
      if (reason !== undefined) throw new TypeError(`rename: ${show(from)} cannot be called ${show(to)}: ${reason}`)
    }
    return { ...names }
  },
  infer(fields, params, fail) {
    for (const name of Object.keys(params)) fieldOf(fields, name, fail)
    const renamed: Record<string, FieldState> = {}
    for (const [name, field] of Object.entries(fields)) {
      const to = newName(params, name)
      if (Object.hasOwn(renamed, to)) fail(`two fields would be called ${show(to)}`)
      renamed[to] = field
    }
    return renamed
  },
  needs(fields, params, wanted) {
    return new Set(Object.keys(fields).filter((name) => wanted.has(newName(params, name))))
  },
  narrow(fields, params) {
    const left = Object.entries(params).filter(([from]) => Object.hasOwn(fields, from))
    return left.length === 0 ? undefined : Object.fromEntries(left)
  },
  lower(builder, params) {
    builder.choose(Object.fromEntries(Object.keys(builder.fields()).map((name) => [newName(params, name), name])))
  },
}

function newName(params: OpParams, name: string): string {
  return Object.hasOwn(params, name) ? params[name] as string : name
}

/** Keeps these fields and drops the others, which are then not read, not checked and in no key. Throws TypeError. */
export function select(options: { readonly fields: readonly string[] }): OpCall {
  return callOf(selectOp, options)
}

/** Gives fields other names, `{ from: to }`; the others keep theirs. Throws TypeError. */
export function rename(names: Readonly<Record<string, string>>): OpCall {
  return callOf(renameOp, names)
}
