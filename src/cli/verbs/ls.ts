import { fromHex } from '../../core/hash.js'
import { entryKey } from '../../store/entry.js'
import { isBelow } from '../../store/entries.js'
import type { Cache } from '../../open-cache.js'
import { datasetsOf } from '../find.js'
import { humanAgo, humanBytes, humanCount, table } from '../format.js'
import type { Context, Verb } from '../verb.js'

/** So much of a key is shown; JSON has it whole. */
const KEY_LETTERS = 64

export const ls: Verb = {
  name: 'ls',
  summary: 'Lists the datasets of the cache by namespace, or its values.',
  usage: '[namespace]',
  example: 'tensorcache ls tensors --format json',
  options: { values: { type: 'boolean', about: 'the values instead of the datasets' } },
  positionals: [0, 1],
  async run(context) {
    const cache = await context.openCache({ readonly: true })
    const [within = ''] = context.positionals
    if (context.values.values === true) listValues(cache, context, within)
    else listDatasets(cache, context, within)
    return 0
  },
}

function listDatasets(cache: Cache, context: Context, within: string): void {
  const now = Date.now()
  const datasets = datasetsOf(cache)
    .filter(({ record }) => isBelow(record.namespace, within))
    .sort((a, b) => a.record.namespace.localeCompare(b.record.namespace) || a.record.name.localeCompare(b.record.name) || a.record.created - b.record.created)
    .map(({ store, key, record }) => ({ key, record, lastUse: store.upkeep.lastUse(fromHex(key), record.created) }))
  if (context.json) {
    for (const { key, record, lastUse } of datasets) context.print(JSON.stringify({ key, ...record, created: time(record.created), lastUse: time(lastUse) }))
    return
  }
  const rows = datasets.map(({ key, record, lastUse }) => [record.namespace || '-', record.name || '-', humanCount(record.items), humanBytes(record.bytes), humanAgo(now - record.created), humanAgo(now - lastUse), key.slice(0, 12)])
  show(context, ['namespace', 'name', 'items', 'bytes', 'made', 'last used', 'key'], rows, 'no datasets')
}

function listValues(cache: Cache, context: Context, within: string): void {
  const now = Date.now()
  const rows: string[][] = []
  const namespaces = cache.stores.all.flatMap((store) => store.entries.namespaces().map((namespace) => ({ store, ...namespace })))
  for (const { store, id, name: namespace } of namespaces.filter(({ name }) => isBelow(name, within)).sort((a, b) => a.name.localeCompare(b.name))) {
    for (const { key, entry: { bytes, created, expires, keep } } of store.entries.keys(namespace, now)) {
      const lastUse = store.upkeep.lastUse(entryKey(id, key), created)
      if (context.json) context.print(JSON.stringify({ namespace, key, bytes, created: time(created), expires: expires === Infinity ? null : time(expires), keep, lastUse: time(lastUse) }))
      else rows.push([namespace || '-', keyText(key), humanBytes(bytes), humanAgo(now - created), humanAgo(now - lastUse), expires === Infinity ? 'never' : new Date(expires).toISOString().slice(0, 16).replace('T', ' '), keep ? 'keep' : ''])
    }
  }
  if (!context.json) show(context, ['namespace', 'key', 'bytes', 'made', 'last used', 'expires (UTC)', ''], rows, 'no values')
}

function show(context: Context, header: readonly string[], rows: readonly (readonly string[])[], none: string): void {
  if (rows.length === 0) context.note(none)
  else for (const line of table([header, ...rows], header.flatMap((name, k) => name === 'items' || name === 'bytes' ? k : []))) context.print(line)
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}

/** Keys may be long, and must not widen every line. */
function keyText(key: string): string {
  const text = key === '' || /\p{Cc}/u.test(key) ? JSON.stringify(key) : key
  const letters = Array.from(text.slice(0, 2 * KEY_LETTERS))
  return letters.length <= KEY_LETTERS ? text : `${letters.slice(0, KEY_LETTERS - 1).join('')}…`
}
