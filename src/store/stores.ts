import { isBelow } from './entries.js'
import type { Store } from './store.js'

/** The stores of a cache: its own, and one for each namespace that has a drive of its own. What lies in one knows nothing of the others. */
export class Stores {
  readonly main: Store
  readonly #drives: readonly { readonly namespace: string; readonly store: Store }[]

  constructor(main: Store, drives: readonly { readonly namespace: string; readonly store: Store }[] = []) {
    this.main = main
    // The longest name that fits is the one.
    this.#drives = [...drives].sort((a, b) => b.namespace.length - a.namespace.length)
  }

  get all(): Store[] {
    return [this.main, ...this.#drives.map(({ store }) => store)]
  }

  /** Where things of a namespace lie. */
  of(namespace: string): Store {
    if (this.#drives.length === 0) return this.main
    return this.#drives.find((drive) => isBelow(namespace, drive.namespace))?.store ?? this.main
  }

  /** Where things of a namespace and of those below it may lie. */
  below(namespace: string): Store[] {
    const own = this.of(namespace)
    return [own, ...this.#drives.filter((drive) => drive.store !== own && isBelow(drive.namespace, namespace)).map(({ store }) => store)]
  }

  async close(): Promise<void> {
    for (const store of this.all) await store.close()
  }
}
