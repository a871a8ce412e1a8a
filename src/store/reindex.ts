import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { IntegrityError, StoreError } from '../core/errors.js'
import { fromHex, toHex } from '../core/hash.js'
import { isAlive, ownerName, thisProcess } from '../core/owner.js'
import { native } from '../native/load.js'
import type { Codec } from './compression.js'
import { ChangeBatch } from './entry-batch.js'
import { entryKey } from './entry.js'
import { assertUnused } from './index-file.js'
import { blobPath, layoutOf, prepareLayout, type Layout } from './layout.js'
import { NOTE_KEY, NOTES } from './notes.js'
import type { OpenBlob } from './open-blob.js'
import { probeIndex } from './probe.js'
import type { DatasetRecord } from './tables.js'
import { abandonWork, beginWork, endWork, unfinishedWork } from './unfinished.js'
import { openUnindexed } from './unindexed.js'
import type { DamagedBlob, VerifyProgress } from './verify.js'
import { Writer } from './writer.js'

/** What a manifest says of its dataset; read by whoever knows manifests. */
export interface ManifestReading {
  readonly dataset: Uint8Array
  readonly record: Omit<DatasetRecord, 'manifest' | 'created' | 'shards' | 'bytes'>
  readonly shards: readonly string[]
  /** Milliseconds since 1970. */
  readonly created: number
  /** What leads to it, where that can be told. */
  readonly request: Uint8Array | undefined
}

export interface ReindexRequest {
  readonly dir: string
  readonly readManifest: (blob: OpenBlob) => Promise<ManifestReading>
  /** Goes on although the index there is sound: what lies in it alone is lost. */
  readonly force: boolean
  /** Blobs that are read at the same time. */
  readonly jobs: number
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: VerifyProgress) => void) | undefined
}

/** What an index was made again from. */
export interface Reindexed {
  /** Sound blobs. */
  readonly blobs: number
  /** Their bytes. */
  readonly bytes: number
  /** Items of datasets that can be found again. */
  readonly items: number
  /** Datasets that came back. */
  readonly datasets: number
  /** Values in files, which are in the namespace `recovered` now, each under its digest. */
  readonly values: number
  /** Moved to quarantine. */
  readonly damaged: readonly Omit<DamagedBlob, 'kind'>[]
  /** Where the index of before lies; null when there was none. */
  readonly before: string | null
}

/** Namespace of values that were found without their keys. */
export const RECOVERED = 'recovered'
/** A silent stranger's file is believed to be under way for so long. */
const STRANGER_MS = 60_000

/**
 * Makes the index again from the blobs:
 *
 *   1. nobody may have the cache open; a marker keeps others out until the end, and after a kill until this is run again
 *   2. each blob is read: its SHA-256 must be its name, or it goes to quarantine
 *   3. the new index is written beside the old one: shards, then the newest whole manifest of each dataset, then values
 *   4. the old one goes to quarantine, the new one takes its place
 *
 * Small values, and the keys and metadata of those in files, lay in the index alone. Rejects with StoreError when the cache is in use, or its index is sound.
 */
export async function reindexStore(request: ReindexRequest): Promise<Reindexed> {
  const { dir, force, signal } = request
  const layout = layoutOf(dir)
  if (!existsSync(layout.blobs)) throw new StoreError(dir, 'holds no cache')
  assertUnused(layout, 'reindex')
  assertNoWriter(layout)
  // What an interrupted one left behind may be sound, and is done again all the same.
  const sound = force || unfinishedWork(layout) === 'reindex' ? undefined : await probeIndex(layout, signal)
  // A damaged tree may end early without an error.
  if (sound !== undefined && !('fault' in sound) && sound.blobs === sound.blobIds && sound.blobs === sound.checksums && sound.counters > 0) throw new StoreError(dir, `the index can be read to its end (${sound.blobs} blobs, ${sound.entries} values); to make it again all the same loses the keys of values, and small values whole: say so with force (--yes)`)
  prepareLayout(layout)
  beginWork(layout, 'reindex')
  const fresh = layoutOf(join(layout.tmp, 'reindex'))
  try {
    rmSync(fresh.dir, { recursive: true, force: true })
    prepareLayout(fresh)
    const done = await new Reindex(request, layout, fresh).run()
    // Somebody may have been about to open it when the marker was written.
    assertUnused(layout, 'reindex')
    const before = await swap(layout, fresh)
    return { ...done, before }
  } catch (error) {
    rmSync(fresh.dir, { recursive: true, force: true })
    // As it was, if there was one.
    if (existsSync(join(layout.index, 'data.mdb'))) endWork(layout)
    else abandonWork(layout, 'reindex')
    throw error
  }
}

