import { isFloating, type DType } from '../core/dtype.js'
import { RecipeError } from '../core/errors.js'
import type { FieldSpecs, ItemSpecs, Tensor } from '../core/tensor.js'
import { ProgramBuilder, type ConcreteField } from './builder.js'
import type { BatchOp, DatasetOp, DeviceOp, Fail, FieldState, FieldStates, HostOp, ManyOp, OpCall } from './op.js'
import type { Program } from './program.js'
import type { Recipe } from './recipe.js'

/** Consecutive device ops run as one program, as far as none has to know what one before it found; all others stand alone. `first` is the place of the first op in the recipe. */
export type Segment =
  | { readonly kind: 'device'; readonly first: number; readonly ops: readonly OpCall[] }
  | { readonly kind: 'batch'; readonly first: number; readonly op: OpCall & { readonly definition: BatchOp } }
  | { readonly kind: 'host'; readonly first: number; readonly op: OpCall & { readonly definition: HostOp } }
  | { readonly kind: 'many'; readonly first: number; readonly op: OpCall & { readonly definition: ManyOp } }
  | { readonly kind: 'dataset'; readonly first: number; readonly op: OpCall & { readonly definition: DatasetOp } }

export interface Compiled {
  readonly program: Program
  /** Output fields that are input fields untouched. */
  readonly passThrough: readonly { readonly from: string; readonly to: string }[]
  /** Output fields that every item has alike. */
  readonly known: readonly { readonly field: string; readonly tensor: Tensor }[]
  /** Output fields known to hold no NaN and no infinity. */
  readonly finite: ReadonlySet<string>
}

/** Fields after the whole recipe. Throws RecipeError where an op does not fit what it is given; nothing is read. */
export function checkRecipe(recipe: Recipe, fields: FieldSpecs): FieldSpecs {
  const states = statesAlong(recipe, fields).at(-1)!
  return Object.fromEntries(Object.entries(states).map(([name, { dtype, shape }]) => [name, { dtype, shape }]))
}

/** Fields that one item has before, between and after the ops, as far as what is known of it says; undefined when an op refuses it. */
export function fieldsAlong(recipe: Recipe, item: ItemSpecs): readonly FieldSpecs[] | undefined {
  try {
    return statesAlong(recipe, item)
  } catch (error) {
    if (error instanceof RecipeError) return undefined
    throw error
  }
}

/** The source fields that the recipe's outputs are made from; others are not read and are in no key. */
export function inputFields(recipe: Recipe, fields: FieldSpecs, wanted?: readonly string[]): string[] {
  const states = statesAlong(recipe, fields)
  return neededBy(recipe.ops, states, new Set(wanted ?? Object.keys(states.at(-1)!)))
}

/** The fields before all these ops that the `wanted` ones after them are made from; `states` are the fields before each op, and after the last. */
export function neededBy(ops: readonly OpCall[], states: readonly FieldStates[], wanted: ReadonlySet<string>): string[] {
  for (let i = ops.length - 1; i >= 0; i--) {
    const { definition, params } = ops[i]!
    wanted = definition.needs(states[i]!, params, wanted)
  }
  return Object.keys(states[0]!).filter((name) => wanted.has(name))
}

export function segments(recipe: Recipe): Segment[] {
  const found: Segment[] = []
  let run: OpCall[] = []
  let first = 0
  const add = (place: number, op: OpCall): void => {
    if (run.length === 0) first = place
    run.push(op)
  }
  const close = (): void => {
    if (run.length > 0) found.push({ kind: 'device', first, ops: run })
    run = []
  }
  recipe.ops.forEach((op, i) => {
    const { definition } = op
    if (definition.kind === 'device') return add(i, op)
    if (definition.kind === 'series') {
      // The second part of an op has the place of the first.
      definition.parts.forEach((part, k) => {
        if (k > 0) close()
        add(i, { ...op, definition: part })
      })
      return
    }
    close()
    if (definition.kind === 'batch') found.push({ kind: 'batch', first: i, op: { ...op, definition } })
    else if (definition.kind === 'host') found.push({ kind: 'host', first: i, op: { ...op, definition } })
    else if (definition.kind === 'many') found.push({ kind: 'many', first: i, op: { ...op, definition } })
    else found.push({ kind: 'dataset', first: i, op: { ...op, definition } })
  })
  close()
  return found
}

/**
 * The program of device ops for items of these dtypes and shapes: the fields that `inputFields` named, or all. `value`: what every item has in a field that ops decide by. The recipe they come from has passed
 * `checkRecipe`, so that what an op names and is not there was dropped. `finite` names input fields known to be finite.
 */
export function compile({ ops, first }: { readonly ops: readonly OpCall[]; readonly first: number }, fields: Readonly<Record<string, { dtype: DType; shape: readonly number[]; value?: Tensor }>>, finite: ReadonlySet<string>): Compiled {
  const states: Record<string, ConcreteField> = {}
  for (const [name, field] of Object.entries(fields)) states[name] = { ...field, finiteness: finite.has(name) || !isFloating(field.dtype) ? 'finite' : 'unchecked' }
  const builder = new ProgramBuilder(states)
  ops.forEach((op, i) => {
    const place = first + i
    const definition = op.definition as DeviceOp
    const params = definition.narrow(builder.fields(), op.params)
    if (params === undefined) return
    builder.begin(place, op.name)
    // Shapes are known now, so what could not be judged before is judged here.
    const expected = definition.infer(builder.fields(), params, failing(place, op.name))
    definition.lower(builder, params)
    assertSame(place, op.name, expected, builder.fields())
  })
  const known = Object.entries(builder.fields()).filter(([, field]) => field.finiteness === 'finite').map(([name]) => name)
  return { ...builder.finish(), finite: new Set(known) }
}

/** Fields before each op, and after the last. */
function statesAlong(recipe: Recipe, fields: ItemSpecs): FieldStates[] {
  let states: FieldStates = Object.fromEntries(Object.entries(fields).map(([name, { dtype, shape, value }]): [string, FieldState] => [name, { dtype, shape, finiteness: isFloating(dtype) ? 'unchecked' : 'finite', ...(value !== undefined && { value }) }]))
  const all = [states]
  recipe.ops.forEach((op, i) => {
    states = op.definition.infer(states, op.params, failing(i, op.name))
    if (Object.keys(states).length === 0) failing(i, op.name)('leaves no field')
    all.push(states)
  })
  return all
}

function failing(op: number, opName: string): Fail {
  return (message, options) => { throw new RecipeError(op, opName, message, options) }
}

// An op that promises one thing and does another would publish shards that do not match their dataset.
function assertSame(op: number, opName: string, expected: FieldStates, found: Readonly<Record<string, ConcreteField>>): void {
  const text = (fields: FieldStates): string => JSON.stringify(Object.keys(fields).sort().map((name) => [name, fields[name]!.dtype, fields[name]!.shape]))
  if (text(expected) !== text(found)) throw new RecipeError(op, opName, `promised ${text(expected)} but makes ${text(found)}`)
}
