import type { Following, ItemOrder } from './source.js'

/** Uses of items that are laid out at a time; two such stretches lie in memory, some ten bytes for each use and four for each item of the source. */
const STRETCH_USES = 2 ** 18

/** Some positions of an order, with where each item occurs in them. */
interface Stretch {
  /** Positions. */
  readonly first: number
  readonly stop: number
  /** Uses before its first one. */
  readonly before: number
  readonly items: Float64Array
  readonly positions: Float64Array
  /** 1 where the use has been asked for, or is over. */
  readonly taken: Uint8Array
  /** Uses of item i are `sorted[starts[i] … starts[i + 1]]`, ascending. */
  readonly starts: Uint32Array
  readonly sorted: Uint32Array
}

interface FollowerEvents {
  /** There may be something else to bring here. */
  moved(): void
  ended(follower: Follower): void
}

/** All who read a source in known orders. */
export class Followers {
  readonly #all = new Set<Follower>()
  /** Of the source. */
  readonly #items: number
  readonly #moved: () => void

  constructor(items: number, moved: () => void) {
    this.#items = items
    this.#moved = moved
  }

  get none(): boolean {
    return this.#all.size === 0
  }

  /** `ended` is called when nothing more is read in this order. */
  follow(order: ItemOrder, ended: () => void): Following {
    const follower = new Follower(order, this.#items, {
      moved: this.#moved,
      ended: () => { if (this.#all.delete(follower)) ended() },
    })
    this.#all.add(follower)
    return follower
  }

  /** An item is asked for: by whoever needs it now. Two that need the same one at the same time ask for it twice, so it does not matter which of them is told first. */
  asked(item: number): void {
    for (const follower of this.#all) if (follower.asked(item)) return
  }

  /** Uses until somebody needs this item. */
  distance(item: number): number {
    let least = Infinity
    for (const follower of this.#all) least = Math.min(least, follower.distance(item))
    return least
  }

  /** What is needed next and was not asked for: `count` items for each reader, those that are needed first before the others. */
  ahead(count: number): (readonly [item: number, distance: number])[] {
    const all = Array.from(this.#all, (follower) => Array.from(follower.ahead(count)))
    return all.length === 1 ? all[0]! : all.flat().sort((a, b) => a[1] - b[1])
  }

  clear(): void {
    this.#all.clear()
  }
}

/** One reader's way through an order: what it needs next, and when it needs an item again, counted in uses of items from where it is. */
class Follower implements Following {
  readonly #order: ItemOrder
  /** Of the source. */
  readonly #items: number
  readonly #events: FollowerEvents
  /** The stretch that is read, and the one after it when somebody has asked about it. */
  readonly #stretches: Stretch[] = []
  /** Its first use that was not asked for. */
  #cursor = 0
  #begun = 0

  constructor(order: ItemOrder, items: number, events: FollowerEvents) {
    this.#order = order
    this.#items = items
    this.#events = events
  }

  begin(stop: number): void {
    this.#begun = Math.max(this.#begun, stop)
    this.#events.moved()
  }

  done(first: number, stop: number): void {
    for (const which of [0, 1]) {
      const stretch = this.#stretch(which)
      if (stretch === undefined || stretch.first >= stop) break
      stretch.taken.fill(1, firstAtLeast(stretch.positions, first), firstAtLeast(stretch.positions, stop))
    }
    this.#advance()
    this.#events.moved()
  }

  end(): void {
    this.#events.ended(this)
  }

  /** An item is asked for. True when it is one that positions which are being read need; it is not asked for them again. */
  asked(item: number): boolean {
    const found = this.#next(item)
    if (found === undefined || found.stretch.positions[found.use]! >= this.#begun) return false
    found.stretch.taken[found.use] = 1
    this.#advance()
    return true
  }

  /** Uses until this item is needed; infinite when that is not known. */
  distance(item: number): number {
    const found = this.#next(item)
    return found === undefined ? Infinity : found.stretch.before + found.use - this.#cursor
  }

  /** The next `count` different items that were not asked for, with their distance. */
  * ahead(count: number): Generator<readonly [item: number, distance: number]> {
    const seen = new Set<number>()
    for (let use = this.#cursor; seen.size < count; use++) {
      const stretch = this.#at(use)
      const at = stretch === undefined ? 0 : use - stretch.before
      if (stretch === undefined || stretch.positions[at]! >= this.#order.length) return
      const item = stretch.items[at]!
      if (stretch.taken[at] === 1 || seen.has(item)) continue
      seen.add(item)
      yield [item, use - this.#cursor]
    }
  }

  #advance(): void {
    for (;;) {
      const stretch = this.#at(this.#cursor)
      if (stretch === undefined || stretch.taken[this.#cursor - stretch.before] === 0) return
      this.#cursor++
    }
  }

  #next(item: number): { readonly stretch: Stretch; readonly use: number } | undefined {
    for (const which of [0, 1]) {
      const stretch = this.#stretch(which)
      if (stretch === undefined) return undefined
      for (let k = stretch.starts[item]!; k < stretch.starts[item + 1]!; k++) {
        const use = stretch.sorted[k]!
        if (stretch.taken[use] === 0) return { stretch, use }
      }
    }
    return undefined
  }

  /** The stretch with this use; what lies before it is forgotten. Undefined behind what is known. */
  #at(use: number): Stretch | undefined {
    for (let which = 0; ; which++) {
      const stretch = this.#stretch(which)
      if (stretch === undefined || use < stretch.before + stretch.items.length) return stretch
      if (which === 0 && this.#cursor >= stretch.before + stretch.items.length && this.#stretch(1) !== undefined) {
        this.#stretches.shift()
        which--
      }
    }
  }

  #stretch(which: number): Stretch | undefined {
    if (which > 1) return undefined
    if (this.#stretches[which] === undefined) {
      const last = this.#stretches.at(-1)
      const first = last?.stop ?? 0
      if (first >= this.#order.known) return undefined
      this.#stretches.push(this.#lay(first, last === undefined ? 0 : last.before + last.items.length))
    }
    return this.#stretches[which]
  }

  #lay(first: number, before: number): Stretch {
    const each = Math.max(1, this.#order.uses(first, first + 1).items.length)
    const stop = Math.min(this.#order.known, first + Math.max(1, Math.floor(STRETCH_USES / each)))
    const { items, positions } = this.#order.uses(first, stop)
    const starts = new Uint32Array(this.#items + 1)
    for (const item of items) starts[item + 1]!++
    for (let item = 0; item < this.#items; item++) starts[item + 1]! += starts[item]!
    const sorted = new Uint32Array(items.length)
    const next = starts.slice()
    items.forEach((item, use) => { sorted[next[item]!++] = use })
    return { first, stop, before, items, positions, taken: new Uint8Array(items.length), starts, sorted }
  }
}

/** The first place of ascending numbers that holds `least` or more. */
function firstAtLeast(numbers: Float64Array, least: number): number {
  let [low, high] = [0, numbers.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (numbers[middle]! < least) low = middle + 1
    else high = middle
  }
  return low
}
