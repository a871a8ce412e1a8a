import type { TierStats } from '../../cache/tally.js'
import { humanBytes, humanCount, humanOf, humanSeconds, table } from '../format.js'
import type { Verb } from '../verb.js'

export const stats: Verb = {
  name: 'stats',
  summary: 'Shows what the cache was good for since it was made: hits and misses per tier, bytes, and what computing again would have taken, of values and of datasets.',
  usage: '',
  example: 'tensorcache stats --format json',
  options: {},
  positionals: [0, 0],
  async run(context) {
    const cache = await context.openCache({ readonly: true })
    const { session: _, memoryNow: __, ...all } = await cache.stats()
    if (context.json) {
      context.print(JSON.stringify(all))
      return 0
    }
    const tier = (name: string, { hits, misses, stale, bytesRead, bytesWritten, evictions, secondsSaved }: TierStats): string[] =>
      [name, humanCount(hits), humanCount(misses), humanCount(stale), humanBytes(bytesRead), humanBytes(bytesWritten), humanCount(evictions), humanSeconds(secondsSaved)]
    const { datasets } = all
    const tiers = [['values', 'hits', 'misses', 'stale', 'read', 'written', 'evicted', 'saved'], tier('memory', all.memory), tier('disk', all.disk)]
    const lines = [
      ['hit rate', `${(100 * all.hitRate).toFixed(1)} %`],
      ['computed', `${humanOf(all.computed, 'value')} in ${humanSeconds(all.secondsComputed)}`],
      ['stored', `${humanOf(all.stored.entries, 'value')}, ${humanBytes(all.stored.bytes)}`],
      [''],
      ['datasets', `${humanCount(datasets.reused)} reused, ${humanCount(datasets.built)} built, ${humanCount(datasets.healed)} healed, ${humanCount(datasets.evictions)} evicted`],
      ['items', `${humanCount(datasets.itemsReused)} reused, ${humanSeconds(datasets.secondsSaved)} saved; ${humanCount(datasets.itemsComputed)} computed in ${humanSeconds(datasets.secondsComputed)}, ${humanBytes(datasets.bytesWritten)} written`],
    ]
    for (const line of [...table(tiers, [1, 2, 3, 4, 5, 6, 7]), '', ...table(lines)]) context.print(line)
    return 0
  },
}
