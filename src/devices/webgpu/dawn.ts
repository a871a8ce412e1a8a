import { MissingDependencyError } from '../../core/errors.js'
import { native } from '../../native/load.js'

/** What is known of an adapter without opening a device on it. */
export interface AdapterFacts {
  /** As the driver calls it, `NVIDIA H200` or `llvmpipe (LLVM 15.0.6, 256 bits)`; an adapter is asked for by a part of it. */
  readonly name: string
  /** As WebGPU says it: `nvidia`, `mesa`, `google`. */
  readonly vendor: string
  /** As WebGPU says it: `hopper`, `software`, `swiftshader`. */
  readonly architecture: string
  /** Driver and its version, as far as Dawn tells. */
  readonly driver: string
  /** True when a processor emulates it. */
  readonly software: boolean
  /** Features of WebGPU that it has. */
  readonly features: readonly string[]
  /** Limits of WebGPU that matter here, by name; bytes and counts. */
  readonly limits: Readonly<Record<string, number>>
}

export interface FoundAdapter {
  readonly facts: AdapterFacts
  /** A new device with the adapter's own limits, which are far above WebGPU's defaults; any number of times. */
  open(): Promise<GPUDevice>
}

/** The limits that kernels profit from; everything else stays at WebGPU's defaults. */
const LIMITS = [
  'maxBufferSize', 'maxStorageBufferBindingSize', 'maxComputeWorkgroupsPerDimension', 'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX', 'maxComputeWorkgroupStorageSize', 'minStorageBufferOffsetAlignment',
] as const

/** All adapters that Dawn finds here, as the drivers list them. Rejects with MissingDependencyError when the package is not installed. */
export async function findAdapters(): Promise<FoundAdapter[]> {
  const found: FoundAdapter[] = []
  for (const name of await adapterNames()) {
    const adapter = await findAdapter(name)
    if (adapter !== undefined) found.push(adapter)
  }
  return found
}

/** The adapter whose name contains `name`; without one, a real GPU before a software adapter. */
export async function chooseAdapter(name: string | undefined): Promise<FoundAdapter | undefined> {
  const names = (await adapterNames()).filter((one) => name === undefined || one.toLowerCase().includes(name.toLowerCase()))
  // By name, which tells most software adapters: to ask for one adapter lists them all again, and software adapters print warnings when they are listed.
  if (name === undefined) names.sort((a, b) => Number(SOFTWARE.test(a)) - Number(SOFTWARE.test(b)))
  let software: FoundAdapter | undefined
  for (const one of names) {
    // What remains are software adapters, and one is found already.
    if (software !== undefined && SOFTWARE.test(one)) break
    const adapter = await findAdapter(one)
    if (adapter !== undefined && (name !== undefined || !adapter.facts.software)) return adapter
    software ??= adapter
  }
  return software
}

async function findAdapter(name: string): Promise<FoundAdapter | undefined> {
  const instance = await instanceFor(name)
  const adapter = await quietly(() => instance.requestAdapter())
  if (adapter === null) return undefined
  const facts = factsOf(name, adapter)
  let unused: GPUAdapter | null = adapter
  return {
    facts,
    async open() {
      // An adapter opens one device in its life.
      const next = unused ?? await quietly(() => instance.requestAdapter())
      unused = null
      if (next === null) throw new Error(`the adapter ${name} is gone`)
      return next.requestDevice({ requiredLimits: facts.limits })
    },
  }
}

interface Dawn {
  create(flags: string[]): GPU
}

let loading: Promise<Dawn> | undefined

/**
 * Dawn instances by adapter name, for as long as the thread lives: when an instance was collected while a device of its own was in use, the process
 * crashed or hung.
 */
const instances = new Map<string, GPU>()

/** Dawn, loaded on first use. WebGPU's constants become globals of the thread, as the package asks for. */
function dawn(): Promise<Dawn> {
  loading ??= (async () => {
    try {
      const { create, globals } = await import('webgpu')
      Object.assign(globalThis, globals)
      return { create }
    } catch (cause) {
      const missing = (cause as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND'
      const reason = missing ? 'needs the package webgpu' : `cannot load the package webgpu (${(cause as Error).message})`
      throw new MissingDependencyError(`device "webgpu" ${reason}: npm install webgpu`, { cause })
    }
  })()
  return loading
}

async function instanceFor(name: string): Promise<GPU> {
  let instance = instances.get(name)
  if (instance === undefined) {
    const { create } = await dawn()
    instance = quietly(() => create([`adapter=${name}`]))
    instances.set(name, instance)
  }
  return instance
}

/**
 * Calls Dawn without its remarks on standard error about software adapters (limits too large to be true) and about missing drivers, which the caller is told of
 * in another way. Whatever else was written meanwhile is written after.
 */
function quietly<T>(call: () => T): T {
  const captured = native().captureStderr()
  try {
    return call()
  } finally {
    if (captured) {
      const rest = native().releaseStderr().split('\n').filter((line) => !REMARKS.test(line)).join('\n')
      if (rest !== '') process.stderr.write(rest)
    }
  }
}

const REMARKS = /^(Warning: (max\w+ artificially reduced|vkCreateInstance)|    at CheckVkSuccess)/

async function adapterNames(): Promise<string[]> {
  try {
    // There is no call that lists adapters, but a name that cannot be is answered with those that are.
    const instance = await instanceFor('\u0001')
    await quietly(() => instance.requestAdapter())
    return []
  } catch (error) {
    if (error instanceof MissingDependencyError) throw error
    return [...new Set(Array.from((error as Error).message.matchAll(/name: '(.*)'$/gm), (match) => match[1]!))]
  }
}

const SOFTWARE = /llvmpipe|lavapipe|swiftshader|basic render/i

function factsOf(name: string, adapter: GPUAdapter): AdapterFacts {
  const { vendor, architecture, description, isFallbackAdapter } = adapter.info
  return {
    name, vendor, architecture, driver: description,
    software: isFallbackAdapter === true || SOFTWARE.test(name),
    features: [...adapter.features].sort(),
    limits: Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit] as number])),
  }
}
