import { resolve } from 'node:path'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { readEnvironment } from '../cache/environment.js'
import type { CacheOptions } from '../cache/options.js'
import { defaultCacheDir } from '../cache/location.js'
import { StoreError, TensorCacheError } from '../core/errors.js'
import { nearest } from '../core/options.js'
import { packageVersion } from '../core/version.js'
import { openCache, type Cache } from '../open-cache.js'
import { Store } from '../store/store.js'
import { completionOf, FILES } from './complete.js'
import { findConfig, loadConfig } from './config/load.js'
import type { Config } from './config/schema.js'
import { ConfigError } from './config/tree.js'
import { generalHelp, verbHelp } from './help.js'
import { UsageError, type Context, type Verb, type VerbOption } from './verb.js'
import { verbs } from './verbs/index.js'

/** Options of every verb. */
export const COMMON: Readonly<Record<string, VerbOption>> = {
  'cache-dir': { type: 'string', value: 'DIR', about: 'folder of the cache' },
  config: { type: 'string', value: 'FILE', about: 'configuration file; default: tensorcache.yaml here' },
  set: { type: 'string', multiple: true, value: 'KEY=VALUE', about: 'change a value of the configuration file' },
  format: { type: 'string', value: 'text|json', about: 'form of the output; default: text' },
  quiet: { type: 'boolean', about: 'no notes and no progress' },
  help: { type: 'boolean', about: 'show this' },
}

const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const

/** Runs one command line. 0 done, 1 damage or failure, 2 wrong use, 130 or 143 when a signal ended it. */
export async function run(args: readonly string[]): Promise<number> {
  // A reader that goes away (`| head`) ends the program, quietly.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => { process.exit(error.code === 'EPIPE' ? 0 : 1) })
  const json = args.includes('--format=json') || args[args.lastIndexOf('--format') + 1] === 'json' && args.includes('--format')
  try {
    return await dispatch(args)
  } catch (error) {
    report(error as Error, json)
    return error instanceof UsageError || error instanceof ConfigError || error instanceof TypeError ? 2 : 1
  }
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  if (name === '--version') {
    console.log(packageVersion())
    return 0
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const about = name === 'help' && rest[0] !== undefined ? verbNamed(rest[0]) : undefined
    console.log(about === undefined ? generalHelp(verbs) : verbHelp(about, COMMON))
    return name === undefined ? 2 : 0
  }
  if (name === '__complete') return complete(rest)
  const verb = verbNamed(name)
  const { values, positionals } = parse(verb, rest)
  if (values.help === true) {
    console.log(verbHelp(verb, COMMON))
    return 0
  }
  const format = values.format ?? 'text'
  if (format !== 'text' && format !== 'json') throw new UsageError(`--format must be text or json, not ${String(format)}`)
  const [least, most] = verb.positionals
  if (positionals.length < least || positionals.length > most) throw new UsageError(`usage: tensorcache ${verb.name} ${verb.usage}`)
  return withSignals((signal, opened) => verb.run(contextOf(values, positionals, signal, opened)), format === 'json')
}

function verbNamed(name: string): Verb {
  return verbs.find((known) => known.name === name) ?? fail(`there is no verb "${name}"${suggestion(name, verbs.map((known) => known.name))}`)
}

function fail(message: string): never {
  throw new UsageError(message)
}

/** For the scripts of `completion`: candidates, one a line; 3 when files are meant. */
async function complete(words: readonly string[]): Promise<number> {
  const completion = completionOf(words, verbs, COMMON)
  if (completion === undefined) {
    const [begun = ''] = words
    if (words.length < 2) for (const name of [...verbs.map((verb) => verb.name), 'help', '--help', '--version'].filter((each) => each.startsWith(begun))) console.log(name)
    return 0
  }
  return withSignals(async (signal, opened) => {
    const found = await completion.candidates(contextOf({ ...completion.values, quiet: true }, [], signal, opened))
    if (found === FILES) return 3
    for (const each of found) console.log(each)
    return 0
  }, false)
}

