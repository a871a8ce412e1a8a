import { open, type Database, type RootDatabase } from 'lmdb'
import { StoreError } from '../core/errors.js'
import { damagedIndex, isDamage } from './index-file.js'
import { native } from '../native/load.js'
import type { Codec } from './compression.js'
import { STORE_FORMAT, type Layout } from './layout.js'

/** What is known of a blob; the key is its digest (32 bytes). */
export interface BlobRecord {
  /** Short number that item entries use instead of the digest. */
  readonly id: number
  readonly kind: 'shard' | 'manifest' | 'value'
  /** Of the file. */
  readonly bytes: number
  /** How its frames are compressed; undefined when it is as it is. */
  readonly codec?: Codec
  readonly chunkBytes: number
  readonly rows: number
  /** Of a shard: what making it took; undefined when an earlier version made it. */
  readonly seconds?: number
  /** Milliseconds since 1970. */
  readonly created: number
}

/** A namespace; the key is its number, with which the keys of its entries begin. */
export interface NamespaceRecord {
  readonly name: string
  readonly entries: number
  /** Bytes of its values, each counted as often as it is held. */
  readonly bytes: number
  /** When something was last put or read: milliseconds since 1970. */
  readonly used?: number
  /** Who is going to empty it, when it is a scope. */
  readonly owner?: string
}

/** The newest manifest of a dataset; the key is the dataset key (32 bytes). */
export interface DatasetRecord {
  readonly manifest: string
  readonly digest: string
  readonly name: string
  readonly namespace: string
  readonly items: number
  /** Bytes of all shards it refers to. */
  readonly bytes: number
  /** What making its items took, as far as is known. */
  readonly seconds?: number
  /** Their numbers. */
  readonly shards?: readonly number[]
  readonly created: number
  /** What it was made from, as its manifest has it, for when that is damaged; absent where it is long. Plain data that is not looked at here. */
  readonly origin?: unknown
}

export interface LeaseRecord {
  readonly owner: string
  readonly token: number
}

export interface OwnerRecord {
  /** Milliseconds since 1970 after which an owner that cannot be looked at is taken for dead. */
  readonly expires: number
}

/** An open dataset of a living process, or shards that a build is about to refer to: no prune removes them. */
export interface PinRecord {
  readonly owner: string
  /** Its key, or '' for a build. */
  readonly dataset: string
  /** Digests of shards, for a build. */
  readonly blobs?: readonly string[]
  readonly since: number
}

/**
 * The LMDB index. Every thread and process opens it with the same options; the writer thread of each process writes; pins and counts alone are written where they are taken.
 * Item entries are 8 bytes (blob id, row): an entry whose blob is gone is a miss.
 */
export interface Tables {
  readonly root: RootDatabase
  readonly counters: Database<number, string>
  readonly items: Database<Buffer, Buffer>
  readonly blobs: Database<BlobRecord, Buffer>
  readonly blobIds: Database<Buffer, number>
  readonly checksums: Database<Buffer, Buffer>
  readonly datasets: Database<DatasetRecord, Buffer>
  readonly requests: Database<Buffer, Buffer>
  readonly files: Database<Buffer, string>
  /** Identity of an item by its witness. */
  readonly witnesses: Database<Buffer, Buffer>
  readonly namespaces: Database<NamespaceRecord, number>
  /** store/entry.ts, by namespace and key. */
  readonly entries: Database<Buffer, Buffer>
  /** When an entry was last read: seconds since 1970, by its key. */
  readonly uses: Database<Buffer, Buffer>
  /** digest ‖ key of an entry that was made from what has this digest. */
  readonly dependents: Database<Buffer, Buffer>
  /** digest ‖ key of an entry whose value is the blob of this digest. */
  readonly holders: Database<Buffer, Buffer>
  /** Digests of blobs that nothing holds any more; their files go when nobody can be about to use them. */
  readonly trash: Database<Buffer, Buffer>
  readonly leases: Database<LeaseRecord, Buffer>
  readonly owners: Database<OwnerRecord, string>
  /** Files that are being written; `since` in milliseconds since 1970. */
  readonly pending: Database<{ owner: string; since: number }, string>
  readonly pins: Database<PinRecord, string>
  /** Counts by name that are not among the counters yet. */
  readonly tallies: Database<Readonly<Record<string, number>>, string>
  /** Whether a GPU computes what it should. */
  readonly verdicts: Database<boolean, string>
}

