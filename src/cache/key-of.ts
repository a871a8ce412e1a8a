import { canonicalJson } from '../core/canonical.js'
import { dtypeOf, isDType, type TypedArray } from '../core/dtype.js'
import { sha256, toHex } from '../core/hash.js'
import { frame } from '../core/keys.js'
import { checkOptions, show } from '../core/options.js'
import { kindOf } from '../core/plain.js'
import { tensorFault, type Tensor } from '../core/tensor.js'

/** What `keyOf` puts into a key besides the configuration. */
export interface KeyOptions {
  /** Stands before the digests, for people who list keys. Default: none. */
  readonly prefix?: string
  /**
   * What the configuration is applied to: a text (its UTF-8 bytes), bytes, which have the same key as that text, a typed array, or a tensor. For large content pass a digest
   * that is known, as hex: it is a text like any other.
   */
  readonly content?: string | ArrayBuffer | TypedArray | Tensor
}

/** Raise it when the same configuration shall have another key: every key that callers made before leads nowhere then. */
const VERSION = 1
const DIGEST_BYTES = 8

/**
 * A key for results that depend on a configuration, and on content if it is given: `prefix_<16 hex>` or `prefix_<16 hex>_<16 hex>`, each the first 8 bytes of a SHA-256.
 * Configurations that mean the same have the same key: the order of names does not count, nor does a name whose value is undefined. A configuration is plain data: numbers, bigints
 * (2 and 2n are the same), strings, booleans, null, arrays, objects; typed arrays and tensors count by dtype and elements, so an array of weights may stand in it.
 *
 * Throws TypeError, with the place, for what has no stable form: functions, symbols, instances of classes (a Date: pass `date.toISOString()`), NaN, undefined in an array,
 * an object within itself, names that begin with `$`.
 *
 *   keyOf({ tokenizer: 'llama-2-7b', maxLength: 2048 }, { prefix: 'tokenized' })   // tokenized_<16 hex>
 */
export function keyOf(config: unknown, options: KeyOptions = {}): string {
  checkOptions('keyOf', options, ['prefix', 'content'])
  const { prefix, content } = options
  if (prefix !== undefined && (typeof prefix !== 'string' || prefix === '' || !prefix.isWellFormed())) throw new TypeError(`keyOf: prefix must be a text that is not empty, not ${show(prefix)}`)
  const parts = prefix === undefined ? [] : [prefix]
  parts.push(short(frame({ config: VERSION }), canonicalJson(config, { root: 'keyOf: config', nan: 'refuse', arrays: 'digest' })))
  if (content !== undefined) parts.push(contentDigest(content))
  return parts.join('_')
}

function contentDigest(content: unknown): string {
  if (typeof content === 'string') {
    if (!content.isWellFormed()) throw new TypeError('keyOf: content is a string with a lone surrogate, which has no stable form for a key')
    return short(frame({ content: VERSION }), content)
  }
  if (typeof content === 'object' && content !== null) {
    if (content instanceof ArrayBuffer) return short(frame({ content: VERSION }), new Uint8Array(content))
    const dtype = dtypeOf(content)
    if (dtype === 'uint8') return short(frame({ content: VERSION }), content as Uint8Array)
    if (dtype !== undefined) return tensorDigest({ dtype, shape: [(content as TypedArray).length], data: content as TypedArray } as Tensor)
    const { dtype: name, shape, data } = content as Partial<Tensor>
    if (isDType(name) && Array.isArray(shape) && ArrayBuffer.isView(data)) return tensorDigest(content as Tensor)
  }
  throw new TypeError(`keyOf: content must be a text, bytes, a typed array or a tensor, not ${kindOf(content)}`)
}

function tensorDigest(tensor: Tensor): string {
  const fault = tensorFault(tensor)
  if (fault !== undefined) throw new TypeError(`keyOf: content ${fault}`)
  return short(frame({ content: VERSION, dtype: tensor.dtype, shape: tensor.shape }), tensor.data)
}

function short(...parts: readonly (string | NodeJS.ArrayBufferView)[]): string {
  return toHex(sha256(...parts).subarray(0, DIGEST_BYTES))
}
