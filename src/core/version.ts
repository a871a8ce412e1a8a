import { readFileSync } from 'node:fs'

let version: string | undefined

/** Version of this package. */
export function packageVersion(): string {
  version ??= (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version
  return version
}

/** What a result was made with, for provenance. */
export function versions(): Record<string, string> {
  return { tensorcache: packageVersion(), node: process.version, platform: `${process.platform}-${process.arch}` }
}
