import { isRagged, rowOf, type Rows } from '../core/rows.js'
import { itemsAsRows } from '../ops/op.js'
import type { ItemRun } from '../sources/source.js'
import { slicePiece } from './shard-builder.js'

/**
 * The same items in runs of a multiple of `rows` each, but for the last one, for one that `isFull`, and where shapes differ in more than axis 0: for ops that take so many at once. What ends a run and begins the next
 * is copied; what a run says it owns is left to the collector.
 */
export async function * grouped(runs: AsyncIterable<ItemRun>, rows: number): AsyncGenerator<ItemRun> {
  if (rows === 1) return yield * runs
  /** Together fewer than `rows` items. */
  let parts: ItemRun[] = []
  const missing = (): number => rows - parts.reduce((sum, { count }) => sum + count, 0)
  const joined = (): ItemRun => {
    const whole = joinedRuns(parts)
    parts = []
    return whole
  }
  for await (const { start, count, fields, isFull } of runs) {
    const run: ItemRun = { start, count, fields }
    if (parts.length > 0 && !isAlike(parts[0]!, run)) yield joined()
    const taken = parts.length === 0 ? 0 : Math.min(count, missing())
    if (taken > 0) parts.push(partOf(run, 0, taken))
    const stop = isFull === true ? count : count - (count - taken) % rows
    const ready = parts.length === 0 || (missing() > 0 && isFull !== true) ? [] : [joined()]
    if (stop > taken) ready.push(partOf(run, taken, stop))
    for (const [k, done] of ready.entries()) yield isFull === true && k === ready.length - 1 ? { ...done, isFull } : done
    if (count > Math.max(taken, stop)) parts.push(partOf(run, stop, count))
  }
  if (parts.length > 0) yield joined()
}

function partOf(run: ItemRun, from: number, to: number): ItemRun {
  return from === 0 && to === run.count ? run : { start: run.start + from, ...slicePiece(run, from, to) }
}

function joinedRuns(parts: readonly ItemRun[]): ItemRun {
  const [first] = parts as [ItemRun, ...ItemRun[]]
  if (parts.length === 1) return first
  const names = Object.keys(first.fields)
  const items = parts.flatMap(({ count, fields }) => Array.from({ length: count }, (_, k) => Object.fromEntries(names.map((name) => [name, rowOf(fields[name]!, k)]))))
  return { start: first.start, ...itemsAsRows(items, names) }
}

/** Whether items of both may lie in one field each: `joinRows` refuses others. */
function isAlike(a: ItemRun, b: ItemRun): boolean {
  const form = (rows: Rows): string => isRagged(rows) ? `${rows.dtype} ${[0, ...rows.tail].join()}` : `${rows.dtype} ${rows.shape.slice(1).map((extent, axis) => axis === 0 ? 0 : extent).join()}`
  return Object.entries(a.fields).every(([name, rows]) => form(rows) === form(b.fields[name]!))
}
