import { spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { resolve } from 'node:path'

/** The command line as it is installed. */
export const main = resolve(import.meta.dirname, '../../dist/cli/main.js')

/** Runs it in `dir`, with the variables in `env` besides those of this process. */
export function runCli(dir: string, args: readonly string[], env: Readonly<Record<string, string | undefined>> = {}): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [main, ...args], { cwd: dir, encoding: 'utf8', env: { ...process.env, TENSORCACHE_DIR: undefined, ...env } as NodeJS.ProcessEnv })
}
