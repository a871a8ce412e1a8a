import { isBelow } from '../../store/entries.js'
import { humanAgo, humanBytes, humanCount, humanOf, table } from '../format.js'
import { UsageError, type Verb } from '../verb.js'

const BAR = 20

export const du: Verb = {
  name: 'du',
  summary: 'Shows what each namespace takes, and when it was last used.',
  usage: '[namespace]',
  example: 'tensorcache du',
  options: {},
  positionals: [0, 1],
  async run(context) {
    const cache = await context.openCache({ readonly: true })
    const [within = ''] = context.positionals
    const usage = cache.usage().filter(({ namespace }) => isBelow(namespace, within))
    if (within !== '' && usage.length === 0) throw new UsageError(`the cache has no namespace ${JSON.stringify(within)} that holds anything; tensorcache du lists them`)
    if (context.json) {
      for (const { lastUse, ...rest } of usage) context.print(JSON.stringify({ ...rest, lastUse: lastUse === undefined ? null : new Date(lastUse).toISOString() }))
      return 0
    }
    const now = Date.now()
    const all = usage.map((each) => ({ ...each, bytes: each.entryBytes + each.datasetBytes }))
    const most = Math.max(1, ...all.map(({ bytes }) => bytes))
    const rows = all.map(({ namespace, datasets, entries, bytes, lastUse }) => [
      namespace || '-', humanCount(datasets), humanCount(entries), humanBytes(bytes), '█'.repeat(Math.round(bytes / most * BAR)).padEnd(BAR, '·'), lastUse === undefined ? 'never' : humanAgo(now - lastUse),
    ])
    for (const line of table([['namespace', 'datasets', 'values', 'bytes', '', 'last used'], ...rows], [1, 2, 3])) context.print(line)
    context.print(`${humanBytes(cache.stores.all.reduce((sum, { upkeep }) => sum + upkeep.bytes, 0))} in all`)
    const aside = cache.stores.all.map(({ upkeep }) => upkeep.quarantined)
    const files = aside.reduce((sum, one) => sum + one.files, 0)
    if (files > 0) context.note(`${humanOf(files, 'damaged file')}, ${humanBytes(aside.reduce((sum, { bytes }) => sum + bytes, 0))}, set aside in quarantine; tensorcache prune --quarantine removes ${files === 1 ? 'it' : 'them'}`)
    return 0
  },
}
