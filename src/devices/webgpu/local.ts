import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { MissingDependencyError } from '../../core/errors.js'
import { bytesOf } from '../../core/tensor.js'
import type { TypedArray } from '../../core/dtype.js'
import { native } from '../../native/load.js'
import type { Program } from '../../ops/program.js'
import type { Fault } from '../device.js'
import { isPlace, type Backend, type BackendOptions, type Place, type Preparation } from './backend.js'
import { Canary } from './canary.js'
import { chooseAdapter, type AdapterFacts } from './dawn.js'
import { Engine } from './engine.js'
import { GpuError } from './errors.js'
import { neighborVariants, type Crystals, type FoundEdges, type NeighborSearch } from './neighbors.js'
import { NEAREST_VARIANT, type FoundPoints, type PointQuery } from './points.js'
import type { Variant } from './session.js'
import { variantsOf } from './steps.js'

/** The GPU on this thread. */
export class LocalBackend implements Backend {
  readonly facts: AdapterFacts
  readonly engine: Engine
  readonly #canary: Canary | undefined
  readonly #programs = new Map<number, Program>()

  private constructor(facts: AdapterFacts, engine: Engine, canary: Canary | undefined) {
    this.facts = facts
    this.engine = engine
    this.#canary = canary
    // The thread of a device has an exit of its own (thread.ts).
    if (isMainThread) process.on('exit', this.#leave)
  }

  /** Rejects with MissingDependencyError when there is no adapter of that name, or the package is not installed or does not work here. */
  static async open(options: BackendOptions): Promise<LocalBackend> {
    try {
      return await LocalBackend.#open(options)
    } catch (cause) {
      if (cause instanceof MissingDependencyError) throw cause
      throw new MissingDependencyError(`device "webgpu" cannot be opened (${(cause as Error).message}); ${HOW_TO_GET_ONE}`, { cause })
    }
  }

  static async #open(options: BackendOptions): Promise<LocalBackend> {
    const found = await chooseAdapter(options.adapter)
    if (found === undefined) {
      throw new MissingDependencyError(`device "webgpu" found no adapter${options.adapter === undefined ? '' : ` whose name contains "${options.adapter}"`}; ${HOW_TO_GET_ONE}`)
    }
    const engine = new Engine(found, options)
    return new LocalBackend(found.facts, engine, options.canary ? new Canary(engine, found.facts, dawnVersion(), options.known) : undefined)
  }

  async prepare(id: number, program: Program): Promise<Preparation> {
    const checked = await this.#check(program.steps.flatMap((step) => variantsOf(step, program)))
    if (checked.failed.length === 0) {
      await this.engine.prepare(program)
      this.#programs.set(id, program)
    }
    return checked
  }

  async run(id: number, count: number, inputs: readonly (TypedArray | Place)[], outputs: readonly (TypedArray | Place)[]): Promise<readonly Fault[]> {
    const program = this.#programs.get(id)
    if (program === undefined) throw new GpuError('failed', 'the program was not prepared')
    const bytes = (array: TypedArray | Place): Uint8Array | Place => isPlace(array) ? array : bytesOf(array)
    return this.engine.run(program, { count, inputs: inputs.map(bytes), outputs: outputs.map(bytes) })
  }

  read(place: Place, out: TypedArray): Promise<void> {
    return this.engine.read(place, bytesOf(out))
  }

  drop(place: Place): void {
    this.engine.drop(place)
  }

  async prepareNeighbors(search: NeighborSearch): Promise<Preparation> {
    const checked = await this.#check(neighborVariants(search))
    if (checked.failed.length === 0) await this.engine.prepareNeighbors(search)
    return checked
  }

  neighbors(search: NeighborSearch, crystals: Crystals): Promise<FoundEdges> {
    return this.engine.neighbors(search, crystals)
  }

  async prepareNearest(): Promise<Preparation> {
    const checked = await this.#check([NEAREST_VARIANT])
    if (checked.failed.length === 0) await this.engine.prepareNearest()
    return checked
  }

  nearest(query: PointQuery): Promise<FoundPoints> {
    return this.engine.nearest(query)
  }

  forgetPoints(id: number): void {
    this.engine.forgetPoints(id)
  }

  release(id: number): void {
    this.#programs.delete(id)
  }

  async close(): Promise<void> {
    await this.engine.close()
    process.off('exit', this.#leave)
  }

  async #check(variants: readonly Variant[]): Promise<Preparation> {
    return await this.#canary?.check(variants.map(({ kernel }) => kernel)) ?? { failed: [], learned: {} }
  }

  /** Nothing can be awaited any more: while a map is pending, tearing down the thread would abort the process or crash it. */
  readonly #leave = (code: number): void => {
    if (this.engine.busy) native().exitNow(code)
    // Threads of the driver must not outlive the process's static objects.
    this.engine.destroy()
  }
}

const HOW_TO_GET_ONE = 'a GPU needs its Vulkan driver, and without a GPU a software adapter does: apt install mesa-vulkan-drivers (Mesa 24 or newer)'

/** Version of the package that brings Dawn. */
export function dawnVersion(): string {
  const entry = createRequire(import.meta.url).resolve('webgpu')
  return (JSON.parse(readFileSync(join(dirname(entry), 'package.json'), 'utf8')) as { version: string }).version
}
