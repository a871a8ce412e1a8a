import { show } from '../../core/options.js'
import { isPlainObject } from '../../core/plain.js'

/** A field, several in this order, or several by the name of a model's input or output. */
export type Selection = string | readonly string[] | Readonly<Record<string, string>>

/** What a selection becomes where each field becomes an X. */
export type Selected<S, X> = S extends string ? X : S extends readonly string[] ? X[] : S extends object ? { [K in keyof S]: X } : undefined

/** The fields it names; throws TypeError for what is no selection. */
export function fieldsIn(where: string, side: string, of: unknown): string[] {
  if (of === undefined) return []
  const fields = typeof of === 'string' ? [of] : typeof of === 'object' && of !== null && (Array.isArray(of) || isPlainObject(of)) ? Object.values(of) : []
  if (fields.length === 0 || fields.some((field) => typeof field !== 'string')) throw new TypeError(`${where}: ${side} must be a field, a list of fields, or fields by name, not ${show(of)}`)
  return fields as string[]
}

export function selected<X>(of: Selection, values: ReadonlyMap<string, X>): unknown {
  if (typeof of === 'string') return values.get(of)
  if (Array.isArray(of)) return of.map((field: string) => values.get(field))
  return Object.fromEntries(Object.entries(of).map(([name, field]) => [name, values.get(field as string)]))
}
