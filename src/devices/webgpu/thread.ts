import { parentPort, workerData } from 'node:worker_threads'
import { native } from '../../native/load.js'
import { GpuError } from './errors.js'
import { LocalBackend } from './local.js'
import type { Lent, Reply, Request, ThreadData } from './protocol.js'

/**
 * The thread that holds the device. While maps are pending, Dawn's binding keeps the event loop of its thread turning, and its calls copy megabytes: both
 * would be felt by whoever shares a thread with it.
 */
const { options, gone: flag } = workerData as ThreadData
const port = parentPort!
const reply = (message: Reply): void => port.postMessage(message)

let backend: LocalBackend | undefined

// A thread that ends while Dawn owes it a promise takes the whole process with it, so it ends in order whatever happens.
process.on('uncaughtException', (error: Error) => {
  reply({ kind: 'ending', message: error.message })
  void end()
})
process.on('exit', gone)

try {
  backend = await LocalBackend.open(options)
  reply({ kind: 'open', facts: backend.facts })
} catch (error) {
  reply({ kind: 'refused', message: (error as Error).message })
  void end()
}

port.on('message', (request: Request) => {
  if (request.kind === 'close') void end()
  else void answer(request)
})

async function answer(request: Exclude<Request, { kind: 'close' }>): Promise<void> {
  try {
    reply({ kind: 'done', id: request.id, result: await act(request) })
  } catch (error) {
    reply({ kind: 'failed', id: request.id, reason: error instanceof GpuError ? error.reason : 'failed', message: (error as Error).message })
  }
}

async function act(request: Exclude<Request, { kind: 'close' }>): Promise<Extract<Reply, { kind: 'done' }>['result']> {
  switch (request.kind) {
    case 'prepare': return backend!.prepare(request.program, request.steps)
    case 'run': return backend!.run(request.program, request.count, request.inputs.map(borrow), request.outputs.map(borrow))
    case 'release': return backend!.release(request.program) as undefined
  }
}

function borrow({ address, bytes }: Lent): Uint8Array {
  return new Uint8Array(native().borrowMemory(address, bytes))
}

async function end(): Promise<void> {
  await backend?.close()
  gone()
  port.close()
}

function gone(): void {
  Atomics.store(new Int32Array(flag), 0, 1)
  Atomics.notify(new Int32Array(flag), 0)
}
