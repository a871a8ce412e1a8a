// What the machine can do at best for shuffled batches: threads that copy whole rows in a random order into a small buffer, and nothing else.
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'

interface Work { readonly rows: number; readonly rowBytes: number }

/** As much as a batch that is copied in one go: it stays in a cache. */
const OUT_BYTES = 2 ** 21

export class RowCopiers {
  readonly #workers: readonly Worker[]

  private constructor(workers: readonly Worker[]) {
    this.#workers = workers
  }

  static async start(threads: number, rows: number, rowBytes: number): Promise<RowCopiers> {
    const work: Work = { rows: Math.ceil(rows / threads), rowBytes }
    const workers = Array.from({ length: threads }, () => new Worker(fileURLToPath(import.meta.url), { workerData: work }))
    return new RowCopiers(workers)
  }

  /** Seconds for all rows: those of the slowest thread. */
  async pass(): Promise<number> {
    const passes = this.#workers.map((worker) => once(worker, 'message') as Promise<[number]>)
    for (const worker of this.#workers) worker.postMessage('pass')
    return Math.max(...(await Promise.all(passes)).map(([took]) => took))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }
}

if (!isMainThread && parentPort !== null) {
  const { rows, rowBytes } = workerData as Work
  // Memory of its own: V8 copies shared memory word by word. Filled, so that every page is there.
  const from = new Uint8Array(rows * rowBytes).fill(1)
  const out = new Uint8Array(Math.max(rowBytes, OUT_BYTES)).fill(1)
  const places = Math.floor(out.length / rowBytes)
  parentPort.on('message', () => {
    const began = performance.now()
    // A prime step visits all rows, each far from the one before.
    for (let i = 0, row = 0; i < rows; i++, row = (row + 7919) % rows) out.set(from.subarray(row * rowBytes, (row + 1) * rowBytes), i % places * rowBytes)
    parentPort!.postMessage((performance.now() - began) / 1000)
  })
}
