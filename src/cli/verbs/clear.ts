import { UsageError, type Verb } from '../verb.js'

export const clear: Verb = {
  name: 'clear',
  summary: 'Removes all datasets and values, or those of a namespace and of the ones below it. What is open somewhere stays.',
  usage: '',
  example: 'tensorcache clear --namespace generated/cycle_003 --yes',
  options: {
    namespace: { type: 'string', value: 'NAME', about: 'only of this namespace and those below it' },
    yes: { type: 'boolean', about: 'really' },
  },
  positionals: [0, 0],
  async run(context) {
    const { namespace, yes } = context.values as { namespace?: string; yes?: boolean }
    if (yes !== true) throw new UsageError(`this removes ${namespace === undefined ? 'everything in the cache' : `all of ${namespace}`}; say --yes`)
    const cache = await context.openCache({ existing: true })
    let [datasets, values, pinned] = [0, 0, 0]
    for (const { upkeep, entries } of cache.stores.below(namespace ?? '')) {
      values += await entries.clear(namespace ?? '')
      const cleared = await upkeep.clearDatasets(namespace ?? '')
      datasets += cleared.removed
      pinned += cleared.pinned
    }
    if (context.json) context.print(JSON.stringify({ datasets, entries: values, pinned }))
    else context.print(`removed ${datasets} datasets and ${values} values`)
    if (pinned > 0 && !context.json) context.note(`${pinned} datasets are open somewhere and stay`)
    return 0
  },
}
