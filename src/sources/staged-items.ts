import { basename } from 'node:path'
import { FormatError } from '../core/errors.js'
import { checkOptions, show } from '../core/options.js'
import { brief } from './brief.js'
import { CsvFile } from './csv.js'
import type { RemoteFile } from './fetcher.js'
import { checkFieldName } from './names.js'
import { numberIn } from './properties.js'

/** A file of an item for `staged`. */
export interface StagedFileInput {
  /** Where it is. */
  readonly url: string
  /** What it is called here. Default: the last part of the URL's path. Readers may go by its suffix. */
  readonly name?: string
  /** 64 hex digits. Given, the file is known by it and the server is not asked. */
  readonly sha256?: string
  /** Bytes. */
  readonly size?: number
}

/** One item for `staged`. */
export interface StagedItemInput {
  /** Human name, different for every item. */
  readonly id: string
  /** Its files, in the order in which they are opened. */
  readonly files: readonly StagedFileInput[]
  /** Numbers that are known of it, each a float64 [] field of its name. Every item has the same ones. */
  readonly properties?: Readonly<Record<string, number>>
}

/** An item of a list, checked. */
export interface StagedItem {
  /** Human name. */
  readonly id: string
  /** Its files. */
  readonly files: readonly RemoteFile[]
  /** Numbers that are known of it, by name. */
  readonly properties: Readonly<Record<string, number>>
}

export interface StagedColumns {
  /** Column of the URLs, or of each file by the name that its reader knows it by. */
  readonly url: string | Readonly<Record<string, string>>
  readonly id: string | undefined
  readonly sha256: string | undefined
  /** Column by field. */
  readonly properties: Readonly<Record<string, string>>
}

const ROWS_AT_ONCE = 1024
const NAME = /^(?!\.{1,2}$)[^/\0]{1,200}$/
/** Names that fetching needs for itself. */
const TAKEN = /^item\.json$|\.part$|\.part\.json$/

/** Rejects with TypeError, naming the item. */
export async function checkItems(given: Iterable<StagedItemInput> | AsyncIterable<StagedItemInput>): Promise<StagedItem[]> {
  if (typeof given !== 'object' || given === null || !(Symbol.iterator in given || Symbol.asyncIterator in given)) throw new TypeError(`staged: items must be an iterable of { id, files }, not ${show(given)}`)
  const items: StagedItem[] = []
  const before = new Set<string>()
  for await (const item of given) {
    const where = `staged: item ${items.length}`
    if (typeof item?.id !== 'string' || item.id === '' || !Array.isArray(item.files) || item.files.length === 0) throw new TypeError(`${where} must be { id, files: [{ url }] }`)
    if (before.has(item.id)) throw new TypeError(`${where} has the id ${show(item.id)} of an item before it`)
    before.add(item.id)
    checkOptions(where, item, ['id', 'files', 'properties'])
    const properties = checkProperties(`${where} (${item.id})`, item.properties, items[0]?.properties)
    const files = item.files.map((file: StagedFileInput, k) => checkFile(`${where} (${item.id}), file ${k}`, file))
    if (new Set(files.map(({ name }) => name)).size < files.length) throw new TypeError(`${where} (${item.id}): its files need different names; there are ${files.map(({ name }) => show(name)).join(', ')}`)
    items.push({ id: item.id, files, properties })
  }
  return items
}

/** In the order of the names, as the first item has them. */
function checkProperties(where: string, given: unknown = {}, first: StagedItem['properties'] | undefined): StagedItem['properties'] {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new TypeError(`${where}: properties must be { field: number }, not ${show(given)}`)
  const names = Object.keys(given).sort()
  if (first !== undefined && names.join() !== Object.keys(first).join()) throw new TypeError(`${where}: properties must be those of the first item, ${Object.keys(first).join(', ') || 'none'}, not ${names.join(', ') || 'none'}`)
  return Object.fromEntries(names.map((name) => {
    const value = (given as Record<string, unknown>)[name]
    checkFieldName(`${where}: properties`, name)
    if (typeof value !== 'number' || !Number.isFinite(value)) throw new TypeError(`${where}: properties.${name} must be a number, not ${show(value)}`)
    // Adding 0 makes 0 of −0.
    return [name, value + 0]
  }))
}

