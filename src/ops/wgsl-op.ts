import { DTYPES } from '../core/dtype.js'
import { checkOptions } from '../core/options.js'
import { elementCount, type FieldSpecs, type Tensor } from '../core/tensor.js'
import type { Fail, FieldStates, OpParams } from './op.js'
import type { ProgramBuilder } from './builder.js'
import type { WgslStep } from './program.js'
import { layoutOf } from './wgsl-layout.js'

/** What an item op does on the GPU, in WGSL; the conventions stand in docs/ops.md. */
export interface WgslRun<P extends OpParams = OpParams> {
  /**
   * A compute shader with an entry point `main` and `override WORKGROUP_SIZE: u32`. Bindings of group 0 are called after fields: `var<storage, read> x` is the
   * input field x, `var<storage, read_write> y` the output field y, `x_out` the new x. All are `array<u32>` (or what the dtype is), the items of a batch one after
   * the other, elements packed as in host memory. `// import: exact` brings the guarded arithmetic of kernels/shared/exact.wgsl.
   */
  readonly wgsl: string
  /**
   * Values of the uniform `params` besides `items`, from the fields of an item and the op's parameters. Default: the parameters that are numbers, and for each
   * bound field `<field>_elements`, the elements of one item.
   */
  readonly uniform?: (fields: FieldSpecs, params: P) => Readonly<Record<string, number>>
  /** Invocations per item; the flat index over all items is `(workgroup_id.y * num_workgroups.x + workgroup_id.x) * WORKGROUP_SIZE + local_invocation_index`. Default: one per word of the first output. */
  readonly invocationsPerItem?: (fields: FieldSpecs, params: P) => number
  /** The same on the CPU: where there is no GPU, or it fails. Gets and gives the bound fields of one item. */
  readonly cpu?: (item: Readonly<Record<string, Tensor>>, params: P) => Readonly<Record<string, Tensor>> | Promise<Readonly<Record<string, Tensor>>>
}

export interface WgslBindings {
  readonly reads: readonly string[]
  readonly writes: readonly string[]
  /** Members of the uniform. */
  readonly uniform: readonly string[]
}

/** Checks what can be checked without a device, and reads the bindings. Throws TypeError. */
export function checkWgslRun(where: string, run: WgslRun): WgslBindings {
  checkOptions(`${where}: run`, run, ['wgsl', 'uniform', 'invocationsPerItem', 'cpu'])
  for (const name of ['uniform', 'invocationsPerItem', 'cpu'] as const) if (run[name] !== undefined && typeof run[name] !== 'function') throw new TypeError(`${where}: run.${name} must be a function`)
  const { bindings, params, overrides } = layoutOf(run.wgsl)
  if (!overrides.includes('WORKGROUP_SIZE')) throw new TypeError(`${where}: the WGSL must have "override WORKGROUP_SIZE: u32 = 256;" and use it as its workgroup size`)
  if (!/@compute[\s\S]*?fn\s+main\s*\(/.test(run.wgsl)) throw new TypeError(`${where}: the WGSL must have a compute entry point called main`)
  const vector = params.find(({ type }) => type === 'vec4u')
  if (vector !== undefined) throw new TypeError(`${where}: Params.${vector.name} is a vector; u32, i32 and f32 are possible`)
  const writes = bindings.filter(({ type }) => type === 'storage').map(({ name }) => name)
  if (writes.length === 0) throw new TypeError(`${where}: the WGSL writes nothing: no binding is var<storage, read_write>`)
  return { reads: bindings.filter(({ type }) => type === 'read-only-storage').map(({ name }) => name), writes, uniform: params.map(({ name }) => name) }
}

/** Which output field a binding is: its own name, or what stands before `_out`. */
function fieldOfOutput(binding: string, after: FieldStates): string | undefined {
  if (Object.hasOwn(after, binding)) return binding
  const field = binding.replace(/_out$/, '')
  return Object.hasOwn(after, field) ? field : undefined
}

/** Fields after the op are either written by the shader or as they were. */
export function checkWgslFields({ reads, writes }: WgslBindings, before: FieldStates, after: FieldStates, fail: Fail): void {
  for (const name of reads) if (!Object.hasOwn(before, name)) fail(`the WGSL reads ${name}, but there is no such field; there are ${Object.keys(before).join(', ')}`)
  const made = new Set(writes.map((binding) => fieldOfOutput(binding, after) ?? fail(`the WGSL writes ${binding}, but infer promises no such field; it promises ${Object.keys(after).join(', ')}`)))
  for (const [name, { dtype, shape }] of Object.entries(after)) {
    if (made.has(name)) continue
    const was = before[name]
    if (was === undefined || was.dtype !== dtype || JSON.stringify(was.shape) !== JSON.stringify(shape)) fail(`infer promises a new field ${name}, which the WGSL does not write`)
  }
}

export function lowerWgsl(builder: ProgramBuilder, run: WgslRun, { reads, writes, uniform }: WgslBindings, after: FieldStates, params: OpParams): void {
  const before = builder.fields()
  const outputs = writes.map((binding) => {
    const field = fieldOfOutput(binding, after)!
    return { binding, field, dtype: after[field]!.dtype, shape: after[field]!.shape as number[] }
  })
  const elements = (fields: FieldStates, names: readonly string[]): Record<string, number> => Object.fromEntries(names.map((name) => [`${name}_elements`, elementCount(fields[name]!.shape as number[])!]))
  const plain = Object.fromEntries(Object.entries(params).filter((entry): entry is [string, number] => typeof entry[1] === 'number'))
  const values: Readonly<Record<string, number>> = run.uniform?.(before, params) ?? { ...elements(after, outputs.map(({ field }) => field)), ...elements(before, reads), ...plain }
  for (const name of uniform) {
    if (name !== 'items' && typeof values[name] !== 'number') throw new TypeError(`there is no value for Params.${name}; there are items, ${Object.keys(values).join(', ')}`)
  }
  const first = outputs[0]!
  const invocationsPerItem = run.invocationsPerItem?.(before, params) ?? Math.ceil(elementCount(first.shape)! * DTYPES[first.dtype].size / 4)
  const step: Pick<WgslStep, 'code' | 'params' | 'invocationsPerItem' | 'twin'> = { code: run.wgsl, params: values, invocationsPerItem, twin: twinOf(run, outputs, params) }
  const made = new Set(outputs.map(({ field }) => field))
  builder.wgsl(step, reads.map((name) => ({ binding: name, field: name })), outputs, Object.keys(after).filter((name) => !made.has(name)))
}

function twinOf({ cpu }: WgslRun, outputs: readonly { field: string; dtype: string; shape: readonly number[] }[], params: OpParams): WgslStep['twin'] {
  if (cpu === undefined) return undefined
  return async (item) => {
    const made = await cpu(item, params)
    for (const { field, dtype, shape } of outputs) {
      const tensor: Partial<Tensor> | undefined = made[field]
      if (tensor?.dtype !== dtype || JSON.stringify(tensor.shape) !== JSON.stringify(shape)) throw new TypeError(`run.cpu must make ${field} ${dtype} [${shape.join(', ')}], not ${tensor?.dtype} [${tensor?.shape?.join(', ')}]`)
    }
    return made
  }
}
