import type { Rows } from '../core/rows.js'
import type { FieldSpecs, ItemSpecs, LazyTensor } from '../core/tensor.js'

/**
 * Files of one format seen as a sequence of items. Opening reads headers only. A source never sees a device or a store.
 */
export interface Source {
  /** Name and version of the reader: part of every item's identity, so a reader that changes its output changes its version. */
  readonly reader: { readonly name: string; readonly version: number }
  /** Number of items. */
  readonly length: number
  /** dtype and shape of each field of an item (axis 0 of the file's arrays is gone). */
  readonly fields: FieldSpecs
  /** Arrays that belong to the dataset, not to an item. */
  readonly constants: Readonly<Record<string, LazyTensor>>
  /** How it was opened, as plain data: for provenance and for opening it again. Not part of any key. */
  readonly description: { readonly type: string; readonly [option: string]: unknown }
  /**
   * What of `description` decides which bytes an item has (field mapping), together with the files' content: two sources with equal
   * `selection`, reader and file digests (or `digest`) have the same items. `undefined` when neither is known.
   */
  readonly selection: unknown
  /** The files it reads, in order; empty when the items come from the caller. */
  readonly files: readonly SourceFile[]
  /** Of a source without files whose content is known before it is read: says what the content is, 64 hex digits. */
  readonly digest?: string | undefined
  /** What was left out while opening, because it could not be read and the caller asked for that; absent from sources that never leave anything out. */
  readonly skipped?: readonly SkippedItem[]
  /** Human name of item `index`. */
  id(index: number): string
  /**
   * Items `start … stop` in order, as runs: a field of a run is one tensor [count, …item shape], C order, a view of mapped memory where the file allows it,
   * or ragged, when the run's items differ in axis 0.
   */
  read(start: number, stop: number, options: ReadOptions): AsyncIterable<ItemRun>
  /** Items in any order, with repetitions, in memory of their own: where reading them so is faster than by runs. */
  gather?(indices: Float64Array, options: ReadOptions): Promise<Omit<ItemRun, 'start'>>
  /** File and row of an item, for messages; absent where there are none. */
  place?(index: number): string | undefined
  /**
   * 32 bytes for each of these items, made from the bytes they will be read from and how, without reading them: items with equal witnesses are equal. Absent where
   * that would cost as much as reading.
   */
  witnesses?(start: number, stop: number, options: ReadOptions): Promise<Uint8Array>
  /** What is known of item `index` without reading it: extents that are null in `fields`, and what affines hold. The same in every process that opens it. Absent where nothing more is known than `fields` says. */
  known?(index: number): ItemSpecs
  /** Tells which items will be read, in about this order, so that what is far away can be brought here ahead. */
  expect?(items: readonly number[]): void
  /** Tells that somebody reads these fields of items in this order from now on, so that what is far away can be brought here ahead, and what is needed last can go for it. Any number at the same time. */
  follow?(order: ItemOrder, fields: readonly string[]): Following
  /** Tells that what was asked for of these items is in the cache: what was brought here for them may go. Said of items that were not read, too; resolves when it is gone. */
  published?(start: number, stop: number): Promise<void>
  /** Tells that these items are not needed again soon: resident pages may go. Promises nothing about what became of them. */
  release(start: number, stop: number): void
  /** Throws SourceChangedError when a file is no longer the one that was opened. */
  assertUnchanged(): void
  /** Lets its files go; it cannot be read any more. */
  close(): void
}

/** What is read of items. */
export interface ReadOptions {
  /** Fields to read; others are not touched. */
  readonly fields: readonly string[]
  /** Aborted: reading rejects with its reason. */
  readonly signal?: AbortSignal | undefined
  /** Where the source may keep what makes reading faster next time; default: nowhere. */
  readonly notes?: Notes | undefined
  /** Bytes of items that may be read ahead of the consumer, by all readers of the source; default: what the source takes for enough. */
  readonly aheadBytes?: number | undefined
}

/**
 * Bytes that a source wants to find again in another run: what makes reading faster, never what decides what is read. Both are best effort and do not reject: a note may be gone at any time, and
 * whoever gets one checks it.
 */
export interface Notes {
  /** What was kept under the key; undefined when there is nothing. */
  get(key: string): Promise<Uint8Array | undefined>
  /** Resolves when it is kept, or when it cannot be. */
  put(key: string, bytes: Uint8Array): Promise<void>
}

/** An item that a source left out. */
export interface SkippedItem {
  /** Name it would have had. */
  readonly id: string
  /** Path of its file. */
  readonly file: string
  /** Row of a table, from 0. */
  readonly row?: number
  /** The message of the error that reading it gave. */
  readonly reason: string
}

/** The order in which items of a source are read: a function of the position, so that an epoch of any length costs nothing before it is looked at. */
export interface ItemOrder {
  /** Positions that will be read. */
  readonly length: number
  /** Positions that are known, at least `length`: those behind are read if the reader goes on as it does. Nothing is brought here for them. */
  readonly known: number
  /** The items that positions `first … stop` need, in the order of the positions, and the position of each. */
  uses(first: number, stop: number): { readonly items: Float64Array; readonly positions: Float64Array }
}

/** How far the reader of an order has come. */
export interface Following {
  /** Positions up to `stop` are being read: items that are asked for from now on are asked for them. */
  begin(stop: number): void
  /** Positions `first … stop` have been read, or given up. */
  done(first: number, stop: number): void
  /** Nothing more is read. What was brought here for it alone may go. */
  end(): void
}

/** Items that follow one another, as they were read. */
export interface ItemRun {
  /** Index of the first item. */
  readonly start: number
  /** Number of items. */
  readonly count: number
  /** The items' rows, by field. */
  readonly fields: Readonly<Record<string, Rows>>
  /** Buffers of `fields` that the source itself no longer looks at. Who has no use for them any more may give them back (`native/fresh.ts`); otherwise they are collected some time. */
  readonly own?: readonly ArrayBuffer[]
  /** There is no room for what comes next until what was made of the items up to here is published. Who does not publish goes on all the same, and may find them brought here again. */
  readonly isFull?: boolean
}

/** A file that a source reads, as it was when it was opened. */
export interface SourceFile {
  /** Absolute path. */
  readonly path: string
  /** Bytes. */
  readonly size: number
  /** Number of the device it lies on. */
  readonly dev: bigint
  /** Number of its inode. */
  readonly ino: bigint
  /** Last change of its content, nanoseconds since 1970. */
  readonly mtimeNs: bigint
  /** Last change of its inode, nanoseconds since 1970. */
  readonly ctimeNs: bigint
  /** SHA-256 of the whole file, computed when called, off the event loop. */
  digest(signal?: AbortSignal): Promise<string>
  /** Tells what `digest` would give, where that is remembered of a file of the same status: a source that makes witnesses of digests need not read the file. */
  recall?(digest: string): void
}
