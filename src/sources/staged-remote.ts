import { randomUUID } from 'node:crypto'
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DiskFullError, FileError, ItemError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import { shownUrl, type Fetcher, type RemoteFile, type RemoteIdentity } from './fetcher.js'
import type { StagedItem } from './staged-items.js'
import { sha256Of, type StagedFile, type Staging } from './staging.js'

/**
 * What is known of items that are not here, and how they come here. A file is known by the list's SHA-256, else by what its server says: SHA-256, ETag and size, or time and size. Asked once.
 */
export class RemoteItems {
  readonly #items: readonly StagedItem[]
  readonly #fetcher: Fetcher
  readonly #answers = new Map<RemoteFile, Promise<RemoteIdentity>>()

  constructor(items: readonly StagedItem[], fetcher: Fetcher) {
    this.#items = items
    this.#fetcher = fetcher
  }

  /** What the item's content is known by, as plain data. Rejects with ItemError. */
  async identity(index: number, signal: AbortSignal): Promise<unknown[]> {
    return await this.#each(index, signal, async (file) => [file.name, nameOf(file, file.sha256 === undefined ? await this.#answer(file, signal) : { sha256: file.sha256 })])
  }

  /** Its name among staged items. */
  async key(index: number, signal: AbortSignal): Promise<string> {
    return toHex(sha256(JSON.stringify(await this.identity(index, signal))))
  }

  /** Room for its files. Where that is not known all there is: such an item is fetched alone. Rejects with ItemError when it can never fit. */
  async bytes(index: number, budget: number, dir: string, signal: AbortSignal): Promise<number> {
    let sum = 0
    let isKnown = true
    await this.#each(index, signal, async (file) => {
      const size = file.size ?? (await this.#answer(file, signal)).size
      sum += size ?? 0
      isKnown &&= size !== undefined
      if (sum > budget) throw new DiskFullError({ dir, bytesFree: budget, bytesNeeded: sum, maxSize: budget })
    })
    return isKnown ? sum : budget
  }

  /** Fetches its files into `folder` and makes it whole. Rejects with ItemError that names id and URL. */
  async fetch(index: number, folder: string, staging: Staging, room: number, signal: AbortSignal): Promise<void> {
    const staged: StagedFile[] = []
    await this.#each(index, signal, async (file) => {
      const taken = staged.reduce((sum, { size }) => sum + size, 0)
      staged.push(await this.#file(file, folder, room - taken, signal))
    })
    await staging.finish(folder, await this.key(index, signal), staged)
  }

  async #file(file: RemoteFile, folder: string, bytesMax: number, signal: AbortSignal): Promise<StagedFile> {
    // Before a list's digest the server's answer does not count: it may be an older file's.
    const said = file.sha256 === undefined ? await this.#answer(file, signal) : {}
    const expected: RemoteIdentity = { ...said, ...(file.sha256 !== undefined && { sha256: file.sha256 }), size: file.size ?? said.size }
    const path = join(folder, file.name)
    // What was fetched before may have been damaged since: then once more, from the beginning.
    for (let left = 2; ; left--) {
      const isThere = expected.size !== undefined && await stat(path).then(({ size }) => size === expected.size, () => false)
      if (!isThere) await this.#fetcher.fetch(file, path, { expected, bytesMax, signal })
      const { size } = await stat(path)
      const digest = await sha256Of(path, signal)
      const fault = expected.size !== undefined && size !== expected.size ? `has ${size} bytes, not ${expected.size}`
        : size > bytesMax ? `has ${size} bytes, for which there is no room (${bytesMax})`
          : expected.sha256 !== undefined && digest !== expected.sha256 ? `has the SHA-256 ${digest}, not ${expected.sha256}` : undefined
      if (fault === undefined) return { name: file.name, size, sha256: digest }
      await rm(path, { force: true })
      if (left === 1) throw new FileError(shownUrl(file.url), fault)
    }
  }

  #answer(file: RemoteFile, signal: AbortSignal): Promise<RemoteIdentity> {
    let answer = this.#answers.get(file)
    if (answer === undefined) {
      answer = Promise.resolve(this.#fetcher.identify?.(file, { signal }) ?? {})
      this.#answers.set(file, answer)
      // Asked again by the next who needs it.
      answer.catch(() => this.#answers.delete(file))
    }
    return answer
  }

  async #each<T>(index: number, signal: AbortSignal, work: (file: RemoteFile) => Promise<T>): Promise<T[]> {
    const { id, files } = this.#items[index]!
    const results: T[] = []
    for (const file of files) {
      try {
        results.push(await work(file))
      } catch (error) {
        // An abort is the caller's own.
        signal.throwIfAborted()
        throw itemError(id, file.url, error)
      }
    }
    return results
  }
}

function itemError(id: string, url: string, error: unknown): ItemError {
  const message = error instanceof Error ? error.message : String(error)
  const shown = shownUrl(url)
  return new ItemError(id, message.includes(shown) ? message : `${shown}: ${message}`, { cause: error })
}

/** A nonce where nothing is known: never found again. */
const unknown = new WeakMap<RemoteFile, string>()

function nameOf(file: RemoteFile, { sha256: digest, etag, lastModified, size }: RemoteIdentity): unknown {
  if (digest !== undefined) return { sha256: digest }
  if (etag !== undefined) return { url: file.url, etag, size: size ?? file.size ?? null }
  if (lastModified !== undefined) return { url: file.url, lastModified, size: size ?? file.size ?? null }
  if (!unknown.has(file)) unknown.set(file, randomUUID())
  return { nonce: unknown.get(file) }
}
