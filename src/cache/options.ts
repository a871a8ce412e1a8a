import { resolve } from 'node:path'
import { boolean, bytes, checkOptions, choice, duration, number, show } from '../core/options.js'
import { defaultCacheDir } from './location.js'

/** How files are told apart: by content (with remembered digests), by path, size and mtime alone, or by both. */
export type Fingerprint = typeof FINGERPRINTS[number]

export const FINGERPRINTS = ['content', 'stat', 'combined'] as const

export interface CacheOptions {
  /** Folder of the cache; made when it is not there. Default: see `defaultCacheDir`. null: nothing is written, values live in memory and datasets in a folder that goes with the cache. */
  readonly dir?: string | null
  /** False: values are computed and never kept, and nothing is written, as with `dir: null`. Default true, or false where `TENSORCACHE_ENABLED` is `0`. */
  readonly enabled?: boolean
  /** What the memory tier holds of values: bytes (`512MB`), or bytes and items. Default 256 MiB and 100,000 items; 0: none. */
  readonly memory?: number | string | { readonly bytes?: number | string; readonly items?: number }
  /** When values expire of which `put` says nothing: `24h`, milliseconds. Default: never. */
  readonly expiresIn?: string | number
  /** Never writes: what is not there is an error. Default false. */
  readonly readonly?: boolean
  /** Free space that a build leaves on the disk, in bytes or as `2GB`; default 256 MiB, a few shards. */
  readonly minFree?: number | string
  /** Bytes of items in work while a dataset is built, or as `1GiB`; default 512 MiB: shards of 64 MiB on each of two cores, thrice. */
  readonly memoryBudget?: number | string
  /** How source files are told apart: by `content` (default; digests are remembered by file identity and times), by `stat` (path, size, mtime), or by both. */
  readonly fingerprint?: Fingerprint
}

export interface CheckedCacheOptions {
  readonly dir: string | null
  readonly enabled: boolean
  readonly memory: { readonly bytes: number; readonly items: number }
  /** Milliseconds; Infinity: never. */
  readonly expiresIn: number
  readonly readonly: boolean
  readonly minFree: number
  readonly memoryBudget: number
  readonly fingerprint: Fingerprint
}

const OPTIONS = ['dir', 'enabled', 'memory', 'expiresIn', 'readonly', 'minFree', 'memoryBudget', 'fingerprint']
const MEMORY = { bytes: 256 * 2 ** 20, items: 100_000 }

export function checkCacheOptions(given: CacheOptions, env: Readonly<Record<string, string | undefined>> = process.env): CheckedCacheOptions {
  const where = 'openCache'
  checkOptions(where, given, OPTIONS)
  if (given.dir !== undefined && given.dir !== null && (typeof given.dir !== 'string' || given.dir === '')) throw new TypeError(`${where}: dir must be a path, not ${show(given.dir)}`)
  return {
    dir: given.dir === null ? null : given.dir === undefined ? defaultCacheDir(env) : resolve(given.dir),
    enabled: boolean(where, 'enabled', given.enabled, env.TENSORCACHE_ENABLED !== '0'),
    memory: memory(where, given.memory),
    expiresIn: given.expiresIn === undefined ? Infinity : duration(where, 'expiresIn', given.expiresIn),
    readonly: boolean(where, 'readonly', given.readonly, env.TENSORCACHE_READONLY === '1'),
    minFree: bytes(where, 'minFree', given.minFree, 256 * 2 ** 20),
    memoryBudget: bytes(where, 'memoryBudget', given.memoryBudget, 512 * 2 ** 20),
    fingerprint: choice(where, 'fingerprint', given.fingerprint, FINGERPRINTS, 'content'),
  }
}

function memory(where: string, given: CacheOptions['memory']): CheckedCacheOptions['memory'] {
  if (typeof given !== 'object') return { bytes: bytes(where, 'memory', given, MEMORY.bytes), items: MEMORY.items }
  if (given === null || Array.isArray(given)) throw new TypeError(`${where}: memory must be a size or { bytes, items }, not ${show(given)}`)
  checkOptions(`${where}: memory`, given, ['bytes', 'items'])
  return { bytes: bytes(where, 'memory.bytes', given.bytes, MEMORY.bytes), items: number(where, 'memory.items', given.items, { integer: true, min: 0 }, MEMORY.items) }
}
