import { checkOptions, choice, number } from '../core/options.js'
import type { Batch, BatchResult, BatchStep } from '../ops/batch.js'
import type { Nearest, PlanePoints } from '../ops/points.js'
import type { Program } from '../ops/program.js'
import { createCpuDevice } from './cpu.js'
import { edgeFields } from './crystal.js'
import type { Device, DeviceIdentity, KeptArray, PreparedProgram } from './device.js'
import type { Backend, BackendOptions, Preparation } from './webgpu/backend.js'
import type { Verdicts } from './webgpu/canary.js'
import { findAdapters, type AdapterFacts } from './webgpu/dawn.js'
import { GpuError } from './webgpu/errors.js'
import { chosen, crystalsOf, searchOf, withItems } from './webgpu/graph.js'
import { GpuPoints } from './webgpu/gpu-points.js'
import { GpuProgram } from './webgpu/gpu-program.js'
import { Kept } from './webgpu/kept.js'
import { LocalBackend } from './webgpu/local.js'
import { neighborVariants, type FoundEdges } from './webgpu/neighbors.js'
import { RemoteBackend } from './webgpu/remote.js'

/** Verdicts of the canary, kept from one process to the next. */
export interface VerdictStore {
  read(): Verdicts | Promise<Verdicts>
  write(learned: Verdicts): void | Promise<void>
}

/** Options of `createWebgpuDevice`. The bytes of results depend on none of them. */
export interface WebgpuDeviceOptions {
  /** A part of the adapter's name; default: a real GPU before a software adapter. */
  readonly adapter?: string
  /** Where Dawn lives: a `worker` thread of its own (default), or the `main` one, for those who share buffers with it. */
  readonly thread?: 'worker' | 'main'
  /** Bytes on the device: work under way and buffers kept for the next may take so much each. Default 512 MiB. */
  readonly poolBytes?: number
  /** Bytes of all values of the items that are computed together. Default 64 MiB. The bytes of results do not depend on it. */
  readonly frameBytes?: number
  /** Bytes of one binding at most; default: what the adapter can. Larger work is split. */
  readonly bindingBytes?: number
  /** Invocations per workgroup, a power of two from 16 to 256; default 256. The bytes of results do not depend on it. */
  readonly workgroupSize?: number
  /** The device is destroyed after so many milliseconds without work; default 2,000. */
  readonly idleMs?: number
  /** `skip` trusts the device unseen; what it computes is then marked inexact and never shared with other devices. Default `check`. */
  readonly canary?: 'check' | 'skip'
  /** @internal Where verdicts of the canary are remembered; default: nowhere. */
  readonly verdicts?: VerdictStore
}

const OPTIONS = ['adapter', 'thread', 'poolBytes', 'frameBytes', 'bindingBytes', 'workgroupSize', 'idleMs', 'canary', 'verdicts']

export type { AdapterFacts }

/** A device that says what it runs on. */
export interface WebgpuDevice extends Device {
  /** Always a GPU. */
  readonly kind: 'webgpu'
  /** The adapter it runs on. */
  readonly adapter: AdapterFacts
  /**
   * With `thread: 'main'`: the GPUDevice on which programs run, kept open until `release()`, so that a training loop can share its queue and buffers. It must
   * not be destroyed; it may be lost, as any. Throws TypeError on a device that lives in a worker, which no other thread can use.
   */
  lease(): Promise<GpuLease>
}

/** The right to use a device's GPUDevice. */
export interface GpuLease {
  /** A GPUDevice, as @webgpu/types describes it. */
  readonly device: object
  /** Gives it back; the GPUDevice is not to be used afterwards. */
  release(): void
}

/**
 * WebGPU through Dawn. Kernels that the device fails the canary of, batches it cannot hold and batches it was lost with are computed by the CPU, which gives the
 * same bytes; a warning says so once. Rejects with MissingDependencyError when there is no adapter or no `webgpu` package.
 */
