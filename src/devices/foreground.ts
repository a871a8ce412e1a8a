import { DTYPES } from '../core/dtype.js'
import { bytesOf, emptyTensor } from '../core/tensor.js'
import { isRagged, joinRows, rowOf } from '../core/rows.js'
import { native } from '../native/load.js'
import type { Batch, BatchResult, BatchStep } from '../ops/batch.js'

/** The box of each item's foreground, by the addon on a thread. */
export async function runForegroundStep({ reads, writes, params }: BatchStep, { count, fields }: Batch): Promise<BatchResult> {
  const rows = fields[reads[0]!]!
  const { threshold, axes } = params as { threshold: number; axes: readonly number[] }
  const boxes = emptyTensor('int32', [count, 2, 3])
  const faults: { item: number; message: string }[] = []
  // Items of different extents along axis 0 are looked at one by one.
  const parts = isRagged(rows) ? Array.from({ length: count }, (_, item) => ({ first: item, tensor: joinRows([rowOf(rows, item)]) })) : [{ first: 0, tensor: rows }]
  for (const { first, tensor } of parts) {
    if (isRagged(tensor)) throw new RangeError('one item is not ragged')
    const [items, ...shape] = tensor.shape as [number, ...number[]]
    const positive = axes.map((axis) => (axis < 0 ? axis + shape.length : axis))
    await native().foregroundBoxes(bytesOf(tensor.data), DTYPES[tensor.dtype].code, items, shape, positive, threshold, boxes.data.subarray(6 * first, 6 * (first + items)))
  }
  return { fields: { [writes[0]!.field]: boxes }, faults }
}
