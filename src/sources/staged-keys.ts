import { setImmediate } from 'node:timers/promises'

/** Items whose keys are learnt in one turn of the event loop. */
const LEARNT_AT_ONCE = 256

/** Names of items in the staging folder, and items by name: more than one where the list has the same files twice. */
export class StagedKeys {
  readonly #keyOf: (index: number, signal: AbortSignal) => Promise<string>
  readonly #items: number
  readonly #closed: AbortSignal
  readonly #named = new Map<string, number[]>()
  /** Items whose keys are known, from the first one on. */
  #learnt = 0

  constructor(keyOf: (index: number, signal: AbortSignal) => Promise<string>, items: number, closed: AbortSignal) {
    this.#keyOf = keyOf
    this.#items = items
    this.#closed = closed
  }

  async of(index: number, signal: AbortSignal): Promise<string> {
    const key = await this.#keyOf(index, signal)
    const items = this.#named.get(key)
    if (items === undefined) this.#named.set(key, [index])
    else if (!items.includes(index)) items.push(index)
    return key
  }

  /** Of those whose names can be learnt: others were not staged. */
  async all(indices: readonly number[]): Promise<string[]> {
    const keys: string[] = []
    for (const index of indices) await this.of(index, this.#closed).then((key) => keys.push(key), () => {})
    return keys
  }

  /** As far as they were asked for. */
  items(key: string): readonly number[] {
    return this.#named.get(key) ?? []
  }

  /** Asks for all of them, a few at a time. */
  async learn(): Promise<void> {
    for (; this.#learnt < this.#items && !this.#closed.aborted; this.#learnt += LEARNT_AT_ONCE) {
      await this.all(Array.from({ length: Math.min(LEARNT_AT_ONCE, this.#items - this.#learnt) }, (_, k) => this.#learnt + k))
      await setImmediate()
    }
  }
}
