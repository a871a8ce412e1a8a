import { parentPort, workerData } from 'node:worker_threads'
import { DiskFullError } from '../core/errors.js'
import { layoutOf } from './layout.js'
import { reserveIndex } from './space.js'
import { openTables } from './tables.js'
import { transactions, type TransactionName } from './transactions.js'

/**
 * Where a process changes the index (pins excepted). Commits wait for the disk here, not on the event loop. (lmdb 3.5.6's asynchronous
 * transactions would be the natural way, but their callback never runs on Node 20 and 26; synchronous ones work.)
 */
export interface WriterRequest {
  readonly id: number
  readonly name: TransactionName
  readonly argument: unknown
  /** Random keys touched and bytes written, for the space check. */
  readonly entries: number
  readonly payload: number
  /** What came with it by transfer goes back with the answer. */
  readonly lent: ArrayBuffer | undefined
}

export type WriterReply = ({ readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: { readonly kind: 'full'; readonly bytesFree: number; readonly bytesNeeded: number } | { readonly kind: 'failed'; readonly message: string; readonly code: unknown } }) & { readonly lent?: ArrayBuffer | undefined }

const layout = layoutOf((workerData as { dir: string }).dir)
const tables = openTables(layout, { readOnly: false })
const port = parentPort!
let broken: string | undefined

port.on('message', (request: WriterRequest | 'close') => {
  if (request === 'close') {
    void tables.root.close().then(() => port.close())
    return
  }
  const { lent } = request
  if (lent === undefined) port.postMessage(answer(request))
  else port.postMessage({ ...answer(request), lent }, [lent])
})

function answer({ id, name, argument, entries, payload }: WriterRequest): WriterReply {
  if (broken !== undefined) return { id, error: { kind: 'failed', message: `an earlier commit failed (${broken}); this process writes no more`, code: undefined } }
  const run = transactions[name] as (tables: unknown, argument: unknown) => unknown
  // Only a commit that fails once something was written makes this index unsafe to write.
  let begun = false
  try {
    const result = tables.root.transactionSync(() => {
      // Under the write lock: what another process is about to use is not counted twice.
      reserveIndex(layout, tables, entries, payload)
      begun = true
      return run(tables, argument)
    })
    return { id, result }
  } catch (error) {
    if (error instanceof DiskFullError) return { id, error: { kind: 'full', bytesFree: error.bytesFree, bytesNeeded: error.bytesNeeded } }
    if (!begun) return { id, error: { kind: 'failed', message: (error as Error).message, code: (error as { code?: unknown }).code } }
    broken = (error as Error).message
    return { id, error: { kind: 'failed', message: broken, code: (error as { code?: unknown }).code } }
  }
}