function checkFile(where: string, file: StagedFileInput): RemoteFile {
  if (typeof file !== 'object' || file === null || typeof file.url !== 'string' || file.url === '') throw new TypeError(`${where} must be { url }`)
  checkOptions(where, file, ['url', 'name', 'sha256', 'size'])
  const name = file.name ?? nameOfUrl(file.url)
  if (typeof name !== 'string' || !NAME.test(name) || TAKEN.test(name)) throw new TypeError(`${where}: name must be that of a file, without a path, not ${show(name)}`)
  const { sha256, size } = file
  if (sha256 !== undefined && !(typeof sha256 === 'string' && /^[0-9a-fA-F]{64}$/.test(sha256))) throw new TypeError(`${where}: sha256 must be 64 hex digits, not ${show(sha256)}`)
  if (size !== undefined && !(Number.isSafeInteger(size) && size >= 0)) throw new TypeError(`${where}: size must be a number of bytes, not ${show(size)}`)
  return { url: file.url, name, sha256: sha256?.toLowerCase(), size }
}

function nameOfUrl(url: string): string {
  const path = url.replace(/[?#].*$/, '')
  try {
    return basename(decodeURIComponent(path))
  } catch {
    return basename(path)
  }
}

/** One item per row. Rejects with FileError, FormatError; TypeError for columns that are not there. */
export async function itemsOfList(path: string, { url, id, sha256, properties }: StagedColumns): Promise<StagedItem[]> {
  const table = await CsvFile.open(path, { ragged: (_, error) => { throw error } })
  try {
    const urls = typeof url === 'string' ? { '': url } : url
    const column = (option: string, name: string): number => table.column(`staged: ${option}`, name)
    const columns = [...Object.values(urls).map((name) => column('urlColumn', name)), ...(id === undefined ? [] : [column('idColumn', id)]), ...(sha256 === undefined ? [] : [column('sha256Column', sha256)])]
    const numbers = Object.entries(properties).map(([field, name]) => ({ field, name, at: column('properties', name) }))
    const items: StagedItemInput[] = []
    for (let row = 0; row < table.length; row++) {
      if (row % ROWS_AT_ONCE === 0) await table.populate(row, Math.min(table.length, row + ROWS_AT_ONCE))
      const values = table.read(row, columns)
      const fail = (name: string, expected: string, text = ''): never => { throw new FormatError({ file: table.file.path, place: `row ${row}, column ${brief(name)}`, expected, found: text === '' ? 'nothing' : brief(text) }) }
      const files = Object.entries(urls).map(([name, from], k) => {
        const address = values[k]!.trim()
        if (address === '') fail(from, 'a URL')
        return { url: address, name: name === '' ? nameOfUrl(address) : `${name}${/(\.[a-z]+)?\.[a-z0-9]+$/i.exec(nameOfUrl(address))?.[0] ?? ''}` }
      })
      const given = id === undefined ? nameOfUrl(files[0]!.url) : values[files.length]!
      if (given === '') fail(id!, 'an id')
      const digest = sha256 === undefined ? '' : values.at(-1)!.trim()
      const known = table.read(row, numbers.map(({ at }) => at)).map((text, k) => [numbers[k]!.field, numberIn(text) ?? fail(numbers[k]!.name, 'a number', text.trim())] as const)
      items.push({ id: given, properties: Object.fromEntries(known), files: files.map((file) => ({ ...file, ...(digest !== '' && { sha256: digest }) })) })
    }
    return await checkItems(items)
  } finally {
    table.file.close()
  }
}
