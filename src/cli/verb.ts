import type { Cache } from '../open-cache.js'
import type { Config } from './config/schema.js'

export interface VerbOption {
  readonly type: 'string' | 'boolean'
  readonly multiple?: boolean
  /** What stands for the value in the help. */
  readonly value?: string
  readonly about: string
}

/** What a verb is told. */
export interface Context {
  readonly values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>
  readonly positionals: readonly string[]
  readonly json: boolean
  readonly quiet: boolean
  readonly signal: AbortSignal
  /** Folder of the cache, by option, environment, configuration file, or the default. */
  cacheDir(): string
  /** The same, for verbs that write to it without opening it; an error where it is to be read only. */
  writableDir(): string
  /** The configuration file; an error when there is none. Its sections are checked when they are asked for. */
  config(): Config
  /** Opens the cache; closed by the caller of the verb. `existing` refuses to make a new one, `passing` opens one that keeps nothing. */
  openCache(options?: { readonly?: boolean; existing?: boolean; passing?: boolean }): Promise<Cache>
  /** Writes a line to standard output. */
  print(line: string): void
  /** Writes a line to standard error, unless --quiet. */
  note(line: string): void
}

/** One verb of the command line. Adding one is adding a file and a line in verbs/index.ts. */
export interface Verb {
  readonly name: string
  readonly summary: string
  /** After the name: `[dataset…]`. */
  readonly usage: string
  readonly example: string
  readonly options: Readonly<Record<string, VerbOption>>
  /** How many positionals: least and most. */
  readonly positionals: readonly [number, number]
  /** Gives the exit code. */
  run(context: Context): Promise<number>
}

/** Wrong use: exit code 2. */
export class UsageError extends Error {}
