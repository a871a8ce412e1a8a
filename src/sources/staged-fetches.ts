import type { Following, ItemOrder } from './source.js'
import { Downloads } from './staged-downloads.js'
import { StagedKeys } from './staged-keys.js'
import { Followers } from './staged-order.js'
import type { Staging } from './staging.js'

/** What the queue has to know of items. */
export interface FetchJobs {
  /** Its name in the staging folder. */
  key(index: number, signal: AbortSignal): Promise<string>
  /** Room that it takes, at most. */
  bytes(index: number, signal: AbortSignal): Promise<number>
  /** Fetches it into `folder` and makes it whole there. */
  fetch(index: number, folder: string, signal: AbortSignal): Promise<void>
}

/** Files of an item in use. */
export interface Lease {
  readonly paths: readonly string[]
  /** They are not in use any more. */
  free(): void
}

export interface FetchLimits {
  /** Items that there are. */
  readonly items: number
  /** Items that are fetched at the same time. */
  readonly concurrency: number
  /** Items that are fetched, or are being fetched, before they are asked for. */
  readonly ahead: number
}

/**
 * Which items are fetched when. What is asked for goes first and may drive out what was fetched ahead; what is expected is fetched ahead while there is room, and what somebody follows an order to also in the place of what is
 * needed after it. An item that is asked for is pinned until it is let go of.
 */
export class StagedFetches {
  readonly #staging: Staging
  readonly #jobs: FetchJobs
  readonly #limits: FetchLimits
  readonly #downloads: Downloads
  /** Items that something may lie here of. */
  readonly #taken = new Set<number>()
  /** Expected, in order, and not begun. */
  #order: number[] = []
  /** Begun or whole, and not asked for yet. */
  readonly #ahead = new Set<number>()
  /** By key, how many use it now. */
  readonly #leases = new Map<string, number>()
  /** Keys that a build uses, or has not published yet. */
  readonly #held = new Set<string>()
  readonly #followers: Followers
  readonly #keys: StagedKeys
  /** Items that lie here whole, as far as is known here: another process may have removed them. */
  readonly #here = new Set<number>()
  readonly #folders = new Map<number, string>()
  #pumping = false
  #again = false
  readonly #closed = new AbortController()

  constructor(staging: Staging, jobs: FetchJobs, limits: FetchLimits) {
    this.#staging = staging
    this.#keys = new StagedKeys((index, signal) => jobs.key(index, signal), limits.items, this.#closed.signal)
    this.#jobs = jobs
    this.#limits = limits
    this.#followers = new Followers(limits.items, () => void this.#pump())
    this.#downloads = new Downloads({
      fetch: (index, folder, signal) => jobs.fetch(index, folder, signal),
      fetched: (index) => { this.#here.add(index) },
      left: (folder) => staging.leave(folder),
      changed: () => void this.#pump(),
    }, limits.concurrency, this.#closed.signal)
  }

  /** Items in this order are fetched ahead of who reads them. What failed before is tried again. `learns`: all keys are to be had without asking servers, and say what lies here already. */
  follow(order: ItemOrder, { learns }: { learns: boolean }): Following {
    this.#downloads.forgive()
    const following = this.#followers.follow(order, () => this.#forgo())
    if (learns) void this.#keys.learn()
    void this.#pump()
    return following
  }

  expect(items: readonly number[]): void {
    this.#order = [...items]
    this.#ahead.clear()
    this.#downloads.forgive()
    // Whose files are whose counts when room is made.
    void this.#keys.all(items).then(() => this.#pump())
  }

