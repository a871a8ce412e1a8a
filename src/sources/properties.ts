import { show } from '../core/options.js'
import { checkFieldName } from './names.js'

/** Columns of numbers that become fields: their names, or by field. */
export type PropertyColumns = readonly string[] | Readonly<Record<string, string>>

const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/

/** Column by field. Throws TypeError, also for fields that are `taken`. */
export function propertiesOf(where: string, given: unknown = [], taken: readonly string[] = []): Readonly<Record<string, string>> {
  if (typeof given !== 'object' || given === null) throw new TypeError(`${where}: properties must be a list of columns or { field: column }, not ${show(given)}`)
  const pairs: (readonly [string, unknown])[] = Array.isArray(given) ? given.map((name: unknown) => [String(name), name] as const) : Object.entries(given)
  const properties: Record<string, string> = {}
  for (const [field, column] of pairs) {
    if (typeof column !== 'string') throw new TypeError(`${where}: properties: ${show(column)} is not the name of a column`)
    checkFieldName(`${where}: properties`, field)
    if (taken.includes(field) || Object.hasOwn(properties, field)) throw new TypeError(`${where}: properties: there is a field ${show(field)} already`)
    properties[field] = column
  }
  return properties
}

/** The number that a cell of a table holds; undefined when it is none. */
export function numberIn(cell: string): number | undefined {
  const text = cell.trim()
  // Adding 0 makes 0 of −0.
  return DECIMAL.test(text) && Number.isFinite(Number(text)) ? Number(text) + 0 : undefined
}
