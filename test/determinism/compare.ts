import { vi } from 'vitest'
import { DTYPES, type TypedArray } from '../../src/core/dtype.js'
import { bytesOf, elementCount } from '../../src/core/tensor.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import type { Fault } from '../../src/devices/device.js'
import type { Engine } from '../../src/devices/webgpu/engine.js'
import { native } from '../../src/native/load.js'
import type { Program } from '../../src/ops/program.js'
import { interpret } from '../reference/interpret.js'
import { engines, type TestEngine } from '../support/gpu.js'
import { bitsApart, kernelsBehind, tally } from './tally.js'

/** More and larger cases. */
export const LONG = process.env.TENSORCACHE_LONG === '1'
if (LONG) vi.setConfig({ testTimeout: 600_000 })

export interface Result {
  readonly outputs: readonly TypedArray[]
  readonly faults: readonly Fault[]
}

const GUARD_BYTES = 64
const SENTINEL = 0xa5

/** An array of `bytes` bytes, `shift` elements away from any alignment, between sentinels. */
function guarded(sample: { array: typeof DTYPES[keyof typeof DTYPES]['array'] }, bytes: number, shift: number): { data: TypedArray; intact(): boolean } {
  const start = GUARD_BYTES + shift * sample.array.BYTES_PER_ELEMENT
  const all = new Uint8Array(start + bytes + GUARD_BYTES).fill(SENTINEL)
  return {
    data: new sample.array(all.buffer, start, bytes / sample.array.BYTES_PER_ELEMENT),
    intact: () => all.subarray(0, start).every((byte) => byte === SENTINEL) && all.subarray(start + bytes).every((byte) => byte === SENTINEL),
  }
}

/** Runs the addon on misaligned copies; throws where it writes outside its outputs or into its inputs. */
export async function runNative(program: Program, count: number, inputs: readonly TypedArray[], isa: string, threads: number, shift: number): Promise<Result> {
  const device = createCpuDevice({ threads, isa })
  try {
    const prepared = await device.prepare(program)
    const ins = program.inputs.map((port, k) => {
      const copy = guarded(DTYPES[program.values[port.value]!.dtype], inputs[k]!.byteLength, shift)
      bytesOf(copy.data).set(bytesOf(inputs[k]!))
      return copy
    })
    const outs = program.outputs.map((port) => {
      const { dtype, shape } = program.values[port.value]!
      return guarded(DTYPES[dtype], count * elementCount(shape)! * DTYPES[dtype].size, shift)
    })
    const faults = await prepared.run({ count, inputs: ins.map((array) => array.data), outputs: outs.map((array) => array.data) })
    if (![...ins, ...outs].every((array) => array.intact())) throw new Error(`${isa}: written past the end of an array`)
    ins.forEach((array, k) => {
      if (Buffer.compare(bytesOf(array.data), bytesOf(inputs[k]!)) !== 0) throw new Error(`${isa}: written into input ${k}`)
    })
    return { outputs: outs.map((array) => array.data), faults }
  } finally {
    await device.close()
  }
}

/** Says where two results differ, or nothing. Outputs of items with a fault are not compared: they are not to be used. */
export function difference(program: Program, count: number, actual: Result, expected: Result): string | undefined {
  const plain = (faults: readonly Fault[]): string => JSON.stringify(faults.map(({ step, item, count: some, index }) => ({ step, item, count: some, index })))
  if (plain(actual.faults) !== plain(expected.faults)) return `faults ${plain(actual.faults)}, expected ${plain(expected.faults)}`
  const faulty = new Set(expected.faults.map((fault) => fault.item))
  for (let k = 0; k < program.outputs.length; k++) {
    const { dtype, shape } = program.values[program.outputs[k]!.value]!
    const itemBytes = elementCount(shape)! * DTYPES[dtype].size
    const a = bytesOf(actual.outputs[k]!), b = bytesOf(expected.outputs[k]!)
    if (a.length !== count * itemBytes || b.length !== a.length) return `output ${k}: ${a.length} bytes, expected ${b.length}, in all ${count * itemBytes}`
    for (let item = 0; item < count; item++) {
      if (faulty.has(item)) continue
      const from = item * itemBytes, to = from + itemBytes
      if (Buffer.compare(a.subarray(from, to), b.subarray(from, to)) === 0) continue
      let at = from
      while (a[at] === b[at]) at++
      const element = Math.floor((at - from) / DTYPES[dtype].size)
      const unit = DTYPES[dtype].size
      const hex = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(from + element * unit, from + (element + 1) * unit)).reverse().toString('hex')
      return `output ${k}, item ${item}, element ${element}: 0x${hex(a)}, expected 0x${hex(b)}`
    }
  }
  return undefined
}

/** Runs an engine; outputs begin as sentinels, so that what was not written shows. */
export async function runGpu(engine: Engine, program: Program, count: number, inputs: readonly TypedArray[]): Promise<Result> {
  const outputs = program.outputs.map(({ value }) => {
    const { dtype, shape } = program.values[value]!
    const bytes = new Uint8Array(count * elementCount(shape)! * DTYPES[dtype].size).fill(SENTINEL)
    return new DTYPES[dtype].array(bytes.buffer)
  })
  const faults = await engine.run(program, { count, inputs: inputs.map(bytesOf), outputs: outputs.map(bytesOf) })
  return { outputs, faults }
}

/** One adapter gives what is expected. */
export async function expectOnGpu(name: string, { name: adapter, engine }: Pick<TestEngine, 'name' | 'engine'>, program: Program, count: number, inputs: readonly TypedArray[], expected: Result): Promise<void> {
  const actual = await runGpu(engine, program, count, inputs)
  const found = difference(program, count, actual, expected)
  const faulty = expected.faults.length
  kernelsBehind(program).forEach((kernels, k) => {
    const { dtype, shape } = program.values[program.outputs[k]!.value]!
    const bits = found === undefined ? 0 : bitsApart(bytesOf(actual.outputs[k]!), bytesOf(expected.outputs[k]!))
    tally(adapter, kernels, (count - faulty) * elementCount(shape)! * (DTYPES[dtype].kind === 'complex' ? 2 : 1), bits)
  })
  if (found !== undefined) throw new Error(`${name} (${adapter}): ${found}`)
}

/**
 * Every device gives the bytes of the reference: the addon at every instruction set, with one and two threads, and WebGPU on every adapter that `on`
 * takes.
 */
export async function expectExact(name: string, program: Program, count: number, inputs: readonly TypedArray[], on: (one: TestEngine) => boolean = () => true): Promise<Result> {
  const expected = interpret(program, count, [...inputs])
  for (const isa of native().isaAvailable()) {
    for (const threads of [1, 2]) {
      const actual = await runNative(program, count, inputs, isa, threads, (count + threads) % 4)
      const found = difference(program, count, actual, expected)
      if (found !== undefined) throw new Error(`${name} (${isa}, ${threads} threads): ${found}`)
    }
  }
  for (const one of await engines()) if (on(one)) await expectOnGpu(name, one, program, count, inputs, expected)
  return expected
}
