import type { CacheEvents, DatasetFacts, EventName, Events, ValueFacts } from '../core/events.js'
import { humanBytes, humanCount, humanSeconds } from '../core/human.js'
import { choice } from '../core/options.js'

/** `warn`: what needs attention; `info`: also each reuse, build, heal and prune; `debug`: also values and shards. */
export type LogLevel = 'warn' | 'info' | 'debug'

export const LOG_LEVELS: readonly LogLevel[] = ['warn', 'info', 'debug']

/** One line of the log. */
export interface LogLine {
  /** From which level on it is said. */
  readonly level: LogLevel
  /** The event it is about. */
  readonly event: EventName
  /** `tensorcache <event> <what>: <facts>`, without a line's end. */
  readonly text: string
}

/** A level: lines up to that one go to standard error. A function: is given all of them, one per hit too. */
export type LogOption = LogLevel | ((line: LogLine) => void)

export function checkLog(where: string, given: unknown, fallback: LogLevel): LogOption {
  return typeof given === 'function' ? given as LogOption : choice(where, 'log', given, LOG_LEVELS, fallback)
}

type Lines = { readonly [N in EventName]: readonly [level: LogLevel, what: (message: CacheEvents[N]) => string, facts: (message: CacheEvents[N]) => string] }

const LINES: Lines = {
  hit: ['debug', value, ({ tier, bytes, seconds }) => `from ${tier}, ${humanBytes(bytes)}${seconds > 0 ? `, ${humanSeconds(seconds)} of computing saved` : ''}`],
  miss: ['debug', value, () => 'not there'],
  stale: ['debug', value, ({ tier }) => `in ${tier}, expired or not accepted`],
  put: ['debug', value, ({ tier, bytes }) => `to ${tier}, ${humanBytes(bytes)}`],
  compute: ['debug', value, ({ seconds }) => humanSeconds(seconds)],
  evict: ['debug', value, ({ bytes }) => `from memory, ${humanBytes(bytes)}`],
  reuse: ['info', dataset, ({ items, secondsSaved }) => `${humanCount(items)} of ${humanCount(items)} items from the cache, ${saved(secondsSaved)}`],
  build: ['info', dataset, ({ items, hits, computed, seconds, bytes, secondsSaved }) => `${humanCount(computed)} of ${humanCount(items)} items computed in ${humanSeconds(seconds)}, ${humanBytes(bytes)} written${hits === 0 ? '' : `; ${humanCount(hits)} from the cache, ${saved(secondsSaved)}`}`],
  shard: ['debug', ({ digest }) => digest.slice(0, 16), ({ items, bytes }) => `${humanCount(items)} items, ${humanBytes(bytes)}`],
  damage: ['warn', ({ what, digest }) => `${what} ${digest.slice(0, 16)}`, ({ reason }) => reason],
  heal: ['info', dataset, ({ seconds, reason }) => `computed again in ${humanSeconds(seconds)}, because ${reason}`],
  prune: ['info', ({ dir }) => dir ?? 'memory', ({ datasets, entries, bytes, left }) => `${humanCount(datasets)} datasets and ${humanCount(entries)} values removed, ${humanBytes(bytes)}; ${humanBytes(left)} left`],
  'low-disk': ['info', ({ folder }) => folder, ({ free, needed, minFree }) => `${humanBytes(free)} free, ${humanBytes(needed)} to be written, ${humanBytes(minFree)} have to stay free`],
  full: ['warn', ({ dir }) => dir ?? 'memory', ({ reason }) => `values are computed and not kept (${reason})`],
}

/** Writes what happens in a cache, or gives it to a function. What is worth a warning is one of the process's (`process.emitWarning`) already, and not written twice. */
export function attachLog(events: Events, log: LogOption): void {
  for (const name of Object.keys(LINES) as EventName[]) attach(events, log, name)
}

function attach<N extends EventName>(events: Events, log: LogOption, event: N): void {
  const [level, what, facts] = LINES[event]
  const write = typeof log === 'function' ? log : toStandardError
  if (typeof log !== 'function' && (level === 'warn' || LOG_LEVELS.indexOf(level) > LOG_LEVELS.indexOf(log))) return
  events.listen(event, (message) => write({ level, event, text: `tensorcache ${event} ${what(message)}: ${facts(message)}` }))
}

function toStandardError({ text }: LogLine): void {
  // A progress line may stand there.
  process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[2K' : ''}${text}\n`)
}

function value({ namespace, key }: ValueFacts): string {
  return oneLine(namespace === '' ? key : `${namespace}/${key}`)
}

function dataset({ name, key }: DatasetFacts): string {
  return oneLine(name === '' ? key.slice(0, 12) : name)
}

// Keys may be any text, and a line is a line.
function oneLine(text: string): string {
  return /\p{Cc}/u.test(text) ? JSON.stringify(text) : text
}

function saved(seconds: number): string {
  return `${humanSeconds(seconds)} of computing saved`
}
