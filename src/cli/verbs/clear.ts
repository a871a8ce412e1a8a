import { checkNamespace } from '../../cache/namespace.js'
import { isBelow } from '../../store/entries.js'
import type { Usage } from '../../store/upkeep.js'
import { humanBytes, humanOf } from '../format.js'
import { UsageError, type Verb } from '../verb.js'

export const clear: Verb = {
  name: 'clear',
  summary: 'Removes all datasets and values, or those of a namespace and of the ones below it. What is open somewhere stays.',
  usage: '',
  example: 'tensorcache clear --namespace generated/cycle_003 --yes',
  options: {
    namespace: { type: 'string', value: 'NAME', about: 'only of this namespace and those below it' },
    'dry-run': { type: 'boolean', about: 'say what would go; remove nothing' },
    yes: { type: 'boolean', about: 'really' },
  },
  positionals: [0, 0],
  async run(context) {
    const { namespace, yes, 'dry-run': dryRun } = context.values as { namespace?: string; yes?: boolean; 'dry-run'?: boolean }
    if (namespace !== undefined) checkNamespace('clear', namespace)
    if (yes !== true && dryRun !== true) throw new UsageError(`this removes ${namespace === undefined ? 'everything in the cache' : `all of ${namespace}`}; say --yes, or --dry-run to see what would go`)
    const cache = await context.openCache({ existing: true, readonly: dryRun === true })
    if (dryRun === true) {
      const usage = cache.usage().filter(({ namespace: name }) => isBelow(name, namespace ?? ''))
      const sum = (count: (usage: Usage) => number): number => usage.reduce((all, one) => all + count(one), 0)
      const [datasets, entries, bytes] = [sum((one) => one.datasets), sum((one) => one.entries), sum((one) => one.datasetBytes + one.entryBytes)]
      if (context.json) context.print(JSON.stringify({ datasets, entries, bytes, dryRun: true }))
      else context.print(`would remove ${humanOf(datasets, 'dataset')} and ${humanOf(entries, 'value')}, about ${humanBytes(bytes)}`)
      return 0
    }
    let [datasets, values, pinned] = [0, 0, 0]
    for (const { upkeep, entries } of cache.stores.below(namespace ?? '')) {
      values += await entries.clear(namespace ?? '')
      const cleared = await upkeep.clearDatasets(namespace ?? '')
      datasets += cleared.removed
      pinned += cleared.pinned
    }
    if (context.json) context.print(JSON.stringify({ datasets, entries: values, pinned }))
    else context.print(`removed ${humanOf(datasets, 'dataset')} and ${humanOf(values, 'value')}`)
    if (pinned > 0 && !context.json) context.note(`${humanOf(pinned, 'dataset')} ${pinned === 1 ? 'is' : 'are'} open somewhere and stay${pinned === 1 ? 's' : ''}`)
    return 0
  },
}
