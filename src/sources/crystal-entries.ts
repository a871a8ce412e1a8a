import { FormatError, UnsupportedError } from '../core/errors.js'
import type { Where } from './cif-tokens.js'
import type { SourceFile } from './source.js'

/** Where the CIFs of a source are, one place each: rows of CSV files, or blocks of CIF files. */
export interface CrystalEntries {
  readonly length: number
  readonly files: readonly SourceFile[]
  id(place: number): string
  /** Row of its CSV file. */
  row(place: number): number | undefined
  where(place: number): Where
  /** Reads the first of these places in, as many as fit. */
  load(places: readonly number[], signal: AbortSignal | undefined): Promise<LoadedEntries>
  release(first: number, last: number): void
  assertUnchanged(): void
  close(): void
}

export interface LoadedEntries {
  /** How many of the places. */
  readonly count: number
  /** Bytes that say what the k-th holds, together with `meaning`. */
  raw(k: number): Uint8Array
  readonly meaning: string
  /** CIF text of the k-th, of which the chosen block is read. */
  cif(k: number): string
  /** Its properties as they are written, in the order of the options. */
  properties(k: number): readonly string[]
}

/** Takes note of a place that cannot be an item, or throws: what `onBadItem` says. */
export type BadEntry = (place: number, error: unknown) => void

/** True for errors about what a file holds; others are not about one item. */
export function isAboutContent(error: unknown): error is FormatError | UnsupportedError {
  return error instanceof FormatError || error instanceof UnsupportedError
}
