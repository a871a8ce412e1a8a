import type { OpenBlob } from '../store/open-blob.js'

/** A page fault may map so much that lies in the system's cache, from a multiple of it on: the largest folio of Linux. Also a multiple of every chunk of a shard and of every frame. */
const FAULT_BYTES = 2 ** 21

interface Range {
  readonly blob: OpenBlob
  from: number
  to: number
}

/**
 * How much of the shards of all open datasets stays mapped in. Datasets that fit into what is left of the budget when they are opened are kept; of others rows are read where they can be, and of what is handed out as views only what
 * was read last stays: as much as is left of the budget, or an eighth of it. A page that is dropped while somebody looks at it comes back when it is touched.
 */
export class Residency {
  readonly #bytesMax: number
  #kept = 0
  /** What was handed out, oldest first. */
  readonly #ranges: Range[] = []
  #rangeBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Whether a dataset of this size stays as it is read. Then `give` is to be called with it some time. */
  take(bytes: number): boolean {
    if (this.#kept + bytes > this.#bytesMax) return false
    this.#kept += bytes
    return true
  }

  give(bytes: number): void {
    this.#kept -= bytes
  }

  /** Something of a dataset that is not kept is handed out. */
  touched(blob: OpenBlob, offset: number, bytes: number): void {
    // All that is brought in for it, to be dropped with it.
    const from = down(offset)
    const to = down(offset + bytes + FAULT_BYTES - 1)
    const last = this.#ranges.at(-1)
    if (last?.blob === blob && from >= last.from && from <= last.to) {
      // Ranges grow to a part of what stays: they go as a whole.
      if (to <= last.to) return
      if (to - last.from <= this.#bytesMax / 64) {
        this.#rangeBytes += to - last.to
        last.to = to
        return this.#drop()
      }
    }
    this.#ranges.push({ blob, from, to })
    this.#rangeBytes += to - from
    this.#drop()
  }

  #drop(): void {
    const bytesMax = Math.max(this.#bytesMax - this.#kept, this.#bytesMax / 8)
    while (this.#rangeBytes > bytesMax && this.#ranges.length > 1) {
      const { blob, from, to } = this.#ranges.shift()!
      this.#rangeBytes -= to - from
      blob.drop(from, to - from)
    }
  }
}

function down(offset: number): number {
  return offset - offset % FAULT_BYTES
}