async function swap(layout: Layout, fresh: Layout): Promise<string | null> {
  await native().fsyncPath(join(fresh.index, 'data.mdb'))
  const old = join(layout.index, 'data.mdb')
  const before = existsSync(old) ? join(layout.quarantine, `index-${Date.now()}-${randomBytes(2).toString('hex')}.mdb`) : null
  if (before !== null) renameSync(old, before)
  rmSync(join(layout.index, 'lock.mdb'), { force: true })
  renameSync(join(fresh.index, 'data.mdb'), old)
  await native().fsyncPath(layout.index)
  await native().fsyncPath(layout.dir)
  // What was being written when the index was lost: nobody is at it any more.
  for (const name of readdirSync(layout.tmp)) rmSync(join(layout.tmp, name), { recursive: true, force: true })
  endWork(layout)
  return before
}

class Reindex {
  readonly #request: ReindexRequest
  readonly #layout: Layout
  readonly #writer: Writer
  readonly #lease = { range: Buffer.alloc(32), owner: `${ownerName(thisProcess())}#reindex`, token: 0 }
  readonly #sizes = new Map<string, number>()
  readonly #manifests: FoundManifest[] = []
  readonly #values: FoundValue[] = []
  readonly #notes: FoundValue[] = []
  readonly #damaged: Omit<DamagedBlob, 'kind'>[] = []
  #items = 0
  #blobs = 0
  #bytes = 0

  constructor(request: ReindexRequest, layout: Layout, fresh: Layout) {
    this.#request = request
    this.#layout = layout
    this.#writer = new Writer(fresh)
  }

