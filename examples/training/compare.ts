// The same epoch with the cache and without it, in turns: the same batches, of which the ones are read and the others computed.
import { createHash } from 'node:crypto'
import { digestOf } from './digest.js'
import type { Learner } from './learner.js'
import type { Lists, Task } from './task.js'

export interface EpochTime {
  /** Of an epoch of training, and of these those in which there was no batch to work on. */
  readonly seconds: number
  readonly waited: number
  /** Of going through the batches and doing nothing. */
  readonly reading: number
}

export interface Comparison {
  readonly cached: EpochTime
  readonly live: EpochTime
  /** SHA-256 over the digests of an epoch's batches: one, because both ways give the same. */
  readonly digest: string
}

const ROUNDS = 2

/** The faster of two rounds each. Goes on training `learner`, and closes `live`. */
export async function compared(task: Task, cached: Lists, live: Lists, learner: Learner, order: { readonly seed: number; readonly epoch: number }): Promise<Comparison> {
  await using open = live
  const digests = new Set<string>()
  const times = { cached: [] as EpochTime[], live: [] as EpochTime[] }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [way, { train }] of [['cached', cached], ['live', open]] as const) {
      const options = { ...task.batches, shuffle: true, ...order }
      const began = performance.now()
      let waited = 0
      let at = began
      for await (const batch of train.batches(options)) {
        waited += performance.now() - at
        learner.step(batch)
        at = performance.now()
      }
      const trained = performance.now()
      for await (const batch of train.batches(options)) batch satisfies object
      const read = performance.now()
      times[way].push({ seconds: (trained - began) / 1000, waited: waited / 1000, reading: (read - trained) / 1000 })
      if (round > 0) continue
      const hash = createHash('sha256')
      for await (const batch of train.batches(options)) hash.update(digestOf(batch))
      digests.add(hash.digest('hex'))
    }
  }
  if (digests.size !== 1) throw new Error(`${task.name}: the batches without a cache are others`)
  const fastest = (all: readonly EpochTime[]): EpochTime => all.reduce((best, one) => one.seconds < best.seconds ? one : best)
  return { cached: fastest(times.cached), live: fastest(times.live), digest: [...digests][0]! }
}
