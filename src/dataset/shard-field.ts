import type { DType } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import { byteCount, type FieldSpec, type Tensor } from '../core/tensor.js'
import type { OpenBlob } from '../store/open-blob.js'

/** How one field lies in one shard: the reading side of ShardBuilder's three layouts. */
export type ShardField = FixedField | RaggedField | VariedField

interface FixedField {
  readonly layout: 'fixed'
  readonly dtype: DType
  readonly offset: number
  readonly shape: readonly number[]
  readonly rowBytes: number
}

interface RaggedField {
  readonly layout: 'ragged'
  readonly dtype: DType
  readonly offset: number
  readonly tail: readonly number[]
  readonly rowBytes: number
  readonly offsets: BigInt64Array
}

interface VariedField {
  readonly layout: 'varied'
  readonly dtype: DType
  readonly offset: number
  readonly rowBytes: number
  readonly offsets: BigInt64Array
  readonly shapes: BigInt64Array
  readonly rank: number
}

/** Reads how `name` is stored, which must fit `spec`, the dataset's; its offset and shape tables are checked and stay mapped. */
export async function shardField(blob: OpenBlob, name: string, spec: FieldSpec): Promise<ShardField> {
  const stored = blob.tensors.get(name)
  if (stored === undefined) throw new IntegrityError(blob.path, `holds no field ${name}`)
  const { dtype, offset } = stored
  if (dtype !== spec.dtype) throw new IntegrityError(blob.path, `field ${name} is ${dtype}, the dataset's is ${spec.dtype}`)
  if (!blob.tensors.has(`${name}.offsets`)) {
    const shape = stored.shape.slice(1)
    if (shape.length !== spec.shape.length || spec.shape.some((extent, axis) => extent !== null && extent !== shape[axis])) {
      throw new IntegrityError(blob.path, `field ${name} has shape [${shape.join(', ')}], the dataset's is [${spec.shape.map((extent) => extent ?? '?').join(', ')}]`)
    }
    return { layout: 'fixed', dtype, offset, shape, rowBytes: byteCount(dtype, shape) }
  }
  if (!spec.shape.includes(null)) throw new IntegrityError(blob.path, `field ${name} is not of one shape`)
  const offsets = (await blob.tensor(`${name}.offsets`)).data as BigInt64Array
  if (!blob.tensors.has(`${name}.shape`)) {
    const tail = stored.shape.slice(1)
    return { layout: 'ragged', dtype, offset, tail, rowBytes: byteCount(dtype, tail), offsets }
  }
  const shape = await blob.tensor(`${name}.shape`)
  return { layout: 'varied', dtype, offset, rowBytes: byteCount(dtype, []), offsets, shapes: shape.data as BigInt64Array, rank: shape.shape[1] ?? 0 }
}

/** Where row `row` of a field lies in the file, and its shape. */
export function placeOf(field: ShardField, row: number): { offset: number; bytes: number; shape: readonly number[] } {
  if (field.layout === 'fixed') return { offset: field.offset + row * field.rowBytes, bytes: field.rowBytes, shape: field.shape }
  const start = Number(field.offsets[row])
  const count = Number(field.offsets[row + 1]) - start
  const shape = field.layout === 'ragged'
    ? [count, ...field.tail]
    : Array.from({ length: field.rank }, (_, k) => Number(field.shapes[row * field.rank + k]))
  return { offset: field.offset + start * field.rowBytes, bytes: count * field.rowBytes, shape }
}

/** One item's field: a view of the shard, or a copy where that is compressed. */
export function readRow(blob: OpenBlob, field: ShardField, row: number): Tensor | Promise<Tensor> {
  const { offset, shape } = placeOf(field, row)
  return blob.ready(field.dtype, shape, offset) ?? blob.read(field.dtype, shape, offset)
}
