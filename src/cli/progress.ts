import { readEnvironment } from '../cache/environment.js'
import type { Progress } from '../dataset/build.js'
import type { VerifyProgress } from '../store/verify.js'
import { humanBytes, humanSeconds } from './format.js'

const WIDTH = 24
const REDRAW_MS = 100

/** A line that is drawn over itself, on a terminal only, and not where `TENSORCACHE_DISABLE_PROGRESS` is `1`. */
export class ProgressLine {
  readonly #stream: NodeJS.WriteStream
  readonly #enabled: boolean
  #last = 0
  #drawn = false
  #began: number | undefined

  constructor(stream: NodeJS.WriteStream, enabled: boolean) {
    this.#stream = stream
    this.#enabled = enabled && stream.isTTY && !readEnvironment().disableProgress
  }

  update(progress: Progress): void {
    this.#draw(progress.done === progress.items, () => progressText(progress))
  }

  /** The same of work that is counted in bytes. */
  updateBytes(what: string, progress: VerifyProgress): void {
    this.#began ??= performance.now()
    const seconds = (performance.now() - this.#began) / 1000
    this.#draw(progress.blobs === progress.blobsTotal, () => bytesText(what, progress, seconds))
  }

  #draw(last: boolean, text: () => string): void {
    const now = performance.now()
    if (!this.#enabled || (now - this.#last < REDRAW_MS && !last)) return
    this.#last = now
    this.#drawn = true
    this.#stream.write(`\r\x1b[2K${text()}`)
  }

  clear(): void {
    if (this.#drawn) this.#stream.write('\r\x1b[2K')
    this.#drawn = false
  }
}

export function progressText({ name, items, done, hits, computed, bytes, seconds }: Progress): string {
  const rate = seconds > 0 ? done / seconds : 0
  const left = rate > 0 ? humanSeconds((items - done) / rate) : '?'
  return `${name} ${bar(done, items)} ${done}/${items}  ${rate.toFixed(0)} items/s  ${humanBytes(Math.round(seconds > 0 ? bytes / seconds : 0))}/s  ETA ${left}  ${hits} hits, ${computed} computed`
}

export function bytesText(what: string, { blobs, bytes, blobsTotal, bytesTotal }: VerifyProgress, seconds: number): string {
  const rate = seconds > 0 ? bytes / seconds : 0
  const left = rate > 0 ? humanSeconds((bytesTotal - bytes) / rate) : '?'
  return `${what} ${bar(bytes, bytesTotal)} ${blobs}/${blobsTotal} blobs  ${humanBytes(bytes)} of ${humanBytes(bytesTotal)}  ${(rate / 1e6).toFixed(0)} MB/s  ETA ${left}`
}

function bar(done: number, all: number): string {
  const filled = Math.round(Math.min(1, all === 0 ? 1 : done / all) * WIDTH)
  return `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}]`
}
