import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { checkOptions, number } from './core/options.js'
import { STAGE_CHANNEL, STAGES, type Stage, type StageFacts } from './core/stages.js'

/** One stage's share of the time. */
export interface StageSummary {
  /** What kind of work. */
  readonly stage: Stage
  /** Pieces of work. */
  readonly count: number
  /** Of all pieces together. They overlap, so the sum of all stages may be more than what has passed. */
  readonly seconds: number
  /** While at least one of them was under way. */
  readonly busySeconds: number
  /** That the pieces took in or gave out together; 0 for `wait`. */
  readonly bytes: number
}

/** Options of `startProfile`. */
export interface ProfileOptions {
  /** Pieces of work that are kept for the trace; the summary has all. Default 1,000,000. */
  readonly maxEvents?: number
}

/** Listens, in this process, to what the time of builds and epochs goes into, from `startProfile` to `stop`. */
export class Profile {
  readonly #began = performance.now()
  readonly #maxEvents: number
  readonly #events: StageFacts[] = []
  readonly #sums = new Map<Stage, { count: number; seconds: number; bytes: number; busy: Busy }>()
  readonly #listen = (message: unknown): void => this.#take(message as StageFacts)
  #ended: number | undefined
  #dropped = 0

  /** @internal Use `startProfile`. */
  constructor(maxEvents: number) {
    this.#maxEvents = maxEvents
    subscribe(STAGE_CHANNEL, this.#listen)
  }

  /** Measures no more. */
  stop(): void {
    this.#ended ??= performance.now()
    unsubscribe(STAGE_CHANNEL, this.#listen)
  }

  /** Seconds from the start to the end, or until now. */
  get seconds(): number {
    return ((this.#ended ?? performance.now()) - this.#began) / 1000
  }

  /** The stages that occurred. */
  summary(): StageSummary[] {
    return STAGES.flatMap((stage): StageSummary[] => {
      const sum = this.#sums.get(stage)
      return sum === undefined ? [] : [{ stage, count: sum.count, seconds: sum.seconds, busySeconds: sum.busy.seconds, bytes: sum.bytes }]
    })
  }

  /**
   * The pieces of work in the Trace Event Format, as JSON: to be opened in Perfetto (ui.perfetto.dev) or chrome://tracing. Pieces of a stage that overlap lie on lines of their own.
   * https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
   */
  trace(): string {
    const lines: { stage: Stage; until: number }[] = []
    const events: object[] = []
    for (const { stage, start, seconds, bytes } of this.#events.toSorted((a, b) => a.start - b.start)) {
      let line = lines.findIndex((other) => other.stage === stage && other.until <= start)
      if (line < 0) line = lines.push({ stage, until: 0 }) - 1
      lines[line]!.until = start + seconds * 1000
      events.push({ name: stage, cat: 'tensorcache', ph: 'X', pid: process.pid, tid: line + 1, ts: Math.round((start - this.#began) * 1000), dur: Math.max(1, Math.round(seconds * 1e6)), args: { bytes } })
    }
    const names = lines.map(({ stage }, line) => ({ name: 'thread_name', ph: 'M', pid: process.pid, tid: line + 1, args: { name: `${stage} ${lines.slice(0, line + 1).filter((other) => other.stage === stage).length}` } }))
    const order = lines.map(({ stage }, line) => ({ name: 'thread_sort_index', ph: 'M', pid: process.pid, tid: line + 1, args: { sort_index: STAGES.indexOf(stage) * 1000 + line } }))
    return JSON.stringify({ traceEvents: [...names, ...order, ...events], displayTimeUnit: 'ms', otherData: { dropped: this.#dropped } })
  }

  #take(facts: StageFacts): void {
    const { stage, start, seconds, bytes } = facts
    let sum = this.#sums.get(stage)
    if (sum === undefined) this.#sums.set(stage, sum = { count: 0, seconds: 0, bytes: 0, busy: new Busy() })
    sum.count++
    sum.seconds += seconds
    sum.bytes += bytes
    sum.busy.add(start, start + seconds * 1000)
    if (this.#events.length < this.#maxEvents) this.#events.push(facts)
    else this.#dropped++
  }
}

/** Time that is covered by intervals, which come in about the order in which they end. */
class Busy {
  /** Apart from each other, in order. */
  #parts: [number, number][] = []
  #closed = 0

  add(start: number, stop: number): void {
    const before = this.#parts.filter(([, end]) => end < start)
    const after = this.#parts.filter(([begin]) => begin > stop)
    const touched = this.#parts.slice(before.length, this.#parts.length - after.length)
    this.#parts = [...before, [Math.min(start, ...touched.map(([begin]) => begin)), Math.max(stop, ...touched.map(([, end]) => end))], ...after]
    // Work that began before these has ended long ago.
    while (this.#parts.length > OPEN_PARTS) {
      const [begin, end] = this.#parts.shift()!
      this.#closed += end - begin
    }
  }

  get seconds(): number {
    return (this.#closed + this.#parts.reduce((sum, [begin, end]) => sum + end - begin, 0)) / 1000
  }
}

const OPEN_PARTS = 64

/** Begins to measure: `const profile = startProfile()`, then build or iterate, then `profile.stop()`, `profile.summary()`, `profile.trace()`. Costs about a microsecond a piece of work. */
export function startProfile(options: ProfileOptions = {}): Profile {
  checkOptions('startProfile', options, ['maxEvents'])
  return new Profile(number('startProfile', 'maxEvents', options.maxEvents, { integer: true, min: 0 }, 1_000_000))
}
