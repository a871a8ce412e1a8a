import { fieldFrame, HASH_BYTES, identityFrame } from '../core/keys.js'
import { bytesOf, type Tensor } from '../core/tensor.js'
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
  const specs = Object.fromEntries(names.map((name) => [name, { dtype: piece.fields[name]!.dtype, shape: piece.fields[name]!.shape.slice(1) }]))
  const hashes = await Promise.all(names.map((name) => native().sha256Rows(piece.count, [rowSegment(piece.fields[name]!)], threads)))
  const segments = [{ data: identityFrame(reader, specs), stride: 0 }, ...hashes.map((data) => ({ data, stride: HASH_BYTES }))]
  return native().sha256Rows(piece.count, segments, threads)
}

/** Item keys, 32 bytes each. */
export function keysOf(recipe: Uint8Array, identities: Uint8Array): Promise<Uint8Array> {
  return native().sha256Rows(identities.byteLength / HASH_BYTES, [{ data: recipe, stride: 0 }, { data: identities, stride: HASH_BYTES }], 1)
}

/** Item digests of finished items, 32 bytes each. */
export function digestsOf(piece: Piece, threads: number): Promise<Uint8Array> {
  const segments = Object.keys(piece.fields).sort().flatMap((name) => {
    const tensor = piece.fields[name]!
    return [{ data: fieldFrame(name, tensor.dtype, tensor.shape.slice(1)) as Uint8Array, stride: 0 }, rowSegment(tensor)]
  })
  return native().sha256Rows(piece.count, segments, threads)
}

function rowSegment(tensor: Tensor): { data: Uint8Array; stride: number } {
  const data = bytesOf(tensor.data)
  // An empty row adds nothing, like an empty constant; stride 0 would otherwise mean "shared by all rows".
  return { data, stride: tensor.shape[0] === 0 ? 0 : data.byteLength / tensor.shape[0]! }
}
