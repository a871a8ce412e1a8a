import { setImmediate, setTimeout } from 'node:timers/promises'
import type { Fingerprint } from '../cache/options.js'
import { canonicalJson } from '../core/canonical.js'
import { IntegrityError, ItemError, LeaseLostError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import { datasetDigest, datasetKey, FORMAT, HASH_BYTES, recipeKey } from '../core/keys.js'
import { bytesOfRows, dataOf, isRagged, shapeOf } from '../core/rows.js'
import { inStage, stepsInStage } from '../core/stages.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { versions } from '../core/version.js'
import type { DeviceSource } from '../devices/device.js'
import { allowItems, giveBack } from '../native/fresh.js'
import { checkRecipe, inputFields } from '../ops/compile.js'
import type { Recipe } from '../ops/recipe.js'
import type { Source } from '../sources/source.js'
import type { Compression } from '../store/compression.js'
import type { OpenBlob } from '../store/open-blob.js'
import { encodeBlob, OWN } from '../store/shard-format.js'
import { POLL_MS, type Lease, type Store } from '../store/store.js'
import { arrange, type Arranged } from './arrange.js'
import { Executor, type Cut } from './execute.js'
import { completeManifest, requestKeyOf } from './find.js'
import { knownDigest } from './fingerprint.js'
import { grouped } from './grouped.js'
import { contiguous, digestsOf, identitiesOf, keysOf, recipeDataOn } from './identify.js'
import { encodeManifest, Manifest, originRecord, type ManifestFacts } from './manifest.js'
import { guessedBytes, rangesOf, Room, type Range } from './ranges.js'
import { ShardBuilder, slicePiece, type Piece } from './shard-builder.js'

export interface BuildRequest {
  readonly store: Store
  readonly source: Source
  readonly recipe: Recipe
  /** Opened when an item is missing. */
  readonly device: DeviceSource
  readonly name: string
  readonly namespace: string
  readonly fingerprint: Fingerprint
  /** Bytes of items in work at any time, about. */
  readonly memoryBytes: number
  /** Ranges of items in work at the same time, and threads per native call. */
  readonly jobs: number
  /** How shards are written; undefined: as they are. */
  readonly compression?: Compression | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** How far a build has come. */
export interface Progress {
  /** Name of the dataset; empty when it was given none. */
  readonly name: string
  /** Items of the dataset. */
  readonly items: number
  /** Items that are in the cache by now. */
  readonly done: number
  /** Items that were there before. */
  readonly hits: number
  /** Items computed by this build. */
  readonly computed: number
  /** Bytes written. */
  readonly bytes: number
  /** Since the build began. */
  readonly seconds: number
}

/** What opening a dataset found and did. */
export interface BuildReport {
  /** Items of the dataset. */
  readonly items: number
  /** Items that were in the cache before. */
  readonly hits: number
  /** Items that had to be computed. */
  readonly computed: number
  /** What the source left out, because it could not be read and the caller asked for that: see `source.skipped`. */
  readonly skipped: number
  /** What ops left out of the items computed now, as their parameters ask for; of items that were there before, their fields say it. */
  readonly cuts: readonly Cut[]
  /** From the call until the dataset was whole. */
  readonly seconds: number
  /** Bytes of new shards. */
  readonly bytes: number
  /** What computing the hits would have taken, as far as is known: reading, computing and writing, with the jobs of whoever made them. */
  readonly secondsSaved: number
}

/** Aim of a shard's size: large enough for sequential writes, small enough to be rewritten and moved. */
const SHARD_BYTES = 64 * 2 ** 20
/** A shard is closed after this time even when small, so that a kill loses little. */
const SHARD_MS = 5_000
/** Of the memory that a build may take, for items that are read ahead; ranges in work share the rest. */
const AHEAD_SHARE = 1 / 4
/** Items that are read, hashed and computed in one step. */
const CHUNK_BYTES = 8 * 2 ** 20
/** Items handled in one go on the event loop: a look-up and what follows cost a few microseconds each. */
const STEP_ROWS = 512
/** Items that are read in vain rather than asking the source once more, and bytes of them: a volume in vain costs more. */
const GAP_ROWS = 16
const GAP_BYTES = 2 ** 18

/** Finds the dataset that the source and the recipe ask for, computing what is missing. The only place that sees all stages. */
export async function build(request: BuildRequest): Promise<{ manifest: Manifest; report: BuildReport }> {
  const { store, source, recipe, device, fingerprint, signal } = request
  const began = performance.now()
  signal?.throwIfAborted()
  const outputs = checkRecipe(recipe, source.fields)
  const recipeData = await recipeDataOn(device, recipe)
  const key = recipeKey(recipeData)
  const { key: asked, remembered } = await requestKeyOf(store, source, key, fingerprint, signal)
  const dataset = asked === undefined ? undefined : store.request(asked)
  const known = dataset === undefined ? undefined : await completeManifest(store, dataset)
  if (known !== undefined) await Promise.all([source.published?.(0, source.length), remembered])
  if (known !== undefined) return { manifest: known, report: { items: known.length, hits: known.length, computed: 0, skipped: source.skipped?.length ?? 0, cuts: [], seconds: (performance.now() - began) / 1000, bytes: 0, secondsSaved: store.datasetRecord(dataset!)?.seconds ?? 0 } }
  store.expectWrites()
  const arranged = await arrange(source, recipe, device, signal, store.notes)
  // While that thread starts, and writes down what was learned of the files, what is missing is found.
  const built = await new Build(request, arranged, { outputs, recipeData, recipeKey: key, asked, began }).run()
  await remembered
  return built
}

interface Prepared {
  readonly outputs: FieldSpecs
  readonly recipeData: unknown
  readonly recipeKey: Buffer
  readonly asked: Buffer | undefined
  readonly began: number
}

class Build {
  readonly #request: BuildRequest
  readonly #prepared: Prepared
  /** The items to be made: the request's source, or what the dataset ops made of it. */
  readonly #source: Source
  readonly #inputs: readonly string[]
  readonly #executor: Executor
  readonly #owner: string

  /** Of all items, where they are recalled before the first is read. */
  #witnesses: Uint8Array | undefined
  readonly #identities: Uint8Array
  /** By item: 1 when its identity and its key are known. */
  readonly #identified: Uint8Array
  readonly #keys: Uint8Array
  readonly #digests: Uint8Array
  readonly #blobOf: Uint32Array
  readonly #rowOf: Uint32Array
  readonly #blobs: string[] = []
  readonly #blobNumbers = new Map<string, number>()
  readonly #holds: Promise<void>[] = []
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  #done = 0
  #computed = 0
  #bytes = 0
  /** Seconds that the shards made here took, and when the last of them was done. */
  #spent = 0
  #shardDone: number
  #secondsSaved = 0

  readonly #ranges: readonly Range[]
  /** Of an item, about. */
  readonly #outBytes: number
  /** Threads of one hashing call: ranges share the cores, a single one has them all. */
  readonly #threads: number
  readonly #shardBytes: number

  constructor(request: BuildRequest, { source, segments, identities }: Arranged, prepared: Prepared) {
    this.#request = request
    this.#prepared = prepared
    this.#shardDone = prepared.began
    this.#source = source
    // One failure ends all jobs.
    this.#signal = request.signal === undefined ? this.#stop.signal : AbortSignal.any([request.signal, this.#stop.signal])
    this.#inputs = source === request.source ? inputFields(request.recipe, source.fields) : Object.keys(source.fields)
    this.#executor = new Executor(segments, request.device)
    this.#owner = request.store.newOwner()
    const items = source.length
    this.#identities = identities ?? new Uint8Array(items * HASH_BYTES)
    this.#identified = new Uint8Array(items).fill(identities === undefined ? 0 : 1)
    this.#keys = new Uint8Array(items * HASH_BYTES)
    this.#digests = new Uint8Array(items * HASH_BYTES)
    this.#blobOf = new Uint32Array(items)
    this.#rowOf = new Uint32Array(items)
    // Each job holds one shard being filled and one being written.
    this.#shardBytes = Math.max(2 ** 20, Math.min(SHARD_BYTES, Math.floor(request.memoryBytes / (3 * request.jobs))))
    const { ranges, itemBytes } = rangesOf(source, source === request.source ? request.recipe : undefined, prepared.outputs, this.#shardBytes, request.jobs)
    this.#ranges = ranges
    this.#outBytes = itemBytes
    this.#threads = Math.max(1, Math.floor(request.jobs / Math.max(1, ranges.length)))
  }

  async run(): Promise<{ manifest: Manifest; report: BuildReport }> {
    const release = allowItems(this.#request.memoryBytes)
    try {
      if (this.#isIdentified(0, this.#source.length)) this.#keys.set(await keysOf(this.#prepared.recipeKey, this.#identities))
      const { source } = this.#request
      if (source === this.#source && source.expect !== undefined) source.expect(await this.#expected())
      await this.#allRanges()
      const manifest = await this.#finish()
      await source.published?.(0, source.length)
      return { manifest, report: this.#report() }
    } finally {
      release()
      await Promise.allSettled(this.#holds)
      await this.#request.store.retire(this.#owner)
    }
  }

  // --- every item is identified, the missing ones are computed ----------------------------------------------------------------

  async #allRanges(): Promise<void> {
    const { jobs, memoryBytes } = this.#request
    const room = new Room(memoryBytes * (1 - AHEAD_SHARE))
    let pending = this.#ranges
    while (pending.length > 0) {
      const again: Range[] = []
      const queue = pending[Symbol.iterator]()
      const work = async (): Promise<void> => {
        try {
          for (const range of queue) {
            await inStage('wait', 0, () => room.take(range.bytes))
            try {
              if (!await this.#range(range)) again.push(range)
            } finally {
              room.give(range.bytes)
            }
          }
        } catch (error) {
          this.#stop.abort(error)
          throw error
        }
      }
      await settleAll(Array.from({ length: Math.min(jobs, pending.length) }, work))
      // What is left is being computed by others, or turned out damaged when its digests were read.
      if (again.length === pending.length) await inStage('wait', 0, () => setTimeout(POLL_MS))
      pending = again.sort((a, b) => a.start - b.start)
    }
  }

  /** Items that will be read, as far as their identities are remembered. */
  async #expected(): Promise<number[]> {
    const { length } = this.#source
    this.#witnesses = await this.#recall(0, length)
    const expected: number[] = []
    for (let from = 0; from < length; from += STEP_ROWS) {
      if (from > 0) await setImmediate()
      const to = Math.min(length, from + STEP_ROWS)
      const missing = new Set(this.#missing(from, to))
      for (let item = from; item < to; item++) if (this.#identified[item] === 0 || missing.has(item)) expected.push(item)
    }
    return expected
  }

  /** Brings one range into the cache. False when somebody else is computing it, or when it must be looked at again. */
  async #range({ start, stop }: Range): Promise<boolean> {
    const { store } = this.#request
    const source = this.#source
    this.#signal.throwIfAborted()
    const recalled = this.#witnesses?.subarray(start * HASH_BYTES, stop * HASH_BYTES)
    const witnesses = this.#isIdentified(start, stop) ? undefined : recalled ?? await this.#recall(start, stop)
    const identified = this.#isIdentified(start, stop)
    if (identified && await this.#adopt(start, stop)) return true
    const work: RangeWork = { start, stop, witnesses, unknown: this.#unidentified(start, stop), settled: start, lease: undefined, pending: undefined, shard: new ShardBuilder(), own: new Set(), began: 0 }
    try {
      if (identified && !await this.#claim(work)) return false
      const finished = await this.#readRange(work)
      return finished && await this.#adopt(start, stop)
    } catch (error) {
      if (error instanceof LeaseLostError) return false
      throw error
    } finally {
      source.release(start, stop)
      if (work.lease !== undefined) await store.release(work.lease, work.pending)
    }
  }

  /** Takes over the identities that are remembered of items by their witnesses, which it returns. */
  async #recall(start: number, stop: number): Promise<Uint8Array | undefined> {
    const source = this.#source
    const witnesses = await source.witnesses?.(start, stop, { fields: this.#inputs, signal: this.#signal })
    if (witnesses === undefined) return undefined
    for (let from = start; from < stop; from += STEP_ROWS) {
      const to = Math.min(stop, from + STEP_ROWS)
      if (from > start) await setImmediate()
      this.#request.store.identities(witnesses.subarray((from - start) * HASH_BYTES, (to - start) * HASH_BYTES)).forEach((identity, k) => {
        if (identity === undefined) return
        this.#identities.set(identity, (from + k) * HASH_BYTES)
        this.#identified[from + k] = 1
      })
    }
    this.#keys.set(await keysOf(this.#prepared.recipeKey, this.#identities.subarray(start * HASH_BYTES, stop * HASH_BYTES)), start * HASH_BYTES)
    return witnesses
  }

  #isIdentified(start: number, stop: number): boolean {
    return !this.#identified.subarray(start, stop).includes(0)
  }

  /** False when items are missing that another process is computing; they are identified all the same. */
  async #readRange(work: RangeWork): Promise<boolean> {
    const source = this.#source
    let takenByOther = false
    for (const [start, stop] of await this.#toRead(work.start, work.stop)) {
      const options = { fields: this.#inputs, signal: this.#signal, notes: this.#request.store.notes, aheadBytes: this.#request.memoryBytes * AHEAD_SHARE }
      for await (const run of stepsInStage('read', bytesOfRows, grouped(source.read(start, stop, options), this.#executor.callItems))) {
        const chunkRows = this.#chunkRows(run)
        let own = this.#executor.isClosed ? run.own : undefined
        for (let from = 0; from < run.count; from += chunkRows) {
          this.#signal.throwIfAborted()
          const piece = slicePiece({ count: run.count, fields: run.fields, ...(own !== undefined && { own }) }, from, Math.min(run.count, from + chunkRows))
          const first = run.start + from
          if (!this.#isIdentified(first, first + piece.count)) await this.#identify(first, piece)
          if (takenByOther || this.#missing(first, first + piece.count).length === 0) continue
          takenByOther = work.lease === undefined && !await this.#claim(work)
          // Asked again under the lease: its last holder may have published since.
          if (takenByOther) continue
          const missing = this.#missing(first, first + piece.count)
          // Who computes all of it gives it back on the way.
          if (piece.own !== undefined && missing.length === piece.count) own = undefined
          await this.#compute(work, first, piece, missing)
        }
        this.#free(work, own)
        if (run.isFull !== true || takenByOther) continue
        await this.#flush(work, false)
        await this.#settle(work, run.start + run.count)
      }
    }
    await this.#remember(work, work.stop)
    await this.#flush(work, true)
    return !takenByOther
  }

  /** Gives memory back that nothing waits in: volumes would pile up until the garbage collector hears of them. Ops of the user's may have kept what they were given. */
  #free(work: RangeWork, own: readonly ArrayBuffer[] = []): void {
    if (!this.#executor.isClosed) return
    for (const buffer of own) work.own.add(buffer)
    for (const buffer of work.own) {
      if (work.shard.holds(buffer)) continue
      work.own.delete(buffer)
      giveBack(buffer)
    }
  }

  /** Remembers identities by witnesses: of items before `stop` that were read. */
  async #remember(work: RangeWork, stop: number): Promise<void> {
    const { witnesses, unknown, start } = work
    const count = unknown.findIndex((item) => item >= stop)
    const read = unknown.splice(0, count < 0 ? unknown.length : count)
    if (witnesses !== undefined) await this.#request.store.rememberIdentities(rowsAt(witnesses, read, start), rowsAt(this.#identities, read, 0))
  }

  /** Tells the source of items before `stop` that are published. What they were is remembered first: without it they would be fetched once more to know that. */
  async #settle(work: RangeWork, stop: number): Promise<void> {
    if (this.#source.published === undefined || stop <= work.settled) return
    await this.#remember(work, stop)
    await this.#source.published(work.settled, stop)
    work.settled = stop
  }

  #unidentified(start: number, stop: number): number[] {
    const found: number[] = []
    for (let item = start; item < stop; item++) if (this.#identified[item] === 0) found.push(item)
    return found
  }

  /** Runs of items that are not identified or not stored, and what lies between them where that is little. */
  async #toRead(start: number, stop: number): Promise<[number, number][]> {
    const items: number[] = []
    for (let from = start; from < stop; from += STEP_ROWS) {
      if (from > start) await setImmediate()
      const to = Math.min(stop, from + STEP_ROWS)
      const missing = new Set(this.#missing(from, to))
      for (let item = from; item < to; item++) if (this.#identified[item] === 0 || missing.has(item)) items.push(item)
    }
    // What has to be brought here first is never read in vain.
    const gap = this.#source.expect !== undefined ? 0 : Math.min(GAP_ROWS, Math.floor(GAP_BYTES / Math.max(1, guessedBytes(this.#source.fields))))
    const runs: [number, number][] = []
    for (const [from, to] of contiguous(items)) {
      const last = runs.at(-1)
      if (last !== undefined && from - last[1] <= gap) last[1] = to
      else runs.push([from, to])
    }
    return runs
  }

  /** Items of a run that are handled in one step: whole calls of ops that take many at once. */
  #chunkRows({ count, fields }: Piece): number {
    const into = Object.values(fields).reduce((sum, rows) => sum + dataOf(rows).byteLength, 0) / count
    return this.#executor.wholeCalls(Math.min(STEP_ROWS, Math.floor(Math.min(CHUNK_BYTES, this.#shardBytes) / Math.max(into, this.#outBytes))))
  }

  async #identify(first: number, piece: Piece): Promise<void> {
    const identities = await inStage('hash', bytesOfRows(piece), () => identitiesOf(piece, this.#inputs, this.#source.reader, this.#threads))
    this.#identities.set(identities, first * HASH_BYTES)
    this.#identified.fill(1, first, first + piece.count)
    this.#keys.set(await keysOf(this.#prepared.recipeKey, identities), first * HASH_BYTES)
  }

  #missing(start: number, stop: number): number[] {
    const places = this.#request.store.lookup(this.#keys.subarray(start * HASH_BYTES, stop * HASH_BYTES))
    const missing: number[] = []
    places.forEach((place, i) => { if (place === undefined) missing.push(start + i) })
    return missing
  }

  /** Leases the range, recording the name of the next shard's unfinished file. */
  async #claim(work: RangeWork): Promise<boolean> {
    const { store } = this.#request
    const first = this.#identities.subarray(work.start * HASH_BYTES, (work.start + 1) * HASH_BYTES)
    const range = sha256(this.#prepared.recipeKey, first, canonicalJson([work.start, work.stop]))
    const pending = store.tmpName(this.#owner)
    work.lease = await store.claim(range, this.#owner, [pending])
    work.pending = pending
    return work.lease !== undefined
  }

  async #compute(work: RangeWork, first: number, piece: Piece, missing: readonly number[]): Promise<void> {
    for (const [from, to] of contiguous(missing)) {
      const ids = Array.from({ length: to - from }, (_, i) => this.#source.id(from + i))
      let at = from
      for (const done of await this.#executor.run(slicePiece(piece, from - first, to - first), ids, this.#signal)) {
        this.#assertPromised(done, ids[at - from]!)
        const keys = this.#keys.subarray(at * HASH_BYTES, (at + done.count) * HASH_BYTES)
        if (work.shard.rows === 0) work.began = performance.now()
        for (const buffer of done.own ?? []) work.own.add(buffer)
        const digests = await inStage('hash', bytesOfRows(done), () => digestsOf(done, this.#threads))
        work.shard.add(done, keys, digests, ids.slice(at - from, at - from + done.count))
        at += done.count
        if (work.shard.bytes < this.#shardBytes && performance.now() - work.began <= SHARD_MS) continue
        await this.#flush(work, false)
        await this.#settle(work, at)
      }
    }
  }

  /** A second guard: what is published has the fields, dtypes and extents that the recipe's check promised. */
  #assertPromised(piece: Piece, id: string): void {
    const { outputs } = this.#prepared
    for (const name of new Set([...Object.keys(outputs), ...Object.keys(piece.fields)])) {
      const made = piece.fields[name]
      const promised = outputs[name]
      // Of a ragged field axis 0 is null in the promise, and the rest is the same for all items.
      const shape = made === undefined ? undefined : shapeOf(made, 0)
      const same = made !== undefined && promised !== undefined && made.dtype === promised.dtype && shape!.length === promised.shape.length && promised.shape.every((extent, axis) => extent === null || (extent === shape![axis] && !(axis === 0 && isRagged(made))))
      if (!same) throw new ItemError(id, `field ${name}: expected ${promised === undefined ? 'none' : `${promised.dtype} [${promised.shape.map((extent) => extent ?? '?').join(', ')}]`}, made ${made === undefined ? 'none' : `${made.dtype} [${shape!.join(', ')}]`}`)
    }
  }

  /** Publishes what the shard holds; the lease ends with it when the range is `done`. */
  async #flush(work: RangeWork, done: boolean): Promise<void> {
    const { store } = this.#request
    const { shard } = work
    if (shard.rows === 0) return
    this.#source.assertUnchanged()
    if (work.pending === undefined && !await this.#claim(work)) throw new LeaseLostError(`items ${work.start} to ${work.stop}`)
    const { tensors, chunkBytes } = shard.tensors()
    const { compression } = this.#request
    const encoded = encodeBlob(tensors, { [`${OWN}format`]: String(FORMAT), [`${OWN}kind`]: 'shard', [`${OWN}recipe`]: canonicalJson(this.#prepared.recipeData) }, compression)
    const pending = work.pending!
    work.pending = undefined
    const publish = (): ReturnType<typeof store.publishShard> => store.publishShard(encoded, { chunkBytes, compression, seconds: () => this.#sinceLastShard() }, shard.keys(), work.lease!, pending, done)
    const written = await inStage('write', ({ bytes }) => bytes, publish)
    if (done) work.lease = undefined
    work.shard = new ShardBuilder()
    this.#free(work)
    this.#computed += shard.rows
    this.#bytes += written.bytes
    this.#tell()
  }

  /** Each shard is given the time since the one before, whichever job made that: together they have the build's. */
  #sinceLastShard(): number {
    const now = performance.now()
    const seconds = (now - this.#shardDone) / 1000
    this.#shardDone = now
    this.#spent += seconds
    return seconds
  }

  /** Takes the places and digests of stored items over into the tables. False when some are not stored (any more). */
  async #adopt(start: number, stop: number): Promise<boolean> {
    const known = this.#blobs.length
    const opened = new Map<string, { readonly blob: OpenBlob; readonly digests: Uint8Array }>()
    try {
      if (!await this.#places(start, stop, opened)) return false
    } finally {
      // Of each shard the megabyte with its digests was read; of thousands of shards that is gigabytes.
      for (const { blob } of opened.values()) blob.rest()
    }
    this.#hold(this.#blobs.slice(known))
    await this.#source.published?.(start, stop)
    this.#done += stop - start
    this.#tell()
    return true
  }

  async #places(start: number, stop: number, opened: Map<string, { readonly blob: OpenBlob; readonly digests: Uint8Array }>): Promise<boolean> {
    const { store } = this.#request
    for (let from = start; from < stop; from += STEP_ROWS) {
      const to = Math.min(stop, from + STEP_ROWS)
      if (from > start) await setImmediate()
      for (const [i, place] of store.lookup(this.#keys.subarray(from * HASH_BYTES, to * HASH_BYTES)).entries()) {
        if (place === undefined) return false
        const blob = toHex(place.blob)
        const shard = opened.get(blob) ?? await this.#digestsIn(blob)
        if (shard === undefined) return false
        opened.set(blob, shard)
        const index = from + i
        this.#digests.set(shard.digests.subarray(place.row * HASH_BYTES, (place.row + 1) * HASH_BYTES), index * HASH_BYTES)
        this.#blobOf[index] = this.#blobNumber(blob)
        this.#rowOf[index] = place.row
      }
    }
    return true
  }

  /** The item digests that a shard holds; undefined when it turns out damaged, and its items are misses from then on. */
  async #digestsIn(blob: string): Promise<{ readonly blob: OpenBlob; readonly digests: Uint8Array } | undefined> {
    const { store } = this.#request
    try {
      const open = await store.blob(blob)
      try {
        return { blob: open, digests: (await open.own('digest')).data as Uint8Array }
      } catch (error) {
        if (error instanceof IntegrityError) await store.quarantine(open, error.message)
        throw error
      }
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error
      return undefined
    }
  }

  /** A build may take long, and what it takes over may not have been used for long. */
  #hold(blobs: readonly string[]): void {
    if (blobs.length > 0) this.#holds.push(this.#request.store.hold(this.#owner, blobs))
  }

  #blobNumber(blob: string): number {
    let number = this.#blobNumbers.get(blob)
    if (number === undefined) {
      number = this.#blobs.push(blob) - 1
      this.#blobNumbers.set(blob, number)
    }
    return number
  }

  // --- the manifest ---------------------------------------------------------------------------------------------------------

  async #finish(): Promise<Manifest> {
    const { store, recipe, name, namespace } = this.#request
    const source = this.#source
    const constants: Record<string, Tensor> = {}
    for (const [field, lazy] of Object.entries(source.constants)) constants[field] = await lazy.read()
    const key = datasetKey(this.#prepared.recipeKey, this.#identities, constants)
    source.assertUnchanged()
    const seconds = this.#cost()
    this.#secondsSaved = Math.max(0, seconds - this.#spent)
    let manifest = await completeManifest(store, key)
    if (manifest === undefined) {
      const stale = store.datasetRecord(key)?.manifest
      const digest = toHex(datasetDigest(this.#digests, constants))
      const facts: ManifestFacts = {
        key: toHex(key), digest, name, namespace, recipeKey: toHex(this.#prepared.recipeKey), recipe: recipe.toJSON(),
        reader: source.reader, selection: source.selection ?? null, fields: this.#prepared.outputs,
        provenance: {
          source: source.description,
          files: source.files.map((file) => ({ path: file.path, size: file.size, digest: knownDigest(store, file) })),
          device: this.#executor.used ?? null, versions: versions(), created: new Date().toISOString(),
        },
      }
      const rows = { identities: this.#identities, digests: this.#digests, blobOf: this.#blobOf, rowOf: this.#rowOf, blobs: this.#blobs }
      const ids = Array.from({ length: source.length }, (_, i) => source.id(i))
      const bytes = this.#blobs.reduce((sum, blob) => sum + (store.blobBytes(blob) ?? 0), 0)
      const digestOfManifest = await store.publishManifest(encodeManifest(facts, rows, ids, constants), key, { digest, name, namespace, items: source.length, bytes, seconds, ...originRecord(facts) }, this.#blobs, this.#owner, stale)
      manifest = await Manifest.read(await store.blob(digestOfManifest))
    }
    if (this.#prepared.asked !== undefined) await store.remember({ request: this.#prepared.asked, dataset: key })
    return manifest
  }

  /** Seconds that making all items took, whoever made them: of each shard the share of the rows that are taken of it. */
  #cost(): number {
    const taken = new Float64Array(this.#blobs.length)
    for (const blob of this.#blobOf) taken[blob]!++
    return this.#blobs.reduce((sum, digest, k) => {
      const cost = this.#request.store.blobCost(digest)
      return cost?.seconds === undefined ? sum : sum + cost.seconds * taken[k]! / Math.max(1, cost.rows)
    }, 0)
  }

  #report(): BuildReport {
    const items = this.#source.length
    return { items, hits: Math.max(0, items - this.#computed), computed: this.#computed, skipped: this.#source.skipped?.length ?? 0, cuts: this.#executor.cuts, seconds: (performance.now() - this.#prepared.began) / 1000, bytes: this.#bytes, secondsSaved: this.#secondsSaved }
  }

  #tell(): void {
    const { onProgress, name } = this.#request
    onProgress?.({ name, items: this.#source.length, done: this.#done, hits: Math.max(0, this.#done - this.#computed), computed: this.#computed, bytes: this.#bytes, seconds: (performance.now() - this.#prepared.began) / 1000 })
  }
}

interface RangeWork {
  readonly start: number
  readonly stop: number
  /** Of its items, where the source has them and not all identities were known. */
  readonly witnesses: Uint8Array | undefined
  /** Items whose identities were not known, and are not remembered yet. */
  readonly unknown: number[]
  /** The source was told of the items before this one. */
  settled: number
  lease: Lease | undefined
  /** Name in tmp/ of the next shard, from when it is recorded until it is used. */
  pending: string | undefined
  shard: ShardBuilder
  /** Buffers of what was read and made, to be given back when the shard holds nothing in them. */
  readonly own: Set<ArrayBuffer>
  began: number
}

/** Rows of 32 bytes, the first of which is that of item `start`. */
function rowsAt(table: Uint8Array, items: readonly number[], start: number): Uint8Array {
  const rows = new Uint8Array(items.length * HASH_BYTES)
  items.forEach((item, k) => rows.set(table.subarray((item - start) * HASH_BYTES, (item - start + 1) * HASH_BYTES), k * HASH_BYTES))
  return rows
}

/** Waits for all, then rejects with the first failure: nothing keeps running behind the caller's back. */
async function settleAll(promises: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(promises)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}
