import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { onAbort } from '../core/abort.js'
import { MissingDependencyError } from '../core/errors.js'
import type { PrimitiveReply, PrimitiveRequest } from './primitive-thread.js'
import type { Cell } from './primitive-cell.js'

/** Threads at most: one core is left to the event loop. */
const THREADS_MAX = Math.max(1, Math.min(4, availableParallelism() - 1))

interface Job {
  readonly request: PrimitiveRequest
  resolve(cell: Cell | undefined): void
  reject(error: Error): void
}

const idle: Worker[] = []
const running = new Map<Worker, Job>()
const queue: Job[] = []

/**
 * The primitive cell, found on a thread; undefined where `cell` is one. Threads start when they are needed, and let the process exit while they have nothing
 * to do. Takes the cell's arrays away. Rejects with MissingDependencyError, or with an Error saying why there is none.
 */
export function findPrimitive(request: PrimitiveRequest, signal: AbortSignal | undefined): Promise<Cell | undefined> {
  if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
  return new Promise((resolve, reject) => {
    const job: Job = { request, resolve, reject }
    if (signal !== undefined) {
      const done = onAbort(signal, (reason) => cancel(job, reason))
      job.resolve = (cell) => { done(); resolve(cell) }
      job.reject = (error) => { done(); reject(error) }
    }
    queue.push(job)
    advance()
  })
}

function advance(): void {
  while (queue.length > 0 && (idle.length > 0 || running.size < THREADS_MAX)) {
    const job = queue.shift()!
    const worker = idle.pop() ?? start()
    running.set(worker, job)
    worker.ref()
    const { numbers, fracCoords, lattice } = job.request.cell
    worker.postMessage(job.request, [numbers.buffer, fracCoords.buffer, lattice.buffer] as ArrayBuffer[])
  }
}

function start(): Worker {
  // Not with the program's own flags: `--input-type`, say, is refused with a file.
  const worker = new Worker(threadFile(), { execArgv: [], name: 'tensorcache-primitive' })
  worker.on('message', (reply: PrimitiveReply) => {
    const job = running.get(worker)
    if (job === undefined) return
    running.delete(worker)
    if (reply.kind === 'trapped') {
      void worker.terminate()
    } else {
      worker.unref()
      idle.push(worker)
    }
    if (reply.kind === 'done') job.resolve(reply.cell)
    else job.reject(reply.kind === 'missing' ? new MissingDependencyError(`op primitive needs the package @spglib/moyo-wasm: npm install @spglib/moyo-wasm (${reply.message})`) : new Error(reply.message))
    advance()
  })
  const ended = (reason: string): void => {
    const job = running.get(worker)
    running.delete(worker)
    if (idle.includes(worker)) idle.splice(idle.indexOf(worker), 1)
    job?.reject(new Error(`the thread that looks for symmetry ended (${reason})`))
    advance()
  }
  worker.on('error', (error) => ended(error.message))
  worker.on('exit', () => ended('it exited'))
  return worker
}

/** A large cell is minutes of work that cannot be interrupted otherwise. */
function cancel(job: Job, reason: Error): void {
  const place = queue.indexOf(job)
  if (place >= 0) queue.splice(place, 1)
  for (const [worker, { request }] of running) {
    if (request !== job.request) continue
    running.delete(worker)
    void worker.terminate()
  }
  job.reject(reason)
  advance()
}

// Node runs JavaScript only in workers, so when this module is run from its TypeScript source (tests), the built thread is used.
function threadFile(): URL {
  const beside = new URL('./primitive-thread.js', import.meta.url)
  return existsSync(fileURLToPath(beside)) ? beside : new URL('../../dist/ops/primitive-thread.js', import.meta.url)
}
