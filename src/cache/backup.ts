import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { boolean, checkOptions, show } from '../core/options.js'
import { restoreStore, type Restored } from '../store/backup.js'
import type { VerifyProgress } from '../store/verify.js'
import { assertWritable } from './environment.js'

/** Options of `cache.backup`. */
export interface BackupOptions {
  /** A namespace that has a drive of its own: of that drive. Default: of the cache's folder. */
  readonly namespace?: string
  /** Hard links instead of copies where both folders are on one file system: at once and without taking room, but what damages a file damages both. Default false. */
  readonly link?: boolean
  /** Aborted: rejects with its reason; an older backup stays as it was. */
  readonly signal?: AbortSignal
  /** Called as blobs are done, of how many, with their bytes. */
  readonly onProgress?: (progress: VerifyProgress) => void
}

/** Options of `restoreCache`. */
export interface RestoreOptions extends Omit<BackupOptions, 'namespace'> {
  /** Writes over the cache that is there; what the backup has not goes. Default false. */
  readonly force?: boolean
  /** Reads every blob again and compares its SHA-256 with its name. Default false: sizes alone. */
  readonly verify?: boolean
}

const OPTIONS = ['namespace', 'link', 'signal', 'onProgress']

/** Throws TypeError. */
export function checkBackupOptions(where: string, folder: unknown, options: BackupOptions, more: readonly string[] = []): { link: boolean; onProgress: BackupOptions['onProgress'] } {
  if (typeof folder !== 'string' || folder === '') throw new TypeError(`${where}: the folder must be a path, not ${show(folder)}`)
  checkOptions(where, options, [...OPTIONS, ...more])
  return { link: boolean(where, 'link', options.link, false), onProgress: options.onProgress }
}

/**
 * Makes a cache of a backup, which stays as it is: the folder must be empty, or `force`. Rejects with StoreError when it is not, when somebody has it open, when `from` holds no backup, and under `TENSORCACHE_READONLY`.
 */
export async function restoreCache(from: string, dir: string, options: RestoreOptions = {}): Promise<Restored> {
  const where = 'restoreCache'
  const { link, onProgress } = checkBackupOptions(where, from, options, ['force', 'verify'])
  checkBackupOptions(where, dir, {})
  const [force, verify] = [boolean(where, 'force', options.force, false), boolean(where, 'verify', options.verify, false)]
  assertWritable(resolve(dir), 'restore')
  return restoreStore({ from: resolve(from), dir: resolve(dir), link, onProgress, signal: options.signal, jobs: availableParallelism(), force, verify })
}
