import { resolve } from 'node:path'
import { boolean, bytes, checkOptions, choice, duration, number, show } from '../core/options.js'
import { checkCompression, type Compression, type CompressionOption } from '../store/compression.js'
import { readEnvironment, type Variables } from './environment.js'
import { defaultCacheDir } from './location.js'
import { checkLog, type LogOption } from './log.js'

/** How files are told apart: by content (with remembered digests), by path, size and mtime alone, or by both. */
export type Fingerprint = 'content' | 'stat' | 'combined'

export interface CacheOptions {
  /** Folder of the cache; made when it is not there. Default: see `defaultCacheDir`. null: nothing is written, values live in memory and datasets in a folder that goes with the cache. */
  readonly dir?: string | null
  /** False: values are computed and never kept, and nothing is written, as with `dir: null`. Default true, or false where `TENSORCACHE_ENABLED` is `0`. */
  readonly enabled?: boolean
  /** What the memory tier holds of values: bytes (`512MB`), or bytes and items. Default 256 MiB and 100,000 items; 0: none. */
  readonly memory?: number | string | { readonly bytes?: number | string; readonly items?: number }
  /** When values expire of which `put` says nothing: `24h`, milliseconds. Default: never. */
  readonly expiresIn?: string | number
  /** How datasets and values over 32 KiB are written of which nothing else is said: `none` (default; they are mapped), `lz4`, `zstd`, `gzip`, or `{ codec, level, shuffle }`. */
  readonly compression?: CompressionOption
  /** Never writes: what is not there is an error. Default false, or true where `TENSORCACHE_READONLY` is `1`. */
  readonly readonly?: boolean
  /** Free space that a build leaves on the disk, in bytes or as `2GB`; default 256 MiB, a few shards. */
  readonly minFree?: number | string
  /** Bytes of items in work while a dataset is built, or as `1GiB`; default 512 MiB: shards of 64 MiB on each of two cores, thrice. */
  readonly memoryBudget?: number | string
  /** How source files are told apart: by `content` (default; digests are remembered by file identity and times), by `stat` (path, size, mtime), or by both. */
  readonly fingerprint?: Fingerprint
  /** What is said on standard error: `warn` (default, or `TENSORCACHE_LOG`): what needs attention; `info`: also each reuse, build, heal and prune; `debug`: also each value. Or a function that is given all lines. */
  readonly log?: LogOption
}

export interface CheckedCacheOptions {
  readonly dir: string | null
  readonly enabled: boolean
  readonly memory: { readonly bytes: number; readonly items: number }
  /** Milliseconds; Infinity: never. */
  readonly expiresIn: number
  readonly compression: Compression | undefined
  readonly readonly: boolean
  readonly minFree: number
  readonly memoryBudget: number
  readonly fingerprint: Fingerprint
  readonly log: LogOption
  /** What was handed out is hashed again when it is handed out next: `TENSORCACHE_CHECK`. */
  readonly check: boolean
}

const OPTIONS = ['dir', 'enabled', 'memory', 'expiresIn', 'compression', 'readonly', 'minFree', 'memoryBudget', 'fingerprint', 'log']
const MEMORY = { bytes: 256 * 2 ** 20, items: 100_000 }

export function checkCacheOptions(given: CacheOptions, env: Variables = process.env): CheckedCacheOptions {
  const where = 'openCache'
  checkOptions(where, given, OPTIONS)
  const environment = readEnvironment(env)
  if (given.dir !== undefined && given.dir !== null && (typeof given.dir !== 'string' || given.dir === '')) throw new TypeError(`${where}: dir must be a path, not ${show(given.dir)}`)
  return {
    dir: given.dir === null ? null : given.dir === undefined ? defaultCacheDir(env) : resolve(given.dir),
    enabled: boolean(where, 'enabled', given.enabled, environment.enabled),
    memory: memory(where, given.memory),
    expiresIn: given.expiresIn === undefined ? Infinity : duration(where, 'expiresIn', given.expiresIn),
    compression: checkCompression(where, given.compression),
    readonly: boolean(where, 'readonly', given.readonly, environment.readonly),
    minFree: bytes(where, 'minFree', given.minFree, 256 * 2 ** 20),
    memoryBudget: bytes(where, 'memoryBudget', given.memoryBudget, 512 * 2 ** 20),
    fingerprint: choice(where, 'fingerprint', given.fingerprint, ['content', 'stat', 'combined'] as const, 'content'),
    log: checkLog(where, given.log, environment.log),
    check: environment.check,
  }
}

function memory(where: string, given: CacheOptions['memory']): CheckedCacheOptions['memory'] {
  if (typeof given !== 'object') return { bytes: bytes(where, 'memory', given, MEMORY.bytes), items: MEMORY.items }
  if (given === null || Array.isArray(given)) throw new TypeError(`${where}: memory must be a size or { bytes, items }, not ${show(given)}`)
  checkOptions(`${where}: memory`, given, ['bytes', 'items'])
  return { bytes: bytes(where, 'memory.bytes', given.bytes, MEMORY.bytes), items: number(where, 'memory.items', given.items, { integer: true, min: 0 }, MEMORY.items) }
}
