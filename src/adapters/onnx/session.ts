import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { MissingDependencyError, UnsupportedError } from '../../core/errors.js'
import { bytesOf, type Tensor } from '../../core/tensor.js'
import { native } from '../../native/load.js'
import { assertModelUnchanged, type Model } from './models.js'
import type { LentTensor, Reply, Request, SessionSettings, ThreadData } from './protocol.js'
import { INSTALL } from './runtime.js'

/** A session that nothing is asked of is closed after this time: it holds the model's weights. */
const IDLE_MS = 30_000
/** How long an exiting process waits for a model that runs; after that it ends without tearing anything down. */
const EXIT_WAIT_MS = 5_000

type Tensors = Readonly<Record<string, Tensor>>

interface Waiting {
  resolve(outputs: Tensors): void
  reject(error: Error): void
  /** Lent memory is reachable until the thread has answered. */
  readonly lent: Tensors
}

/** By model and settings: one of each in a process. */
const sessions = new Map<string, Session>()

export function sessionFor(model: Model, settings: SessionSettings): Session {
  const key = JSON.stringify([model.digest, model.external, settings])
  let session = sessions.get(key)
  if (session === undefined) sessions.set(key, session = new Session(model, settings))
  // Where it was read last: of a model that has moved, the old place is gone.
  session.model = model
  return session
}

/** Closes all sessions, when what they are at is done: the memory of the models is given back now and not after a while. They open again when they are needed. */
export async function closeModels(): Promise<void> {
  await Promise.all(Array.from(sessions.values(), (session) => session.close()))
}

/** A model on a thread of its own, opened when it is needed. Lets the process exit while it has nothing to do. */
export class Session {
  /** Calls so far. */
  calls = 0
  /** What is opened next. */
  model: Model
  readonly #settings: SessionSettings
  #thread: Promise<Thread> | undefined
  #idle: NodeJS.Timeout | undefined
  #busy = 0

  constructor(model: Model, settings: SessionSettings) {
    this.model = model
    this.#settings = settings
  }

  /** Rejects with MissingDependencyError for a package or provider that is not there, with UnsupportedError where onnxruntime cannot run the model, with SourceChangedError where its files are others now. */
  async open(): Promise<void> {
    await this.#using(async () => undefined)
  }

