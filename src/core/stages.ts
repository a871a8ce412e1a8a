import { channel } from 'node:diagnostics_channel'

/**
 * What the time of a build or an epoch goes into: `read` from files, `cast`, `upload` to a device, `compute`, `readback` from it, `hash`, `write` to the cache, and `wait` for room, for other
 * processes or, in a loop, for the next batch.
 */
export type Stage = 'read' | 'cast' | 'upload' | 'compute' | 'readback' | 'hash' | 'write' | 'wait'

/** In the order in which work goes through them. */
export const STAGES: readonly Stage[] = ['read', 'cast', 'upload', 'compute', 'readback', 'hash', 'write', 'wait']

/** One piece of work. Several are under way at a time. */
export interface StageFacts {
  /** What kind of work. */
  readonly stage: Stage
  /** When it began, in milliseconds as `performance.now()` has them. */
  readonly start: number
  /** How long it took. */
  readonly seconds: number
  /** That it took in or gave out; 0 for `wait`. */
  readonly bytes: number
}

/** Name of the `node:diagnostics_channel` channel. */
export const STAGE_CHANNEL = 'tensorcache:stage'
// Held here: Node forgets a channel that nobody has subscribed to when it is collected.
const stages = channel(STAGE_CHANNEL)

/** Whether somebody listens: when nobody does, nothing is measured. */
export function isProfiled(): boolean {
  return stages.hasSubscribers
}

export function tellStage(facts: StageFacts): void {
  if (stages.hasSubscribers && facts.seconds >= 0) stages.publish(facts)
}

/** Does the work, and tells how long it took. `bytes`: what it is about, asked for when it is done. */
export async function inStage<T>(stage: Stage, bytes: number | ((result: T) => number), work: () => T | Promise<T>): Promise<T> {
  if (!stages.hasSubscribers) return work()
  const start = performance.now()
  const result = await work()
  tellStage({ stage, start, seconds: (performance.now() - start) / 1000, bytes: typeof bytes === 'number' ? bytes : bytes(result) })
  return result
}

/** The same of what comes one after the other: each step of it. */
export async function * stepsInStage<T>(stage: Stage, bytes: (step: T) => number, steps: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = steps[Symbol.asyncIterator]()
  let ended = false
  try {
    for (;;) {
      const step = await inStage(stage, (found: IteratorResult<T>) => found.done === true ? 0 : bytes(found.value), () => iterator.next())
      if (step.done === true) break
      yield step.value
    }
    ended = true
  } finally {
    if (!ended) await iterator.return?.()
  }
}
