import { dtypeOf, isDType, sizeOf, type DType, type TypedArray } from '../core/dtype.js'
import { instead, isPlainObject, kindOf, placeOf } from '../core/plain.js'
import { elementCount, tensorFault, type Tensor } from '../core/tensor.js'

/**
 * What the key-value API keeps: a tree of plain data whose leaves may also be arrays. It comes back as it went in: numbers with -0, NaN and the infinities, bigints, strings with
 * lone surrogates, undefined inside, names such as `__proto__` and their order, typed arrays in their class, tensors as tensors, and any bytes (Buffer, ArrayBuffer) as a Uint8Array.
 * Of what JavaScript tells apart only this is lost: holes of an array are undefined, an object without a prototype has one, and what stood in two places stands there twice.
 *
 * An object of exactly `dtype` (a known one), `shape` and `data` (a typed array) is a tensor and must be a sound one. Instances of classes, functions, symbols, and
 * an object within itself are refused, and undefined as the whole value, which mostly is a forgotten `return`.
 */
export type Value = undefined | null | boolean | number | bigint | string | TypedArray | ArrayBuffer | Tensor | readonly Value[] | { readonly [name: string]: Value }

/** Levels of arrays and objects; more would be a list linked by hand. */
export const DEPTH_MAX = 128
/** Axes of a tensor: the gate that reads blobs lets 64 pass, and complex numbers have one more there. */
export const RANK_MAX = 63

/** A leaf; `tensor` says whether it came in a tensor or as a bare array. */
export interface Leaf {
  readonly tensor: boolean
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data: TypedArray
}

/** The way from the root to where a writer is: for errors, and to notice an object within itself. */
export class Trail {
  readonly #root: string
  readonly #parents: object[] = []
  readonly #keys: (string | number)[] = []
  #depth = 0

  constructor(root: string) {
    this.#root = root
  }

  enter(value: object): void {
    for (let i = 0; i < this.#depth; i++) if (this.#parents[i] === value) this.refuse('a reference to itself')
    if (this.#depth === DEPTH_MAX) this.refuse(`nested deeper than ${DEPTH_MAX} levels`)
    this.#parents[this.#depth++] = value
  }

  /** The member that comes next. */
  at(key: string | number): void {
    this.#keys[this.#depth - 1] = key
  }

  leave(): void {
    this.#depth--
  }

  get keys(): readonly (string | number)[] {
    return this.#keys.slice(0, this.#depth)
  }

  get place(): string {
    return this.keys.reduce<string>(placeOf, this.#root)
  }

  refuse(what: string, advice = ''): never {
    throw new TypeError(`${this.place} is ${what}, which a value cannot hold${advice}`)
  }

  /** Refuses what the typeof of a value alone tells. */
  refuseKind(value: unknown): never {
    return this.refuse(kindOf(value), instead(value))
  }
}

/** The leaf an object is, or undefined for arrays and plain objects, which are to be walked. Refuses everything else. */
export function leafOf(value: object, trail: Trail): Leaf | undefined {
  if (Array.isArray(value)) {
    if (Object.getPrototypeOf(value) !== Array.prototype) trail.refuse('an array of a class of its own', '; pass Array.from(it)')
    return undefined
  }
  if (isPlainObject(value)) {
    if (!Object.hasOwn(value, 'dtype') || !Object.hasOwn(value, 'data') || !Object.hasOwn(value, 'shape') || Object.keys(value).length !== 3) return undefined
    const { dtype, shape, data } = value as Partial<Tensor>
    if (!isDType(dtype) || !Array.isArray(shape) || !ArrayBuffer.isView(data)) return undefined
    const fault = tensorFault({ dtype, shape, data })
    if (fault !== undefined) throw new TypeError(`${trail.place} ${fault}`)
    if (shape.length > RANK_MAX) trail.refuse(`a tensor of ${shape.length} axes`, `; ${RANK_MAX} at most`)
    return { tensor: true, dtype, shape: [...shape as number[]], data }
  }
  if (ArrayBuffer.isView(value)) {
    const dtype = dtypeOf(value)
    if (dtype === undefined) return trail.refuseKind(value)
    return { tensor: false, dtype, shape: [(value as TypedArray).length], data: value as TypedArray }
  }
  if (value instanceof ArrayBuffer) return { tensor: false, dtype: 'uint8', shape: [value.byteLength], data: new Uint8Array(value) }
  return trail.refuseKind(value)
}

/** Names of an object, in its order. */
export function namesOf(value: object, trail: Trail): string[] {
  if (Object.getOwnPropertySymbols(value).length > 0) trail.refuse('an object with a symbol for a name')
  return Object.keys(value)
}

/** Bytes of a leaf as its dtype and shape say. */
export function leafBytes(leaf: Leaf): number {
  return elementCount(leaf.shape)! * sizeOf(leaf.dtype)
}

/** What V8 on 64-bit machines takes for them, in round numbers; the buffer of a typed array is an object of its own. */
const COST = { slot: 8, number: 16, string: 24, array: 32, object: 56, leaf: 208 }

/**
 * Bytes of memory a value takes: those of its arrays, and an estimate of the tree around them. An array that is a view counts for what it shows, not for the
 * buffer it keeps. Throws TypeError for what is no value.
 */
export function sizeOfValue(value: unknown, root = 'value'): number {
  const trail = new Trail(root)
  const size = (value: unknown): number => {
    switch (typeof value) {
      case 'undefined':
      case 'boolean':
        return 0
      case 'number':
        return COST.number
      case 'bigint':
        return COST.number + value.toString(16).length / 2
      case 'string':
        return COST.string + 2 * value.length
      case 'object': {
        if (value === null) return 0
        const leaf = leafOf(value, trail)
        if (leaf !== undefined) return COST.leaf + (leaf.tensor ? COST.object + COST.array + COST.slot * leaf.shape.length : 0) + leaf.data.byteLength
        trail.enter(value)
        let sum = COST.array
        if (Array.isArray(value)) {
          for (let i = 0; i < value.length; i++) {
            trail.at(i)
            sum += COST.slot + size(value[i])
          }
        } else {
          sum = COST.object
          for (const name of namesOf(value, trail)) {
            trail.at(name)
            sum += COST.slot + size((value as Record<string, unknown>)[name])
          }
        }
        trail.leave()
        return sum
      }
      default:
        return trail.refuseKind(value)
    }
  }
  if (value === undefined) trail.refuse('undefined', '; null says that there is nothing')
  return Math.ceil(size(value))
}