  /** The outputs `fetches`, in memory of their own. Inputs are not copied and belong to the session until then. Calls are run in their order. Rejects with SourceChangedError when its files are others meanwhile. */
  run(feeds: Tensors, fetches: readonly string[]): Promise<Tensors> {
    return this.#using(async (thread) => {
      const outputs = await thread.run(feeds, fetches)
      // onnxruntime maps files with weights: what is written to them is in the model at once.
      if (thread.model.files.length > 1) assertModelUnchanged(thread.model)
      return outputs
    })
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle)
    const thread = this.#thread
    this.#thread = undefined
    await (await thread?.catch(() => undefined))?.close()
  }

  async #using<T>(work: (thread: Thread) => Promise<T>): Promise<T> {
    clearTimeout(this.#idle)
    this.#busy++
    try {
      return await work(await this.#opened())
    } finally {
      if (--this.#busy === 0) this.#idle = setTimeout(() => void this.close(), IDLE_MS).unref()
    }
  }

  #opened(): Promise<Thread> {
    if (this.#thread !== undefined) return this.#thread
    const opening = Thread.open(this.model, this.#settings, () => {
      if (this.#thread === opening) this.#thread = undefined
    })
    this.#thread = opening
    opening.catch(() => { if (this.#thread === opening) this.#thread = undefined })
    return opening
  }
}

// A process in which a thread ends while a model runs on it is aborted.
const threads = new Set<Thread>()
function settleThreads(code: number): void {
  const stop = Date.now() + EXIT_WAIT_MS
  for (const thread of threads) thread.forbid()
  for (const thread of threads) if (!thread.waitForRun(stop - Date.now())) native().exitNow(code)
}

class Thread {
  readonly model: Model
  readonly #worker: Worker
  readonly #flags: Int32Array
  readonly #waiting = new Map<number, Waiting>()
  readonly #ended: Promise<void>
  #end: string | undefined
  #next = 0

  private constructor(model: Model, worker: Worker, flags: Int32Array, ended: () => void) {
    this.model = model
    this.#worker = worker
    this.#flags = flags
    worker.on('message', (message: Reply) => this.#settle(message))
    worker.on('error', (error) => { this.#end ??= error.message })
    this.#ended = new Promise((resolve) => {
      worker.once('exit', () => {
        this.#end ??= 'it exited'
        for (const { reject } of this.#waiting.values()) reject(this.#over())
        this.#waiting.clear()
        threads.delete(this)
        if (threads.size === 0) process.off('exit', settleThreads)
        ended()
        resolve()
      })
    })
    if (threads.size === 0) process.on('exit', settleThreads)
    threads.add(this)
  }

  static async open(model: Model, settings: SessionSettings, ended: () => void): Promise<Thread> {
    assertModelUnchanged(model)
    const state = new SharedArrayBuffer(8)
    // Not with the program's own flags: `--input-type`, say, is refused with a file.
    const worker = new Worker(threadFile(), { execArgv: [], workerData: { path: model.path, settings, state } satisfies ThreadData, name: 'tensorcache-onnx' })
    const thread = new Thread(model, worker, new Int32Array(state), ended)
    const first = await new Promise<Reply>((resolve) => {
      worker.once('message', resolve)
      void thread.#ended.then(() => resolve({ kind: 'refused', reason: 'model', message: `its thread ended (${thread.#end})` }))
    })
    if (first.kind === 'open') {
      worker.unref()
      // Read by onnxruntime meanwhile.
      assertModelUnchanged(model)
      return thread
    }
    await thread.#ended
    const { reason, message } = first as Extract<Reply, { kind: 'refused' }>
    if (reason === 'missing') throw new MissingDependencyError(`onnx needs the package onnxruntime-node: npm install onnxruntime-node (${INSTALL}); loading it failed: ${message}`)
    if (reason === 'provider') throw new MissingDependencyError(`onnx: ${settings.providers.join(', ')} cannot be used here: ${message}`)
    throw new UnsupportedError({ file: model.path, place: 'model', reason: `onnxruntime cannot run it: ${message}` })
  }

  async run(feeds: Tensors, fetches: readonly string[]): Promise<Tensors> {
    if (this.#end !== undefined) throw this.#over()
    const id = this.#next++
    const lend = ({ dtype, shape, data }: Tensor): LentTensor => ({ dtype, shape, address: data.byteLength === 0 ? 0n : native().lendMemory(bytesOf(data)), bytes: data.byteLength })
    this.#worker.postMessage({ kind: 'run', id, feeds: Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, lend(tensor)])), fetches } satisfies Request)
    return new Promise((resolve, reject) => {
      if (this.#waiting.size === 0) this.#worker.ref()
      this.#waiting.set(id, { resolve, reject, lent: feeds })
    })
  }

  async close(): Promise<void> {
    this.#worker.ref()
    this.#worker.postMessage({ kind: 'close' } satisfies Request)
    await this.#ended
  }

  /** Nothing more is run. */
  forbid(): void {
    Atomics.store(this.#flags, 1, 1)
  }

  /** False when it still runs after that time. */
  waitForRun(ms: number): boolean {
    return Atomics.wait(this.#flags, 0, 1, Math.max(0, ms)) !== 'timed-out'
  }

  #settle(message: Reply): void {
    if (message.kind !== 'done' && message.kind !== 'failed') return
    const waiting = this.#waiting.get(message.id)
    if (waiting === undefined) return
    this.#waiting.delete(message.id)
    if (this.#waiting.size === 0) this.#worker.unref()
    if (message.kind === 'done') waiting.resolve(message.outputs)
    else waiting.reject(new Error(message.message))
  }

  #over(): Error {
    return new Error(`the thread of the model ended (${this.#end})`)
  }
}

// Node runs JavaScript only in workers, so when this module is run from its TypeScript source (tests), the built thread is used.
function threadFile(): URL {
  const beside = new URL('./thread.js', import.meta.url)
  return existsSync(fileURLToPath(beside)) ? beside : new URL('../../../dist/adapters/onnx/thread.js', import.meta.url)
}
