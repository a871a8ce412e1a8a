import { show } from '../core/options.js'
import { isAffine } from './geometry.js'
import type { Fail, FieldState, FieldStates, OpParams } from './op.js'

/** Checks the `fields` parameter of an op: absent, or a list of different names. */
export function fieldsParam(where: string, value: unknown): readonly string[] | undefined {
  if (value === undefined) return undefined
  if (!Array.isArray(value) || value.length === 0 || value.some((name) => typeof name !== 'string') || new Set(value).size !== value.length) {
    throw new TypeError(`${where}: fields must be a list of different names, not ${show(value)}`)
  }
  return value as string[]
}

/** A parameter object, and nothing else. */
export function objectParam(where: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError(`${where}: parameters must be an object, not ${show(value)}`)
  return value as Record<string, unknown>
}

/** Why an op cannot work on a field; undefined when it can. */
export type Unfit = (field: FieldState, name: string) => string | undefined

/**
 * The fields an op works on: those named, each of which must be fit, or every one that is and is no affine. `unfit` gives the reason why the op cannot work on
 * a field. It may look at dtype, rank and finiteness, never at extents: where those differ between items, one item would be left as it is
 * and the next one not. What is wrong with an extent is for `infer` to refuse.
 */
export function chosenFields(fields: FieldStates, named: readonly string[] | undefined, unfit: Unfit, fail: Fail): string[] {
  if (named === undefined) {
    const fit = Object.keys(fields).filter((name) => !isAffine(name, fields[name]!) && unfit(fields[name]!, name) === undefined)
    if (fit.length === 0) {
      const reasons = Object.entries(fields).map(([name, field]) => `${name} (${describe(field)}): ${isAffine(name, field) ? 'it says where an image lies' : unfit(field, name)}`)
      fail(`can work on none of the fields: ${reasons.join('; ')}`)
    }
    return fit
  }
  for (const name of named) {
    const field = fieldOf(fields, name, fail)
    const reason = unfit(field, name)
    if (reason !== undefined) fail(`expected for field ${name} something else than ${describe(field)}: ${reason}`)
  }
  return [...named]
}

/** The field of that name, which must be there. */
export function fieldOf(fields: FieldStates, name: string, fail: Fail): FieldState {
  // A name such as `constructor` is found on every object.
  if (!Object.hasOwn(fields, name)) fail(`there is no field ${show(name)}; there are ${Object.keys(fields).join(', ')}`)
  return fields[name]!
}

/** `narrow` of ops with a `fields` parameter. */
export function narrowFields(fields: FieldStates, params: OpParams, unfit: Unfit): OpParams | undefined {
  const named = params.fields as readonly string[] | undefined
  if (named === undefined) return Object.entries(fields).some(([name, field]) => !isAffine(name, field) && unfit(field, name) === undefined) ? params : undefined
  const left = named.filter((name) => Object.hasOwn(fields, name))
  if (left.length === named.length) return params
  return left.length === 0 ? undefined : { ...params, fields: left }
}

export function describe({ dtype, shape }: FieldState): string {
  return `${dtype} [${shape.map((extent) => extent ?? '?').join(', ')}]`
}

/** `fields` with some replaced. What was known of their values is forgotten. */
export function withFields(fields: FieldStates, names: readonly string[], change: (field: FieldState, name: string) => FieldState): FieldStates {
  const changed: Record<string, FieldState> = { ...fields }
  for (const name of names) {
    const { value: _, ...field } = fields[name]!
    changed[name] = change(field, name)
  }
  return changed
}

/** Why arithmetic cannot be done on a field, if so. */
export function unfitForArithmetic(field: FieldState): string | undefined {
  if (field.dtype.startsWith('complex')) return 'it is complex'
  if (field.finiteness === 'kept') return "a cast with nonFinite 'keep' let NaN and infinity pass; use 'error' or 'zero'"
  return undefined
}
