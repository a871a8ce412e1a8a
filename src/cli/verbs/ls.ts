import { allDatasets } from '../find.js'
import { humanBytes, table } from '../format.js'
import type { Verb } from '../verb.js'

export const ls: Verb = {
  name: 'ls',
  summary: 'Lists the datasets of the cache by namespace.',
  usage: '[namespace]',
  example: 'tensorcache ls tensors --format json',
  options: {},
  positionals: [0, 1],
  async run(context) {
    const cache = await context.openCache({ readonly: true })
    const [within] = context.positionals
    const datasets = allDatasets(cache)
      .filter(({ record }) => within === undefined || record.namespace === within || record.namespace.startsWith(`${within}/`))
      .sort((a, b) => a.record.namespace.localeCompare(b.record.namespace) || a.record.name.localeCompare(b.record.name) || a.record.created - b.record.created)
    if (context.json) {
      for (const { key, record } of datasets) context.print(JSON.stringify({ key, ...record, created: new Date(record.created).toISOString() }))
    } else if (datasets.length === 0) {
      context.note('no datasets')
    } else {
      const rows = datasets.map(({ key, record }) => [record.namespace || '-', record.name || '-', String(record.items), humanBytes(record.bytes), new Date(record.created).toISOString().slice(0, 16).replace('T', ' '), key.slice(0, 12)])
      for (const line of table([['namespace', 'name', 'items', 'bytes', 'created (UTC)', 'key'], ...rows], [2, 3])) context.print(line)
    }
    return 0
  },
}
