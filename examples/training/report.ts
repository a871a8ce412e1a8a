// What is printed of a training run.
import type { EpochFigures } from './progress.js'
import type { Task } from './task.js'
import type { Trained } from './train.js'

export function epochLine(task: Task, { epoch, loss, valLoss, valError, seconds, waited }: EpochFigures): string {
  return `epoch ${String(epoch).padStart(3)}   loss ${loss.toFixed(4)}   validation ${valLoss.toFixed(4)}, ${task.error} ${valError.toFixed(3)}   ${seconds.toFixed(2)} s, ${share(waited, seconds)} of it waiting for data`
}

/** The first line is the head. */
export function waysTable({ comparison }: Trained): string[][] {
  const row = (way: string, { seconds, waited, reading }: NonNullable<Trained['comparison']>['cached']): string[] => [way, `${seconds.toFixed(2)} s`, `${(1000 * waited).toFixed(1)} ms`, `${(1000 * reading).toFixed(1)} ms`, comparison!.digest.slice(0, 16)]
  return comparison === undefined ? [] : [['an epoch', 'training', 'of it waiting', 'reading alone', 'SHA-256 of its batches'], row('with the cache', comparison.cached), row('without, computed when read', comparison.live)]
}

/** By which factor the loss of an epoch fell, from the first to the last. */
export function fall({ history }: Trained): number {
  return history[0]!.loss / history.at(-1)!.loss
}

export function share(part: number, whole: number): string {
  return `${(100 * part / whole).toFixed(1)} %`
}
