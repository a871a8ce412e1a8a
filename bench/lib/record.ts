import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Reply } from './ask.js'
import type { Facts } from './facts.js'

export interface Answer extends Reply {
  readonly question: string
  readonly at: string
  readonly machine: Facts
  /** Cores that others kept busy just before and just after: above 0.2 or so the numbers say little. */
  readonly othersBusy: readonly (number | undefined)[]
}

/** 2: findings may have `beside` and `better`, answers may have `failed`. What reads 2 reads 1. */
const FORMAT = 2

export function readRecord(path: string): Answer[] {
  const { format, answers } = JSON.parse(readFileSync(path, 'utf8')) as { format: number; answers: Answer[] }
  if (!(format >= 1 && format <= FORMAT)) throw new Error(`${path}: expected a record of format 1 to ${FORMAT}, found ${format}`)
  return answers
}

/** `bench/records/<date>-<cpu>-<cores>.json` */
export function recordPath(day: string, { cpu, cores }: Facts): string {
  const slug = `${cpu} ${cores} cores`.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
  return `bench/records/${day}-${slug}.json`
}

/** Questions that the record has already, and that were not answered now, stay. */
export function writeRecord(path: string, answers: readonly Answer[]): void {
  mkdirSync(dirname(path), { recursive: true })
  const all = merged(existsSync(path) ? readRecord(path) : [], answers)
  // Six digits say more than any of these measurements can.
  const rounded = (_: string, value: unknown): unknown => typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
  writeFileSync(path, `${JSON.stringify({ format: FORMAT, answers: all }, rounded, 1).replaceAll(/\[\s+([-\d.,\se]+?)\s+\]/g, (_, list: string) => `[${list.replaceAll(/\s+/g, ' ')}]`)}\n`)
}

/** A question that failed replaces none that was answered. */
export function merged(before: readonly Answer[], now: readonly Answer[]): Answer[] {
  const answered = ({ question, failed }: Answer): boolean => failed === undefined || !before.some((answer) => answer.question === question)
  const added = now.filter(answered)
  return [...before.filter(({ question }) => !added.some((answer) => answer.question === question)), ...added]
}
