import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { parentPort, workerData } from 'node:worker_threads'
import { isProfiled, STAGE_CHANNEL, type StageFacts } from '../../core/stages.js'
import type { TypedArray } from '../../core/dtype.js'
import { native } from '../../native/load.js'
import { isPlace, type Place } from './backend.js'
import { GpuError } from './errors.js'
import { LocalBackend } from './local.js'
import type { Lent, Reply, Request, ThreadData } from './protocol.js'

/**
 * The thread that holds the device. While maps are pending, Dawn's binding keeps the event loop of its thread turning, and its calls copy megabytes: both
 * would be felt by whoever shares a thread with it.
 */
const { options, gone: flag } = workerData as ThreadData
const port = parentPort!
const reply = (message: Reply, moved: ArrayBuffer[] = []): void => port.postMessage(message, moved)

/** Channels are a thread's own. */
function tell(facts: unknown): void {
  const { start, ...rest } = facts as StageFacts
  reply({ kind: 'stage', facts: { ...rest, start: start + performance.timeOrigin } })
}

type Result = Extract<Reply, { kind: 'done' }>['result']

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
  if (request.profiled !== undefined && request.profiled !== isProfiled()) (request.profiled ? subscribe : unsubscribe)(STAGE_CHANNEL, tell)
  if (request.kind === 'close') void end()
  else void answer(request)
})

async function answer(request: Exclude<Request, { kind: 'close' }>): Promise<void> {
  try {
    const result = await act(request)
    reply({ kind: 'done', id: request.id, result }, buffersOf(result))
  } catch (error) {
    reply({ kind: 'failed', id: request.id, reason: error instanceof GpuError ? error.reason : 'failed', message: (error as Error).message })
  }
}

async function act(request: Exclude<Request, { kind: 'close' }>): Promise<Result> {
  switch (request.kind) {
    case 'prepare': return backend!.prepare(request.program, request.steps)
    case 'run': return backend!.run(request.program, request.count, request.inputs.map(placed), request.outputs.map(placed))
    case 'read': {
      await backend!.read(request.place, borrow(request.out))
      return undefined
    }
    case 'drop': return backend!.drop(request.place) as undefined
    case 'prepare-neighbors': return backend!.prepareNeighbors(request.search)
    case 'neighbors': {
      const { offsets, frac, lattice } = request.crystals
      return backend!.neighbors(request.search, { offsets: borrowDoubles(offsets), frac: borrowDoubles(frac), lattice: borrowDoubles(lattice) })
    }
    case 'prepare-nearest': return backend!.prepareNearest()
    case 'nearest': {
      const { points: id, x, y, at, k } = request
      return backend!.nearest({ id, points: { x: borrowDoubles(x), y: borrowDoubles(y) }, at: new Int32Array(native().borrowMemory(at.address, at.bytes)), k })
    }
    case 'forget-points': return backend!.forgetPoints(request.points) as undefined
    case 'release': return backend!.release(request.program) as undefined
  }
}

function placed(array: Lent | Place): Uint8Array | Place {
  return isPlace(array) ? array : borrow(array)
}

function borrow({ address, bytes }: Lent): Uint8Array {
  return new Uint8Array(native().borrowMemory(address, bytes))
}

function borrowDoubles({ address, bytes }: Lent): Float64Array {
  return new Float64Array(native().borrowMemory(address, bytes))
}

/** What is sent and not copied: nobody needs it here any more. */
function buffersOf(result: Result): ArrayBuffer[] {
  if (result === undefined) return []
  const arrays: TypedArray[] = 'edges' in result ? Object.values(result.edges) : 'squared' in result ? [result.index, result.squared, result.undone] : []
  return [...new Set(arrays.map(({ buffer }) => buffer as ArrayBuffer))]
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
