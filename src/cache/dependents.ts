import { sha256, toHex } from '../core/hash.js'
import type { MemoryTier } from './memory.js'
import { encodeSmall } from './value-small.js'

/** Which values in memory were made from what, where there is no store that knows. What memory lets go of to make room takes nobody along. */
export class Dependents {
  readonly #memory: MemoryTier
  /** By digest, 64 hex digits: names of what was made from it, by namespace. */
  readonly #made = new Map<string, { readonly namespace: string; readonly key: string }[]>()

  constructor(memory: MemoryTier) {
    this.#memory = memory
  }

  /** A value is about to be put; `encoded` is what it is. What was made from another one before it goes. */
  put(namespace: string, key: string, encoded: Uint8Array, dependsOn: readonly Uint8Array[]): void {
    const before = this.#digest(namespace, key)
    if (before !== undefined && before !== toHex(sha256(encoded))) this.cascade(before)
    for (const digest of dependsOn) {
      const hex = toHex(digest)
      this.#made.set(hex, [...this.#made.get(hex) ?? [], { namespace, key }])
    }
  }

  /** Removes a value and what was made from it; true when there was one. */
  delete(namespace: string, key: string): boolean {
    const digest = this.#digest(namespace, key)
    const removed = this.#memory.delete(namespace, key)
    if (digest !== undefined) this.cascade(digest)
    return removed
  }

  /** Removes what was made from a digest, and what was made from that; gives how many. */
  cascade(digest: string): number {
    const made = this.#made.get(digest) ?? []
    this.#made.delete(digest)
    return made.reduce((sum, { namespace, key }) => {
      const own = this.#digest(namespace, key)
      if (!this.#memory.delete(namespace, key)) return sum
      return sum + 1 + (own === undefined ? 0 : this.cascade(own))
    }, 0)
  }

  /** Undefined where nothing is there, or nothing was made from anything and nobody needs it. */
  #digest(namespace: string, key: string): string | undefined {
    const held = this.#made.size === 0 ? undefined : this.#memory.peek(namespace, key)
    return held === undefined ? undefined : digestOfValue(held.value)
  }
}

/** As the index has it of a small value. */
export function digestOfValue(value: unknown): string {
  return toHex(sha256(encodeSmall(value, Infinity)!))
}
