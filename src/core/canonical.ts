import { dtypeOf } from './dtype.js'
import { sha256, toHex } from './hash.js'
import { instead, isPlainObject, kindOf, placeOf } from './plain.js'

export interface CanonicalOptions {
  /** What errors call the value; default `$`. */
  readonly root?: string
  /** NaN is `tag`ged, which is the default, or `refuse`d. */
  readonly nan?: 'tag' | 'refuse'
  /** Typed arrays are `refuse`d except Uint8Arrays, which is the default, or all of them stand as a `digest` of their elements. */
  readonly arrays?: 'refuse' | 'digest'
}

/** Deeper than any configuration, and far from the end of the stack. */
const DEPTH_MAX = 500

/**
 * RFC 8785 canonical JSON: keys sorted by UTF-16 code unit, no white space, ECMAScript number format. What JSON cannot
 * say is tagged: `{"$f":"nan"|"inf"|"-inf"|"-0"}`, integers beyond 2^53 `{"$i":"…"}`, bytes `{"$b":"base64"}`, digests of
 * typed arrays `{"$a":["int32","<64 hex>"]}`.
 * What has no stable form is refused by name, because a key made of it would not be found again.
 */
export function canonicalJson(value: unknown, options: CanonicalOptions = {}): string {
  return write(value, options.root ?? '$', [], options)
}

function write(value: unknown, path: string, parents: readonly object[], options: CanonicalOptions): string {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) refuse(path, 'a string with a lone surrogate')
      return JSON.stringify(value)
    case 'boolean':
      return String(value)
    case 'number':
      if (Number.isNaN(value)) return options.nan === 'refuse' ? refuse(path, 'NaN') : '{"$f":"nan"}'
      if (value === Infinity) return '{"$f":"inf"}'
      if (value === -Infinity) return '{"$f":"-inf"}'
      if (Object.is(value, -0)) return '{"$f":"-0"}'
      return JSON.stringify(value)
    case 'bigint':
      return value >= -(2n ** 53n) && value <= 2n ** 53n ? String(value) : `{"$i":"${value}"}`
    case 'object':
      return value === null ? 'null' : writeObject(value, path, parents, options)
    default:
      return refuse(path, kindOf(value))
  }
}

function writeObject(value: object, path: string, parents: readonly object[], options: CanonicalOptions): string {
  if (parents.includes(value)) refuse(path, 'a reference to itself')
  if (parents.length >= DEPTH_MAX) refuse(path, `nested deeper than ${DEPTH_MAX} levels`)
  if (options.arrays === 'digest') {
    const dtype = dtypeOf(value)
    if (dtype !== undefined) return `{"$a":["${dtype}","${toHex(sha256(value as Uint8Array))}"]}`
  }
  if (value instanceof Uint8Array) return `{"$b":"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}"}`
  const inside = [...parents, value]
  if (Array.isArray(value)) {
    const parts = Array.from(value, (element, index) => write(element, placeOf(path, index), inside, options))
    return `[${parts.join(',')}]`
  }
  if (!isPlainObject(value)) refuse(path, kindOf(value), instead(value))
  const parts: string[] = []
  for (const key of Object.keys(value).sort()) {
    const element = value[key]
    // An absent option and an option set to undefined ask for the same thing.
    if (element === undefined) continue
    if (key.startsWith('$')) refuse(placeOf(path, key), 'a name that begins with $, which marks tags')
    if (!key.isWellFormed()) refuse(path, 'a name with a lone surrogate')
    parts.push(`${JSON.stringify(key)}:${write(element, placeOf(path, key), inside, options)}`)
  }
  if (Object.getOwnPropertySymbols(value).length > 0) refuse(path, 'an object with a symbol for a name')
  return `{${parts.join(',')}}`
}

function refuse(path: string, what: string, advice = ''): never {
  throw new TypeError(`${path} is ${what}, which has no stable form for a key${advice}`)
}
