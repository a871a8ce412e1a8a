import { resolve } from 'node:path'
import { boolean, bytes, checkOptions, choice, show } from '../core/options.js'
import { defaultCacheDir } from './location.js'

/** How files are told apart: by content (with remembered digests), by path, size and mtime alone, or by both. */
export type Fingerprint = 'content' | 'stat' | 'combined'

export interface CacheOptions {
  /** Folder of the cache; made when it is not there. Default: see `defaultCacheDir`. */
  readonly dir?: string
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
  readonly dir: string
  readonly readonly: boolean
  readonly minFree: number
  readonly memoryBudget: number
  readonly fingerprint: Fingerprint
}

const OPTIONS = ['dir', 'readonly', 'minFree', 'memoryBudget', 'fingerprint']

export function checkCacheOptions(given: CacheOptions): CheckedCacheOptions {
  const where = 'openCache'
  checkOptions(where, given, OPTIONS)
  if (given.dir !== undefined && (typeof given.dir !== 'string' || given.dir === '')) throw new TypeError(`${where}: dir must be a path, not ${show(given.dir)}`)
  return {
    dir: given.dir === undefined ? defaultCacheDir() : resolve(given.dir),
    readonly: boolean(where, 'readonly', given.readonly, false),
    minFree: bytes(where, 'minFree', given.minFree, 256 * 2 ** 20),
    memoryBudget: bytes(where, 'memoryBudget', given.memoryBudget, 512 * 2 ** 20),
    fingerprint: choice(where, 'fingerprint', given.fingerprint, ['content', 'stat', 'combined'] as const, 'content'),
  }
}