/** A table that is not there. */
const NONE = { get: () => undefined, getBinaryFast: () => undefined, getRange: () => [], getKeys: () => [] }

export function openTables(layout: Layout, options: { readOnly: boolean }): Tables {
  native().guardLmdb()
  let root: RootDatabase
  try {
    root = open({
      path: layout.index,
      noSubdir: false,
      maxDbs: 32,
      maxReaders: 1022,
      // A commit that was acknowledged is on the disk, and what is read is what was committed.
      overlappingSync: false,
      // Written pages reach the file by pwrite, so a full disk is an error and not a bus error.
      useWritemap: false,
      readOnly: options.readOnly,
      encoding: 'binary',
    })
  } catch (cause) {
    throw new StoreError(layout.dir, `the index cannot be opened (${(cause as Error).message})`, { cause })
  }
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const
  // A read-only cache that was made by an earlier version may lack some.
  const table = <V, K extends Buffer | string | number>(name: string, encodings: object): Database<V, K> => {
    const db = told(layout.dir, () => root.openDB({ name, cache: false, ...encodings } as never)) as Database<V, K> | undefined
    return db === undefined ? NONE as never : guarded(layout.dir, db)
  }
  const tables: Tables = {
    root,
    counters: table('counters', { encoding: 'json' }),
    items: table('items', binary),
    blobs: table('blobs', { encoding: 'json', keyEncoding: 'binary' }),
    blobIds: table('blob-ids', { encoding: 'binary', keyEncoding: 'uint32' }),
    checksums: table('checksums', binary),
    datasets: table('datasets', { encoding: 'json', keyEncoding: 'binary' }),
    requests: table('requests', binary),
    files: table('files', { encoding: 'binary' }),
    witnesses: table('witnesses', binary),
    namespaces: table('namespaces', { encoding: 'json', keyEncoding: 'uint32' }),
    entries: table('entries', binary),
    uses: table('uses', binary),
    dependents: table('dependents', binary),
    holders: table('holders', binary),
    trash: table('trash', binary),
    leases: table('leases', { encoding: 'json', keyEncoding: 'binary' }),
    owners: table('owners', { encoding: 'json' }),
    pending: table('pending', { encoding: 'json' }),
    pins: table('pins', { encoding: 'json' }),
    tallies: table('tallies', { encoding: 'json' }),
    verdicts: table('verdicts', { encoding: 'json' }),
  }
  const format = tables.counters.get('format')
  if (format !== undefined && format !== STORE_FORMAT) {
    throw new StoreError(layout.dir, `has format ${format}, this version reads ${STORE_FORMAT}; use another folder, or delete this one to start anew`)
  }
  return tables
}

/** What `read` gives; where LMDB says that the index is damaged, the StoreError that tells what to do. */
function told<T>(dir: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof StoreError || !isDamage((cause as Error).message)) throw cause
    throw damagedIndex(dir, (cause as Error).message, cause)
  }
}

/** The table itself, whose reads fail with StoreError where the index is damaged. Its own methods call each other, and so come here, too. */
function guarded<V, K extends Buffer | string | number>(dir: string, db: Database<V, K>): Database<V, K> {
  const reads = db as unknown as Record<'get' | 'getBinaryFast' | 'getRange' | 'getKeys', (...given: unknown[]) => unknown>
  for (const name of ['get', 'getBinaryFast'] as const) {
    const read = reads[name].bind(db)
    reads[name] = (key, options) => told(dir, () => read(key, options))
  }
  for (const name of ['getRange', 'getKeys'] as const) {
    const range = reads[name].bind(db) as (options: unknown) => Iterable<unknown>
    reads[name] = (options) => ({
      [Symbol.iterator]() {
        const steps = told(dir, () => range(options)[Symbol.iterator]())
        return { next: () => told(dir, () => steps.next()), return: (value?: unknown) => steps.return?.(value) ?? { done: true, value }, [Symbol.iterator]() { return this } }
      },
    })
  }
  return db
}
