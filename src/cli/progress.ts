import { readEnvironment } from '../cache/environment.js'
import type { Progress } from '../dataset/build.js'
import { humanBytes, humanSeconds } from './format.js'

const WIDTH = 24
const REDRAW_MS = 100

/** A line that is drawn over itself, on a terminal only, and not where `TENSORCACHE_DISABLE_PROGRESS` is `1`. */
export class ProgressLine {
  readonly #stream: NodeJS.WriteStream
  readonly #enabled: boolean
  #last = 0
  #drawn = false

  constructor(stream: NodeJS.WriteStream, enabled: boolean) {
    this.#stream = stream
    this.#enabled = enabled && stream.isTTY && !readEnvironment().disableProgress
  }

  update(progress: Progress): void {
    const now = performance.now()
    if (!this.#enabled || (now - this.#last < REDRAW_MS && progress.done < progress.items)) return
    this.#last = now
    this.#drawn = true
    this.#stream.write(`\r\x1b[2K${progressText(progress)}`)
  }

  clear(): void {
    if (this.#drawn) this.#stream.write('\r\x1b[2K')
    this.#drawn = false
  }
}

export function progressText({ name, items, done, hits, computed, bytes, seconds }: Progress): string {
  const share = items === 0 ? 1 : done / items
  const filled = Math.round(share * WIDTH)
  const rate = seconds > 0 ? done / seconds : 0
  const left = rate > 0 ? humanSeconds((items - done) / rate) : '?'
  return `${name} [${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${done}/${items}  ${rate.toFixed(0)} items/s  ${humanBytes(Math.round(seconds > 0 ? bytes / seconds : 0))}/s  ETA ${left}  ${hits} hits, ${computed} computed`
}
