import type { Spread } from './measure.js'
import type { Peer } from './peer.js'

/** `tiny` checks results only, for the ordinary tests; `quick` takes minutes; `full` is what records are made of. */
export type Size = 'tiny' | 'quick' | 'full'

export interface Context {
  readonly size: Size
  /** An empty folder on a real disk, removed afterwards. */
  readonly dir: string
  /** The value for this run's size. */
  pick<T>(values: Readonly<Record<Size, T>>): T
  /** A Python process that has loaded `bench/peers/<script>.py`; undefined where there is no Python with what the script needs. */
  peer(script: string): Promise<Peer | undefined>
}

export interface Named extends Spread {
  readonly name: string
}

/** One measured thing: a row of the table and of the record. */
export interface Finding {
  readonly what: string
  readonly unit: string
  readonly ours: Spread
  /** Where the unit does not tell: see compare.ts. */
  readonly better?: 'more' | 'less'
  /** What others take for the same, measured in turns with ours. Who does less work than we has a name that says so. */
  readonly peers: readonly Named[]
  /** What the machine could do at best. */
  readonly limits: readonly Named[]
  /** Parts of ours, and other ways of ours. */
  readonly beside?: readonly Named[]
  readonly target: Target | undefined
  readonly note?: string
}

export interface Target {
  readonly text: string
  /** Undefined when the peer is not there. */
  readonly reached: boolean | undefined
}

export interface Question {
  readonly name: string
  readonly about: string
  run(context: Context): Promise<Finding[]>
}

export function atLeast(value: number, ours: Spread, unit: string): Target {
  return { text: `≥ ${value.toLocaleString('en')} ${unit}`, reached: ours.median >= value }
}

export function atMost(value: number, ours: Spread, unit: string): Target {
  return { text: `≤ ${value.toLocaleString('en')} ${unit}`, reached: ours.median <= value }
}

/** `name` where the peer that is meant is not always the best one. */
export function timesPeer(factor: number, ours: Spread, peer: Named | undefined, name = 'peer'): Target {
  return { text: factor === 1 ? `≥ ${name}` : `≥ ${factor}× ${name}`, reached: peer === undefined ? undefined : ours.median >= factor * peer.median }
}

/** A share of what the machine can do at best, of a unit of which more is better. */
export function ofLimit(share: number, ours: Spread, limit: Named, name: string): Target {
  return { text: `≥ ${100 * share} % of ${name}`, reached: ours.median >= share * limit.median }
}

/** Stops a benchmark whose result is wrong: a time for the wrong bytes means nothing. */
export function check(right: boolean, what: string): void {
  if (!right) throw new Error(`wrong result: ${what}`)
}
