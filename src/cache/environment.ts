import { resolve } from 'node:path'
import { StoreError } from '../core/errors.js'
import { choice } from '../core/options.js'
import { LOG_LEVELS, type LogLevel } from './log.js'

/** What environment variables say; all are read here, but for `TENSORCACHE_DEBUG` of the command line, which is there when everything else fails. An option given in code, in the configuration file or on the command line counts before them. */
export interface Environment {
  /** `TENSORCACHE_DIR`, absolute. */
  readonly dir: string | undefined
  /** `TENSORCACHE_READONLY` */
  readonly readonly: boolean
  /** `TENSORCACHE_ENABLED` */
  readonly enabled: boolean
  /** `TENSORCACHE_CHECK` */
  readonly check: boolean
  /** `TENSORCACHE_LOG` */
  readonly log: LogLevel
  /** `TENSORCACHE_DISABLE_PROGRESS` */
  readonly disableProgress: boolean
}

export type Variables = Readonly<Record<string, string | undefined>>

export function readEnvironment(env: Variables = process.env): Environment {
  const flag = (name: string, fallback: boolean): boolean => {
    const value = env[name]
    return value === undefined || value === '' ? fallback : choice('environment', name, value, ['1', '0', 'true', 'false']) === '1' || value === 'true'
  }
  return {
    dir: env.TENSORCACHE_DIR === undefined || env.TENSORCACHE_DIR === '' ? undefined : resolve(env.TENSORCACHE_DIR),
    readonly: flag('TENSORCACHE_READONLY', false),
    enabled: flag('TENSORCACHE_ENABLED', true),
    check: flag('TENSORCACHE_CHECK', false),
    log: choice('environment', 'TENSORCACHE_LOG', env.TENSORCACHE_LOG === '' ? undefined : env.TENSORCACHE_LOG, LOG_LEVELS, 'warn'),
    disableProgress: flag('TENSORCACHE_DISABLE_PROGRESS', false),
  }
}

/** Throws StoreError where `TENSORCACHE_READONLY` keeps a folder from being written: for what has no option of its own to say otherwise. */
export function assertWritable(dir: string, work: string, env: Variables = process.env): void {
  if (readEnvironment(env).readonly) throw new StoreError(dir, `is to be read only (TENSORCACHE_READONLY); ${work} writes to it`)
}
