import { isFloating, type DType } from '../core/dtype.js'
import { RecipeError } from '../core/errors.js'
import type { NonFinite, Tensor } from '../core/tensor.js'
import type { Finiteness } from './op.js'
import { readsOf, writesOf, type AffineStep, type AxisTable, type ForegroundBoxStep, type NormalizeStep, type Program, type ProgramPort, type ProgramValue, type Step, type StepOrigin, type WgslStep } from './program.js'

interface Current {
  readonly value: number
  readonly finiteness: Finiteness
  /** What it holds, where that is known. */
  readonly known?: Tensor
}

export interface ConcreteField {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly finiteness: Finiteness
  readonly value?: Tensor
}

/** Collects the steps of consecutive device ops for items of known dtypes and shapes. Methods replace a field by the step's result, or add one. */
export class ProgramBuilder {
  readonly #values: ProgramValue[] = []
  readonly #steps: Step[] = []
  readonly #inputs: ProgramPort[] = []
  readonly #fields = new Map<string, Current>()
  /** Values that no step makes. */
  readonly #made = new Map<number, Tensor>()
  #op = { op: 0, opName: '' }

  constructor(fields: Readonly<Record<string, ConcreteField>>) {
    for (const [field, { dtype, shape, finiteness, value: known }] of Object.entries(fields)) {
      const value = this.#value(dtype, shape)
      this.#inputs.push({ field, value })
      this.#fields.set(field, { value, finiteness, ...(known !== undefined && { known }) })
    }
  }

  /** Says which op of the recipe the next steps come from. */
  begin(op: number, opName: string): void {
    this.#op = { op, opName }
  }

