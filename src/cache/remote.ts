import { IntegrityError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import { show } from '../core/options.js'
import { decodeEntry, encodeEntry, type Entry } from '../store/entry.js'
import type { Store } from '../store/store.js'

/**
 * Where values are kept behind the disk, for other machines: an object store, a folder that is mounted everywhere. It knows names and bytes and nothing else. Names are
 * parts between slashes of letters, digits and `-_.%=`.
 */
export interface RemoteTier {
  /** For messages. */
  readonly name: string
  /** The bytes under a name; undefined when there are none. */
  get(name: string): Promise<Uint8Array | undefined>
  /** Whoever gets the name afterwards gets all of these bytes; meanwhile what was there before. The bytes are not to be kept. */
  put(name: string, bytes: Uint8Array): Promise<void>
  /** No error when there is none. */
  delete(name: string): Promise<void>
  /** Names that begin with `prefix`, which ends with a slash. */
  list(prefix: string): AsyncIterable<string>
}

/** Uploads at the same time, and how many may wait; what comes then is left out, for the next time it is put. */
const UPLOADS = 4
const WAITING_MAX = 10_000

/** An entry as it came from the remote tier, with the file of its value when that is not in the entry. */
export interface Fetched {
  readonly entry: Entry
  readonly file: Uint8Array | undefined
}

/**
 * Values in a remote tier: `entries/<namespace>/=<SHA-256 of the key>` holds an entry as the index does, `blobs/<digest>` its value's file. An entry is put after its blob. What comes from there is
 * checked like anything else; a tier that fails is no error of the cache, whose misses it only makes more.
 */
export class Remote {
  readonly #tier: RemoteTier
  readonly #waiting: (() => Promise<void>)[] = []
  readonly #running = new Set<Promise<void>>()
  #warned = false

  constructor(tier: RemoteTier) {
    this.#tier = tier
  }

  /** Undefined when it is not there, or is not what it should be. */
  async fetch(namespace: string, key: string): Promise<Fetched | undefined> {
    return this.#tried('get', async () => {
      const record = await this.#tier.get(entryName(namespace, key))
      if (record === undefined) return undefined
      const entry = decodeEntry(Buffer.from(record), this.#tier.name, key)
      if (entry.blob === undefined) return { entry, file: undefined }
      const digest = toHex(entry.blob)
      const file = await this.#tier.get(blobName(digest))
      if (file === undefined) return undefined
      const found = toHex(sha256(file))
      if (found !== digest) throw new IntegrityError(this.#tier.name, `holds blob ${digest} with the SHA-256 ${found}`)
      return { entry, file }
    })
  }

  /** Puts what the store has under the key there, some time soon. */
  push(store: Store, namespace: string, key: string): void {
    if (this.#waiting.length >= WAITING_MAX) return
    this.#waiting.push(async () => {
      await this.#tried('put', async () => {
        const found = store.entries.get(namespace, key)
        // Removed or replaced meanwhile: then that is still to come.
        if (found === undefined) return
        const record = encodeEntry(found)
        if (found.blob !== undefined) {
          const digest = toHex(found.blob)
          const file = await store.readFile(digest)
          if (file === undefined) return
          await this.#tier.put(blobName(digest), file)
        }
        await this.#tier.put(entryName(namespace, key), record)
      })
    })
    this.#next()
  }

  async delete(namespace: string, key: string): Promise<void> {
    await this.drain()
    await this.#tried('delete', () => this.#tier.delete(entryName(namespace, key)))
  }

  /** Entries of a namespace and of those below it. Their blobs stay: others may hold them. */
  async clear(namespace: string): Promise<void> {
    await this.drain()
    await this.#tried('delete', async () => {
      for await (const name of this.#tier.list(namespaceName(namespace))) await this.#tier.delete(name)
    })
  }

  /** What was put is there, or has failed. */
  async drain(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  #next(): void {
    while (this.#running.size < UPLOADS) {
      const upload = this.#waiting.shift()
      if (upload === undefined) return
      const running = upload().finally(() => {
        this.#running.delete(running)
        this.#next()
      })
      this.#running.add(running)
    }
  }

  async #tried<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      if (!this.#warned) process.emitWarning(`tensorcache: ${what} in ${this.#tier.name} failed (${(error as Error).message}); values are computed or kept here meanwhile`, { code: 'TENSORCACHE_REMOTE' })
      this.#warned = true
      return undefined
    }
  }
}

const blobName = (digest: string): string => `blobs/${digest.slice(0, 2)}/${digest}`
// `=` cannot stand in an encoded namespace: no key's name is that of a namespace below.
const namespaceName = (namespace: string): string => ['entries', ...namespace === '' ? [] : namespace.split('/').map((part) => encodeURIComponent(part).replaceAll(/[!'()*~]/g, percent)), ''].join('/')
const entryName = (namespace: string, key: string): string => `${namespaceName(namespace)}=${toHex(sha256(key))}`
const percent = (letter: string): string => `%${letter.charCodeAt(0).toString(16)}`

/** Throws TypeError unless it has all methods. */
export function checkRemoteTier(where: string, given: unknown): RemoteTier | undefined {
  if (given === undefined) return undefined
  const tier = given as Partial<RemoteTier>
  const missing = (['get', 'put', 'delete', 'list'] as const).find((method) => typeof tier?.[method] !== 'function')
  if (missing !== undefined) throw new TypeError(`${where}: remote must be a tier such as folderTier('/mnt/shared'); ${show(given)} has no method ${missing}`)
  return tier as RemoteTier
}
