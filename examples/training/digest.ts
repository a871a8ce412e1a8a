import { createHash } from 'node:crypto'
import type { Batch, Tensor } from 'tensorcache'

/** SHA-256 of what a batch is: names, and of each field dtype, shape and bytes; 64 hex digits. */
export function digestOf(batch: Batch): string {
  const hash = createHash('sha256').update(JSON.stringify(batch.ids))
  for (const [name, field] of Object.entries(batch).filter(([name]) => name !== 'ids' && name !== 'indices')) {
    const { dtype, shape, data } = field as Tensor
    hash.update(JSON.stringify([name, dtype, shape])).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  }
  return hash.digest('hex')
}
