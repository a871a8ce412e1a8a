import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, hostname } from 'node:os'
import { MissingDependencyError } from '../../core/errors.js'

/** What a model's results depend on besides the model: part of the key. */
export interface Runtime {
  /** Version of onnxruntime-node. */
  readonly onnxruntime: string
  /** Node's name of the system and of the processor's architecture; and of Linux, the C library, whose `pow` and `exp` kernels call. */
  readonly platform: string
  /** What computes. */
  readonly hardware: string
}

export const INSTALL = 'ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node; without skip its install script downloads CUDA'

/** Which instructions onnxruntime's kernels choose by. */
const INSTRUCTIONS = /^(sse4_[12]|f16c|fma|avx\w*|amx\w*|asimd\w*|fphp|sve\w*|sme2?|i8mm|bf16)$/
const NVIDIA = '/proc/driver/nvidia'

let processor: string | undefined
let platform: string | undefined

/** What is here. `hardware`: what the caller says of it. Throws MissingDependencyError. */
export function runtimeHere(providers: readonly string[], hardware: string | undefined): Runtime {
  return {
    onnxruntime: versionHere(),
    platform: platform ??= platformHere(),
    hardware: hardware ?? [processor ??= processorHere(), ...providers.every((name) => name === 'cpu') ? [] : [acceleratorHere()]].join('; '),
  }
}

function versionHere(): string {
  try {
    return (createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string }).version
  } catch (cause) {
    throw new MissingDependencyError(`onnx needs the package onnxruntime-node: npm install onnxruntime-node (${INSTALL})`, { cause })
  }
}

function platformHere(): string {
  const { report } = process as { report?: { excludeNetwork?: boolean; getReport(): unknown } }
  let libc: string | undefined
  if (process.platform === 'linux' && report !== undefined) {
    // Looking up the names of peers may take seconds.
    const before = report.excludeNetwork
    report.excludeNetwork = true
    libc = (report.getReport() as { header?: { glibcVersionRuntime?: string } }).header?.glibcVersionRuntime
    report.excludeNetwork = before ?? false
  }
  return `${process.platform} ${process.arch}${libc === undefined ? '' : ` glibc ${libc}`}`
}

/** Model, and where the system says it, instruction sets: two processors of one model name may differ in these, as in virtual machines. */
function processorHere(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown'
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(textOf('/proc/cpuinfo') ?? '')?.[1]?.trim().split(/\s+/) ?? []
  const known = [...new Set(flags)].filter((flag) => INSTRUCTIONS.test(flag)).sort()
  return known.length === 0 ? model : `${model} (${known.join(' ')})`
}

/** NVIDIA's driver says what there is; of others nothing is known, so that what they compute is shared with no other machine. */
function acceleratorHere(): string {
  const driver = textOf(`${NVIDIA}/version`)?.split('\n')[0]?.replace(/\s+/g, ' ').trim()
  const models = namesIn(`${NVIDIA}/gpus`).map((gpu) => /^Model:\s*(.*)$/m.exec(textOf(`${NVIDIA}/gpus/${gpu}/information`) ?? '')?.[1]?.trim() ?? 'unknown')
  return driver === undefined || models.length === 0 ? `machine ${hostname()}` : `${[...new Set(models)].sort().join(', ')}, ${driver}`
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
