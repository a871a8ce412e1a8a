import { rowOf, shapeOf, type Ragged, type Rows } from '../core/rows.js'
import { emptyTensor, type Tensor } from '../core/tensor.js'
import { freshTensor } from '../native/fresh.js'
import type { ItemRows } from '../ops/op.js'

/** Rows that were had from several lists, put into the places they were asked for. */
export function interleaved(count: number, fields: readonly string[], parts: readonly { readonly at: readonly number[]; readonly rows: ItemRows }[]): ItemRows {
  const together = (name: string): Rows => {
    const where: { readonly rows: Rows; readonly row: number }[] = []
    for (const { at, rows } of parts) at.forEach((place, row) => { where[place] = { rows: rows.fields[name]!, row } })
    const first = parts[0]!.rows.fields[name]!
    const shape = shapeOf(first, 0)
    const isStack = where.every(({ rows, row }) => shapeOf(rows, row)[0] === shape[0])
    if (isStack) {
      const tensor = freshTensor(first.dtype, [count, ...shape])
      fill(tensor, where)
      return tensor
    }
    return ragged(first.dtype, shape.slice(1), where)
  }
  return { count, fields: Object.fromEntries(fields.map((name) => [name, together(name)])) }
}

function ragged(dtype: Tensor['dtype'], tail: readonly number[], where: readonly { readonly rows: Rows; readonly row: number }[]): Ragged {
  const offsets = new Float64Array(where.length + 1)
  where.forEach(({ rows, row }, place) => { offsets[place + 1] = offsets[place]! + shapeOf(rows, row)[0]! })
  const tensor = emptyTensor(dtype, [offsets.at(-1)!, ...tail])
  fill(tensor, where)
  return { dtype, tail, offsets, data: tensor.data }
}

function fill({ data }: Tensor, where: readonly { readonly rows: Rows; readonly row: number }[]): void {
  let at = 0
  for (const { rows, row } of where) {
    const item = rowOf(rows, row)
    ;(data as Uint8Array).set(item.data as Uint8Array, at)
    at += item.data.length
  }
}
