import { FileError, FormatError, UnsupportedError } from '../core/errors.js'
import type { SkippedItem } from './source.js'

/** Holds back what cannot be read of simulations, where that is wanted; otherwise it is an error. */
export class SceneSieve {
  readonly #skips: boolean
  readonly #held = new Map<string, SkippedItem>()

  constructor(skips: boolean) {
    this.#skips = skips
  }

  /** What `use` gives; undefined when a fault of the simulation's files was found by it, which is noted. */
  async pass<T>({ id, path }: { readonly id: string; readonly path: string }, use: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await use()
    } catch (error) {
      if (!this.#skips || !(error instanceof FileError || error instanceof FormatError || error instanceof UnsupportedError)) throw error
      this.#held.set(id, { id, file: error.file || path, reason: error.message })
      return undefined
    }
  }

  /** What was held back, in the order of the simulations; undefined where that is not wanted. */
  skipped(scenes: readonly { readonly id: string }[]): readonly SkippedItem[] | undefined {
    return this.#skips ? scenes.flatMap(({ id }) => this.#held.get(id) ?? []) : undefined
  }
}
