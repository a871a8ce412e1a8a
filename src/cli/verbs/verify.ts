import { availableParallelism } from 'node:os'
import { verifyStore } from '../../store/verify.js'
import { humanBytes, humanSeconds } from '../format.js'
import type { Verb } from '../verb.js'

export const verify: Verb = {
  name: 'verify',
  summary: 'Reads every blob again and compares its SHA-256 with its name. Changes nothing; exit code 1 on damage.',
  usage: '',
  example: 'tensorcache verify --format json',
  options: {},
  positionals: [0, 0],
  async run(context) {
    const cache = await context.openCache({ readonly: true })
    const began = performance.now()
    const { blobs, bytes, damaged } = await verifyStore(cache.store, { jobs: availableParallelism(), signal: context.signal })
    const seconds = (performance.now() - began) / 1000
    if (context.json) {
      context.print(JSON.stringify({ blobs, bytes, seconds, damaged }))
    } else {
      for (const { path, reason } of damaged) context.print(`damaged: ${path}: ${reason}`)
      context.print(`${blobs} blobs, ${humanBytes(bytes)} in ${humanSeconds(seconds)}: ${damaged.length === 0 ? 'all as written' : `${damaged.length} damaged; their items are computed again when they are needed`}`)
    }
    return damaged.length === 0 ? 0 : 1
  },
}
