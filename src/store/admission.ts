import { DiskFullError } from '../core/errors.js'
import type { Events } from '../core/events.js'
import type { Layout } from './layout.js'
import { diskSpace } from './space.js'
import type { Upkeep } from './upkeep.js'

/** What is free is looked at again after so long, or when so large a part of it has been given away. */
const LOOK_MS = 1_000
const LOOK_SHARE = 0.1
/** When room has to be made, this part of the limit is made free, so that it does not have to be made for every value. */
const HEADROOM = 0.05
/** After room could not be made, nobody tries again for so much or more for so long. */
const REST_MS = 5_000

export interface Limits {
  readonly layout: Layout
  /** Bytes that stay free on the disk. */
  readonly minFree: number
  /** Bytes that datasets and values may take; Infinity: no limit. */
  readonly maxSize: number
  readonly events: Events
}

/**
 * Says what may be written. Where a limit would be crossed, what was used longest ago and can be made again goes first; when that does not help, nothing more is admitted, and
 * what is there is served.
 *
 * Limits hold for what this process knows: what others have written within the last second is not counted yet.
 */
export class Admission {
  readonly #limits: Limits
  readonly #upkeep: Upkeep
  readonly #events: Events
  #left = 0
  #lookAgain = -Infinity
  #lookBelow = 0
  #restUntil = -Infinity
  /** The size for which it could not be made. */
  #refused = 0
  #making: Promise<void> | undefined

  constructor(limits: Limits, upkeep: Upkeep) {
    this.#limits = limits
    this.#events = limits.events
    this.#upkeep = upkeep
  }

  /** Undefined when so many bytes may be written, or resolves when they may; rejects with DiskFullError. */
  admit(bytes: number): Promise<void> | undefined {
    if (this.#left - bytes <= this.#lookBelow || performance.now() > this.#lookAgain) return this.#ask(bytes)
    this.#left -= bytes
    return undefined
  }

  async #ask(bytes: number): Promise<void> {
    await this.#look()
    if (bytes > this.#left) {
      if (performance.now() < this.#restUntil && bytes >= this.#refused) throw await this.#refusal(bytes)
      // One makes room for all who wait.
      await (this.#making ??= this.#makeRoom(bytes).finally(() => { this.#making = undefined }))
      if (bytes > this.#left) {
        this.#restUntil = performance.now() + REST_MS
        this.#refused = bytes
        throw await this.#refusal(bytes)
      }
    }
    this.#left -= bytes
  }

  async #look(): Promise<{ free: number; used: number }> {
    const { layout, minFree, maxSize } = this.#limits
    const { free } = await diskSpace(layout.dir)
    if (free > minFree) this.#events.turn('low-disk', false, () => ({ folder: layout.dir, free, needed: 0, minFree }))
    const used = maxSize === Infinity ? 0 : this.#upkeep.bytes
    this.#left = Math.min(free - minFree, maxSize - used)
    this.#lookBelow = this.#left * (1 - LOOK_SHARE)
    this.#lookAgain = performance.now() + LOOK_MS
    return { free, used }
  }

  async #makeRoom(bytes: number): Promise<void> {
    const now = Date.now()
    const used = this.#upkeep.bytes
    const stays = used + this.#left - bytes
    // What would not help is not worth losing anything for.
    const most = stays < 0 ? undefined : await this.#upkeep.prune({ maxBytes: stays, now, dryRun: true })
    if (most === undefined || most.left > stays) return
    const target = Math.max(0, stays - HEADROOM * Math.min(this.#limits.maxSize, used))
    // Datasets may have shards in common, and then one of them alone frees less than it has.
    for (let removed = Infinity; removed > 0 && bytes > this.#left;) {
      const pruned = await this.#upkeep.prune({ maxBytes: target, now })
      removed = pruned.entries + pruned.datasets
      await this.#look()
    }
  }

  async #refusal(bytes: number): Promise<DiskFullError> {
    const { layout, minFree, maxSize } = this.#limits
    const { free, used } = await this.#look()
    if (maxSize - used >= free - minFree) this.#events.turn('low-disk', true, () => ({ folder: layout.dir, free, needed: bytes, minFree }))
    return maxSize - used < free - minFree
      ? new DiskFullError({ dir: layout.dir, bytesFree: maxSize - used, bytesNeeded: bytes, maxSize })
      : new DiskFullError({ dir: layout.dir, bytesFree: free, bytesNeeded: bytes + minFree })
  }
}
