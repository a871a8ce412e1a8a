import { checkOptions, number, show } from '../../core/options.js'
import type { DType } from '../../core/dtype.js'
import { Philox, philox4x32, seedWords } from '../../core/philox.js'
import type { FieldSpecs, Tensor } from '../../core/tensor.js'
import type { Fail, FieldStates, OpParams } from '../op.js'
import { addNormal } from './normal.js'

export type ItemFields = Readonly<Record<string, Tensor>>

/** Memory for a field of the result, with arbitrary content, all of which is to be filled. */
export type MakeField = (name: string, dtype: DType, shape: readonly number[]) => Tensor

/**
 * A random change of one item, for `batches({ augment: [ … ] })`. It runs on the processor, on what the cache gave, with the same bytes everywhere; no result is stored.
 */
export interface RandomOp {
  /** Tells it apart from ops of recipes. */
  readonly kind: 'random'
  /** Name of the op. */
  readonly name: string
  /** Its parameters, with all defaults. */
  readonly params: OpParams
  /** @internal Fields after it. */
  infer(fields: FieldSpecs, fail: Fail): FieldSpecs
  /** @internal The changed item; what is left as it was may be handed on. What is given is not written to. */
  apply(item: ItemFields, random: Draws, make: MakeField): ItemFields
}

/** "aug1", "aug2", "aug3": keep these counters apart from all others under the same seed. */
const KEY = 0x61756731
const DECISIONS = 0x61756732
const ELEMENTS = 0x61756733

/**
 * The random numbers of one op on one item: Philox4x32-10 under a key made of seed and epoch, counted by item and place of the op. They depend on nothing else, so they are the same for every number of
 * ranks, after every restart, and on every machine.
 */
export class Draws {
  readonly #key: readonly [number, number]
  readonly #item: readonly [number, number]
  readonly #normal: typeof addNormal
  /** Decisions, one after the other. */
  readonly decide: Philox

  /** `normal`: what adds noise; the same numbers, faster, where there is a native one. */
  constructor(key: readonly [number, number], item: number, op: number, normal: typeof addNormal = addNormal) {
    this.#key = key
    this.#normal = normal
    // An item's index has up to 40 bits.
    this.#item = [item % 2 ** 32, op * 2 ** 16 + Math.floor(item / 2 ** 32)]
    this.decide = new Philox(key, [...this.#item, DECISIONS])
  }

  /** Adds noise to the elements of field number `field`; `numbers` are its standard deviation and mean. */
  addNormal(input: Float32Array, out: Float32Array, field: number, numbers: Float32Array): void {
    this.#normal(input, out, Uint32Array.of(...this.#key, this.#item[0], this.#item[1] + field * 2 ** 8, ELEMENTS), numbers)
  }

  /** A number in [low, high), in float64. */
  between(low: number, high: number): number {
    return low + (high - low) * this.decide.float64()
  }

  /** True with this probability. */
  happens(probability: number): boolean {
    // One word is always used, so that what is drawn next does not depend on the probability.
    return this.decide.float64() < probability
  }
}

/** The key of an epoch. */
export function epochKey(seed: bigint, epoch: number): readonly [number, number] {
  const words = new Uint32Array(4)
  philox4x32(epoch, 0, 0, KEY, ...seedWords(seed), words)
  return [words[0]!, words[1]!]
}

/** Places of ops must fit the counter. */
const OPS_MAX = 256

export function checkAugmentations(where: string, given: unknown): readonly RandomOp[] {
  if (given === undefined) return []
  if (!Array.isArray(given) || given.length > OPS_MAX) throw new TypeError(`${where}: augment must be a list of up to ${OPS_MAX} random ops, not ${show(given)}`)
  given.forEach((op: Partial<RandomOp> | undefined, i) => {
    if (op?.kind !== 'random') throw new TypeError(`${where}: augment ${i} is no random op but ${show(op)}; ops that draw nothing belong to the recipe`)
  })
  return [...given as RandomOp[]]
}

/** Parameters of a random op: known names only. */
export function checkRandom(where: string, given: unknown, names: readonly string[]): void {
  checkOptions(where, given, [...names, 'fields'])
}

export function probabilityParam(where: string, value: unknown, fallback: number): number {
  return number(where, 'probability', value, { min: 0, max: 1 }, fallback)
}

/** One number, or two to draw between: [low, high]. */
export function rangeParam(where: string, name: string, value: unknown, min: number): readonly [number, number] {
  const pair = typeof value === 'number' ? [value, value] : value
  if (!Array.isArray(pair) || pair.length !== 2 || pair.some((entry) => typeof entry !== 'number' || !Number.isFinite(entry) || entry < min) || pair[0] > pair[1]) {
    throw new TypeError(`${where}: ${name} must be a number${min > -Infinity ? ` from ${min}` : ''}, or two to draw between [low, high], not ${show(value)}`)
  }
  return pair as [number, number]
}

/** Fields as other ops see them. */
export function statesOf(fields: FieldSpecs): FieldStates {
  return Object.fromEntries(Object.entries(fields).map(([name, { dtype, shape }]) => [name, { dtype, shape, finiteness: 'unchecked' as const }]))
}

/** Of one item. */
export function specsOf(item: ItemFields): FieldSpecs {
  return Object.fromEntries(Object.entries(item).map(([name, { dtype, shape }]) => [name, { dtype, shape }]))
}

/** For checks that `infer` has made already. */
export const failed: Fail = (message) => { throw new TypeError(message) }
