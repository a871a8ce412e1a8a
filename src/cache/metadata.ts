import { IntegrityError } from '../core/errors.js'
import { checkOptions, number, show } from '../core/options.js'
import { instead, isPlainObject, kindOf, placeOf } from '../core/plain.js'

/** Data that JSON says exactly. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

/** What a caller notes beside a value, to tell later whether it still holds. None of it is part of a key. */
export interface Metadata {
  /** Of whatever made the value. */
  readonly version?: string | number
  /** Digests of what the value was made from, in whichever form the caller has them. */
  readonly sourceHash?: string
  /** Digest of the tokenizer. */
  readonly tokenizerHash?: string
  /** Digest of the transforms. */
  readonly transformHash?: string
  /** Digest of the configuration. */
  readonly configHash?: string
  /** Number of items in the value. */
  readonly numItems?: number
  /** Anything else that JSON can say. */
  readonly extra?: { readonly [name: string]: Json }
}

/** What `isValidFor` found. */
export interface Validity {
  /** True when nothing differs. */
  readonly valid: boolean
  /** The first differences, `tokenizerHash: expected "b2", found "a1"`; empty when valid. */
  readonly reasons: readonly string[]
}

const HASHES = ['sourceHash', 'tokenizerHash', 'transformHash', 'configHash'] as const
const NAMES = ['version', ...HASHES, 'numItems', 'extra']
const REASONS_MAX = 8
const DEPTH_MAX = 64

/** A copy of `given` with only what is not undefined. Throws TypeError, which begins with `where`. */
export function checkMetadata(where: string, given: unknown): Metadata {
  if (typeof given !== 'object' || given === null || !isPlainObject(given)) throw new TypeError(`${where}: metadata must be an object, not ${kindOf(given)}`)
  checkOptions(`${where}: metadata`, given, NAMES)
  const { version, numItems, extra } = given
  const out: Record<string, unknown> = {}
  if (version !== undefined) {
    if (!(typeof version === 'string' && version !== '') && !(typeof version === 'number' && Number.isFinite(version))) throw new TypeError(`${where}: metadata.version must be a text or a number, not ${show(version)}`)
    out.version = plain(where, 'metadata.version', version, 0)
  }
  for (const name of HASHES) {
    const hash = given[name]
    if (hash === undefined) continue
    if (typeof hash !== 'string' || hash === '') throw new TypeError(`${where}: metadata.${name} must be a text that is not empty, not ${show(hash)}`)
    out[name] = hash
  }
  if (numItems !== undefined) out.numItems = plain(where, 'metadata.numItems', number(where, 'metadata.numItems', numItems, { integer: true, min: 0, max: Number.MAX_SAFE_INTEGER }), 0)
  if (extra !== undefined) {
    if (typeof extra !== 'object' || extra === null || !isPlainObject(extra)) throw new TypeError(`${where}: metadata.extra must be an object, not ${kindOf(extra)}`)
    out.extra = plain(where, 'metadata.extra', extra, 0)
  }
  return out
}

/** A copy that is what `JSON.parse(JSON.stringify(value))` gives, or a refusal of what that would change. */
function plain(where: string, path: string, value: unknown, depth: number): Json {
  const refuse = (what: string, advice = ''): never => {
    throw new TypeError(`${where}: ${path} is ${what}, which JSON cannot say${advice}`)
  }
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value + 0 : refuse(String(value))
  if (typeof value !== 'object') return refuse(kindOf(value), typeof value === 'bigint' ? '; pass a string' : '')
  if (depth > DEPTH_MAX) return refuse(`nested deeper than ${DEPTH_MAX} levels, or within itself`)
  if (Array.isArray(value)) return Array.from(value, (element, index) => plain(where, placeOf(path, index), element, depth + 1))
  if (!isPlainObject(value)) return refuse(kindOf(value), instead(value))
  const entries = Object.entries(value).filter(([, member]) => member !== undefined)
  return Object.fromEntries(entries.map(([name, member]) => [name, plain(where, placeOf(path, name), member, depth + 1)]))
}

export function encodeMetadata(metadata: Metadata): string {
  return JSON.stringify(metadata)
}

/** What `encodeMetadata` wrote. Throws IntegrityError, which names `file`, for anything else. */
export function decodeMetadata(text: string, file = 'metadata'): Metadata {
  try {
    return checkMetadata('stored', JSON.parse(text))
  } catch (cause) {
    throw new IntegrityError(file, `stored metadata is damaged (${(cause as Error).message})`, { cause })
  }
}

/**
 * Whether `metadata` has everything that `expected` names, with equal content. What `expected` does not name does not count, in objects of `extra` neither; arrays are equal as a whole.
 * Throws TypeError when `expected` is no metadata.
 */
export function isValidFor(metadata: Metadata | undefined, expected: Metadata): Validity {
  const reasons: string[] = []
  compare('', metadata ?? {}, checkMetadata('isValidFor', expected), reasons)
  return { valid: reasons.length === 0, reasons }
}

function compare(path: string, found: unknown, expected: unknown, reasons: string[]): void {
  if (reasons.length >= REASONS_MAX || Object.is(found, expected)) return
  if (isObject(expected) && isObject(found)) {
    for (const [name, member] of Object.entries(expected)) {
      compare(path === '' ? name : placeOf(path, name), Object.hasOwn(found, name) ? found[name] : undefined, member, reasons)
    }
  } else if (!(Array.isArray(expected) && Array.isArray(found) && equal(found, expected))) {
    reasons.push(`${path}: expected ${brief(expected)}, found ${found === undefined ? 'nothing' : brief(found)}`)
  }
}

function equal(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((element, i) => equal(element, b[i]))
  if (!isObject(a) || !isObject(b)) return false
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && equal(a[name], b[name]))
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function brief(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`
}
