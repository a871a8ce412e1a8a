import { choice } from '../core/options.js'
import { describe, unfitForArithmetic } from './fields.js'
import type { Fail, FieldState, FieldStates, OpParams } from './op.js'

/** How an op reads between voxels: one way for all fields, or by field, where those that are not named are `linear`. */
export type Methods<Method extends string> = Method | Readonly<Record<string, Method>>

/** Checks a `method` parameter. */
export function methodsParam<Method extends string>(where: string, value: unknown, known: readonly Method[]): Methods<Method> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return choice(where, 'method', value, known, 'linear' as Method)
  return Object.fromEntries(Object.entries(value).map(([name, method]) => [name, choice(where, `method.${name}`, method, known)]))
}

export function methodOf<Method extends string>({ method }: OpParams, name: string): Method {
  return typeof method === 'string' ? method as Method : (method as Record<string, Method>)[name] ?? 'linear' as Method
}

/** Whether any field has this method. */
export function hasMethod(method: Methods<string>, wanted: string): boolean {
  return (typeof method === 'string' ? [method] : Object.values(method)).includes(wanted)
}

/** Refuses methods of fields that the op does not work on. */
export function checkMethods({ method }: OpParams, names: readonly string[], fail: Fail): void {
  const strangers = typeof method === 'string' ? [] : Object.keys(method).filter((name) => !names.includes(name))
  if (strangers.length > 0) fail(`method names ${strangers.join(', ')}, which is none of the images: ${names.join(', ')}`)
}

/** Refuses to interpolate what cannot be. */
export function checkInterpolated(field: FieldState, name: string, params: OpParams, fail: Fail): void {
  const reason = methodOf(params, name) === 'nearest' ? undefined : unfitForArithmetic(field)
  if (reason !== undefined) fail(`cannot interpolate field ${name} (${describe(field)}): ${reason}; method "nearest" can`)
}

/** `params` without the methods of fields that are not needed. */
export function narrowMethods(fields: FieldStates, params: OpParams): OpParams {
  const { method } = params
  if (typeof method === 'string' || Object.keys(method).every((name) => Object.hasOwn(fields, name))) return params
  return { ...params, method: Object.fromEntries(Object.entries(method).filter(([name]) => Object.hasOwn(fields, name))) }
}
