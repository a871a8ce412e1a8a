import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { MissingDependencyError } from '../../core/errors.js'
import type { TypedArray } from '../../core/dtype.js'
import { bytesOf } from '../../core/tensor.js'
import { native } from '../../native/load.js'
import type { Program } from '../../ops/program.js'
import type { Fault } from '../device.js'
import type { Backend, BackendOptions, Preparation } from './backend.js'
import type { AdapterFacts } from './dawn.js'
import { GpuError } from './errors.js'
import type { Lent, Reply, Request, ThreadData } from './protocol.js'

/** How long an exiting process waits for the device to go; one that is torn down while it maps aborts the process. After that the process ends without tearing down. */
const EXIT_WAIT_MS = 5_000

interface Waiting {
  resolve(value: unknown): void
  reject(error: Error): void
  /** Lent memory is reachable until the other thread has answered. */
  readonly lent: readonly TypedArray[]
}

/** The GPU on a thread of its own, which lets the process exit while it has nothing to do. */
export class RemoteBackend implements Backend {
  readonly facts: AdapterFacts
  readonly #worker: Worker
  readonly #waiting: Map<number, Waiting>
  readonly #leave: (code: number) => void
  #next = 0
  #ended: Promise<void>

  private constructor(facts: AdapterFacts, worker: Worker, gone: SharedArrayBuffer) {
    this.facts = facts
    this.#worker = worker
    this.#waiting = new Map()
    worker.on('message', (message: Reply) => this.#settle(message))
    this.#leave = (code) => {
      worker.postMessage({ id: -1, kind: 'close' } satisfies Request)
      if (Atomics.wait(new Int32Array(gone), 0, 0, EXIT_WAIT_MS) === 'timed-out') native().exitNow(code)
    }
    process.on('exit', this.#leave)
    this.#ended = new Promise((resolve) => {
      worker.once('exit', () => {
        process.off('exit', this.#leave)
        for (const { reject } of this.#waiting.values()) reject(new GpuError('lost', 'the thread of the device ended'))
        this.#waiting.clear()
        resolve()
      })
    })
    worker.on('error', () => undefined)
    worker.unref()
  }

  static async open(options: BackendOptions): Promise<RemoteBackend> {
    const gone = new SharedArrayBuffer(4)
    const worker = new Worker(threadFile(), { workerData: { options, gone } satisfies ThreadData, name: 'tensorcache-webgpu' })
    const first = await new Promise<Reply>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    if (first.kind === 'refused') throw first.missing ? new MissingDependencyError(first.message) : new Error(first.message)
    if (first.kind !== 'open') throw new Error(`the device's thread began with ${first.kind}`)
    return new RemoteBackend(first.facts, worker, gone)
  }

  prepare(program: number, steps: Program): Promise<Preparation> {
    return this.#ask((id) => ({ id, kind: 'prepare', program, steps }), []) as Promise<Preparation>
  }

  run(program: number, count: number, inputs: readonly TypedArray[], outputs: readonly TypedArray[]): Promise<readonly Fault[]> {
    const request = (id: number): Request => ({ id, kind: 'run', program, count, inputs: inputs.map(lend), outputs: outputs.map(lend) })
    return this.#ask(request, [...inputs, ...outputs]) as Promise<readonly Fault[]>
  }

  release(program: number): void {
    this.#worker.postMessage({ id: -1, kind: 'release', program } satisfies Request)
  }

  async close(): Promise<void> {
    this.#worker.ref()
    this.#worker.postMessage({ id: -1, kind: 'close' } satisfies Request)
    await this.#ended
  }

  #ask(request: (id: number) => Request, lent: readonly TypedArray[]): Promise<unknown> {
    const id = this.#next++
    if (this.#waiting.size === 0) this.#worker.ref()
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, lent })
      this.#worker.postMessage(request(id))
    })
  }

  #settle(message: Reply): void {
    if (message.kind !== 'done' && message.kind !== 'failed') return
    const waiting = this.#waiting.get(message.id)
    if (waiting === undefined) return
    this.#waiting.delete(message.id)
    if (this.#waiting.size === 0) this.#worker.unref()
    if (message.kind === 'done') waiting.resolve(message.result)
    else waiting.reject(new GpuError(message.reason, message.message))
  }
}

function lend(array: TypedArray): Lent {
  return { address: native().lendMemory(bytesOf(array)), bytes: array.byteLength }
}

// Node runs JavaScript only in workers, so when this module is run from its TypeScript source (tests), the built thread is used.
function threadFile(): URL {
  const beside = new URL('./thread.js', import.meta.url)
  return existsSync(fileURLToPath(beside)) ? beside : new URL('../../../dist/devices/webgpu/thread.js', import.meta.url)
}
