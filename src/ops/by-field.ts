import { choice } from '../core/options.js'
import type { Fail, FieldStates } from './op.js'

/** A method for all fields, or for some by their names; the others have the first of the op's methods. */
export type ByField<M extends string> = M | Readonly<Record<string, M>>

/** Checks such a parameter; `methods[0]` is the default. */
export function byFieldParam<M extends string>(where: string, name: string, value: unknown, methods: readonly [M, ...M[]]): ByField<M> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return choice(where, name, value, methods, methods[0])
  return Object.fromEntries(Object.entries(value).map(([field, method]) => [field, choice(where, `${name}.${field}`, method, methods)]))
}

/** What a field has. */
export function ofField<M extends string>(given: ByField<M>, field: string, otherwise: M): M {
  if (typeof given === 'string') return given
  return Object.hasOwn(given, field) ? given[field]! : otherwise
}

/** Refuses names that are none of the fields the op works on. */
export function checkNamed(given: ByField<string>, names: readonly string[], what: string, fail: Fail): void {
  const strangers = typeof given === 'string' ? [] : Object.keys(given).filter((name) => !names.includes(name))
  if (strangers.length > 0) fail(`${what} names ${strangers.join(', ')}, which is none of the fields it works on: ${names.join(', ')}`)
}

/** Without those that are not there: what a later op drops is not read. */
export function narrowed<M extends string>(given: ByField<M>, fields: FieldStates): ByField<M> {
  return typeof given === 'string' ? given : Object.fromEntries(Object.entries(given).filter(([name]) => Object.hasOwn(fields, name)))
}