  async run(): Promise<Omit<Reindexed, 'before'>> {
    const { jobs, signal } = this.#request
    try {
      await this.#writer.run('initialise', undefined)
      // The pending name is of no file: when its owner retires, the next who opens the cache looks for blobs without a record, such as manifests that newer ones replaced.
      this.#lease.token = (await this.#writer.run('claim', { range: this.#lease.range, owner: this.#lease.owner, pending: ['reindex'], now: Date.now() }))!
      const files = blobFiles(this.#layout)
      const bytesTotal = files.reduce((sum, { bytes }) => sum + bytes, 0)
      const queue = files[Symbol.iterator]()
      const work = async (): Promise<void> => {
        for (const { digest, bytes } of queue) {
          signal?.throwIfAborted()
          await this.#take(digest)
          this.#blobs++
          this.#bytes += bytes
          this.#request.onProgress?.({ blobs: this.#blobs, bytes: this.#bytes, blobsTotal: files.length, bytesTotal })
        }
      }
      const results = await Promise.allSettled(Array.from({ length: jobs }, work))
      for (const result of results) if (result.status === 'rejected') throw result.reason
      const datasets = await this.#publishManifests()
      await this.#publishValues(RECOVERED, this.#values, NaN)
      await this.#publishValues(NOTES, this.#notes, 0)
      await this.#writer.run('retire', { owner: this.#lease.owner })
      return { blobs: this.#blobs - this.#damaged.length, bytes: this.#bytes, items: this.#items, datasets, values: this.#values.length, damaged: this.#damaged }
    } finally {
      await this.#writer.close()
    }
  }

  async #take(digest: string): Promise<void> {
    const path = blobPath(this.#layout, digest)
    try {
      const { blob, kind, codec, bytes, chunkBytes, checksums, created } = await openUnindexed(path, digest, this.#request.signal)
      try {
        const facts = { bytes, codec, chunkBytes, checksums, created }
        if (kind === 'shard') await this.#publishShard(blob, facts)
        if (kind === 'manifest') this.#manifests.push({ ...await this.#request.readManifest(blob), digest, facts })
        const note = kind === 'value' ? blob.metadata[NOTE_KEY] : undefined
        if (note !== undefined) this.#notes.push({ key: note, digest: fromHex(digest), facts })
        else if (kind === 'value') this.#values.push({ key: digest, digest: fromHex(digest), facts })
        this.#sizes.set(digest, bytes)
      } finally {
        blob.close()
      }
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error
      renameSync(path, join(this.#layout.quarantine, digest))
      this.#damaged.push({ digest, path, reason: error.message.replace(`${path}: `, '') })
    }
  }

  async #publishShard(blob: OpenBlob, { bytes, codec, chunkBytes, checksums, created }: Facts): Promise<void> {
    const keys = Uint8Array.from((await blob.own('key')).data as Uint8Array)
    const rows = keys.byteLength / 32
    const visible = await this.#writer.run('publishShard', {
      digest: fromHex(blob.digest), bytes, codec, chunkBytes, checksums, seconds: undefined, keys, lease: this.#lease, done: false, pending: '', now: created,
    }, { entries: rows + 8, payload: rows * 48 + checksums.byteLength })
    this.#items += visible!
  }

  /** Of several manifests of a dataset, which followed one another, the newest whose shards are all there. */
  async #publishManifests(): Promise<number> {
    const best = new Map<string, FoundManifest>()
    const isWhole = ({ shards }: ManifestReading): boolean => shards.every((shard) => this.#sizes.has(shard))
    for (const manifest of this.#manifests) {
      const key = toHex(manifest.dataset)
      const other = best.get(key)
      if (other === undefined || Number(isWhole(manifest)) - Number(isWhole(other)) > 0 || (isWhole(manifest) === isWhole(other) && manifest.created > other.created)) best.set(key, manifest)
    }
    for (const { digest, dataset, record, shards, created, request, facts } of best.values()) {
      const bytes = shards.reduce((sum, shard) => sum + (this.#sizes.get(shard) ?? 0), 0)
      await this.#writer.run('publishManifest', {
        digest: fromHex(digest), bytes: facts.bytes, chunkBytes: facts.chunkBytes, checksums: facts.checksums, dataset, lease: this.#lease,
        record: { ...record, manifest: digest, bytes, created }, shards: Buffer.concat(shards.map(fromHex)), stale: undefined, pending: '', now: facts.created,
      }, { entries: 16, payload: facts.checksums.byteLength + 32_768 + 16 * shards.length })
      if (request !== undefined) await this.#writer.run('remember', { request, dataset })
    }
    return best.size
  }

  async #publishValues(name: string, values: readonly FoundValue[], seconds: number): Promise<void> {
    if (values.length === 0) return
    const namespace = await this.#writer.run('namespace', { name, owner: undefined })
    for (let from = 0; from < values.length; from += 256) {
      const step = values.slice(from, from + 256)
      const changes = new ChangeBatch()
      for (const { key, digest, facts } of step) {
        changes.put(entryKey(namespace, key), { key, created: facts.created, expires: Infinity, seconds, bytes: facts.bytes, keep: false, metadata: '', dependsOn: [], small: undefined, blob: digest })
      }
      const blobs = step.map(({ digest, facts: { bytes, codec, chunkBytes, checksums } }) => ({ digest, bytes, codec, chunkBytes, checksums, pending: '' }))
      const payload = changes.size + blobs.reduce((sum, { checksums }) => sum + checksums.byteLength + 512, 0)
      await this.#writer.run('change', { packed: changes.packed(), blobs, dir: this.#layout.dir, now: Date.now() }, { entries: 8 * step.length, payload })
    }
  }
}

interface Facts {
  readonly bytes: number
  readonly codec: Codec | undefined
  readonly chunkBytes: number
  readonly checksums: Uint8Array
  readonly created: number
}

interface FoundValue {
  readonly key: string
  readonly digest: Uint8Array
  readonly facts: Facts
}

interface FoundManifest extends ManifestReading {
  readonly digest: string
  readonly facts: Facts
}

/** Whatever else somebody put there is not ours. */
function blobFiles(layout: Layout): { digest: string; bytes: number }[] {
  return readdirSync(layout.blobs).filter((folder) => /^[0-9a-f]{2}$/.test(folder)).flatMap((folder) => readdirSync(join(layout.blobs, folder)).filter((name) => /^[0-9a-f]{64}$/.test(name) && name.startsWith(folder)))
    .map((digest) => ({ digest, bytes: statSync(blobPath(layout, digest)).size }))
}

/** Unfinished files name who writes them; in another container only their age says something. */
function assertNoWriter(layout: Layout): void {
  if (!existsSync(layout.tmp)) return
  for (const name of readdirSync(layout.tmp)) {
    const owner = /^(.+\.\d+\.\d+\.[0-9a-f]{8}-\d+)-/.exec(name)?.[1]
    if (owner === undefined) continue
    const alive = isAlive(owner)
    const age = Date.now() - (statSync(join(layout.tmp, name), { throwIfNoEntry: false })?.mtimeMs ?? 0)
    if (alive === true || (alive === undefined && age < STRANGER_MS)) throw new StoreError(layout.dir, `reindex needs the cache for itself; ${owner} is writing to it`)
  }
}
