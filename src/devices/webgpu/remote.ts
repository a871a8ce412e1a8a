import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { MissingDependencyError } from '../../core/errors.js'
import type { TypedArray } from '../../core/dtype.js'
import { bytesOf } from '../../core/tensor.js'
import { native } from '../../native/load.js'
import { isProfiled, tellStage } from '../../core/stages.js'
import type { Program } from '../../ops/program.js'
import type { Fault } from '../device.js'
import { isPlace, type Backend, type BackendOptions, type Place, type Preparation } from './backend.js'
import type { AdapterFacts } from './dawn.js'
import { GpuError } from './errors.js'
import type { Crystals, FoundEdges, NeighborSearch } from './neighbors.js'
import type { FoundPoints, PointQuery } from './points.js'
import type { Lent, Reply, Request, ThreadData } from './protocol.js'

/** How long an exiting process waits for its devices to come to rest; after that it ends without tearing anything down. */
const EXIT_WAIT_MS = 5_000

interface Thread {
  readonly worker: Worker
  /** Int32: not 0 when nothing is pending on the device. */
  readonly gone: Int32Array
}

// Dawn aborts a process in which a thread ends while a map is pending on it.
const threads = new Set<Thread>()
function settleThreads(code: number): void {
  for (const { worker } of threads) worker.postMessage({ id: -1, kind: 'close' } satisfies Request)
  const stop = Date.now() + EXIT_WAIT_MS
  for (const { gone } of threads) if (Atomics.wait(gone, 0, 0, Math.max(0, stop - Date.now())) === 'timed-out') native().exitNow(code)
}

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
  readonly #waiting = new Map<number, Waiting>()
  readonly #ended: Promise<void>
  /** Why the thread ended, or will. */
  #end: string | undefined
  #next = 0

  private constructor(facts: AdapterFacts, worker: Worker) {
    this.facts = facts
    this.#worker = worker
    worker.on('message', (message: Reply) => this.#settle(message))
    // `error` is followed by `exit`.
    worker.on('error', (error) => { this.#end ??= error.message })
    this.#ended = new Promise((resolve) => {
      worker.once('exit', () => {
        this.#end ??= 'it exited'
        for (const { reject } of this.#waiting.values()) reject(this.#over())
        this.#waiting.clear()
        resolve()
      })
    })
    worker.unref()
  }

  static async open(options: BackendOptions): Promise<RemoteBackend> {
    const gone = new SharedArrayBuffer(4)
    // Not with the program's own flags: `--input-type`, say, is refused with a file.
    const worker = new Worker(threadFile(), { execArgv: [], workerData: { options, gone } satisfies ThreadData, name: 'tensorcache-webgpu' })
    const thread: Thread = { worker, gone: new Int32Array(gone) }
    if (threads.size === 0) process.on('exit', settleThreads)
    threads.add(thread)
    worker.once('exit', () => {
      threads.delete(thread)
      if (threads.size === 0) process.off('exit', settleThreads)
    })
    const first = await new Promise<Reply>((resolve) => {
      const ended = (message: string): void => resolve({ kind: 'refused', message: `device "webgpu" cannot be opened: its thread ended (${message})` })
      worker.once('message', resolve)
      worker.once('error', (error) => ended(error.message))
      worker.once('exit', () => ended('it exited'))
    })
    if (first.kind === 'open') return new RemoteBackend(first.facts, worker)
    throw new MissingDependencyError(first.kind === 'refused' ? first.message : `device "webgpu" cannot be opened: its thread said ${JSON.stringify(first)}`)
  }

  prepare(program: number, steps: Program): Promise<Preparation> {
    return this.#ask((id) => ({ id, kind: 'prepare', program, steps }), []) as Promise<Preparation>
  }

  run(program: number, count: number, inputs: readonly (TypedArray | Place)[], outputs: readonly (TypedArray | Place)[]): Promise<readonly Fault[]> {
    const place = (array: TypedArray | Place): Lent | Place => isPlace(array) ? array : lend(array)
    const request = (id: number): Request => ({ id, kind: 'run', program, count, inputs: inputs.map(place), outputs: outputs.map(place) })
    return this.#ask(request, [...inputs, ...outputs].filter((array) => !isPlace(array)) as TypedArray[]) as Promise<readonly Fault[]>
  }

  async read(place: Place, out: TypedArray): Promise<void> {
    await this.#ask((id) => ({ id, kind: 'read', place, out: lend(out) }), [out])
  }

  drop(place: Place): void {
    this.#worker.postMessage({ id: -1, kind: 'drop', place } satisfies Request)
  }

  prepareNeighbors(search: NeighborSearch): Promise<Preparation> {
    return this.#ask((id) => ({ id, kind: 'prepare-neighbors', search }), []) as Promise<Preparation>
  }

  neighbors(search: NeighborSearch, { offsets, frac, lattice }: Crystals): Promise<FoundEdges> {
    const request = (id: number): Request => ({ id, kind: 'neighbors', search, crystals: { offsets: lend(offsets), frac: lend(frac), lattice: lend(lattice) } })
    return this.#ask(request, [offsets, frac, lattice]) as Promise<FoundEdges>
  }

  prepareNearest(): Promise<Preparation> {
    return this.#ask((id) => ({ id, kind: 'prepare-nearest' }), []) as Promise<Preparation>
  }

  nearest({ id: points, points: { x, y }, at, k }: PointQuery): Promise<FoundPoints> {
    return this.#ask((id) => ({ id, kind: 'nearest', points, x: lend(x), y: lend(y), at: lend(at), k }), [x, y, at]) as Promise<FoundPoints>
  }

  forgetPoints(points: number): void {
    this.#worker.postMessage({ id: -1, kind: 'forget-points', points } satisfies Request)
  }

  release(program: number): void {
    this.#worker.postMessage({ id: -1, kind: 'release', program } satisfies Request)
  }

  async close(): Promise<void> {
    this.#worker.ref()
    this.#worker.postMessage({ id: -1, kind: 'close' } satisfies Request)
    await this.#ended
  }

  async #ask(request: (id: number) => Request, lent: readonly TypedArray[]): Promise<unknown> {
    // A thread that is gone answers nothing.
    if (this.#end !== undefined) throw this.#over()
    const id = this.#next++
    this.#worker.postMessage({ ...request(id), profiled: isProfiled() })
    return new Promise((resolve, reject) => {
      if (this.#waiting.size === 0) this.#worker.ref()
      this.#waiting.set(id, { resolve, reject, lent })
    })
  }

  #settle(message: Reply): void {
    if (message.kind === 'ending') this.#end ??= message.message
    // The thread's clock began later.
    if (message.kind === 'stage') tellStage({ ...message.facts, start: message.facts.start - performance.timeOrigin })
    if (message.kind !== 'done' && message.kind !== 'failed') return
    const waiting = this.#waiting.get(message.id)
    if (waiting === undefined) return
    this.#waiting.delete(message.id)
    if (this.#waiting.size === 0) this.#worker.unref()
    if (message.kind === 'done') waiting.resolve(message.result)
    else waiting.reject(this.#end === undefined ? new GpuError(message.reason, message.message) : this.#over())
  }

  #over(): GpuError {
    return new GpuError('lost', `the thread of the device ended (${this.#end})`)
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
