import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/**
 * Where the cache lies when the caller does not say: `TENSORCACHE_DIR`, else `$XDG_CACHE_HOME/tensorcache`, else
 * `~/.cache/tensorcache`.
 */
export function defaultCacheDir(env: Readonly<Record<string, string | undefined>> = process.env): string {
  if (env.TENSORCACHE_DIR !== undefined && env.TENSORCACHE_DIR !== '') return resolve(env.TENSORCACHE_DIR)
  const base = env.XDG_CACHE_HOME !== undefined && env.XDG_CACHE_HOME !== '' ? env.XDG_CACHE_HOME : join(homedir(), '.cache')
  return join(base, 'tensorcache')
}
