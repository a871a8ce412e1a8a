import { onAbort } from '../core/abort.js'

interface Download {
  readonly done: Promise<void>
  readonly controller: AbortController
  /** How many wait for it. */
  wanted: number
}

export interface DownloadEvents {
  /** Fetches an item into a folder and makes it whole there. */
  fetch(index: number, folder: string, signal: AbortSignal): Promise<void>
  /** It is whole. */
  fetched(index: number): void
  /** Nothing comes into this folder any more. */
  left(folder: string): Promise<void>
  /** There may be room, or something may have come, or a lane may be free. */
  changed(): void
}

/** Other processes do not tell when there is room again. */
const POLL_MS = 200

/** Downloads under way, a few at a time, and who waits for what. */
export class Downloads {
  readonly #events: DownloadEvents
  readonly #lanes: number
  readonly #closed: AbortSignal
  readonly #all = new Map<number, Download>()
  /** Of items fetched ahead in vain: told to whoever asks for them. */
  readonly #failures = new Map<number, unknown>()
  readonly #waiting = new Set<() => void>()
  #active = 0
  #starved = 0

  constructor(events: DownloadEvents, lanes: number, closed: AbortSignal) {
    this.#events = events
    this.#lanes = lanes
    this.#closed = closed
  }

  has(index: number): boolean {
    return this.#all.has(index)
  }

  hasFailed(index: number): boolean {
    return this.#failures.has(index)
  }

  /** Another one may begin before it is asked for. */
  get isLaneFree(): boolean {
    return this.#active < this.#lanes
  }

  /** Somebody needs an item now for which there is no room. */
  get isStarved(): boolean {
    return this.#starved > 0
  }

  /** `wanted`: somebody asks for it, so it waits for a lane; what is only expected begins when there is one. */
  begin(index: number, folder: string, wanted: boolean): void {
    const controller = new AbortController()
    const signal = AbortSignal.any([controller.signal, this.#closed])
    const run = async (): Promise<void> => {
      while (wanted && !this.isLaneFree) await this.change(signal)
      this.#active++
      try {
        await this.#events.fetch(index, folder, signal)
        this.#events.fetched(index)
      } finally {
        this.#active--
      }
    }
    const done = run().catch(async (error: unknown) => {
      // After close the folder has been given up already.
      if (!this.#closed.aborted) await this.#events.left(folder)
      if (!signal.aborted && download.wanted === 0) this.#failures.set(index, error)
      throw error
    }).finally(() => {
      this.#all.delete(index)
      this.wake()
    })
    // Told to whoever asks.
    done.catch(() => {})
    const download: Download = { done, controller, wanted: 0 }
    this.#all.set(index, download)
  }

  /** Waits for one that is under way. False when there is none. Rejects with what it rejected with, then or before. */
  async join(index: number, signal: AbortSignal): Promise<boolean> {
    if (this.#failures.has(index)) {
      const error = this.#failures.get(index)
      this.#failures.delete(index)
      throw error
    }
    const download = this.#all.get(index)
    if (download === undefined) return false
    download.wanted++
    try {
      await orAborted(download.done, signal)
    } catch (error) {
      // Given up by those who wanted it before; not by this one.
      if (signal.aborted || this.#closed.aborted || !download.controller.signal.aborted) throw error
    } finally {
      download.wanted--
    }
    return true
  }

  /** Whoever asks for the item is told. */
  fail(index: number, error: unknown): void {
    this.#failures.set(index, error)
  }

  /** What failed is tried again. */
  forgive(): void {
    this.#failures.clear()
  }

  /** Ends one that nobody waits for. */
  async drop(index: number): Promise<void> {
    const download = this.#all.get(index)
    if (download === undefined || download.wanted > 0) return
    download.controller.abort()
    await download.done.catch(() => {})
  }

  /** Ends those that nobody waits for, but for some. */
  forgo(keeps: (index: number) => boolean): void {
    for (const [index, { wanted, controller }] of this.#all) if (wanted === 0 && !keeps(index)) controller.abort()
  }

  wake(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
    this.#events.changed()
  }

  /** Until there may be room. */
  async room(signal: AbortSignal): Promise<void> {
    this.#starved++
    try {
      await this.change(signal)
    } finally {
      this.#starved--
    }
  }

  change(signal: AbortSignal): Promise<void> {
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
  let done!: () => void
  const aborted = new Promise<never>((_, reject) => { done = onAbort(signal, reject) })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    done()
  }
}
