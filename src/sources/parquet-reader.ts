import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { FileError, FormatError, MissingDependencyError, UnsupportedError } from '../core/errors.js'
import { OpenFile, type FileOptions } from './file.js'
import type { ParquetFacts } from './parquet-schema.js'
import type { ParquetReply, ParquetRequest, ParquetValues } from './parquet-thread.js'

/** Memory of JavaScript's own that decoding one column of a row group may take: lists of 100 million numbers are 2 GB on the way. V8 ends the process for a large allocation near the limit, so no single one may be (parquet-pages.ts). */
const HEAP_MIB = 4096
/** A column of a gigabyte takes 20 s. */
const SECONDS_MAX = 120
/** Decoded columns that are kept for the next range of the same row group, the last one whatever its size. */
const KEPT_BYTES = 128 * 2 ** 20

interface Waiting {
  resolve(reply: ParquetReply): void
  reject(error: Error): void
}

/** A Parquet file: its footer, and columns of its row groups, decoded on a thread when they are asked for. */
export class ParquetFile {
  readonly file: OpenFile
  readonly facts: ParquetFacts
  /** Rows before each row group, and all. */
  readonly starts: readonly number[]
  readonly #thread: Thread
  readonly #kept = new Map<string, { readonly values: Promise<ParquetValues>; bytes: number }>()

  private constructor(file: OpenFile, thread: Thread, facts: ParquetFacts) {
    this.file = file
    this.#thread = thread
    this.facts = facts
    this.starts = facts.groups.reduce<number[]>((sums, rows) => [...sums, sums.at(-1)! + rows], [0])
  }

  /** Rejects with FileError, FormatError, UnsupportedError, MissingDependencyError. */
  static async open(path: string | URL, options: FileOptions): Promise<ParquetFile> {
    const file = OpenFile.open(path, options)
    const thread = new Thread(file)
    try {
      const reply = await thread.facts()
      file.assertUnchanged()
      if (reply.kind !== 'facts') throw new Error(`an answer of another kind: ${reply.kind}`)
      return new ParquetFile(file, thread, reply.facts)
    } catch (error) {
      thread.close()
      file.close()
      throw error
    }
  }

  get length(): number {
    return this.starts.at(-1)!
  }

  values(group: number, column: string): Promise<ParquetValues> {
    const name = `${group}:${column}`
    const found = this.#kept.get(name)
    if (found !== undefined) {
      this.#kept.delete(name)
      this.#kept.set(name, found)
      return found.values
    }
    const kept = { values: this.#read(group, column), bytes: 0 }
    this.#kept.set(name, kept)
    kept.values.then(({ data, offsets, nulls }) => {
      kept.bytes = data.byteLength + (offsets?.byteLength ?? 0) + (nulls?.byteLength ?? 0)
      this.#trim()
    }, () => this.#kept.delete(name))
    return kept.values
  }

  /** Decoded columns go; they are decoded again when they are asked for. */
  release(): void {
    this.#kept.clear()
  }

  close(): void {
    this.#kept.clear()
    this.#thread.close()
    this.file.close()
  }

  async #read(group: number, column: string): Promise<ParquetValues> {
    this.file.assertUnchanged()
    const reply = await this.#thread.ask(group, column)
    this.file.assertUnchanged()
    if (reply.kind !== 'values') throw new Error(`an answer of another kind: ${reply.kind}`)
    return reply.values
  }

  #trim(): void {
    let bytes = 0
    for (const kept of this.#kept.values()) bytes += kept.bytes
    for (const [name, kept] of this.#kept) {
      if (bytes <= KEPT_BYTES || this.#kept.size === 1) break
      bytes -= kept.bytes
      this.#kept.delete(name)
    }
  }
}

/** The thread of one file. It lets the process exit while it has nothing to do, and is started again when it was ended for a page that is too much. */
class Thread {
  readonly #file: OpenFile
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #next = 1
  #queue: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(file: OpenFile) {
    this.#file = file
  }

  facts(): Promise<ParquetReply> {
    return this.#answer(0, () => this.#start())
  }

  /** One after the other, so that one column at a time is in memory. */
  ask(group: number, column: string): Promise<ParquetReply> {
    const turn = this.#queue.then(() => {
      if (this.#closed) throw new FileError(this.#file.path, 'has been closed')
      const id = this.#next++
      return this.#answer(id, () => {
        const worker = this.#worker ?? this.#start()
        const request: ParquetRequest = { id, group, column }
        worker.postMessage(request)
        return worker
      })
    })
    this.#queue = turn.catch(() => undefined)
    return turn
  }

  close(): void {
    this.#closed = true
    this.#end(new FileError(this.#file.path, 'has been closed'))
  }

  async #answer(id: number, send: () => Worker): Promise<ParquetReply> {
    const waiting = new Promise<ParquetReply>((resolve, reject) => { this.#waiting.set(id, { resolve, reject }) })
    send().ref()
    const timer = setTimeout(() => this.#end(this.#tooMuch(`work of less than ${SECONDS_MAX} s`, 'more')), SECONDS_MAX * 1000)
    try {
      const reply = await waiting
      const { path } = this.#file
      if (reply.kind === 'missing') throw new MissingDependencyError(`parquet needs the packages hyparquet and hyparquet-compressors: npm install hyparquet hyparquet-compressors (${reply.message})`)
      if (reply.kind !== 'fault') return reply
      this.#file.assertUnchanged()
      const { kind, place, expected, found } = reply.fault
      throw kind === 'format' ? new FormatError({ file: path, place, expected, found }) : new UnsupportedError({ file: path, place, reason: `expected ${expected}, found ${found}` })
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(id)
      if (this.#waiting.size === 0) this.#worker?.unref()
    }
  }

  #start(): Worker {
    const worker = new Worker(threadFile(), { name: 'tensorcache-parquet', workerData: { path: this.#file.path }, resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB } })
    this.#worker = worker
    worker.on('message', (reply: ParquetReply) => this.#waiting.get(reply.id)?.resolve(reply))
    worker.on('error', (error: Error & { code?: string }) => {
      if (this.#worker === worker) this.#end(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? this.#tooMuch(`row groups that are decoded in ${HEAP_MIB} MiB`, 'one that is not') : new FileError(this.#file.path, `the thread that reads it failed (${error.message})`, { cause: error }))
    })
    worker.on('exit', () => { if (this.#worker === worker) this.#end(new FileError(this.#file.path, 'the thread that reads it ended')) })
    return worker
  }

  #tooMuch(expected: string, found: string): FormatError {
    return new FormatError({ file: this.#file.path, place: 'pages', expected, found })
  }

  #end(error: Error): void {
    const worker = this.#worker
    this.#worker = undefined
    void worker?.terminate()
    for (const { reject } of this.#waiting.values()) reject(error)
  }
}

// Node runs JavaScript only in workers, so when this module is run from its TypeScript source (tests), the built thread is used.
function threadFile(): URL {
  const beside = new URL('./parquet-thread.js', import.meta.url)
  return existsSync(fileURLToPath(beside)) ? beside : new URL('../../dist/sources/parquet-thread.js', import.meta.url)
}
