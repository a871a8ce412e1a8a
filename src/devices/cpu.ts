import { availableParallelism } from 'node:os'
import { DTYPES } from '../core/dtype.js'
import type { NativeProgram, ProgramDescription, StepDescription } from '../native/addon.js'
import { native } from '../native/load.js'
import type { KernelStep, Program } from '../ops/program.js'
import { chained } from './chain.js'
import { runCrystalStep } from './crystal.js'
import type { Device, PreparedProgram, ProgramBatch } from './device.js'
import { keysAbove } from './keys.js'

export interface CpuDeviceOptions {
  /** Threads that one `run` may use; all processors when left out. The bytes do not depend on it. */
  readonly threads?: number
  /**
   * Instruction set to use, one of the addon's `isaAvailable()`; the best when left out. For tests: it holds for the
   * whole process, until the device is closed.
   */
  readonly isa?: string
}

/** The CPU as a device: the addon's kernels, on threads of its own. */
export function createCpuDevice(options: CpuDeviceOptions = {}): Device {
  const threads = options.threads ?? availableParallelism()
  if (!Number.isInteger(threads) || threads < 1) throw new TypeError(`threads must be a positive integer, found ${threads}`)
  const addon = native()
  if (options.isa !== undefined) addon.isaForce(options.isa)
  let closed = false
  return {
    kind: 'cpu',
    identity: { kind: 'cpu', name: addon.isaSelected() },
    exact: true,
    async prepare(program) {
      if (closed) throw new TypeError('The device is closed')
      const native = (part: Program): PreparedProgram => prepared(part, new addon.Program(describe(part)), threads)
      return program.steps.some(({ kernel }) => kernel === 'wgsl') ? chained(program, native) : native(program)
    },
    batch: (step, batch) => runCrystalStep(step, batch, threads),
    async close() {
      if (!closed && options.isa !== undefined) addon.isaForce(undefined)
      closed = true
    },
  }
}

function prepared(program: Program, compiled: NativeProgram, threads: number): PreparedProgram {
  return {
    program,
    scratchBytes: compiled.scratchBytes,
    async run({ count, inputs, outputs }: ProgramBatch) {
      return compiled.run(count, inputs, outputs, threads)
    },
  }
}

/** The program in the form native code takes; it has only kernels of the project. */
export function describe(program: Program): ProgramDescription {
  return {
    values: program.values.map(({ dtype, shape }) => ({ dtype: DTYPES[dtype].code, shape: [...shape] })),
    inputs: program.inputs.map((port) => port.value),
    outputs: program.outputs.map((port) => port.value),
    steps: program.steps.map((step) => describeStep(step as KernelStep, program)),
  }
}

const NON_FINITE = { error: 0, zero: 1, keep: 2 } as const

function describeStep(step: KernelStep, { values }: Program): StepDescription {
  switch (step.kernel) {
    case 'cast': return { kernel: 'cast', in: step.in, out: step.out, nonFinite: NON_FINITE[step.nonFinite] }
    case 'gather': return { kernel: 'gather', in: step.in, out: step.out, index: [...step.index], fill: step.fill }
    case 'permute': return { kernel: 'permute', in: step.in, out: step.out, order: [...step.order] }
    case 'resample': return { kernel: 'resample', in: step.in, out: step.out, tables: step.tables.map(({ axis, taps, index, weight }) => ({ axis, taps, index, weight })) }
    case 'affine': return { kernel: 'affine', in: step.in, out: step.out, axis: step.axis, matrix: step.matrix, linear: step.method === 'linear', clamp: step.edges === 'clamp' }
    case 'foreground-box': return { kernel: 'foreground-box', in: step.in, out: step.out, axes: [...step.axes], keys: BigUint64Array.from(keysAbove(values[step.in]!.dtype, step.threshold)) }
    case 'normalize': {
      const { groups, members, statistics, nonzero, eps, toLow, toHigh, quantileLow, quantileHigh, clip, affine } = step
      return { kernel: 'normalize', in: step.in, out: step.out, groups, members, statistics, nonzero, eps, toLow, toHigh, quantileLow, quantileHigh, clip, affine }
    }
  }
}
