import { badFieldName } from '../core/names.js'
import { show } from '../core/options.js'
import type { FieldSpecs } from '../core/tensor.js'

/** Throws TypeError. */
export function checkFieldName(where: string, name: string): void {
  const reason = badFieldName(name)
  if (reason !== undefined) throw new TypeError(`${where}: ${show(name)} cannot be the name of a field: ${reason}`)
}

export function checkRange(start: number, stop: number, length: number): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(stop) && start >= 0 && start <= stop && stop <= length) return
  throw new TypeError(`read: 0 <= start <= stop <= ${length} is expected, not ${show(start)} and ${show(stop)}`)
}

export function checkFields(asked: readonly string[], known: FieldSpecs): void {
  for (const name of asked) if (!Object.hasOwn(known, name)) throw new TypeError(`read: there is no field ${show(name)}; there are ${Object.keys(known).join(', ')}`)
}
