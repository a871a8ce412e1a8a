import { reindexCache } from '../../dataset/reindex.js'
import { humanBytes, humanOf } from '../format.js'
import { ProgressLine } from '../progress.js'
import type { Verb } from '../verb.js'

export const reindex: Verb = {
  name: 'reindex',
  summary: 'Makes a lost or damaged index again from the blobs. Nobody may have the cache open. Datasets come back whole; values in files come back in the namespace recovered, under their digests; small values are gone.',
  usage: '',
  example: 'tensorcache reindex',
  options: {
    yes: { type: 'boolean', about: 'although the index there is sound: small values and the keys of the others are lost' },
  },
  positionals: [0, 0],
  async run(context) {
    const line = new ProgressLine(process.stderr, !context.quiet)
    const done = await reindexCache(context.writableDir(), {
      force: context.values.yes === true, signal: context.signal, onProgress: (progress) => line.updateBytes('reindex', progress),
    }).finally(() => line.clear())
    if (context.json) {
      context.print(JSON.stringify(done))
    } else {
      for (const { path, reason } of done.damaged) context.print(`damaged: ${path}: ${reason}; moved to quarantine`)
      context.print(`${humanOf(done.blobs, 'blob')}, ${humanBytes(done.bytes)}: ${humanOf(done.datasets, 'dataset')}, ${humanOf(done.items, 'item')}, ${humanOf(done.values, 'value')} without their keys (namespace recovered)`)
      if (done.before !== null) context.note(`the index of before is ${done.before}`)
    }
    return done.damaged.length === 0 ? 0 : 1
  },
}
