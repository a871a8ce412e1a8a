import { totalmem } from 'node:os'
import { resolve } from 'node:path'
import { boolean, bytes, checkOptions, choice, lifetime, number, show } from '../core/options.js'
import { overlap } from '../core/paths.js'
import { checkCompression, type Compression, type CompressionOption } from '../store/compression.js'
import { readEnvironment, type Variables } from './environment.js'
import { defaultCacheDir } from './location.js'
import { checkLog, type LogOption } from './log.js'
import { checkNamespace } from './namespace.js'
import { checkRemoteTier, type RemoteTier } from './remote.js'

/** How files are told apart: by content (with remembered digests), by path, size and mtime alone, or by both. */
export type Fingerprint = 'content' | 'stat' | 'combined'

export const FINGERPRINTS: readonly Fingerprint[] = ['content', 'stat', 'combined']

/** Options of `openCache`. Sizes are bytes or texts such as `50GB`; times milliseconds or texts such as `24h`. */
export interface CacheOptions {
  /** Folder of the cache; made when it is not there. Default: `TENSORCACHE_DIR`, else `$XDG_CACHE_HOME/tensorcache`, else `~/.cache/tensorcache`. null: nothing is written, values live in memory and datasets in a folder that goes with the cache. */
  readonly dir?: string | null
  /** False: values are computed and never kept, and nothing is written, as with `dir: null`. Default true, or false where `TENSORCACHE_ENABLED` is `0`. */
  readonly enabled?: boolean
  /** What the memory tier holds of values: bytes (`512MB`), or bytes and items. Default 256 MiB and 100,000 items; 0: none. */
  readonly memory?: number | string | { readonly bytes?: number | string; readonly items?: number }
  /** When values expire of which `put` says nothing: `24h`, milliseconds, or `never` (default). */
  readonly expiresIn?: string | number
  /** How datasets and values over 32 KiB are written of which nothing else is said: `none` (default; they are mapped), `lz4`, `zstd`, `gzip`, or `{ codec, level, shuffle }`. */
  readonly compression?: CompressionOption
  /** What datasets and values may take, as bytes or `50GB`. When more is to be kept, what was used longest ago and can be made again goes; what was `put`, or is marked `keep`, stays. Default: no limit but the disk's. */
  readonly maxSize?: number | string
  /** Namespaces, with all below them, that have a drive of their own: `{ generated: { dir: '/scratch/tensorcache' } }`. The folder above `dir` must be there. */
  readonly namespaces?: Readonly<Record<string, DriveOptions>>
  /** Where values are kept behind the disk, for other machines: `folderTier('/mnt/shared')`, or one's own. It is asked for what is not here, and gets what is put, except into scopes. Not used where nothing is written. */
  readonly remote?: RemoteTier
  /** Never writes: a value that is not there is computed and given, not kept (`getOrCompute`); a dataset that is not there, and what would change something, is a StoreError. Default false, or true where `TENSORCACHE_READONLY` is `1`. */
  readonly readonly?: boolean
  /** Free space that is left on the disk, in bytes or as `2GB`; default 256 MiB, a few shards. With less than that, what was used longest ago and can be made again goes. */
  readonly minFree?: number | string
  /**
   * Bytes that items in work may take while a dataset is built, or as `1GiB`; an item that alone needs more is in work alone. Default 512 MiB: shards of 64 MiB on each of two cores, thrice. Given, it also bounds how much of the
   * shards of open datasets stays mapped in, which is a quarter of the machine's memory otherwise.
   */
  readonly memoryBudget?: number | string
  /** How source files are told apart: by `content` (default; digests are remembered by file identity and times), by `stat` (path, size, mtime), or by both. */
  readonly fingerprint?: Fingerprint
  /** What is said on standard error: `warn` (default, or `TENSORCACHE_LOG`): what needs attention; `info`: also each reuse, build, heal and prune; `debug`: also each value. Or a function that is given all lines. */
  readonly log?: LogOption
}

/** A drive of some namespaces. */
export interface DriveOptions {
  /** Folder of this drive's store, apart from those of the cache and of other drives; made when it is not there. */
  readonly dir: string
  /** As of the cache, for this drive; default: no limit, and what the cache leaves free. */
  readonly maxSize?: number | string
  /** Free space that is left on this drive; default: what the cache leaves free. */
  readonly minFree?: number | string
}

