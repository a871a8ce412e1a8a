import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJson } from '../core/canonical.js'
import { isDType } from '../core/dtype.js'
import { ItemError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import { bytes, checkOptions, choice, number, show } from '../core/options.js'
import type { FieldSpec, FieldSpecs } from '../core/tensor.js'
import { shownUrl, type Fetcher } from './fetcher.js'
import { http } from './http.js'
import { checkFieldName } from './names.js'
import { pathOf } from './nifti-items.js'
import { propertiesOf, type PropertyColumns } from './properties.js'
import type { SkippedItem, Source } from './source.js'
import { StagedFetches } from './staged-fetches.js'
import { checkItems, itemsOfList, type StagedColumns, type StagedItem, type StagedItemInput } from './staged-items.js'
import { openerOf, openOne, type OpenDescription, type Opener, type OpenItem } from './staged-open.js'
import { RemoteItems } from './staged-remote.js'
import { StagedSource } from './staged-source.js'
import { Staging } from './staging.js'

/** How files are fetched, opened and removed: common to `staged` and `stagedList`. */
export interface StagingOptions {
  /** How an item's files are read: `{ type: 'nifti', … }` with the options of `nifti`, or a function that opens them as a source of one item, which needs `reader`. */
  readonly open: OpenDescription | OpenItem
  /** Folder in which raw files lie until their items are published. Processes may share it. */
  readonly dir: string
  /** Name and version of an `open` of your own, part of what items are known by: raise the version when it would give other values. */
  readonly reader?: Source['reader']
  /** dtype and shape of each field, `null` where extents may differ. Left out, the first item is fetched to learn them, once; its extents are taken to differ. */
  readonly fields?: FieldSpecs
  /** How files come here. Default `http()`. */
  readonly fetch?: Fetcher
  /** Bytes of raw files in the folder at any time, of all processes that use it. An item must fit. Default 20 GB. */
  readonly diskBudget?: number | string
  /** Items fetched at the same time. Default 4. */
  readonly concurrency?: number
  /** Items that lie ready, or are being fetched, before they are needed. Default 2 · concurrency. */
  readonly ahead?: number
  /** `skip`: asks for every file while opening, and leaves out items of which one is not there: `source.skipped` lists them. Default `error`: an ItemError when it is reached. */
  readonly onBadItem?: 'error' | 'skip'
  /** Called when an item is published, before its raw files are removed. */
  readonly release?: (item: StagedItem, paths: readonly string[]) => unknown
}

/** Options of `staged`. */
export interface StagedOptions extends StagingOptions {
  /** Consumed once, here. */
  readonly items: Iterable<StagedItemInput> | AsyncIterable<StagedItemInput>
}

/** Options of `stagedList`. */
export interface StagedListOptions extends StagingOptions {
  /** Column of the URLs; of items with several files `{ name: column }`, where `name` and the URL's suffix are what the file is called here. Default `url`. */
  readonly urlColumn?: string | Readonly<Record<string, string>>
  /** Column of the ids, each different. Default: the last part of the URL. */
  readonly idColumn?: string
  /** Column of the SHA-256 of the file, 64 hex digits; may be empty in some rows. Only with one URL column. */
  readonly sha256Column?: string
  /** Columns with numbers, each a float64 [] field of its name: `['age']`; or by field: `{ age: 'Age at scan' }`. */
  readonly properties?: PropertyColumns
}

const OPTIONS = ['open', 'dir', 'reader', 'fields', 'fetch', 'diskBudget', 'concurrency', 'ahead', 'onBadItem', 'release']
const LIST_OPTIONS = ['urlColumn', 'idColumn', 'sha256Column', 'properties']
/** Files asked for at the same time. */
const QUESTIONS_AT_ONCE = 16

/**
 * Items whose files are elsewhere: fetched while those before them are processed, and removed when they are published. Fields are those of `open`. A second build fetches what is not in the cache, and nothing else.
 *
 * Rejects with TypeError, FileError when `dir` cannot be used, ItemError that names id and URL when the first item cannot be fetched or read; reading rejects with such an ItemError.
 */
export async function staged(options: StagedOptions): Promise<Source> {
  if (typeof options !== 'object' || options === null) throw new TypeError(`staged: options are needed, not ${show(options)}`)
  checkOptions('staged', options, ['items', ...OPTIONS])
  const checked = await check(options)
  const items = await checkItems(options.items)
  return await make(items, checked, { type: 'staged', items: items.length })
}

/** The same, of the rows of a CSV file. Rejects with FileError and FormatError, too. */
export async function stagedList(path: string | URL, options: StagedListOptions): Promise<Source> {
  checkOptions('staged', options, [...LIST_OPTIONS, ...OPTIONS])
  const checked = await check(options)
  const columns = columnsOf(options)
  const list = pathOf(path)
  const { open, urlColumn, idColumn, sha256Column, properties, diskBudget, concurrency, ahead, onBadItem, fields } = options
  const isPlain = typeof open !== 'function' && options.fetch === undefined && options.release === undefined
  // As plain data, so that verify can open it again: only where there is no code in it.
  const rules = Object.fromEntries(Object.entries({ open, urlColumn, idColumn, sha256Column, properties, fields, diskBudget, concurrency, ahead, onBadItem }).filter(([, value]) => value !== undefined))
  return await make(await itemsOfList(list, columns), checked, isPlain ? { type: 'staged', path: list, dir: pathOf(options.dir), ...rules } : { type: 'staged' })
}

interface Checked {
  readonly options: StagingOptions
  readonly opener: Opener
  readonly budget: number
  readonly concurrency: number
  readonly ahead: number
  readonly skips: boolean
}

async function check(options: StagingOptions): Promise<Checked> {
  const where = 'staged'
  const { dir, fetch, fields, release } = options
  if (typeof dir !== 'string' || dir === '') throw new TypeError(`${where}: dir must be a path, not ${show(dir)}`)
  if (fetch !== undefined && typeof fetch?.fetch !== 'function') throw new TypeError(`${where}: fetch must be http(), huggingFace() or an object with a method fetch, not ${show(fetch)}`)
  if (release !== undefined && typeof release !== 'function') throw new TypeError(`${where}: release must be a function, not ${show(release)}`)
  if (fields !== undefined) checkSpecs(fields)
  const concurrency = number(where, 'concurrency', options.concurrency, { integer: true, min: 1, max: 256 }, 4)
  return {
    options, concurrency, opener: await openerOf(options.open, options.reader), budget: bytes(where, 'diskBudget', options.diskBudget, 20e9),
    ahead: number(where, 'ahead', options.ahead, { integer: true, min: 0, max: 10_000 }, 2 * concurrency), skips: choice(where, 'onBadItem', options.onBadItem, ['error', 'skip'], 'error') === 'skip',
  }
}

function checkSpecs(fields: FieldSpecs): void {
  if (typeof fields !== 'object' || fields === null) throw new TypeError(`staged: fields must be { name: { dtype, shape } }, not ${show(fields)}`)
  for (const [name, spec] of Object.entries(fields)) {
    checkFieldName('staged: fields', name)
    if (!isDType(spec?.dtype) || !Array.isArray(spec.shape) || !spec.shape.every((extent) => extent === null || (Number.isSafeInteger(extent) && extent >= 0))) throw new TypeError(`staged: fields.${name} must be { dtype, shape }, with null for extents that differ`)
  }
}

function columnsOf({ urlColumn = 'url', idColumn, sha256Column, properties }: StagedListOptions): StagedColumns {
  const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''
  if (!isText(urlColumn) && !(typeof urlColumn === 'object' && urlColumn !== null && Object.keys(urlColumn).length > 0 && Object.values(urlColumn).every(isText))) throw new TypeError(`staged: urlColumn must be a column or { name: column }, not ${show(urlColumn)}`)
  for (const [name, value] of Object.entries({ idColumn, sha256Column })) if (value !== undefined && !isText(value)) throw new TypeError(`staged: ${name} must be a column, not ${show(value)}`)
  if (sha256Column !== undefined && typeof urlColumn !== 'string') throw new TypeError('staged: sha256Column is for one URL column')
  return { url: urlColumn, id: idColumn, sha256: sha256Column, properties: propertiesOf('staged', properties) }
}

async function make(given: readonly StagedItem[], { options, opener, budget, concurrency, ahead, skips }: Checked, description: Source['description']): Promise<Source> {
  const fetcher = options.fetch ?? http()
  const { items, skipped } = skips ? await reachable(given, fetcher) : { items: given, skipped: [] }
  const remote = new RemoteItems(items, fetcher)
  const keys = new Set<string>()
  const staging = await Staging.open(options.dir, budget, (key) => keys.has(key))
  const fetches = new StagedFetches(staging, {
    key: async (index, signal) => {
      const key = await remote.key(index, signal)
      keys.add(key)
      return key
    },
    bytes: async (index, signal) => await remote.bytes(index, budget, staging.dir, signal),
    fetch: async (index, folder, signal) => await remote.fetch(index, folder, staging, await remote.bytes(index, budget, staging.dir, signal), signal),
  }, { concurrency, ahead, items: items.length })
  try {
    const fields = options.fields ?? await learn(items, opener, staging, fetches)
    const properties = Object.keys(items[0]?.properties ?? {})
    const taken = properties.find((name) => Object.hasOwn(fields, name))
    if (taken !== undefined) throw new TypeError(`staged: properties: there is a field ${show(taken)} already`)
    const known = Object.fromEntries(properties.map((name): [string, FieldSpec] => [name, { dtype: 'float64', shape: [] }]))
    return new StagedSource({ items, remote, staging, fetches, opener, release: options.release }, { fields: Object.freeze({ ...fields, ...known }), description, skipped })
  } catch (error) {
    fetches.close()
    staging.close()
    throw error
  }
}

/** Fields of the first item. What was learnt lies in the folder, so that a list whose items are all in the cache is opened without fetching one. */
async function learn(items: readonly StagedItem[], opener: Opener, staging: Staging, fetches: StagedFetches): Promise<FieldSpecs> {
  const first = items[0]
  if (first === undefined) throw new TypeError('staged: there are no items; give fields to have an empty source')
  const known = join(staging.dir, `fields-${toHex(sha256(canonicalJson({ reader: opener.reader, open: opener.description ?? null, item: first.files.map(({ url, name, sha256: digest }) => [url, name, digest ?? null]) }))).slice(0, 16)}.json`)
  try {
    const fields = JSON.parse(await readFile(known, 'utf8')) as FieldSpecs
    checkSpecs(fields)
    return fields
  } catch { /* Not learnt yet, or damaged. */ }
  const { signal } = new AbortController()
  const paths = await fetches.acquire(0, signal)
  let fields: Record<string, FieldSpec>
  try {
    const inner = await openOne(opener, paths, first.id)
    fields = Object.fromEntries(Object.entries(inner.fields).map(([name, spec]) => [name, opener.general(name, spec)]))
    inner.close()
  } catch (error) {
    throw new ItemError(first.id, `${shownUrl(first.files[0]!.url)}: ${(error as Error).message}`, { cause: error })
  } finally {
    // It stays for whoever reads it.
    await fetches.unpin([0])
  }
  await writeFile(`${known}.${process.pid}`, JSON.stringify(fields))
  await rename(`${known}.${process.pid}`, known)
  return fields
}

async function reachable(given: readonly StagedItem[], fetcher: Fetcher): Promise<{ items: StagedItem[]; skipped: SkippedItem[] }> {
  const faults = new Map<StagedItem, SkippedItem>()
  const { signal } = new AbortController()
  const queue = given.values()
  const lane = async (): Promise<void> => {
    for (const item of queue) {
      for (const file of item.files) {
        try {
          await fetcher.identify?.(file, { signal })
        } catch (error) {
          faults.set(item, { id: item.id, file: shownUrl(file.url), reason: (error as Error).message })
          break
        }
      }
    }
  }
  await Promise.all(Array.from({ length: QUESTIONS_AT_ONCE }, lane))
  return { items: given.filter((item) => !faults.has(item)), skipped: given.flatMap((item) => faults.get(item) ?? []) }
}
