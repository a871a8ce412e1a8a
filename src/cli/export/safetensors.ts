import { encodeBlobHeader } from '../../store/shard-format.js'
import { bytesOfArray, type ExportArray } from './arrays.js'
import type { Output } from './output.js'

/** A .safetensors file; names of items are UTF-8 bytes `ids` with `ids.offsets`. */
export async function writeSafetensors(output: Output, arrays: readonly ExportArray[], ids: readonly string[], metadata: Readonly<Record<string, string>>): Promise<void> {
  const { header, order } = encodeBlobHeader([...arrays, ...idArrays(ids)], metadata)
  await output.append(header)
  for (const array of order) {
    const begin = output.position
    for await (const piece of array.pieces()) await output.append(piece)
    if (output.position - begin !== bytesOfArray(array)) throw new RangeError(`${array.name}: ${bytesOfArray(array)} bytes announced, ${output.position - begin} written`)
  }
}

function idArrays(ids: readonly string[]): ExportArray[] {
  const text = ids.map((id) => Buffer.from(id))
  const offsets = new BigInt64Array(ids.length + 1)
  text.forEach((bytes, i) => { offsets[i + 1] = offsets[i]! + BigInt(bytes.length) })
  return [
    { name: 'ids', dtype: 'uint8', shape: [Number(offsets[ids.length])], pieces: () => text },
    { name: 'ids.offsets', dtype: 'int64', shape: [offsets.length], pieces: () => [new Uint8Array(offsets.buffer)] },
  ]
}