export async function createWebgpuDevice(options: WebgpuDeviceOptions = {}): Promise<WebgpuDevice> {
  const where = 'createWebgpuDevice'
  checkOptions(where, options, OPTIONS)
  const checked: BackendOptions = {
    adapter: options.adapter,
    poolBytes: number(where, 'poolBytes', options.poolBytes, { integer: true, min: 0 }, 512 * 2 ** 20),
    frameBytes: number(where, 'frameBytes', options.frameBytes, { integer: true, min: 1 }, 64 * 2 ** 20),
    bindingBytes: number(where, 'bindingBytes', options.bindingBytes, { integer: true, min: 4096 }, 2 ** 32),
    workgroupSize: number(where, 'workgroupSize', options.workgroupSize, { integer: true, min: 16, max: 256 }, 256),
    idleMs: number(where, 'idleMs', options.idleMs, { min: 0 }, 2_000),
    canary: choice(where, 'canary', options.canary, ['check', 'skip'] as const, 'check') === 'check',
    known: await options.verdicts?.read() ?? {},
  }
  if (!Number.isInteger(Math.log2(checked.workgroupSize))) throw new TypeError(`${where}: workgroupSize must be a power of two, not ${checked.workgroupSize}`)
  const thread = choice(where, 'thread', options.thread, ['worker', 'main'] as const, 'worker')
  const backend = thread === 'worker' ? await RemoteBackend.open(checked) : await LocalBackend.open(checked)
  return new Webgpu(backend, checked.canary, options.verdicts)
}

/** The adapters that can be asked for by name. Rejects with MissingDependencyError without the `webgpu` package. */
export async function webgpuAdapters(): Promise<AdapterFacts[]> {
  return (await findAdapters()).map(({ facts }) => facts)
}

/** @internal Joins a backend with the CPU that stands in for it. */
export class Webgpu implements WebgpuDevice {
  readonly kind = 'webgpu'
  readonly identity: DeviceIdentity
  readonly exact: boolean
  readonly adapter: AdapterFacts
  readonly #backend: Backend
  readonly #verdicts: VerdictStore | undefined
  readonly #cpu: Device
  readonly #warned = new Set<string>()
  readonly #work = new Set<Promise<unknown>>()
  /** By what they need compiled: whether the device does such searches. */
  readonly #searches = new Map<string, Promise<boolean | undefined>>()
  readonly #points: GpuPoints
  #closed = false
  #programs = 0
  #places = 0

  constructor(backend: Backend, exact: boolean, verdicts: VerdictStore | undefined, cpu: Device = createCpuDevice()) {
    this.#backend = backend
    this.#verdicts = verdicts
    this.#cpu = cpu
    this.adapter = backend.facts
    this.identity = { kind: 'webgpu', name: backend.facts.name, driver: backend.facts.driver }
    this.exact = exact
    this.#points = new GpuPoints({ backend, cpu, usable: () => this.#does('nearest', () => backend.prepareNearest()), warn: (error) => this.#warn(error) })
  }