export interface CheckedCacheOptions {
  readonly dir: string | null
  readonly drives: readonly { readonly namespace: string; readonly dir: string; readonly maxSize: number; readonly minFree: number }[]
  /** Infinity: no limit. */
  readonly maxSize: number
  readonly enabled: boolean
  readonly memory: { readonly bytes: number; readonly items: number }
  /** Milliseconds; Infinity: never. */
  readonly expiresIn: number
  readonly compression: Compression | undefined
  readonly remote: RemoteTier | undefined
  readonly readonly: boolean
  readonly minFree: number
  readonly memoryBudget: number
  /** Bytes of shards of open datasets that stay mapped in. */
  readonly residencyBytes: number
  readonly fingerprint: Fingerprint
  readonly log: LogOption
  /** What was handed out is hashed again when it is handed out next: `TENSORCACHE_CHECK`. */
  readonly check: boolean
}

const OPTIONS = ['dir', 'enabled', 'memory', 'expiresIn', 'compression', 'maxSize', 'namespaces', 'remote', 'readonly', 'minFree', 'memoryBudget', 'fingerprint', 'log']
const MEMORY_BUDGET = 512 * 2 ** 20
const MEMORY = { bytes: 256 * 2 ** 20, items: 100_000 }

export function checkCacheOptions(given: CacheOptions, env: Variables = process.env): CheckedCacheOptions {
  const where = 'openCache'
  checkOptions(where, given, OPTIONS)
  const environment = readEnvironment(env)
  if (given.dir !== undefined && given.dir !== null && (typeof given.dir !== 'string' || given.dir === '')) throw new TypeError(`${where}: dir must be a path, not ${show(given.dir)}`)
  const minFree = bytes(where, 'minFree', given.minFree, 256 * 2 ** 20)
  const dir = given.dir === null ? null : given.dir === undefined ? defaultCacheDir(env) : resolve(given.dir)
  return {
    drives: drives(where, dir, given.namespaces, minFree),
    maxSize: bytes(where, 'maxSize', given.maxSize, Infinity),
    dir,
    enabled: boolean(where, 'enabled', given.enabled, environment.enabled),
    memory: memory(where, given.memory),
    expiresIn: lifetime(where, 'expiresIn', given.expiresIn, Infinity),
    compression: checkCompression(where, given.compression),
    remote: checkRemoteTier(where, given.remote),
    readonly: boolean(where, 'readonly', given.readonly, environment.readonly),
    minFree,
    memoryBudget: bytes(where, 'memoryBudget', given.memoryBudget, MEMORY_BUDGET),
    residencyBytes: bytes(where, 'memoryBudget', given.memoryBudget, Math.max(MEMORY_BUDGET, totalmem() / 4)),
    fingerprint: choice(where, 'fingerprint', given.fingerprint, FINGERPRINTS, 'content'),
    log: checkLog(where, given.log, environment.log),
    check: environment.check,
  }
}

/** A store in the folder of another one would take the other's files for its own. */
function drives(where: string, cacheDir: string | null, given: CacheOptions['namespaces'], minFree: number): CheckedCacheOptions['drives'] {
  if (given === undefined) return []
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new TypeError(`${where}: namespaces must be an object of { dir }, not ${show(given)}`)
  const found = Object.entries(given).map(([name, drive]) => {
    const at = `${where}: namespaces.${name}`
    const namespace = checkNamespace(where, name)
    if (typeof drive !== 'object' || drive === null) throw new TypeError(`${at} must be { dir }, not ${show(drive)}`)
    checkOptions(at, drive, ['dir', 'maxSize', 'minFree'])
    if (typeof drive.dir !== 'string' || drive.dir === '') throw new TypeError(`${at}.dir must be a path, not ${show(drive.dir)}`)
    return { namespace, dir: resolve(drive.dir), maxSize: bytes(at, 'maxSize', drive.maxSize, Infinity), minFree: bytes(at, 'minFree', drive.minFree, minFree) }
  })
  for (const [k, { namespace, dir }] of found.entries()) {
    const others = [...cacheDir === null ? [] : [{ what: "the cache's own folder", dir: cacheDir }], ...found.slice(0, k).map((other) => ({ what: `the folder of namespaces.${other.namespace}`, dir: other.dir }))]
    for (const { what, dir: other } of others) if (overlap(dir, other)) throw new TypeError(`${where}: namespaces.${namespace}.dir must be a folder of its own, not ${show(dir)}: that is, or lies in, or holds ${what}, ${other}`)
  }
  return found
}

function memory(where: string, given: CacheOptions['memory']): CheckedCacheOptions['memory'] {
  if (typeof given !== 'object') return { bytes: bytes(where, 'memory', given, MEMORY.bytes), items: MEMORY.items }
  if (given === null || Array.isArray(given)) throw new TypeError(`${where}: memory must be a size or { bytes, items }, not ${show(given)}`)
  checkOptions(`${where}: memory`, given, ['bytes', 'items'])
  return { bytes: bytes(where, 'memory.bytes', given.bytes, MEMORY.bytes), items: number(where, 'memory.items', given.items, { integer: true, min: 0 }, MEMORY.items) }
}