function parse(verb: Verb, args: readonly string[]): { values: Context['values']; positionals: string[] } {
  const known = { ...verb.options, ...COMMON }
  const options: ParseArgsConfig['options'] = Object.fromEntries(Object.entries(known).map(([name, { type, multiple }]) => [name, { type, multiple: multiple ?? false, ...(name === 'help' && { short: 'h' }) }]))
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (error) {
    const unknown = /Unknown option '(--?([^' ]+))/.exec((error as Error).message)
    if (unknown !== null) throw new UsageError(`${verb.name}: there is no option ${unknown[1]}${suggestion(unknown[2]!, Object.keys(known))}`)
    throw new UsageError(`${verb.name}: ${(error as Error).message.split('\n')[0]}`)
  }
}

function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === undefined ? `; there are ${known.join(', ')}` : `, did you mean "${near}"?`
}

/** The first signal asks the verb to stop in good order, the second ends the process. */
async function withSignals(verb: (signal: AbortSignal, opened: Cache[]) => Promise<number>, json: boolean): Promise<number> {
  const abort = new AbortController()
  const opened: Cache[] = []
  let code: number | undefined
  const listeners = Object.entries(SIGNALS).map(([name, status]) => {
    const listener = (): void => {
      if (code !== undefined) process.exit(status)
      code = status
      abort.abort(Object.assign(new Error(`stopped by ${name}; what was finished is kept`), { code: 'E_INTERRUPTED' }))
    }
    process.on(name, listener)
    return [name, listener] as const
  })
  try {
    const status = await verb(abort.signal, opened)
    return code ?? status
  } catch (error) {
    if (code === undefined) throw error
    report(error as Error, json)
    return code
  } finally {
    for (const [name, listener] of listeners) process.removeListener(name, listener)
    for (const cache of opened) await cache.close()
  }
}

function contextOf(values: Context['values'], positionals: readonly string[], signal: AbortSignal, opened: Cache[]): Context {
  const quiet = values.quiet === true
  let loaded: Config | undefined
  const path = typeof values.config === 'string' ? values.config : findConfig(process.cwd())
  const config = (): Config => {
    if (path === undefined) throw new UsageError('there is no tensorcache.yaml here; name a configuration file with --config')
    return loaded ??= loadConfig({ file: path, set: (values.set ?? []) as string[], cwd: process.cwd(), env: process.env })
  }
  const cacheDir = (): string => {
    if (typeof values['cache-dir'] === 'string') return resolve(values['cache-dir'])
    return readEnvironment().dir ?? (path === undefined ? undefined : config().cache().dir) ?? defaultCacheDir()
  }
  const cacheOptions = (): CacheOptions => path === undefined ? {} : config().cache()
  const assertWritable = (dir: string): void => {
    if (cacheOptions().readonly ?? readEnvironment().readonly) throw new UsageError(`the cache at ${dir} is to be read only: cache.readonly of the configuration file, or TENSORCACHE_READONLY`)
  }
  const writableDir = (): string => {
    const dir = cacheDir()
    assertWritable(dir)
    return dir
  }
  return {
    values, positionals, quiet, signal, json: values.format === 'json', config, cacheDir, writableDir,
    async openCache({ readonly = false, existing = false, passing = false } = {}) {
      const dir = cacheDir()
      // An empty folder is no cache either, and LMDB would leave its own in it.
      const state = existing || readonly ? Store.stateOf(dir) : 'there'
      if (state === 'none') throw new UsageError(`there is no cache at ${dir}`)
      if (state === 'lost') throw new StoreError(dir, 'has blobs and no index; tensorcache reindex makes the index from the blobs')
      const options = cacheOptions()
      if (existing && !readonly) assertWritable(dir)
      // A verb that is about a cache means the one that is there.
      const cache = await openCache({ ...options, dir, ...(readonly && { readonly }), ...(passing ? { enabled: false } : (readonly || existing) && { enabled: true }) })
      opened.push(cache)
      return cache
    },
    print: (line) => { process.stdout.write(`${line}\n`) },
    note: (line) => { if (!quiet) process.stderr.write(`${line}\n`) },
  }
}

function report(error: Error, json: boolean): void {
  if (json) {
    const facts = error instanceof TensorCacheError || error instanceof ConfigError ? { ...error, name: undefined } : { code: error instanceof UsageError ? 'E_USAGE' : (error as NodeJS.ErrnoException).code ?? error.name }
    process.stderr.write(`${JSON.stringify({ error: { ...facts, message: error.message } })}\n`)
  } else {
    process.stderr.write(`tensorcache: ${error.message}\n`)
  }
  if (process.env.TENSORCACHE_DEBUG === '1') process.stderr.write(`${error.stack}\n`)
}
