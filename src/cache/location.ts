import { homedir } from 'node:os'
import { join } from 'node:path'
import { readEnvironment, type Variables } from './environment.js'

/**
 * Where the cache lies when the caller does not say: `TENSORCACHE_DIR`, else `$XDG_CACHE_HOME/tensorcache`, else
 * `~/.cache/tensorcache`.
 */
export function defaultCacheDir(env: Variables = process.env): string {
  const { dir } = readEnvironment(env)
  if (dir !== undefined) return dir
  const base = env.XDG_CACHE_HOME !== undefined && env.XDG_CACHE_HOME !== '' ? env.XDG_CACHE_HOME : join(homedir(), '.cache')
  return join(base, 'tensorcache')
}
