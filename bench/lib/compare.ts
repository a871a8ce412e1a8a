// What a finding means beside others: which peer is best, how many times better we are, and how much of the machine's limit is used.
import type { Finding, Named } from './question.js'

/** Units of which less is better; of all others more is. */
const LESS: ReadonlySet<string> = new Set(['ns', 'µs', 'ms', 's', 'MiB', 'GiB', '% of a core'])

export interface Comparison {
  /** The best of those measured, also where it does less work than we: its name says so then. */
  readonly best: Named | undefined
  /** Above 1 we are better, whatever the unit. */
  readonly ratio: number | undefined
  readonly slower: boolean
  /** The tightest of those measured: a build cannot be faster than the disk, nor than the hashes it needs. */
  readonly limit: Named | undefined
  /** Of the limit; 1 is as much as the machine can. */
  readonly share: number | undefined
}

export function lessIsBetter({ unit, better }: Finding): boolean {
  return better === undefined ? LESS.has(unit) : better === 'less'
}

export function compared(finding: Finding): Comparison {
  const less = lessIsBetter(finding)
  const ours = finding.ours.median
  const least = (of: readonly Named[]): Named | undefined => of.toSorted((a, b) => a.median - b.median)[0]
  const most = (of: readonly Named[]): Named | undefined => of.toSorted((a, b) => b.median - a.median)[0]
  const best = less ? least(finding.peers) : most(finding.peers)
  const limit = less ? most(finding.limits) : least(finding.limits)
  const times = (other: Named | undefined): number | undefined => other && (less ? other.median / ours : ours / other.median)
  const ratio = times(best)
  return { best, ratio, slower: ratio !== undefined && ratio < 1, limit, share: times(limit) }
}
