import { canonicalJson } from '../core/canonical.js'
import { IntegrityError } from '../core/errors.js'
import { toHex } from '../core/hash.js'
import { FORMAT, HASH_BYTES } from '../core/keys.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import type { OpenBlob } from '../store/open-blob.js'
import { encodeBlob, OWN, type BlobTensor, type EncodedBlob } from '../store/shard-format.js'
import { textTensors } from './shard-builder.js'

/** Where and how a dataset was made. Not part of any key. */
export interface Provenance {
  /** How the source was opened, with its paths. */
  readonly source: unknown
  /** Source files: path, size in bytes, and SHA-256 where the content was hashed. */
  readonly files: readonly { readonly path: string; readonly size: number; readonly digest: string | undefined }[]
  /** Where the items that were missing were computed; null when none was. */
  readonly device: { readonly kind: string; readonly name: string; readonly driver?: string } | null
  /** Versions of this library and of Node, by name. */
  readonly versions: Readonly<Record<string, string>>
  /** ISO 8601, UTC. */
  readonly created: string
}

/** What a manifest says of a dataset as a whole. */
export interface ManifestFacts {
  /** Dataset key and digest, 64 hex digits. */
  readonly key: string
  readonly digest: string
  readonly name: string
  readonly namespace: string
  readonly recipeKey: string
  /** Plain data of the recipe: what its key was made of. */
  readonly recipe: unknown
  readonly reader: { readonly name: string; readonly version: number }
  readonly selection: unknown
  /** Output fields of an item; null marks extents that differ. */
  readonly fields: FieldSpecs
  readonly provenance: Provenance
}

/** Index records are read by every listing: what is longer stays in the manifest alone. */
const ORIGIN_LENGTH_MAX = 16 * 1024

/** The part of the facts that the index has as well, so that a dataset whose manifest is damaged can be made again. */
export function originRecord({ recipeKey, recipe, provenance: { source } }: ManifestFacts): { origin?: unknown } {
  const text = canonicalJson({ recipeKey, recipe, source })
  return text.length > ORIGIN_LENGTH_MAX ? {} : { origin: JSON.parse(text) as unknown }
}

/** One row per item, in order. */
export interface ManifestRows {
  /** 32 bytes per item. */
  readonly identities: Uint8Array
  readonly digests: Uint8Array
  /** Item i is row `rowOf[i]` of shard `blobs[blobOf[i]]`. */
  readonly blobOf: Uint32Array
  readonly rowOf: Uint32Array
  /** Shards, 64 hex digits each. */
  readonly blobs: readonly string[]
}

const CONSTANT = 'constant.'

export function encodeManifest(facts: ManifestFacts, rows: ManifestRows, ids: readonly string[], constants: Readonly<Record<string, Tensor>>): EncodedBlob {
  const items = rows.blobOf.length
  const tensors: BlobTensor[] = [
    { name: `${OWN}identity`, dtype: 'uint8', shape: [items, HASH_BYTES], data: [rows.identities] },
    { name: `${OWN}digest`, dtype: 'uint8', shape: [items, HASH_BYTES], data: [rows.digests] },
    { name: `${OWN}blob`, dtype: 'uint32', shape: [items], data: [rows.blobOf] },
    { name: `${OWN}row`, dtype: 'uint32', shape: [items], data: [rows.rowOf] },
    { name: `${OWN}blobs`, dtype: 'uint8', shape: [rows.blobs.length, HASH_BYTES], data: [Buffer.from(rows.blobs.join(''), 'hex')] },
    ...textTensors(`${OWN}id`, ids),
    ...Object.entries(constants).map(([name, { dtype, shape, data }]) => ({ name: CONSTANT + name, dtype, shape, data: [data] })),
  ]
  return encodeBlob(tensors, { [`${OWN}format`]: String(FORMAT), [`${OWN}kind`]: 'manifest', [`${OWN}facts`]: canonicalJson(facts) })
}

/** A manifest as it lies in the store; its tables are views of mapped memory. */
export class Manifest {
  readonly facts: ManifestFacts
  readonly rows: ManifestRows
  readonly constants: Readonly<Record<string, Tensor>>
  readonly #ids: Uint8Array
  readonly #idOffsets: BigInt64Array

  private constructor(facts: ManifestFacts, rows: ManifestRows, constants: Readonly<Record<string, Tensor>>, ids: Uint8Array, idOffsets: BigInt64Array) {
    this.facts = facts
    this.rows = rows
    this.constants = constants
    this.#ids = ids
    this.#idOffsets = idOffsets
  }

  static async read(blob: OpenBlob): Promise<Manifest> {
    const text = blob.metadata[`${OWN}facts`]
    if (text === undefined) throw new IntegrityError(blob.path, 'is not a manifest')
    const own = async (name: string): Promise<Tensor> => blob.own(name)
    const [identity, digest, blobOf, rowOf, blobs, ids, idOffsets] = await Promise.all([own('identity'), own('digest'), own('blob'), own('row'), own('blobs'), own('id'), own('id.offsets')])
    const names = [...blob.tensors.keys()].filter((name) => name.startsWith(CONSTANT))
    const constants = Object.fromEntries(await Promise.all(names.map(async (name) => [name.slice(CONSTANT.length), await blob.tensor(name)] as const)))
    const list = blobs!.data as Uint8Array
    const rows: ManifestRows = {
      identities: identity!.data as Uint8Array,
      digests: digest!.data as Uint8Array,
      blobOf: blobOf!.data as Uint32Array,
      rowOf: rowOf!.data as Uint32Array,
      blobs: Array.from({ length: list.length / HASH_BYTES }, (_, k) => toHex(list.subarray(k * HASH_BYTES, (k + 1) * HASH_BYTES))),
    }
    return new Manifest(JSON.parse(text) as ManifestFacts, rows, constants, ids!.data as Uint8Array, idOffsets!.data as BigInt64Array)
  }

  get length(): number {
    return this.rows.blobOf.length
  }

  id(index: number): string {
    const start = Number(this.#idOffsets[index])
    const stop = Number(this.#idOffsets[index + 1])
    return Buffer.from(this.#ids.buffer, this.#ids.byteOffset + start, stop - start).toString()
  }
}