  /** Pins the item when it is here, or there is room to fetch it, which begins. */
  async secure(index: number, signal: AbortSignal): Promise<boolean> {
    this.#asked(index)
    // Whoever asks for it is told.
    if (this.#downloads.hasFailed(index)) return true
    this.#held.add(await this.#keys.of(index, signal))
    const state = await this.#take(index, true, signal)
    return state === 'ready' || this.#downloads.has(index)
  }

  /** Its files, pinned until `unpin` or `drop`. Waits for room. Rejects with what fetching it rejected with. */
  async acquire(index: number, signal: AbortSignal): Promise<string[]> {
    this.#held.add(await this.#keys.of(index, signal))
    return this.#acquire(index, signal)
  }

  /** The same for a while, for any number of users at the same time. */
  async lease(index: number, signal: AbortSignal): Promise<Lease> {
    this.#followers.asked(index)
    const key = await this.#keys.of(index, signal)
    this.#leases.set(key, (this.#leases.get(key) ?? 0) + 1)
    const free = (): void => {
      const left = this.#leases.get(key)! - 1
      if (left > 0) return void this.#leases.set(key, left)
      this.#leases.delete(key)
      // Told again by the next call on the folder, if this fails.
      if (!this.#held.has(key) && !this.#closed.signal.aborted) this.#staging.unpin([key]).then(() => this.#downloads.wake(), () => {})
    }
    try {
      return { paths: await this.#acquire(index, signal), free }
    } catch (error) {
      free()
      throw error
    }
  }

  async #acquire(index: number, signal: AbortSignal): Promise<string[]> {
    this.#asked(index)
    for (;;) {
      signal.throwIfAborted()
      if (await this.#downloads.join(index, signal)) continue
      const taken = await this.#take(index, true, signal)
      if (taken === 'full') await this.#downloads.room(signal)
      if (taken === 'elsewhere') await this.#downloads.change(signal)
      if (taken !== 'ready') continue
      const paths = await this.#staging.verified(this.#folders.get(index)!, await this.#keys.of(index, signal), signal)
      if (paths !== undefined) return paths
      this.#here.delete(index)
    }
  }

  /** They are not in use any more; they stay, as long as there is room. */
  async unpin(indices: readonly number[]): Promise<void> {
    const keys = await this.#keys.all(indices)
    for (const key of keys) this.#held.delete(key)
    await this.#staging.unpin(keys.filter((key) => !this.#leases.has(key)))
    this.#downloads.wake()
  }

  /** They are not needed any more. Looks for what others left of them, too, with `thorough`: that takes the lock. */
  async drop(given: readonly number[], { thorough }: { thorough: boolean }): Promise<void> {
    const indices = thorough ? given : given.filter((index) => this.#taken.has(index))
    const dropped = new Set(given)
    for (const index of given) this.#taken.delete(index)
    if (this.#order.some((index) => dropped.has(index))) this.#order = this.#order.filter((index) => !dropped.has(index))
    for (const index of indices) {
      this.#ahead.delete(index)
      await this.#downloads.drop(index)
    }
    const keys = await this.#keys.all(indices)
    for (const key of keys) this.#held.delete(key)
    for (const index of indices) this.#here.delete(index)
    await this.#staging.drop(new Set(keys.filter((key) => !this.#leases.has(key))))
    this.#downloads.wake()
  }

  /** Nothing more is expected: what nobody waits for ends. */
  abandon(): void {
    this.#order = []
    this.#ahead.clear()
    this.#forgo()
  }

  /** Ends downloads that neither a reader waits for nor one who follows an order comes to soon. */
  #forgo(): void {
    const near = new Set(this.#followers.ahead(this.#limits.ahead).map(([item]) => item))
    this.#downloads.forgo((index) => near.has(index) || this.#ahead.has(index))
  }

  close(): void {
    this.#order = []
    this.#followers.clear()
    this.#closed.abort(new Error('the source has been closed'))
    this.#downloads.wake()
  }

  /** Uses until an item of this key is needed: none while somebody waits for it, who pins it when it is here. */
  readonly #need = (key: string): number => this.#leases.has(key) ? -1 : Math.min(...this.#keys.items(key).map((item) => this.#followers.distance(item)))

  #asked(index: number): void {
    this.#ahead.delete(index)
    const at = this.#order.indexOf(index)
    if (at >= 0) this.#order.splice(at, 1)
    void this.#pump()
  }

  async #take(index: number, pin: boolean, signal: AbortSignal): Promise<'ready' | 'part' | 'elsewhere' | 'full'> {
    this.#closed.signal.throwIfAborted()
    const key = await this.#keys.of(index, signal)
    this.#taken.add(index)
    const taken = await this.#staging.take(key, await this.#jobs.bytes(index, signal), { pin, need: this.#followers.none ? undefined : this.#need })
    if (taken.state === 'ready') {
      this.#here.add(index)
      this.#folders.set(index, taken.folder)
    }
    if (taken.state === 'part') {
      for (const item of taken.gone.flatMap((other) => this.#keys.items(other))) this.#here.delete(item)
      this.#downloads.begin(index, taken.folder, pin)
    }
    return taken.state
  }

  async #pump(): Promise<void> {
    this.#again = true
    if (this.#pumping) return
    this.#pumping = true
    while (this.#again) {
      this.#again = false
      await this.#fetchExpected()
      await this.#fetchFollowed()
    }
    this.#pumping = false
  }

  async #fetchExpected(): Promise<void> {
    try {
      while (this.#order.length > 0 && this.#downloads.isLaneFree && this.#ahead.size < this.#limits.ahead) {
        const index = this.#order[0]!
        const state = this.#downloads.has(index) ? 'part' : await this.#take(index, false, this.#closed.signal)
        if (state === 'full') return
        // Asked for meanwhile, or nothing is expected any more.
        if (this.#order[0] !== index) continue
        this.#order.shift()
        if (state !== 'elsewhere') this.#ahead.add(index)
      }
    } catch {
      // Whoever asks for the item meets it again.
      this.#order.shift()
    }
  }

  async #fetchFollowed(): Promise<void> {
    // Who needs something now has the room before those who will.
    while (this.#downloads.isLaneFree && !this.#downloads.isStarved && !this.#closed.signal.aborted) {
      const next = this.#followers.ahead(this.#limits.ahead).find(([item]) => !this.#here.has(item) && !this.#downloads.has(item) && !this.#downloads.hasFailed(item))
      if (next === undefined) return
      const [item] = next
      try {
        const state = await this.#take(item, false, this.#closed.signal)
        if (state === 'full') return
        // Looked at again when it is asked for.
        if (state === 'elsewhere') this.#here.add(item)
      } catch (error) {
        this.#downloads.fail(item, error)
      }
    }
  }
}