  async lease(): Promise<GpuLease> {
    if (!(this.#backend instanceof LocalBackend)) throw new TypeError("lease: this device lives in a worker; make it with createWebgpuDevice({ thread: 'main' })")
    return this.#backend.engine.lease()
  }

  async prepare(program: Program): Promise<PreparedProgram> {
    this.#checkOpen()
    const id = this.#programs++
    const gpuProgram = new GpuProgram(program, id, {
      backend: this.#backend,
      cpu: this.#cpu,
      usable: () => this.#usable(id, program),
      work: (work) => {
        this.#checkOpen()
        return this.#track(work())
      },
      warn: (error) => this.#warn(error),
    })
    // Whoever forgets the program need not tell: the backend forgets it too.
    released.register(gpuProgram, { backend: this.#backend, id })
    await this.#track(gpuProgram.able())
    return gpuProgram
  }

  keep(): KeptArray {
    return new Kept(this.#backend, this.#places++)
  }

  async nearest(points: PlanePoints, at: Int32Array, k: number): Promise<Nearest> {
    this.#checkOpen()
    return this.#track(this.#points.nearest(points, at, k))
  }

  /** Neighbour lists run on the device, other steps on the CPU; and there the items that the device cannot do, or finds a fault in. */
  async batch(step: BatchStep, batch: Batch): Promise<BatchResult> {
    this.#checkOpen()
    return this.#track(this.#batch(step, batch))
  }

  async #batch(step: BatchStep, batch: Batch): Promise<BatchResult> {
    const search = searchOf(step)
    const crystals = search === undefined ? undefined : crystalsOf(batch)
    if (search === undefined || crystals === undefined || batch.count === 0 || !await this.#does(JSON.stringify(neighborVariants(search)), () => this.#backend.prepareNeighbors(search))) return this.#onCpu(step, batch)
    let found: FoundEdges
    try {
      found = await this.#backend.neighbors(search, crystals)
    } catch (error) {
      this.#warn(error)
      return this.#onCpu(step, batch)
    }
    const { edges, undone } = found
    if (undone.length === 0) return { fields: edgeFields(step, crystals.offsets, edges), faults: [] }
    if (undone.length === batch.count) return this.#onCpu(step, batch)
    const rest = await this.#cpu.batch(step, chosen(batch, undone))
    return { fields: edgeFields(step, crystals.offsets, withItems(edges, undone, rest)), faults: rest.faults.map(({ item, message }) => ({ item: undone[item]!, message })) }
  }

  async #onCpu(step: BatchStep, batch: Batch): Promise<BatchResult> {
    return { ...await this.#cpu.batch(step, batch), by: this.#cpu.identity }
  }

  async #does(key: string, prepare: () => Promise<Preparation>): Promise<boolean> {
    const asked = this.#searches.get(key)
    // A device that was lost while it prepared may be asked again.
    if (asked === undefined || (await asked === undefined && this.#searches.get(key) === asked)) this.#searches.set(key, this.#passes(prepare))
    return await this.#searches.get(key) === true
  }

  /** Waits for what is under way: its arrays belong to the device until then. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#work)
    await this.#backend.close()
    await this.#cpu.close()
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#work.add(work)
    try {
      return await work
    } finally {
      this.#work.delete(work)
    }
  }

  #usable(id: number, program: Program): Promise<boolean | undefined> {
    return this.#passes(() => this.#backend.prepare(id, plain(program)))
  }

  /** Whether the device does what it is prepared for; undefined when it could not be found out now. */
  async #passes(prepare: () => Promise<Preparation>): Promise<boolean | undefined> {
    try {
      const { failed, learned } = await prepare()
      if (Object.keys(learned).length > 0) await this.#verdicts?.write(learned)
      if (failed.length === 0) return true
      this.#say(failed.join(), `${this.identity.name} computes ${failed.join(', ')} otherwise than the reference; the CPU computes instead`)
      return false
    } catch (error) {
      this.#warn(error)
      const { reason } = error as GpuError
      return reason === 'lost' || reason === 'out-of-memory' ? undefined : false
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new TypeError('The device is closed')
  }

  #warn(error: unknown): void {
    if (!(error instanceof GpuError)) throw error
    // What does not fit is no defect: the next items may.
    this.#say(error.reason, `${this.identity.name}: ${error.message}; the CPU computes what is concerned`)
  }

  #say(kind: string, message: string): void {
    if (this.#warned.has(kind)) return
    this.#warned.add(kind)
    process.emitWarning(`tensorcache: ${message}, with the same bytes`, { code: 'TENSORCACHE_DEVICE' })
  }
}

/** The program without functions, which do not travel to another thread: what it needs of them is known by its shapes. */
function plain(program: Program): Program {
  return { ...program, steps: program.steps.map((step) => step.kernel === 'wgsl' ? { ...step, twin: undefined } : step) }
}

const released = new FinalizationRegistry<{ backend: Backend; id: number }>(({ backend, id }) => backend.release(id))
