import { DTYPES } from '../../core/dtype.js'
import { elementCount } from '../../core/tensor.js'
import { readsOf, writesOf, type Program } from '../../ops/program.js'
import type { Fault } from '../device.js'
import { isPlace, type Place } from './backend.js'
import type { FoundAdapter } from './dawn.js'
import { GpuError } from './errors.js'
import { Frame, type FrameWork } from './frame.js'
import { Gate } from './gate.js'
import { findEdges, neighborVariants, type Crystals, type FoundEdges, type NeighborHost, type NeighborSearch } from './neighbors.js'
import { HeldPoints } from './held-points.js'
import { checkFits, findNearest, NEAREST_VARIANT, type FoundPoints, type PointQuery } from './points.js'
import { Session, type SessionOptions, type Variant } from './session.js'
import { encodeStep, judges, variantsOf, type Work } from './steps.js'

/** `poolBytes` bounds the work under way, too. */
export interface EngineOptions extends SessionOptions {
  /** Bytes of all values of the items that are computed together. */
  readonly frameBytes: number
  /** Bytes of one binding at most; the adapter's own limit when that is less. */
  readonly bindingBytes: number
  /** The device is destroyed after so long without work, and opened again when there is some. */
  readonly idleMs: number
}

/** Items, one after the other in each array. Places are for single items. */
export interface EngineBatch {
  readonly count: number
  readonly inputs: readonly (Uint8Array | Place)[]
  readonly outputs: readonly (Uint8Array | Place)[]
}

interface Kept {
  readonly session: Session
  readonly buffer: GPUBuffer
  readonly bytes: number
}

/** Frames under way: one is uploaded, one computed, one read back. */
const FRAMES = 3

/** Runs programs on one adapter. A device is opened when there is work and destroyed when there was none for a while. Rejects with GpuError. */
export class Engine {
  readonly #adapter: FoundAdapter
  readonly #options: EngineOptions
  readonly #gate: Gate
  #session: Promise<Session> | undefined
  readonly #work = new Set<Promise<unknown>>()
  /** The session, once it is open. */
  #current: Session | undefined
  #idle: NodeJS.Timeout | undefined
  readonly #kept = new Map<number, Kept>()
  readonly #points: HeldPoints
  #closed = false

  constructor(adapter: FoundAdapter, options: EngineOptions) {
    this.#adapter = adapter
    this.#options = options
    this.#gate = new Gate(FRAMES, options.poolBytes)
    this.#points = new HeldPoints(this.#gate)
  }

  /** Compiles what the program needs. */
  async prepare(program: Program): Promise<void> {
    await this.#withSession((session) => compile(session, program))
  }

  async run(program: Program, { count, inputs, outputs }: EngineBatch): Promise<Fault[]> {
    return this.#withSession(async (session) => {
      await compile(session, program)
      const perItem = program.values.map(({ dtype, shape }) => elementCount(shape)! * DTYPES[dtype].size)
      const itemBytes = Math.max(1, perItem.reduce((a, b) => a + b, 0))
      const bindingBytes = this.#bindingBytes(session)
      const fitting = Math.min(Math.floor(this.#options.frameBytes / itemBytes), Math.floor(bindingBytes / Math.max(1, ...perItem)))
      if (count !== 1 && [...inputs, ...outputs].some(isPlace)) throw new GpuError('failed', `arrays are kept of single items, not of ${count}`)
      let items = Math.max(1, Math.min(fitting, ITEMS_MAX, count))
      const faults: Fault[] = []
      let failing = false
      const range = async (start: number, stop: number): Promise<void> => {
        const cut = (arrays: EngineBatch['inputs'], ports: readonly { readonly value: number }[]): EngineBatch['inputs'] =>
          arrays.map((bytes, k) => isPlace(bytes) ? bytes : bytes.subarray(start * perItem[ports[k]!.value]!, stop * perItem[ports[k]!.value]!))
        const found = await this.#gate.run((stop - start) * itemBytes, async () => failing ? [] : this.#runFrame(session, program, bindingBytes, { count: stop - start, inputs: cut(inputs, program.inputs), outputs: cut(outputs, program.outputs) }))
        for (const fault of found) faults.push({ ...fault, item: fault.item + start })
      }
      for (let start = 0; start < count;) {
        const starts: number[] = []
        for (let at = start; at < count; at += items) starts.push(at)
        const results = await Promise.allSettled(starts.map((at) => range(at, Math.min(count, at + items)).catch((error: unknown) => {
          // Those that have not begun need not.
          failing = true
          throw error
        })))
        const reasons = results.flatMap((result) => result.status === 'rejected' ? [result.reason as unknown] : [])
        if (reasons.length === 0) break
        // Less at a time may fit.
        if (items === 1 || session.lost !== undefined || !reasons.some((reason) => reason instanceof GpuError && (reason.reason === 'out-of-memory' || reason.reason === 'too-large'))) throw reasons[0]
        session.pool.trim(0)
        items = Math.ceil(items / 2)
        faults.length = 0
        failing = false
        start = 0
      }
      return faults.sort((a, b) => a.item - b.item)
    })
  }

