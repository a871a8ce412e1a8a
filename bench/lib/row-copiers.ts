// What the machine can do at best for shuffled batches: threads that copy whole rows in a random order into a small buffer, and nothing else.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'

interface Work { readonly source: SharedArrayBuffer; readonly rowBytes: number; readonly rows: readonly number[] }

/** As much as a batch that is copied in one go: it stays in a cache. */
const OUT_BYTES = 2 ** 21

export class RowCopiers {
  readonly #workers: readonly Worker[]

  private constructor(workers: readonly Worker[]) {
    this.#workers = workers
  }

  static async start(threads: number, rows: number, rowBytes: number): Promise<RowCopiers> {
    const source = new SharedArrayBuffer(rows * rowBytes)
    // Every page must be there.
    new Uint8Array(source).fill(1)
    // A step that has no common divisor with a power of two, and not with most others, visits all rows far apart.
    const order = Array.from({ length: rows }, (_, i) => i * 7919 % rows)
    const share = Math.ceil(rows / threads)
    const workers = Array.from({ length: threads }, (_, t) => {
      const work: Work = { source, rowBytes, rows: order.slice(t * share, (t + 1) * share) }
      return new Worker(fileURLToPath(import.meta.url), { workerData: work })
    })
    return new RowCopiers(workers)
  }

  /** Seconds for all rows: those of the slowest thread. */
  async pass(): Promise<number> {
    return Math.max(...await Promise.all(this.#workers.map((worker) => new Promise<number>((done, failed) => {
      worker.once('message', done).once('error', failed)
      worker.postMessage('pass')
    }))))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }
}

if (!isMainThread && parentPort !== null) {
  const { source, rowBytes, rows } = workerData as Work
  const from = new Uint8Array(source)
  const out = new Uint8Array(Math.max(rowBytes, OUT_BYTES)).fill(1)
  const places = Math.floor(out.length / rowBytes)
  parentPort.on('message', () => {
    const began = performance.now()
    for (let i = 0; i < rows.length; i++) out.set(from.subarray(rows[i]! * rowBytes, (rows[i]! + 1) * rowBytes), i % places * rowBytes)
    parentPort!.postMessage((performance.now() - began) / 1000)
  })
}
