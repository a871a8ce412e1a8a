import { sha256 } from '../core/hash.js'
import { frame } from '../core/keys.js'
import { checkOptions, show } from '../core/options.js'
import { seedData, seedOf } from '../core/seed.js'
import { bytesOf, type Tensor } from '../core/tensor.js'
import type { Item } from './collate.js'
import { checkedFields, itemsOf, type Readable } from './filter.js'

/** Options of `split`. */
export interface SplitOptions {
  /** An integer from 0 to 2^64 - 1. Another seed gives other parts. */
  readonly seed: number | bigint
  /** What decides in place of the id: the name of a field, or a function of the id. Items with the same value are in the same part. */
  readonly by?: string | ((id: string) => string | number)
  /** Aborted: rejects with its reason. */
  readonly signal?: AbortSignal
}

/** How far the fractions may be from 1 together: what rounding leaves. */
const SUM_ERROR_MAX = 1e-9

/**
 * The indices of each part. An item is in the part whose share of [0, 1) holds the number u made of it, the parts lying side by side in their order: u is the first 53 bits of
 * SHA-256( frame({ split, seed }) ‖ what decides ) · 2^-53.
 */
export async function assignParts<Name extends string>(list: Readable, fractions: Readonly<Record<Name, number>>, options: SplitOptions): Promise<Record<Name, Float64Array>> {
  const where = 'split'
  const names = checkFractions(where, fractions)
  checkOptions(where, options, ['seed', 'by', 'signal'])
  const prefix = frame({ split: 1, seed: seedData(seedOf(where, options?.seed)) })
  const ends: number[] = []
  for (const name of names) ends.push((ends.at(-1) ?? 0) + fractions[name])
  const parts = names.map((): number[] => [])
  for await (const [index, what] of deciding(where, list, options)) {
    const digest = sha256(prefix, what)
    const u = (digest.readUInt32BE(0) * 2 ** 21 + (digest.readUInt32BE(4) >>> 11)) * 2 ** -53
    const part = ends.findIndex((end) => u < end)
    // The last part ends at 1, whatever the fractions were rounded to.
    parts[part < 0 ? names.length - 1 : part]!.push(index)
  }
  return Object.fromEntries(names.map((name, k) => [name, Float64Array.from(parts[k]!)])) as Record<Name, Float64Array>
}

function checkFractions<Name extends string>(where: string, fractions: Readonly<Record<Name, number>>): Name[] {
  if (typeof fractions !== 'object' || fractions === null) throw new TypeError(`${where}: expected fractions by name, { train: 0.8, val: 0.2 }, not ${show(fractions)}`)
  const names = Object.keys(fractions) as Name[]
  for (const name of names) {
    if (!(typeof fractions[name] === 'number' && fractions[name] > 0 && fractions[name] <= 1)) throw new TypeError(`${where}: the fraction of ${name} must be a number above 0, at most 1, not ${show(fractions[name])}`)
  }
  const sum = names.reduce((total, name) => total + fractions[name], 0)
  if (Math.abs(sum - 1) > SUM_ERROR_MAX) throw new TypeError(`${where}: the fractions must sum up to 1, not to ${sum}`)
  return names
}

/** Each index with the bytes that decide where it goes. */
async function * deciding(where: string, list: Readable, { by, signal }: SplitOptions): AsyncGenerator<[number, Uint8Array]> {
  if (typeof by === 'string') {
    checkedFields(where, list, [by])
    for await (const [item, index] of itemsOf(list, [by], signal)) yield [index, valueOf(item, by)]
    return
  }
  if (by !== undefined && typeof by !== 'function') throw new TypeError(`${where}: by must be the name of a field, or a function of the id, not ${show(by)}`)
  for (let index = 0; index < list.length; index++) {
    const id = list.id(index)
    const said: unknown = by === undefined ? id : by(id)
    if (typeof said !== 'string' && !(typeof said === 'number' && Number.isFinite(said))) throw new TypeError(`${where}: by must give a text or a number, not ${show(said)} (item ${id})`)
    yield [index, Buffer.from(String(said))]
  }
}

function valueOf(item: Item, field: string): Uint8Array {
  const { dtype, shape, data } = item[field] as Tensor
  return Buffer.concat([frame({ dtype, shape }), bytesOf(data)])
}
