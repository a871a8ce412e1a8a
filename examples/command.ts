// The command line, as somebody in a terminal would use it.
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const cli = join(dirname(createRequire(import.meta.url).resolve('tensorcache/package.json')), 'dist/cli/main.js')

/** Commands as they were typed, and what they said. */
export class Transcript {
  readonly #dir: string
  readonly #lines: string[] = []

  /** `dir`: where they run. */
  constructor(dir: string) {
    this.#dir = dir
  }

  async tensorcache(...args: string[]): Promise<void> {
    const { stdout } = await promisify(execFile)(process.execPath, [cli, ...args], { cwd: this.#dir, env: { ...process.env, TENSORCACHE_DIR: undefined } })
    this.#lines.push(`$ tensorcache ${args.join(' ')}`, ...stdout.trimEnd().split('\n'), '')
  }

  /** What happens between two commands. */
  remark(text: string): void {
    this.#lines.push(`# ${text}`)
  }

  get text(): string {
    return this.#lines.join('\n').trimEnd()
  }
}