  /** Copies what was kept. */
  async read(place: Place, out: Uint8Array): Promise<void> {
    await this.#withSession((session) => this.#gate.run(0, async () => {
      const { buffer, bytes } = this.#keptOf(session, place)
      if (bytes !== out.byteLength) throw new GpuError('failed', `${bytes} bytes were kept, and ${out.byteLength} are asked for`)
      await new Frame(session).run(nothing(), () => [{ buffer, bytes }], ([made]) => out.set(made!))
    }))
  }

  /** Gives what was kept back. */
  drop({ kept }: Place): void {
    const found = this.#kept.get(kept)
    if (found === undefined) return
    this.#kept.delete(kept)
    this.#gate.hold(-found.bytes)
    if (found.session.lost === undefined) found.session.pool.release(found.buffer)
    this.#rest()
  }

  /** Bytes that are kept, for tests. */
  get keptBytes(): number {
    return [...this.#kept.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Compiles what the search needs. */
  async prepareNeighbors(search: NeighborSearch): Promise<void> {
    await this.#withSession((session) => compileAll(session, neighborVariants(search)))
  }

  async neighbors(search: NeighborSearch, crystals: Crystals): Promise<FoundEdges> {
    return this.#withSession(async (session) => {
      await compileAll(session, neighborVariants(search))
      return findEdges(this.#hostOn(session), search, crystals)
    })
  }

  /** Compiles what nearest points need. */
  async prepareNearest(): Promise<void> {
    await this.#withSession((session) => compileAll(session, [NEAREST_VARIANT]))
  }

  async nearest(query: PointQuery): Promise<FoundPoints> {
    const { id, points, at, k } = query
    return this.#withSession(async (session) => {
      checkFits(this.#bindingBytes(session), points.x.length, k)
      await compileAll(session, [NEAREST_VARIANT])
      const found = await this.#points.use(id, points, session, (cells) => findNearest(this.#hostOn(session), cells, query))
      return found ?? { index: new Int32Array(at.length * k), squared: new Float64Array(at.length * k), undone: Uint32Array.from(at.keys()) }
    })
  }

  /** Nobody asks about these points any more. */
  forgetPoints(id: number): void {
    this.#points.drop(id)
  }

  /** Bytes of points on the device, for tests. */
  get pointBytes(): number {
    return this.#points.bytes
  }

  /** The device itself, kept open until it is released: for those who share its buffers. It may be lost at any time, as every device. */
  async lease(): Promise<{ device: GPUDevice; release(): void }> {
    let release!: () => void
    const held = new Promise<void>((resolve) => { release = resolve })
    return new Promise((resolve, reject) => {
      this.#withSession((session) => {
        resolve({ device: session.device, release })
        return held
      }).catch(reject)
    })
  }

  /** A frame of its own, for kernels that belong to no program. */
  withFrame<T>(kernels: readonly string[], work: (frame: Frame) => Promise<T>): Promise<T> {
    return this.#withSession(async (session) => {
      await Promise.all(kernels.map((kernel) => session.compile({ kernel, constants: {} })))
      return this.#gate.run(0, () => work(new Frame(session)))
    })
  }

  /** The device that is open now, for tests. */
  get session(): Promise<Session> | undefined {
    return this.#session
  }

  /** Ends what is under way, which rejects. Nothing of it is pending on the device afterwards. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#end()
    await Promise.allSettled(this.#work)
  }

  /** Destroys an open device at once, for a process that is exiting. */
  destroy(): void {
    this.#current?.destroy()
  }

  /** True while the device works: a process that tears it down then is aborted by Dawn. */
  get busy(): boolean {
    return this.#work.size > 0
  }

  #hostOn(session: Session): NeighborHost {
    const { frameBytes } = this.#options
    return { session, bindingBytes: this.#bindingBytes(session), frameBytes, admit: (bytes, work) => this.#gate.run(bytes, work) }
  }

  #bindingBytes({ device: { limits } }: Session): number {
    return Math.floor(Math.min(this.#options.bindingBytes, limits.maxStorageBufferBindingSize, BINDING_BYTES_MAX) / 256) * 256
  }

  async #withSession<T>(work: (session: Session) => Promise<T>): Promise<T> {
    if (this.#closed) throw new GpuError('lost', 'the device is closed')
    clearTimeout(this.#idle)
    const done = this.#doWork(work)
    this.#work.add(done)
    try {
      return await done
    } finally {
      this.#work.delete(done)
      this.#rest()
    }
  }

  /** Without work, and with nothing kept for work to come, the device goes after a while. */
  #rest(): void {
    if (this.#work.size > 0 || this.#kept.size > 0 || this.#closed) return
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => void this.#end(), Math.min(this.#options.idleMs, TIMER_MAX)).unref()
  }

  #keptOf(session: Session, { kept }: Place): Kept {
    const found = this.#kept.get(kept)
    // Another session's buffers went with their device.
    if (found?.session !== session) throw new GpuError('lost', 'what was kept on the device is gone')
    return found
  }

  /** Computes some items: upload, all steps, read back. */
  async #runFrame(session: Session, program: Program, bindingBytes: number, { count, inputs, outputs }: EngineBatch): Promise<Fault[]> {
    const judging = program.steps.flatMap((step, at) => judges(step, program) ? [at] : [])
    const faultsOf = new Map(judging.map((at, k) => [at, 2 * k * count]))
    const faultWords = Math.max(4, 2 * judging.length * count)
    const frame = new Frame(session)
    const buffers: (GPUBuffer | undefined)[] = []
    let faultBuffer: GPUBuffer | undefined
    const found: Fault[] = []
    const bytesOf = (value: number): number => elementCount(program.values[value]!.shape)! * DTYPES[program.values[value]!.dtype].size
    const resident = new Map<number, GPUBuffer>()
    inputs.forEach((input, k) => {
      if (!isPlace(input)) return
      const { value } = program.inputs[k]!
      const { buffer, bytes } = this.#keptOf(session, input)
      if (bytes !== bytesOf(value)) throw new GpuError('failed', `${bytes} bytes were kept, and ${bytesOf(value)} are asked for`)
      resident.set(value, buffer)
    })
    const staying = outputs.flatMap((output, k) => isPlace(output) ? [{ value: program.outputs[k]!.value, kept: output.kept }] : [])
    if (new Set(staying.map(({ value }) => value)).size < staying.length || staying.some(({ value }) => resident.has(value))) throw new GpuError('failed', 'a value is kept once, by the program that brings it here or makes it')
    const work = function * (): FrameWork {
      const initial = new Uint32Array(faultWords)
      for (let i = 1; i < faultWords; i += 2) initial[i] = 0xffffffff
      faultBuffer = frame.buffer(initial.byteLength)
      frame.upload(faultBuffer, new Uint8Array(initial.buffer))
      program.inputs.forEach(({ value }, k) => {
        const input = inputs[k]!
        if (isPlace(input)) {
          buffers[value] = resident.get(value)
          return
        }
        const buffer = frame.buffer(input.byteLength)
        frame.upload(buffer, input)
        buffers[value] = buffer
      })
      const last = lastUses(program)
      const state: Work = { frame, program, count, buffers, faults: faultBuffer, faultsOf, bindingBytes }
      for (let at = 0; at < program.steps.length; at++) {
        yield * encodeStep(state, at)
        for (const value of last[at]!) {
          if (!resident.has(value)) frame.free(buffers[value]!)
          buffers[value] = undefined
        }
      }
    }
    const copied = program.outputs.flatMap(({ value }, k) => {
      const output = outputs[k]!
      return isPlace(output) ? [] : [{ value, output }]
    })
    const visits = (): { buffer: GPUBuffer; bytes: number }[] => [
      { buffer: faultBuffer!, bytes: faultWords * 4 },
      ...copied.map(({ value, output }) => ({ buffer: buffers[value]!, bytes: output.byteLength })),
    ]
    await frame.run(work(), visits, ([faults, ...made]) => {
      const words = new Uint32Array(faults!.buffer, faults!.byteOffset, faultWords)
      for (let item = 0; item < count; item++) {
        const step = judging.find((at) => words[faultsOf.get(at)! + 2 * item]! > 0)
        if (step !== undefined) found.push({ step, item, count: words[faultsOf.get(step)! + 2 * item]!, index: words[faultsOf.get(step)! + 2 * item + 1]! })
      }
      made.forEach((bytes, k) => copied[k]!.output.set(bytes))
      for (const { value, kept } of staying) {
        frame.keep(buffers[value]!)
        this.#kept.set(kept, { session, buffer: buffers[value]!, bytes: bytesOf(value) })
        this.#gate.hold(bytesOf(value))
      }
    })
    return found
  }

  async #doWork<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const session = await this.#open()
    try {
      return await work(session)
    } catch (cause) {
      // The news of a loss may come after what it causes.
      await new Promise(setImmediate)
      if (session.lost !== undefined) throw new GpuError('lost', `the device was lost (${session.lost})`, { cause })
      if (cause instanceof GpuError) throw cause
      throw new GpuError('failed', (cause as Error).message, { cause })
    }
  }

  // Decides without waiting, so that all who come at the same time get the same device.
  #open(): Promise<Session> {
    if (this.#session !== undefined && this.#current?.lost === undefined) return this.#session
    this.#current = undefined
    const opening = Session.open(this.#adapter, this.#options).then((session) => {
      if (this.#session === opening) this.#current = session
      return session
    }, (cause: Error) => {
      if (this.#session === opening) this.#session = undefined
      throw new GpuError('lost', `no device can be opened (${cause.message})`, { cause })
    })
    return this.#session = opening
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle)
    const session = this.#session
    this.#session = this.#current = undefined
    this.#points.leave()
    ;(await session?.catch(() => undefined))?.destroy()
  }
}

/** No work before the reading. */
function * nothing(): FrameWork {}

/** What a timer can wait. */
const TIMER_MAX = 2 ** 31 - 1
/** Kernels count elements in 32 bits. */
const BINDING_BYTES_MAX = 2 ** 31 - 256
/** Bounds the tables of faults and the host's part of statistics. */
const ITEMS_MAX = 65_536

async function compile(session: Session, program: Program): Promise<void> {
  await compileAll(session, program.steps.flatMap((step) => variantsOf(step, program)))
}

async function compileAll(session: Session, variants: readonly Variant[]): Promise<void> {
  await Promise.all(variants.map((variant) => session.compile(variant)))
}

/** For each step the values that nothing after it needs. */
function lastUses(program: Program): number[][] {
  const last = new Map<number, number>()
  program.steps.forEach((step, at) => { for (const value of [...readsOf(step), ...writesOf(step)]) last.set(value, at) })
  for (const { value } of program.outputs) last.delete(value)
  const ends: number[][] = program.steps.map(() => [])
  for (const [value, at] of last) ends[at]!.push(value)
  return ends
}
