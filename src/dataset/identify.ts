import { fieldFrame, HASH_BYTES, identityFrame } from '../core/keys.js'
import { dataOf, isRagged, shapeOf, type Rows } from '../core/rows.js'
import { bytesOf } from '../core/tensor.js'
import type { RowSegment } from '../native/addon.js'
import { native } from '../native/load.js'
import type { DeviceSource } from '../devices/device.js'
import { recipeKeyData, type Recipe } from '../ops/recipe.js'
import type { Piece } from './shard-builder.js'

/** What the recipe key is made of. The device counts only where bytes may depend on it. */
export async function recipeDataOn(device: DeviceSource, recipe: Recipe): Promise<unknown> {
  const exact = device.exact && recipe.ops.every(({ definition }) => definition.exact)
  return recipeKeyData(recipe, exact ? undefined : (await device.open()).identity)
}

/**
 * Identities of the items of a piece, 32 bytes each: SHA-256 of each input field's bytes, then of all of them behind the frame of names, dtypes
 * and shapes (core/keys.ts). Hashed on threads.
 */
export async function identitiesOf(piece: Piece, fields: readonly string[], reader: { name: string; version: number }, threads: number): Promise<Uint8Array> {
  const names = [...fields].sort()
  const frame = framesOf(piece, names, (row) => identityFrame(reader, Object.fromEntries(names.map((name) => [name, { dtype: piece.fields[name]!.dtype, shape: shapeOf(piece.fields[name]!, row) }]))))
  const hashes = await Promise.all(names.map((name) => native().sha256Rows(piece.count, [segmentOf(piece.fields[name]!)], threads)))
  return native().sha256Rows(piece.count, [frame, ...hashes.map((data) => ({ data, stride: HASH_BYTES }))], threads)
}

/** Item keys, 32 bytes each. */
export function keysOf(recipe: Uint8Array, identities: Uint8Array): Promise<Uint8Array> {
  return native().sha256Rows(identities.byteLength / HASH_BYTES, [{ data: recipe, stride: 0 }, { data: identities, stride: HASH_BYTES }], 1)
}

/** Item digests of finished items, 32 bytes each. */
export function digestsOf(piece: Piece, threads: number): Promise<Uint8Array> {
  const segments = Object.keys(piece.fields).sort().flatMap((name) => {
    const rows = piece.fields[name]!
    return [framesOf(piece, [name], (row) => fieldFrame(name, rows.dtype, shapeOf(rows, row))), segmentOf(rows)]
  })
  return native().sha256Rows(piece.count, segments, threads)
}

function segmentOf(rows: Rows): RowSegment {
  const data = bytesOf(dataOf(rows))
  if (isRagged(rows)) {
    const first = rows.offsets[0]!
    const count = rows.offsets.at(-1)! - first
    const perRow = count === 0 ? 0 : data.byteLength / count
    return { data, offsets: rows.offsets.map((offset) => (offset - first) * perRow) }
  }
  // An empty row adds nothing, like an empty constant; stride 0 would otherwise mean "shared by all rows".
  return { data, stride: rows.shape[0] === 0 ? 0 : data.byteLength / rows.shape[0]! }
}

/** What stands before each row: the same for all, or, where shapes differ, one after the other. */
function framesOf(piece: Piece, names: readonly string[], frame: (row: number) => Buffer): RowSegment {
  const ragged = names.map((name) => piece.fields[name]!).filter(isRagged)
  if (ragged.length === 0 || piece.count === 0) return { data: frame(0), stride: 0 }
  const made = new Map<string, Buffer>()
  const offsets = new Float64Array(piece.count + 1)
  const frames = Array.from({ length: piece.count }, (_, row) => {
    const key = ragged.map(({ offsets: at }) => at[row + 1]! - at[row]!).join()
    let bytes = made.get(key)
    if (bytes === undefined) made.set(key, bytes = frame(row))
    offsets[row + 1] = offsets[row]! + bytes.length
    return bytes
  })
  return { data: Buffer.concat(frames), offsets }
}

/** Rising numbers as runs `start … stop`. */
export function contiguous(indices: readonly number[]): [number, number][] {
  const runs: [number, number][] = []
  for (const index of indices) {
    const last = runs.at(-1)
    if (last !== undefined && last[1] === index) last[1] = index + 1
    else runs.push([index, index + 1])
  }
  return runs
}