  /** The fields as they are now. */
  fields(): Record<string, ConcreteField> {
    return Object.fromEntries(Array.from(this.#fields.keys(), (name) => [name, this.field(name)]))
  }

  field(name: string): ConcreteField {
    const { value, finiteness, known } = this.#fields.get(name)!
    return { ...this.#values[value]!, finiteness, ...(known !== undefined && { value: known }) }
  }

  /** Refuses what only shows when items are at hand. */
  refuse(message: string): never {
    throw new RecipeError(this.#op.op, this.#op.opName, message)
  }

  /** A field of which every item has this: nothing computes it. */
  know(name: string, tensor: Tensor): void {
    const value = this.#value(tensor.dtype, tensor.shape)
    this.#made.set(value, tensor)
    this.#fields.set(name, { value, finiteness: 'finite', known: tensor })
  }

  /** Converts a field; a conversion that can change nothing is left out. */
  cast(name: string, dtype: DType, nonFinite: NonFinite): void {
    const from = this.field(name)
    const checks = nonFinite !== 'keep' && isFloating(from.dtype) && from.finiteness !== 'finite'
    const finiteness = castFiniteness(from, dtype, nonFinite)
    if (from.dtype === dtype && !checks) {
      this.#set(name, this.#fields.get(name)!.value, finiteness)
      return
    }
    const out = this.#value(dtype, from.shape)
    this.#push(name, out, finiteness, { kernel: 'cast', nonFinite })
  }

  /** Makes a field float32 without NaN and infinity: what arithmetic needs. */
  arithmetic(name: string): void {
    const { dtype, finiteness } = this.field(name)
    if (dtype !== 'float32' || finiteness !== 'finite') this.cast(name, 'float32', 'error')
  }

  gather(name: string, index: readonly (Int32Array | null)[], fill: Uint8Array): void {
    const { dtype, shape, finiteness } = this.field(name)
    const out = this.#value(dtype, shape.map((extent, axis) => index[axis]?.length ?? extent))
    this.#push(name, out, finiteness, { kernel: 'gather', index, fill })
  }

  permute(name: string, order: readonly number[]): void {
    if (order.every((from, to) => from === to)) return
    const { dtype, shape, finiteness } = this.field(name)
    const out = this.#value(dtype, order.map((axis) => shape[axis]!))
    this.#push(name, out, finiteness, { kernel: 'permute', order })
  }

  resample(name: string, tables: readonly AxisTable[]): void {
    const shape = [...this.field(name).shape]
    for (const { axis, taps, index } of tables) shape[axis] = index.length / taps
    this.#push(name, this.#value('float32', shape), 'finite', { kernel: 'resample', tables })
  }

  /** `extents` are the three axes' new ones. */
  affine(name: string, extents: readonly number[], step: Pick<AffineStep, 'axis' | 'matrix' | 'method' | 'edges'>): void {
    const { dtype, shape, finiteness } = this.field(name)
    const out = this.#value(step.method === 'linear' ? 'float32' : dtype, shape.map((extent, axis) => extents[axis - step.axis] ?? extent))
    this.#push(name, out, step.method === 'linear' ? 'finite' : finiteness, { kernel: 'affine', ...step })
  }

  /** A new field says where this one is above the threshold. */
  foregroundBox(name: string, box: string, step: Pick<ForegroundBoxStep, 'axes' | 'threshold'>): void {
    this.#push(name, this.#value('int32', [2, 3]), 'finite', { kernel: 'foreground-box', ...step }, box)
  }

  normalize(name: string, step: Omit<NormalizeStep, 'kernel' | 'in' | 'out' | 'origin'>): void {
    this.#push(name, this.#value('float32', this.field(name).shape), 'finite', { kernel: 'normalize', ...step })
  }

  /** Runs a kernel of the user's: `writes` are the new fields, `keep` those that stay as they are. */
  wgsl(step: Pick<WgslStep, 'code' | 'params' | 'invocationsPerItem' | 'twin'>, reads: readonly { binding: string; field: string }[], writes: readonly { binding: string; field: string; dtype: DType; shape: readonly number[] }[], keep: readonly string[]): void {
    const bound = reads.map(({ binding, field }) => ({ binding, field, value: this.#fields.get(field)!.value }))
    const made = writes.map(({ binding, field, dtype, shape }) => ({ binding, field, value: this.#value(dtype, shape) }))
    this.#steps.push({ ...step, kernel: 'wgsl', reads: bound, writes: made, origin: { ...this.#op, field: writes[0]?.field ?? '' } })
    for (const name of this.#fields.keys()) if (!keep.includes(name)) this.#fields.delete(name)
    // Nobody looked at what it made.
    for (const { field, value } of made) this.#set(field, value, isFloating(this.#values[value]!.dtype) ? 'unchecked' : 'finite')
  }

  /** Keeps the given fields only, under new names. */
  choose(names: Readonly<Record<string, string>>): void {
    const kept = Object.entries(names).map(([to, from]) => [to, this.#fields.get(from)!] as const)
    this.#fields.clear()
    for (const [to, current] of kept) this.#fields.set(to, current)
  }

  /**
   * The program that makes the fields as they are now; steps nobody needs are left out. Fields that no step touched are not outputs: `passThrough`
   * says which input each is. `known` are those that no step makes.
   */
  finish(): { program: Program; passThrough: { from: string; to: string }[]; known: { field: string; tensor: Tensor }[] } {
    const inputOf = new Map(this.#inputs.map(({ field, value }) => [value, field]))
    const outputs: ProgramPort[] = []
    const passThrough: { from: string; to: string }[] = []
    const known: { field: string; tensor: Tensor }[] = []
    for (const [field, { value }] of this.#fields) {
      const from = inputOf.get(value)
      const tensor = this.#made.get(value)
      if (tensor !== undefined) known.push({ field, tensor })
      else if (from === undefined) outputs.push({ field, value })
      else passThrough.push({ from, to: field })
    }
    const needed = new Set(outputs.map(({ value }) => value))
    const steps: Step[] = []
    for (const step of [...this.#steps].reverse()) {
      if (!writesOf(step).some((value) => needed.has(value))) continue
      for (const value of readsOf(step)) needed.add(value)
      steps.unshift(step)
    }
    const inputs = this.#inputs.filter(({ value }) => needed.has(value))
    return { program: renumber(this.#values, inputs, outputs, steps), passThrough, known }
  }

  #value(dtype: DType, shape: readonly number[]): number {
    return this.#values.push({ dtype, shape }) - 1
  }

  #set(name: string, value: number, finiteness: Finiteness): void {
    this.#fields.set(name, { value, finiteness })
  }

  #push(name: string, out: number, finiteness: Finiteness, step: Record<string, unknown>, makes: string = name): void {
    const origin: StepOrigin = { ...this.#op, field: name }
    this.#steps.push({ ...step, in: this.#fields.get(name)!.value, out, origin } as unknown as Step)
    this.#set(makes, out, finiteness)
  }
}

/** What is known of a cast's result. A float64 beyond float32 becomes infinite, which 'error' and 'zero' notice. */
export function castFiniteness(from: { dtype: DType; finiteness: Finiteness }, to: DType, nonFinite: NonFinite): Finiteness {
  if (!isFloating(to) || nonFinite !== 'keep') return 'finite'
  return from.finiteness === 'finite' && !mayOverflow(from.dtype, to) ? 'finite' : 'kept'
}

function mayOverflow(from: DType, to: DType): boolean {
  if (from === to) return false
  switch (to) {
    case 'float16': return true
    // The largest float32 values round up to infinity.
    case 'bfloat16': return from === 'float32' || from === 'float64'
    case 'float32': return from === 'float64'
    case 'complex64': return true
    default: return false
  }
}

// Values that went with dropped steps leave gaps; inputs come first.
function renumber(values: readonly ProgramValue[], inputs: readonly ProgramPort[], outputs: readonly ProgramPort[], steps: readonly Step[]): Program {
  const numbers = new Map<number, number>()
  const kept: ProgramValue[] = []
  for (const value of [...inputs.map((port) => port.value), ...steps.flatMap(writesOf)]) {
    numbers.set(value, kept.push(values[value]!) - 1)
  }
  const port = ({ field, value }: ProgramPort): ProgramPort => ({ field, value: numbers.get(value)! })
  return {
    values: kept,
    inputs: inputs.map(port),
    outputs: outputs.map(port),
    steps: steps.map((step): Step => {
      if (step.kernel !== 'wgsl') return { ...step, in: numbers.get(step.in)!, out: numbers.get(step.out)! }
      const bound = (ports: WgslStep['reads']): WgslStep['reads'] => ports.map((port) => ({ ...port, value: numbers.get(port.value)! }))
      return { ...step, reads: bound(step.reads), writes: bound(step.writes) }
    }),
  }
}
