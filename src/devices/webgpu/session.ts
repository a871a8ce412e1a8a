import { BufferPool } from './buffers.js'
import type { FoundAdapter } from './dawn.js'
import { GpuError } from './errors.js'
import { kernel, type Kernel } from './wgsl.js'

export interface SessionOptions {
  /** Bytes of free buffers that are kept for the next use. */
  readonly poolBytes: number
  /** Invocations per workgroup, a power of two from 16 to 256. Results do not depend on it. */
  readonly workgroupSize: number
  /** Where kernels come from; the folder `kernels/` when left out. Tests give wrong ones, to see that they are noticed. */
  readonly kernels?: (name: string) => Kernel
}

/** A kernel with its override constants: what is compiled. */
export interface Variant {
  readonly kernel: string
  readonly constants: Readonly<Record<string, number>>
}

export interface Pipeline {
  readonly kernel: Kernel
  readonly pipeline: GPUComputePipeline
  readonly layout: GPUBindGroupLayout
}

/** One opened GPUDevice with what was compiled and allocated on it. It ends when the device is lost or destroyed; then another one is opened. */
export class Session {
  readonly device: GPUDevice
  readonly pool: BufferPool
  readonly options: SessionOptions
  /** Tables of prepared programs, which stay on the device while it lives. */
  readonly resident = new WeakMap<object, GPUBuffer>()
  /** Bind group 1 of every kernel: the zero of kernels/shared/exact.wgsl. */
  readonly exact: GPUBindGroup
  /** How often the device had no memory left; see Frame. */
  shortages = 0
  readonly #exactLayout: GPUBindGroupLayout
  readonly #pipelines = new Map<string, Promise<Pipeline>>()
  readonly #compiled = new Map<string, Pipeline>()
  readonly #layouts = new Map<string, GPUBindGroupLayout>()
  readonly #modules = new Map<string, GPUShaderModule>()
  readonly #state: { lost: string | undefined } = { lost: undefined }

  private constructor(device: GPUDevice, options: SessionOptions) {
    this.device = device
    this.options = options
    this.pool = new BufferPool(device, options.poolBytes)
    // The binding keeps the promise of a device alive, and with it what is remembered here: it must not be the session, or no device would ever be collected.
    const state = this.#state
    void device.lost.then(({ message, reason }) => { state.lost ??= message || reason })
    // What nobody asked about would otherwise be printed.
    device.addEventListener('uncapturederror', (event) => event.preventDefault())
    this.#exactLayout = device.createBindGroupLayout({ entries: [{ binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform' } }] })
    // A new buffer holds zeros.
    const zero = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM })
    this.exact = device.createBindGroup({ layout: this.#exactLayout, entries: [{ binding: 0, resource: { buffer: zero } }] })
  }

  static async open(adapter: FoundAdapter, options: SessionOptions): Promise<Session> {
    return new Session(await adapter.open(), options)
  }

  /** Why the device was lost; undefined while it lives. */
  get lost(): string | undefined {
    return this.#state.lost
  }

  /** Compiles a kernel, once. */
  async compile(variant: Variant): Promise<Pipeline> {
    const key = keyOf(variant)
    let compiling = this.#pipelines.get(key)
    if (compiling === undefined) {
      compiling = this.#compile(variant)
      this.#pipelines.set(key, compiling)
      compiling.then((pipeline) => this.#compiled.set(key, pipeline), () => this.#pipelines.delete(key))
    }
    return compiling
  }

  /** A kernel that was compiled before. */
  pipeline(variant: Variant): Pipeline {
    const compiled = this.#compiled.get(keyOf(variant))
    if (compiled === undefined) throw new GpuError('failed', `kernel ${variant.kernel} was not compiled`)
    return compiled
  }

  /** Gives a table's buffer back. */
  forget(owner: object): void {
    this.resident.get(owner)?.destroy()
    this.resident.delete(owner)
  }

  destroy(): void {
    this.#state.lost ??= 'closed'
    this.device.destroy()
  }

  async #compile({ kernel: name, constants }: Variant): Promise<Pipeline> {
    const text = (this.options.kernels ?? kernel)(name)
    const layout = this.#layoutOf(text)
    let module = this.#modules.get(name)
    if (module === undefined) {
      module = this.device.createShaderModule({ label: name, code: text.code })
      this.#modules.set(name, module)
    }
    const known = { WORKGROUP_SIZE: this.options.workgroupSize, ...constants }
    try {
      const pipeline = await this.device.createComputePipelineAsync({
        label: name,
        layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout, this.#exactLayout] }),
        compute: { module, entryPoint: 'main', constants: Object.fromEntries(Object.entries(known).filter(([constant]) => text.layout.overrides.includes(constant))) },
      })
      return { kernel: text, pipeline, layout }
    } catch (cause) {
      throw new GpuError(this.lost === undefined ? 'failed' : 'lost', `kernel ${name} does not compile: ${(cause as Error).message}`, { cause })
    }
  }

  #layoutOf({ layout: { bindings } }: Kernel): GPUBindGroupLayout {
    const key = bindings.map(({ type }) => type).join()
    let layout = this.#layouts.get(key)
    if (layout === undefined) {
      layout = this.device.createBindGroupLayout({ entries: bindings.map(({ type }, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } })) })
      this.#layouts.set(key, layout)
    }
    return layout
  }
}

function keyOf({ kernel: name, constants }: Variant): string {
  return JSON.stringify([name, constants])
}
