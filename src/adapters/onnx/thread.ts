import { parentPort, workerData } from 'node:worker_threads'
import type { InferenceSession } from 'onnxruntime-node'
import { typedArray, type Tensor } from '../../core/tensor.js'
import { native } from '../../native/load.js'
import type { LentTensor, Reply, Request, ThreadData } from './protocol.js'
import { fromOrtTensor, toOrtTensor } from './tensors.js'

/** The thread that holds a session: onnxruntime-node runs a model without giving way, for as long as it takes. */

type Library = typeof import('onnxruntime-node')

/** Sums of some kernels depend on where in a register's width their numbers begin. */
const ALIGNMENT = 64n

/** Threads that spin between two runs take the cores from those that hash, read and write; results do not depend on it. */
const DEFAULTS = { 'session.intra_op.allow_spinning': '0' }

class Refusal extends Error {
  readonly reason: 'missing' | 'provider' | 'model'
  constructor(reason: Refusal['reason'], message: string) {
    super(message)
    this.reason = reason
  }
}

const { path, settings, state } = workerData as ThreadData
const [RUNS, STOPPED] = [0, 1]
const flags = new Int32Array(state)
const port = parentPort!
const reply = (message: Reply, moved: ArrayBuffer[] = []): void => port.postMessage(message, moved)

/** Aligned memory for inputs that are not, by name. */
const copies = new Map<string, Uint8Array>()

let library: Library | undefined
try {
  Atomics.store(flags, RUNS, 1)
  // A CommonJS package: its names are found in either form.
  const loaded = await import('onnxruntime-node').catch((error: Error) => { throw new Refusal('missing', error.message) }) as Library & { default?: Library }
  library = loaded.default ?? loaded
  // A process that is exiting waits for what runs, and for nothing else: a thread that ends meanwhile takes the process with it.
  if (Atomics.load(flags, STOPPED) === 0) serve(await open(library))
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  reply({ kind: 'refused', reason: error.reason, message: error.message })
  port.close()
} finally {
  rests()
}

function serve(opened: InferenceSession): void {
  // One after the other: the package would begin the next run within the turn in which one ends.
  let last = Promise.resolve()
  port.on('message', (request: Request) => {
    last = last.then(() => request.kind === 'close' ? opened.release().finally(() => port.close()) : answer(opened, request))
  })
  reply({ kind: 'open', inputs: opened.inputNames, outputs: opened.outputNames })
}

function rests(): void {
  Atomics.store(flags, RUNS, 0)
  Atomics.notify(flags, RUNS)
}

async function open(ort: Library): Promise<InferenceSession> {
  const there = ort.listSupportedBackends().map(({ name }) => name)
  const unknown = settings.providers.find((name) => !there.includes(name))
  if (unknown !== undefined) throw new Refusal('provider', `there is no provider ${JSON.stringify(unknown)}; onnxruntime-node ${ort.env.versions.node} has ${there.join(', ')} on ${process.platform} ${process.arch}`)
  const { providers, threads, graphOptimizationLevel, extra } = settings
  return ort.InferenceSession.create(path, {
    executionProviders: providers as string[],
    intraOpNumThreads: threads, interOpNumThreads: 1,
    graphOptimizationLevel: graphOptimizationLevel as 'all',
    // What fails is thrown as well.
    logSeverityLevel: 4,
    extra: { session: nested({ ...DEFAULTS, ...extra }) },
  }).catch((error: Error) => {
    throw new Refusal(/execution ?provider|backend|shared library|_providers_/i.test(error.message) ? 'provider' : 'model', error.message)
  })
}

/** `intra_op.allow_spinning: 0` as the package takes it: an object in an object. */
function nested(entries: Readonly<Record<string, string>>): Record<string, unknown> {
  const tree: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(entries)) {
    const parts = name.replace(/^session\./, '').split('.')
    let at = tree
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>
    at[parts.at(-1)!] = value
  }
  return tree
}

async function answer(opened: InferenceSession, { id, feeds, fetches }: Extract<Request, { kind: 'run' }>): Promise<void> {
  Atomics.store(flags, RUNS, 1)
  try {
    if (Atomics.load(flags, STOPPED) === 1) return
    const inputs = Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toOrtTensor(library!, borrowed(name, tensor))]))
    const made = await opened.run(inputs, fetches)
    const outputs = Object.fromEntries(fetches.map((name) => [name, fromOrtTensor(made[name]!)]))
    reply({ kind: 'done', id, outputs }, [...new Set(Object.values(outputs).map(({ data }) => data.buffer as ArrayBuffer))])
  } catch (error) {
    reply({ kind: 'failed', id, message: (error as Error).message })
  } finally {
    rests()
  }
}

function borrowed(name: string, { dtype, shape, address, bytes }: LentTensor): Tensor {
  const given = bytes === 0 ? new ArrayBuffer(0) : native().borrowMemory(address, bytes)
  if (bytes === 0 || address % ALIGNMENT === 0n) return { dtype, shape, data: typedArray(dtype, given, 0, bytes) } as Tensor
  const copy = aligned(name, bytes)
  copy.set(new Uint8Array(given))
  return { dtype, shape, data: typedArray(dtype, copy.buffer, copy.byteOffset, bytes) } as Tensor
}

function aligned(name: string, bytes: number): Uint8Array {
  const known = copies.get(name)
  if (known?.byteLength === bytes) return known
  const memory = new Uint8Array(bytes + Number(ALIGNMENT))
  const copy = memory.subarray(Number(-native().lendMemory(memory) & (ALIGNMENT - 1n))).subarray(0, bytes)
  copies.set(name, copy)
  return copy
}
