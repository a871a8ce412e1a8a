import { ItemError } from '../core/errors.js'
import { dataOf } from '../core/rows.js'
import { runsOf, type ItemSequence } from './op.js'
import type { PlanePoints } from './points.js'

/** Two fields of one number per item as points of a plane: of all items, read once. Rejects with ItemError for the first that is not finite. */
export async function coordinatesOf(op: string, items: ItemSequence, x: string, y: string, signal: AbortSignal | undefined): Promise<PlanePoints> {
  const points = { x: new Float64Array(items.length), y: new Float64Array(items.length) }
  let at = 0
  for await (const { count, fields } of runsOf(items, [x, y], signal)) {
    signal?.throwIfAborted()
    for (const [name, out] of [[x, points.x], [y, points.y]] as const) {
      const part = out.subarray(at, at + count)
      part.set(dataOf(fields[name]!) as Float64Array)
      const bad = part.findIndex((value) => !Number.isFinite(value))
      if (bad < 0) continue
      const place = items.place?.(at + bad)
      throw new ItemError(items.id(at + bad), `${op}: expected a finite number in field ${name} of item ${at + bad}${place === undefined ? '' : ` (${place})`}, found ${part[bad]}`)
    }
    at += count
  }
  return points
}
