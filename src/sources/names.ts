import { show } from '../core/options.js'
import type { FieldSpecs } from '../core/tensor.js'

/** Keys that an item or a batch has beside its fields. */
const RESERVED = ['id', 'ids', 'indices']

/** Field names are snake_case, so that they are identifiers in every language that reads them. Throws TypeError. */
export function checkFieldName(where: string, name: string): void {
  if (RESERVED.includes(name)) throw new TypeError(`${where}: ${show(name)} is reserved and cannot be the name of a field`)
  if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new TypeError(`${where}: ${show(name)} cannot be the name of a field, which is snake_case: a letter, then letters, digits and _ (${show(suggest(name))})`)
}

export function checkRange(start: number, stop: number, length: number): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(stop) && start >= 0 && start <= stop && stop <= length) return
  throw new TypeError(`read: 0 <= start <= stop <= ${length} is expected, not ${show(start)} and ${show(stop)}`)
}

export function checkFields(asked: readonly string[], known: FieldSpecs): void {
  for (const name of asked) if (!Object.hasOwn(known, name)) throw new TypeError(`read: there is no field ${show(name)}; there are ${Object.keys(known).join(', ')}`)
}

function suggest(name: string): string {
  const plain = name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase().replace(/[^a-z0-9]+/g, '_').replace(/^[_\d]+|_+$/g, '')
  return plain === '' ? 'x' : plain
}
