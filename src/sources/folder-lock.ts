import { link, readdir, readFile, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { isAlive } from '../core/owner.js'

/**
 * Only one at a time, of all processes that use a folder. A lock is a file `lock-<n>` with its holder's name; the one with the largest n counts, and is never removed, so that nobody takes an old number for a
 * new one; the folder is small, so one system call lists it as it is. It is free when `lock-<n>.free` lies beside it or when its holder is dead. Node has no flock.
 */
export class FolderLock {
  readonly #dir: string
  readonly #owner: string
  #last: Promise<unknown> = Promise.resolve()

  constructor(dir: string, owner: string) {
    this.#dir = dir
    this.#owner = owner
  }

  /** Runs `work` alone. It is to take milliseconds: others poll. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#held(work))
    this.#last = turn.catch(() => {})
    return turn
  }

  async #held<T>(work: () => Promise<T>): Promise<T> {
    const number = await this.#take()
    try {
      return await work()
    } finally {
      await writeFile(this.#path(number, '.free'), '')
    }
  }

  async #take(): Promise<number> {
    const name = join(this.#dir, `${TAKING}${this.#owner}`)
    await writeFile(name, this.#owner)
    try {
      for (let wait = 1; ; wait = Math.min(WAIT_MS_MAX, 2 * wait)) {
        const { last } = await this.#numbers()
        if (last === 0 || await this.#isFree(last)) {
          const taken = await link(name, this.#path(last + 1)).then(() => true, () => false)
          // Another may have come that far, and further, since the numbers were read.
          const numbers = taken ? await this.#numbers() : undefined
          if (numbers?.last === last + 1) {
            await Promise.all(numbers.older.map((file) => unlink(join(this.#dir, file)).catch(() => {})))
            return last + 1
          }
          if (taken) await unlink(this.#path(last + 1)).catch(() => {})
        }
        await setTimeout(wait)
      }
    } finally {
      await unlink(name).catch(() => {})
    }
  }

  async #isFree(number: number): Promise<boolean> {
    if (await readFile(this.#path(number, '.free')).then(() => true, () => false)) return true
    const holder = await readFile(this.#path(number), 'utf8').catch(() => undefined)
    if (holder === undefined) return false
    // Of another container, whose processes cannot be looked at: nobody works so long.
    return !(isAlive(holder.replace(/\+.*$/, '')) ?? Date.now() - (await stat(this.#path(number))).mtimeMs < HELD_MS_MAX)
  }

  async #numbers(): Promise<{ last: number; older: string[] }> {
    const names = await readdir(this.#dir)
    const files = names.map((file) => ({ file, number: Number(/^lock-(\d+)(?:\.free)?$/.exec(file)?.[1] ?? 0) })).filter(({ number }) => number > 0)
    const last = files.reduce((max, { number }) => Math.max(max, number), 0)
    // Names of dead processes that were killed while they waited.
    const left = names.filter((name) => name.startsWith(TAKING) && isAlive(name.slice(TAKING.length).replace(/\+.*$/, '')) === false)
    return { last, older: [...left, ...files.filter(({ number }) => number < last).map(({ file }) => file)] }
  }

  #path(number: number, suffix = ''): string {
    return join(this.#dir, `lock-${number}${suffix}`)
  }
}

const WAIT_MS_MAX = 50
const HELD_MS_MAX = 60_000
const TAKING = 'taking-'
