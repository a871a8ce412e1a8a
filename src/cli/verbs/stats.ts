import { humanBytes, humanSeconds, table } from '../format.js'
import type { Verb } from '../verb.js'

export const stats: Verb = {
  name: 'stats',
  summary: 'Shows what the key-value part of the cache was good for since it was made: hits and misses, bytes, and what computing again would have taken.',
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
    const tier = (name: 'memory' | 'disk'): string => `${all[name].hits} hits, ${humanBytes(all[name].bytes)}, ${humanSeconds(all[name].secondsSaved)} of computing saved`
    const lines = [
      ['memory', tier('memory')], ['disk', tier('disk')], ['misses', `${all.misses}, of which ${all.stale} had expired or were not accepted`], ['hit rate', `${(100 * all.hitRate).toFixed(1)} %`],
      ['computed', `${all.computed} values in ${humanSeconds(all.secondsComputed)}`], ['written', `${all.puts} values, ${humanBytes(all.bytesPut)}`], ['stored', `${all.stored.entries} values, ${humanBytes(all.stored.bytes)}`],
    ]
    for (const line of table(lines)) context.print(line)
    return 0
  },
}
