import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Facts } from './facts.js'
import type { Finding } from './question.js'
import { root } from './root.js'

export interface Answer {
  readonly question: string
  readonly about: string
  readonly at: string
  /** Versions of the peers that took part. */
  readonly peers: readonly string[]
  readonly machine: Facts
  /** Cores that others kept busy just before and just after: above 0.2 or so the numbers say little. */
  readonly othersBusy: readonly (number | undefined)[]
  readonly findings: readonly Finding[]
}

/** Writes bench/records/<date>-<cpu>.json. Questions that were answered on the same day and kind of machine before, and not now, stay. */
export function writeRecord(answers: readonly Answer[], machine: Facts): string {
  const folder = join(root, 'bench/records')
  mkdirSync(folder, { recursive: true })
  const slug = `${machine.cpu} ${machine.cores} cores`.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
  const path = join(folder, `${new Date().toISOString().slice(0, 10)}-${slug}.json`)
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { answers: Answer[] }).answers : []
  const all = [...before.filter(({ question }) => !answers.some((answer) => answer.question === question)), ...answers]
  // Six digits say more than any of these measurements can.
  const rounded = (_: string, value: unknown): unknown => typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
  writeFileSync(path, `${JSON.stringify({ format: 1, answers: all }, rounded, 1).replaceAll(/\[\s+([-\d.,\se]+?)\s+\]/g, (_, list: string) => `[${list.replaceAll(/\s+/g, ' ')}]`)}\n`)
  return relative(root, path)
}
