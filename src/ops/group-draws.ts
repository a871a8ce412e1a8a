import { setImmediate } from 'node:timers/promises'
import { Philox, philox4x32, seedWords } from '../core/philox.js'
import { shuffledIndex } from '../core/shuffle.js'
import type { ArrangeContext } from './op.js'
import type { PlanePoints } from './points.js'

/** What groups are drawn by. */
export interface GroupDraw {
  readonly samples: number
  readonly neighbors: number
  readonly size: number
  readonly overlap: boolean
  readonly replacement: boolean
  readonly self: 'drawn' | 'always' | 'never'
  readonly seed: bigint
}

export interface Groups {
  /** [groups, size], indices of points. */
  readonly groups: Int32Array
  /** [groups], the points they lie around. */
  readonly samples: Int32Array
}

/** "grou": keeps these counters apart from all others under the same seed. */
const DOMAIN = 0x67726f75
/** What a counter is for. */
const ORDER = 0, SAMPLE = 1, POINTS = 2
/** Samples whose neighbours are found in one call: bounds what is held of them, and how long the event loop waits. */
const BLOCK = 8192

/** Draws groups. Which points a sample's group gets depends on seed and the sample's number, not on those before it, but for groups that must not overlap. */
export async function drawGroups(draw: GroupDraw, points: PlanePoints, { nearest, signal }: Pick<ArrangeContext, 'nearest' | 'signal'>): Promise<Groups> {
  const { samples: wanted, size, overlap } = draw
  const count = points.x.length
  check(draw, count)
  const groups = new Int32Array(wanted * size)
  const samples = new Int32Array(wanted)
  const taken = new Uint8Array(overlap ? 0 : count)
  const candidates = samplesOf(draw, count)
  // The sample is one of those that are found where it may not be drawn as one of them.
  const found = Math.min(count, draw.neighbors + (draw.self === 'never' ? 1 : 0))
  let made = 0
  for (let first = 0; made < wanted && first < candidates.length; first += BLOCK) {
    const block = candidates.part(first, Math.min(candidates.length, first + BLOCK))
    const { index } = await nearest(points, block, found)
    signal?.throwIfAborted()
    for (let k = 0; k < block.length && made < wanted; k++) {
      const sample = block[k]!
      if (!overlap && draw.self === 'always' && taken[sample] === 1) continue
      const near = index.subarray(k * found, (k + 1) * found)
      const pool = poolOf(near, sample, draw).filter((point) => overlap || taken[point] === 0)
      const group = groups.subarray(made * size, (made + 1) * size)
      if (!drawInto(group, pool, sample, draw, first + k)) continue
      if (!overlap) for (const point of group) taken[point] = 1
      samples[made++] = sample
    }
    await setImmediate()
  }
  if (made < wanted) throw new TypeError(`group: only ${made} groups of ${size} points that do not overlap were found, ${wanted} are asked for; ask for fewer samples, or for more neighbors`)
  return { groups, samples }
}

function check({ samples, neighbors, self, overlap, size, replacement }: GroupDraw, count: number): void {
  const others = count - (self === 'never' ? 1 : 0)
  if (neighbors > others) throw new TypeError(`group: neighbors must be at most ${Math.max(0, others)}, as there are ${count} points${self === 'never' ? ', one of them the sample' : ''}, not ${neighbors}`)
  if (samples > count && !replacement) throw new TypeError(`group: ${samples} samples cannot be drawn from ${count} points without replacement`)
  if (!overlap && samples * size > count) throw new TypeError(`group: ${samples} groups of ${size} points that do not overlap need ${samples * size} points, there are ${count}`)
}

/** Points that groups may lie around, in the order in which they are drawn: without replacement all of them, shuffled. */
function samplesOf({ samples, replacement, overlap, seed }: GroupDraw, count: number): { length: number; part(first: number, stop: number): Int32Array } {
  const key = seedWords(seed)
  if (replacement) {
    return { length: samples, part: (first, stop) => Int32Array.from({ length: stop - first }, (_, k) => new Philox(key, [first + k, SAMPLE, DOMAIN]).below(count)) }
  }
  // A seed of its own, or the samples would be the first items of a shuffled epoch.
  const words = new Uint32Array(4)
  philox4x32(0, 0, ORDER, DOMAIN, ...key, words)
  const own = (BigInt(words[1]!) << 32n) | BigInt(words[0]!)
  return { length: overlap ? samples : count, part: (first, stop) => Int32Array.from({ length: stop - first }, (_, k) => shuffledIndex(count, own, 0, first + k)) }
}

/** What a group is drawn from, nearest first. */
function poolOf(near: Int32Array, sample: number, { neighbors, self }: GroupDraw): Int32Array {
  return self === 'drawn' ? near : near.filter((point) => point !== sample).subarray(0, self === 'never' ? neighbors : neighbors - 1)
}

/** The first steps of a Fisher-Yates shuffle. False when there are too few. */
function drawInto(group: Int32Array, pool: Int32Array, sample: number, { self, seed }: GroupDraw, number: number): boolean {
  const begin = self === 'always' ? 1 : 0
  if (pool.length < group.length - begin) return false
  if (begin === 1) group[0] = sample
  const random = new Philox(seedWords(seed), [number, POINTS, DOMAIN])
  for (let k = begin, at = 0; k < group.length; k++, at++) {
    const chosen = at + random.below(pool.length - at)
    const point = pool[chosen]!
    pool[chosen] = pool[at]!
    group[k] = point
  }
  return true
}
