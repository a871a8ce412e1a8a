import { canonicalJson } from './canonical.js'
import type { DType } from './dtype.js'
import { sha256 } from './hash.js'
import type { FieldSpecs, Tensor } from './tensor.js'

/**
 * The byte layout behind every key and digest. Changing anything here makes every existing cache unreachable: change `FORMAT` with it.
 *
 *   frame(json)     u32 little-endian length of the canonical JSON, then the JSON: no two sequences of frames share their bytes
 *   identity(item)  SHA-256( frame({ fields: [{ dtype, name, shape }…], reader: { name, version } }) ‖ SHA-256 of each field's bytes )
 *   key(item)       SHA-256( recipe key ‖ identity )
 *   key(dataset)    SHA-256( recipe key ‖ identities in order ‖ for each constant in name order: frame({ dtype, name, shape }) ‖ bytes )
 *   digest(item)    SHA-256( for each output field in name order: frame({ dtype, name, shape }) ‖ bytes )
 *   digest(dataset) SHA-256( item digests in order ‖ for each constant in name order: frame({ dtype, name, shape }) ‖ bytes )
 *
 * Bytes are always the elements in C order, little-endian.
 */
export const FORMAT = 1

/** Bytes of a SHA-256. */
export const HASH_BYTES = 32

export function frame(value: unknown): Buffer {
  const json = Buffer.from(canonicalJson(value))
  const out = Buffer.allocUnsafe(4 + json.length)
  out.writeUInt32LE(json.length, 0)
  json.copy(out, 4)
  return out
}

/** What stands before a field's bytes in an item's digest. */
export function fieldFrame(name: string, dtype: DType, shape: readonly number[]): Buffer {
  return frame({ dtype, name, shape })
}

/** What stands before the field hashes in an item's identity. `fields` are those the recipe reads, with this item's shapes. */
export function identityFrame(reader: { name: string; version: number }, fields: FieldSpecs): Buffer {
  const list = Object.keys(fields).sort().map((name) => ({ dtype: fields[name]!.dtype, name, shape: fields[name]!.shape }))
  return frame({ fields: list, reader: { name: reader.name, version: reader.version } })
}

/** `keyData` is the plain data of the recipe (format, ops with all parameters, seed if an op draws). */
export function recipeKey(keyData: unknown): Buffer {
  return sha256(canonicalJson(keyData))
}

export function itemKey(recipe: Uint8Array, identity: Uint8Array): Buffer {
  return sha256(recipe, identity)
}

/** `identities` holds 32 bytes per item, in order. Constants are part of what was asked for: the same items with another probe are another dataset. */
export function datasetKey(recipe: Uint8Array, identities: Uint8Array, constants: Readonly<Record<string, Tensor>> = {}): Buffer {
  return sha256(recipe, identities, ...constantParts(constants))
}

/** `itemDigests` holds 32 bytes per item, in order. */
export function datasetDigest(itemDigests: Uint8Array, constants: Readonly<Record<string, Tensor>>): Buffer {
  return sha256(itemDigests, ...constantParts(constants))
}

function constantParts(constants: Readonly<Record<string, Tensor>>): Uint8Array[] {
  return Object.keys(constants).sort().flatMap((name) => {
    const { dtype, shape, data } = constants[name]!
    return [fieldFrame(name, dtype, shape), new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]
  })
}

/**
 * Which result a source and a recipe ask for, known without reading an item when the files' digests are known. It leads to the
 * dataset key, so that an unchanged, moved or touched file is found in one look-up.
 */
export function requestKey(recipe: Uint8Array, source: { reader: { name: string; version: number }; selection: unknown }, files: readonly string[]): Buffer {
  return sha256(recipe, frame({ files, format: FORMAT, reader: { name: source.reader.name, version: source.reader.version }, selection: source.selection }))
}
