import { MissingDependencyError } from '../../core/errors.js'
import { checkOptions, choice, show } from '../../core/options.js'
import type { TensorFlow } from './namespace.js'

const PACKAGES: readonly TfPackage[] = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node', '@tensorflow/tfjs']
/** The packages of TensorFlow.js that have all of it. */
export type TfPackage = '@tensorflow/tfjs-node-gpu' | '@tensorflow/tfjs-node' | '@tensorflow/tfjs'

/** Options of `loadTf`. */
export interface LoadTfOptions {
  /** Packages to try, in this order. Default: tfjs-node-gpu, tfjs-node, tfjs. */
  readonly packages?: readonly TfPackage[]
}

/** What `loadTf` found. */
export interface LoadedTf<T extends TensorFlow = TensorFlow> {
  /** The namespace, ready for use. */
  readonly tf: T
  /** The package it is of. */
  readonly name: TfPackage
  /** Of the package. */
  readonly version: string
  /** `tensorflow` (native, also on a GPU) or `cpu` (JavaScript), for instance. */
  readonly backend: string
  /** Packages before it that are installed and do not work, with the reason. */
  readonly skipped: readonly { readonly name: TfPackage; readonly reason: string }[]
}

/** What is asked of a package that was loaded. */
interface Loaded extends TensorFlow {
  readonly version: Readonly<Record<string, string>>
  ready(): Promise<void>
  getBackend(): string
  removeBackend(name: string): void
  add(a: unknown, b: unknown): { dataSync(): ArrayLike<number>; dispose(): void }
}

/**
 * The fastest TensorFlow.js that is installed and works here: `@tensorflow/tfjs-node-gpu`, `@tensorflow/tfjs-node`, `@tensorflow/tfjs`. Rejects with MissingDependencyError where there is none. For types, name the package:
 * `loadTf<typeof import('@tensorflow/tfjs')>()`.
 */
export function loadTf<T extends TensorFlow = TensorFlow>(options: LoadTfOptions = {}): Promise<LoadedTf<T>> {
  return loadWith((name) => import(name), options) as Promise<LoadedTf<T>>
}

/** @internal With `load` for `import`. */
export async function loadWith(load: (name: TfPackage) => Promise<unknown>, options: LoadTfOptions = {}): Promise<LoadedTf> {
  checkOptions('loadTf', options, ['packages'])
  const { packages = PACKAGES } = options
  if (!Array.isArray(packages) || packages.length === 0) throw new TypeError(`loadTf: packages must be a list of ${PACKAGES.join(', ')}, not ${show(packages)}`)
  for (const name of packages) choice('loadTf', 'packages', name, PACKAGES)
  const skipped: { name: TfPackage; reason: string }[] = []
  const causes: unknown[] = []
  for (const name of packages as readonly TfPackage[]) {
    try {
      const tf = namespaceOf(await load(name))
      await check(tf)
      return { tf, name, version: versionOf(tf, name), backend: tf.getBackend(), skipped }
    } catch (error) {
      causes.push(error)
      if (!isAbsent(error, name)) skipped.push({ name, reason: error instanceof Error ? error.message : String(error) })
    }
  }
  const broken = skipped.map(({ name, reason }) => `; ${name} is there, but: ${reason}`).join('')
  throw new MissingDependencyError(`loadTf needs TensorFlow.js: npm install ${packages.includes('@tensorflow/tfjs-node') ? '@tensorflow/tfjs-node (native), or @tensorflow/tfjs (JavaScript)' : packages.at(-1)}${broken}`, { cause: new AggregateError(causes) })
}

/** The packages are CommonJS, of which `import` sees all names only in `default`. */
function namespaceOf(module: unknown): Loaded {
  const { default: whole } = module as { default?: Partial<Loaded> }
  return (typeof whole?.tensor === 'function' ? whole : module) as Loaded
}

/**
 * One calculation, because loading says little: tfjs-node 4.22 loads on Node 23 and newer and fails at its first kernel. A backend that fails is removed, for all packages share one engine and the next would
 * calculate with it.
 */
async function check(tf: Loaded): Promise<void> {
  await tf.ready()
  try {
    const found = twice(tf)
    if (found.join() !== '2,4') throw new Error(`[1, 2] + [1, 2] is [${found.join(', ')}]`)
  } catch (error) {
    tf.removeBackend(tf.getBackend())
    throw error
  }
}

function twice(tf: Loaded): number[] {
  const made: { dispose(): void }[] = []
  try {
    const one = tf.tensor(Float32Array.of(1, 2), [2], 'float32')
    made.push(one)
    const two = tf.add(one, one)
    made.push(two)
    return Array.from(two.dataSync())
  } finally {
    for (const tensor of made) tensor.dispose()
  }
}

/** tfjs-node-gpu counts its versions under the name of tfjs-node. */
function versionOf({ version }: Loaded, name: TfPackage): string {
  return version[name.slice('@tensorflow/'.length).replace('-gpu', '')] ?? version['tfjs-core'] ?? 'unknown'
}

/** False where the package is there and something that it needs is not. */
function isAbsent(error: unknown, name: TfPackage): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  return (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && String(message).includes(`'${name}'`)
}
