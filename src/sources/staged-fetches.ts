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

export interface FetchLimits {
  /** Items that are fetched at the same time. */
  readonly concurrency: number
  /** Items that are fetched, or are being fetched, before they are asked for. */
  readonly ahead: number
}

interface Download {
  readonly done: Promise<void>
  readonly controller: AbortController
  /** How many wait for it. */
  wanted: number
}

/** Other processes do not tell when there is room again. */
const POLL_MS = 200

/**
 * Which items are fetched when. What is asked for goes first and may drive out what was fetched ahead; what is expected is fetched ahead while there is room. An item that is asked for is pinned until it is let go of.
 */
export class StagedFetches {
  readonly #staging: Staging
  readonly #jobs: FetchJobs
  readonly #limits: FetchLimits
  readonly #downloads = new Map<number, Download>()
  /** Of items fetched ahead in vain: told to whoever asks for them. */
  readonly #failures = new Map<number, unknown>()
  /** Items that something may lie here of. */
  readonly #taken = new Set<number>()
  /** Expected, in order, and not begun. */
  #order: number[] = []
  /** Begun or whole, and not asked for yet. */
  readonly #ahead = new Set<number>()
  readonly #waiting = new Set<() => void>()
  #active = 0
  #pumping = false
  readonly #closed = new AbortController()

  constructor(staging: Staging, jobs: FetchJobs, limits: FetchLimits) {
    this.#staging = staging
    this.#jobs = jobs
    this.#limits = limits
  }

  expect(items: readonly number[]): void {
    this.#order = [...items]
    this.#ahead.clear()
    this.#failures.clear()
    // Whose files are whose counts when room is made.
    void this.#keys(items).then(() => this.#pump())
  }

  /** Pins the item when it is here, or there is room to fetch it, which begins. */
  async secure(index: number, signal: AbortSignal): Promise<boolean> {
    this.#asked(index)
    // Whoever asks for it is told.
    if (this.#failures.has(index)) return true
    const state = await this.#take(index, true, signal)
    return state === 'ready' || this.#downloads.has(index)
  }

  /** Its files, pinned. Waits for room. Rejects with what fetching it rejected with. */
  async acquire(index: number, signal: AbortSignal): Promise<string[]> {
    this.#asked(index)
    for (;;) {
      signal.throwIfAborted()
      if (this.#failures.has(index)) {
        const error = this.#failures.get(index)
        this.#failures.delete(index)
        throw error
      }
      const download = this.#downloads.get(index)
      if (download !== undefined) {
        download.wanted++
        try {
          await orAborted(download.done, signal)
        } finally {
          download.wanted--
        }
        continue
      }
      const taken = await this.#take(index, true, signal)
      if (taken === 'full' || taken === 'elsewhere') await this.#change(signal)
      if (taken !== 'ready') continue
      const key = await this.#jobs.key(index, signal)
      const paths = await this.#staging.verified(this.#folders.get(index)!, key, signal)
      if (paths !== undefined) return paths
    }
  }

  /** They are not in use any more; they stay, as long as there is room. */
  async unpin(indices: readonly number[]): Promise<void> {
    await this.#staging.unpin(await this.#keys(indices))
    this.#changed()
  }

  /** They are not needed any more. Looks for what others left of them, too, with `thorough`: that takes the lock. */
  async drop(given: readonly number[], { thorough }: { thorough: boolean }): Promise<void> {
    const indices = thorough ? given : given.filter((index) => this.#taken.has(index))
    const dropped = new Set(given)
    for (const index of given) this.#taken.delete(index)
    if (this.#order.some((index) => dropped.has(index))) this.#order = this.#order.filter((index) => !dropped.has(index))
    for (const index of indices) {
      this.#ahead.delete(index)
      const download = this.#downloads.get(index)
      if (download === undefined || download.wanted > 0) continue
      download.controller.abort()
      await download.done.catch(() => {})
    }
    await this.#staging.drop(new Set(await this.#keys(indices)))
    this.#changed()
  }

  /** Nothing more is expected: what nobody waits for ends. */
  abandon(): void {
    this.#order = []
    for (const download of this.#downloads.values()) if (download.wanted === 0) download.controller.abort()
  }

  close(): void {
    this.#order = []
    this.#closed.abort(new Error('the source has been closed'))
    this.#changed()
  }

  readonly #folders = new Map<number, string>()

  async #keys(indices: readonly number[]): Promise<string[]> {
    const keys: string[] = []
    // One whose name cannot be learnt was not staged.
    for (const index of indices) await this.#jobs.key(index, this.#closed.signal).then((key) => keys.push(key), () => {})
    return keys
  }

  #asked(index: number): void {
    this.#ahead.delete(index)
    const at = this.#order.indexOf(index)
    if (at >= 0) this.#order.splice(at, 1)
    void this.#pump()
  }

  async #take(index: number, pin: boolean, signal: AbortSignal): Promise<'ready' | 'part' | 'elsewhere' | 'full'> {
    this.#closed.signal.throwIfAborted()
    const key = await this.#jobs.key(index, signal)
    this.#taken.add(index)
    const taken = await this.#staging.take(key, await this.#jobs.bytes(index, signal), { pin })
    if (taken.state === 'ready') this.#folders.set(index, taken.folder)
    if (taken.state === 'part') this.#begin(index, taken.folder, pin)
    return taken.state
  }

  #begin(index: number, folder: string, wanted: boolean): void {
    const controller = new AbortController()
    const signal = AbortSignal.any([controller.signal, this.#closed.signal])
    const run = async (): Promise<void> => {
      // What is expected begins only when there is a lane.
      while (wanted && this.#active >= this.#limits.concurrency) await this.#change(signal)
      this.#active++
      try {
        await this.#jobs.fetch(index, folder, signal)
      } finally {
        this.#active--
      }
    }
    const done = run().catch(async (error: unknown) => {
      // After close the folder has been given up already.
      if (!this.#closed.signal.aborted) await this.#staging.leave(folder)
      if (!signal.aborted && download.wanted === 0) this.#failures.set(index, error)
      throw error
    }).finally(() => {
      this.#downloads.delete(index)
      this.#changed()
      void this.#pump()
    })
    // Told to whoever asks.
    done.catch(() => {})
    const download: Download = { done, controller, wanted: 0 }
    this.#downloads.set(index, download)
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return
    this.#pumping = true
    try {
      while (this.#order.length > 0 && this.#active < this.#limits.concurrency && this.#ahead.size < this.#limits.ahead) {
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
    } finally {
      this.#pumping = false
    }
  }

  #changed(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
    void this.#pump()
  }

  #change(signal: AbortSignal): Promise<void> {
    return orAborted(new Promise((done) => {
      const timer = setTimeout(done, POLL_MS)
      this.#waiting.add(() => {
        clearTimeout(timer)
        done()
      })
    }), signal)
  }
}

async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  let abort!: () => void
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
