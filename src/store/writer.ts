import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { DiskFullError, StoreError } from '../core/errors.js'
import { damagedIndex, isDamage } from './index-file.js'
import type { Layout } from './layout.js'
import type { Argument, Result, TransactionName } from './transactions.js'
import type { WriterReply, WriterRequest } from './writer-thread.js'

/** The main thread's end of the writer thread: starts it with the first transaction, lets the process exit while it is idle. */
export class Writer {
  readonly #layout: Layout
  #worker: Worker | undefined
  #next = 0
  #failure: Error | undefined
  /** A commit failed: this process writes no more. */
  isBroken = false
  /** Transactions that were answered: a look-up in a snapshot from before one would not show what it did. */
  settled = 0
  /** What was lent to the last transaction that was answered. */
  returned: ArrayBuffer | undefined
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()

  /** With `readonly` every transaction is refused: a second, writing handle of LMDB in this process would take the reading one its snapshots. */
  constructor(layout: Layout, readonly = false) {
    this.#layout = layout
    if (readonly) this.#failure = new StoreError(layout.dir, 'is opened read-only')
  }

  /** True when the thread is there, and a transaction costs what it costs. */
  get running(): boolean {
    return this.#worker !== undefined
  }

  /** Runs one transaction; resolves when it is durable. `size` bounds what it touches, so that a full disk is noticed before it begins. The buffer `lent`, in which `argument` lies, comes back through `returned`. */
  run<N extends TransactionName>(name: N, argument: Argument<N>, size: { entries: number; payload: number } = { entries: 4, payload: 4096 }, lent?: ArrayBuffer): Promise<Result<N>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const worker = this.#worker ??= this.#start()
    const id = this.#next++
    if (this.#waiting.size === 0) worker.ref()
    return new Promise<Result<N>>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject })
      worker.postMessage({ id, name, argument, ...size, lent } satisfies WriterRequest, lent === undefined ? [] : [lent])
    })
  }

  /** Starts the thread, which takes longer than most transactions; it is not waited for. */
  warm(): void {
    if (this.#failure === undefined && this.#worker === undefined) (this.#worker = this.#start()).unref()
  }

  async close(): Promise<void> {
    const worker = this.#worker
    if (worker === undefined) return
    this.#worker = undefined
    this.#failure ??= new StoreError(this.#layout.dir, 'is closed')
    worker.ref()
    await new Promise<void>((resolve) => {
      worker.once('exit', () => resolve())
      worker.postMessage('close')
    })
  }

  #start(): Worker {
    // Not with the program's own flags: `--input-type`, say, is refused with a file.
    const worker = new Worker(threadFile(), { execArgv: [], workerData: { dir: this.#layout.dir }, name: 'tensorcache-index' })
    worker.on('message', (reply: WriterReply) => this.#settle(reply))
    worker.on('error', (error) => this.#fail(new StoreError(this.#layout.dir, `the index writer stopped (${error.message})`, { cause: error })))
    worker.on('exit', () => this.#fail(new StoreError(this.#layout.dir, 'the index writer stopped')))
    return worker
  }

  #settle(reply: WriterReply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    this.settled++
    this.returned = reply.lent ?? this.returned
    if (this.#waiting.size === 0) this.#worker?.unref()
    if ('result' in reply) {
      waiting?.resolve(reply.result)
    } else if (reply.error.kind === 'full') {
      waiting?.reject(new DiskFullError({ dir: this.#layout.dir, bytesFree: reply.error.bytesFree, bytesNeeded: reply.error.bytesNeeded }))
    } else {
      this.isBroken = true
      waiting?.reject(isDamage(reply.error.message) ? damagedIndex(this.#layout.dir, reply.error.message) : new StoreError(this.#layout.dir, `the index could not be written: ${reply.error.message}`))
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error
    // Nothing is left to be closed.
    this.#worker = undefined
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }
}

// Node runs JavaScript only in workers, so when this module is run from its TypeScript source (tests), the built thread is used.
function threadFile(): URL {
  const beside = new URL('./writer-thread.js', import.meta.url)
  return existsSync(fileURLToPath(beside)) ? beside : new URL('../../dist/store/writer-thread.js', import.meta.url)
}
