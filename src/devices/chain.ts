import { DTYPES } from '../core/dtype.js'
import { RecipeError } from '../core/errors.js'
import { rowOf } from '../core/rows.js'
import { bytesOf, elementCount, emptyTensor, type Tensor } from '../core/tensor.js'
import { readsOf, writesOf, type Program, type Step, type WgslStep } from '../ops/program.js'
import type { Fault, PreparedProgram } from './device.js'

/** Neighbouring steps that run as one native program, or one step of the user's. */
type Link =
  | { readonly twin: WgslStep }
  | { readonly twin: undefined; readonly prepared: PreparedProgram; readonly first: number; readonly inputs: readonly number[]; readonly outputs: readonly number[] }

/**
 * A program with kernels of the user's, on the CPU: what lies between them is compiled as programs of their own, and for each of them its twin runs, item by
 * item, on the main thread. Throws RecipeError for one that has no twin.
 */
export function chained(program: Program, native: (part: Program) => PreparedProgram): PreparedProgram {
  const links: Link[] = []
  for (let at = 0; at < program.steps.length;) {
    const step = program.steps[at]!
    if (step.kernel === 'wgsl') {
      if (step.twin === undefined) throw new RecipeError(step.origin.op, step.origin.opName, 'is written in WGSL alone, so only device "webgpu" can run it; give its run a cpu function')
      links.push({ twin: step })
      at++
      continue
    }
    const first = at
    while (at < program.steps.length && program.steps[at]!.kernel !== 'wgsl') at++
    links.push({ twin: undefined, first, ...nativePart(program, first, at, native) })
  }
  return {
    program,
    scratchBytes: program.values.reduce((sum, { dtype, shape }) => sum + elementCount(shape)! * DTYPES[dtype].size, 0),
    async run({ count, inputs, outputs }) {
      const values = program.values.map(({ dtype, shape }, value): Tensor => {
        const from = program.inputs.findIndex((port) => port.value === value)
        const to = program.outputs.findIndex((port) => port.value === value)
        const all = [count, ...shape]
        if (from >= 0) return { dtype, shape: all, data: inputs[from]! } as Tensor
        return to >= 0 ? { dtype, shape: all, data: outputs[to]! } as Tensor : emptyTensor(dtype, all)
      })
      const faults = new Map<number, Fault>()
      for (const link of links) {
        if (link.twin !== undefined) {
          for (let item = 0; item < count; item++) if (!faults.has(item)) await runTwin(link.twin, item, values)
          continue
        }
        const data = (list: readonly number[]): Tensor['data'][] => list.map((value) => values[value]!.data)
        const found = await link.prepared.run({ count, inputs: data(link.inputs), outputs: data(link.outputs) })
        for (const fault of found) if (!faults.has(fault.item)) faults.set(fault.item, { ...fault, step: fault.step + link.first })
      }
      // A value that is an output twice was made once.
      program.outputs.forEach(({ value }, k) => { if (outputs[k] !== values[value]!.data) bytesOf(outputs[k]!).set(bytesOf(values[value]!.data)) })
      return [...faults.values()].sort((a, b) => a.item - b.item)
    },
  }
}

async function runTwin(step: WgslStep, item: number, values: readonly Tensor[]): Promise<void> {
  const made = await step.twin!(Object.fromEntries(step.reads.map(({ field, value }) => [field, rowOf(values[value]!, item)])))
  for (const { field, value } of step.writes) bytesOf(rowOf(values[value]!, item).data).set(bytesOf(made[field]!.data))
}

/** Steps `first … stop` as a program: it takes what they read and do not make, and gives what others need of them. */
function nativePart(program: Program, first: number, stop: number, native: (part: Program) => PreparedProgram): { prepared: PreparedProgram; inputs: number[]; outputs: number[] } {
  const steps = program.steps.slice(first, stop)
  const made = new Set(steps.flatMap(writesOf))
  const inputs = [...new Set(steps.flatMap(readsOf))].filter((value) => !made.has(value))
  const wanted = new Set([...program.outputs.map(({ value }) => value), ...program.steps.slice(stop).flatMap(readsOf)])
  const outputs = [...made].filter((value) => wanted.has(value))
  const numbers = new Map([...inputs, ...made].map((value, number) => [value, number]))
  const port = (value: number): { field: string; value: number } => ({ field: `v${value}`, value: numbers.get(value)! })
  const part: Program = {
    values: [...numbers.keys()].map((value) => program.values[value]!),
    inputs: inputs.map(port),
    outputs: outputs.map(port),
    steps: steps.map((step): Step => step.kernel === 'wgsl' ? step : { ...step, in: numbers.get(step.in)!, out: numbers.get(step.out)! }),
  }
  return { prepared: native(part), inputs, outputs }
}
