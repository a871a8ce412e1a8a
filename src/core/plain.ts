/** Words for what is no plain data, so that a refusal names the place and says what to pass instead. */

const INSTEAD: Readonly<Record<string, string>> = {
  Date: 'pass date.toISOString() or date.getTime()',
  Map: 'pass Object.fromEntries(map)',
  Set: 'pass [...set], sorted if the order means nothing',
  DataView: 'pass a Uint8Array of its bytes',
  SharedArrayBuffer: 'pass a typed array over it',
  Uint8ClampedArray: 'pass a Uint8Array of its bytes',
  Float16Array: "pass { dtype: 'float16', shape, data } with its bits in a Uint16Array",
}

/** What a value is, as in "config.a is …". */
export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value)
  if (typeof value !== 'object') return `a ${typeof value}`
  const name = className(value) ?? 'a class without a name'
  return Array.isArray(value) && name === 'Array' ? 'an array' : name === 'Object' && isPlainObject(value) ? 'an object' : `an instance of ${name}`
}

/** `; pass … instead`, or nothing where nothing is known. */
export function instead(value: unknown): string {
  const name = typeof value === 'object' && value !== null ? className(value) : undefined
  return name !== undefined && Object.hasOwn(INSTEAD, name) ? `; ${INSTEAD[name]}` : ''
}

/** True for objects of literals, of JSON and of `Object.create(null)`. */
export function isPlainObject(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** The place of a member, written as JavaScript would: `config.steps[3]`, `config["a b"]`. */
export function placeOf(parent: string, key: string | number): string {
  if (typeof key === 'number') return `${parent}[${key}]`
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `${parent}.${key}` : `${parent}[${JSON.stringify(key)}]`
}

function className(value: object): string | undefined {
  const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name
  return typeof name === 'string' && name !== '' ? name : undefined
}
