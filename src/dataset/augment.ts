import { rowOf } from '../core/rows.js'
import { byteCount, emptyTensor, tensorIn, type FieldSpecs, type Tensor } from '../core/tensor.js'
import { native } from '../native/load.js'
import { itemsAsRows } from '../ops/op.js'
import { Draws, epochKey, type ItemFields, type MakeField } from '../ops/random/random-op.js'
import { augmented, type BatchPlan } from './batch-options.js'
import { partsOf, type Batched, type BatchFields, type Epoch, type Maker } from './batches.js'
import { collated } from './collate.js'
import { batchOfRows } from './rows-maker.js'

/** The same items, each changed by the plan's random ops when it comes up. What is random about an item depends on seed, epoch and its index in `items`. */
export function withAugmentation(items: Batched, plan: BatchPlan): Batched {
  if (plan.augment.length === 0) return items
  const { length, fields } = items
  // Single items are cut from what lies together.
  const isFixed = plan.fields.every((name) => !fields[name]!.shape.includes(null))
  const read: BatchPlan = { ...plan, augment: [], graph: undefined, collate: isFixed ? 'stack' : 'list' }
  return {
    length, fields, ...(items.isSlow !== undefined && { isSlow: items.isSlow }),
    id: (index) => items.id(index),
    maker: (_, epoch, buffers) => new AugmentMaker(items, plan, items.maker(read, epoch, buffers), epoch),
  }
}

class AugmentMaker implements Maker {
  readonly #items: Batched
  readonly #plan: BatchPlan
  readonly #maker: Maker
  readonly #key: readonly [number, number]
  /** Of the items after the ops. */
  readonly #specs: FieldSpecs

  constructor(items: Batched, plan: BatchPlan, maker: Maker, { number }: Epoch) {
    this.#items = items
    this.#plan = plan
    this.#maker = maker
    this.#key = epochKey(plan.seed, number)
    this.#specs = augmented(plan.augment, Object.fromEntries(plan.fields.map((name) => [name, items.fields[name]!])))
  }

  async make(indices: Float64Array, batches: number, turn: number): Promise<BatchFields[]> {
    const read = await this.#maker.make(indices, batches, turn)
    const parts = partsOf(indices, this.#plan.size, batches)
    const made: BatchFields[] = []
    for (const [k, fields] of read.entries()) made.push(await this.#changed(parts[k]!, fields))
    return made
  }

  stop(): void {
    this.#maker.stop?.()
  }

  end(): void {
    this.#maker.end?.()
  }

  async #changed(indices: Float64Array, fields: BatchFields): Promise<BatchFields> {
    const { fields: names, collate, graph } = this.#plan
    const given = Array.from(indices, (_, row): ItemFields => Object.fromEntries(names.map((name) => [name, itemIn(fields[name] as Tensor | readonly Tensor[], row)])))
    if (collate === 'stack') return this.#stacked(indices, fields, given)
    const items = given.map((item, row) => this.#apply(item, indices[row]!, ownMemory))
    if (graph !== undefined) return batchOfRows(indices, itemsAsRows(items, names), this.#items, this.#plan)
    return collated(items.map((item, row) => ({ id: this.#items.id(indices[row]!), ...item })), this.#plan)
  }

  /** What the last op makes goes to its place in the batch at once. */
  #stacked(indices: Float64Array, fields: BatchFields, given: readonly ItemFields[]): BatchFields {
    const whole = new Map<string, Tensor>()
    const wholeOf = (name: string): Tensor => {
      let tensor = whole.get(name)
      if (tensor === undefined) {
        const { dtype, shape } = this.#specs[name]!
        const all = [indices.length, ...shape as number[]]
        whole.set(name, tensor = tensorIn(native().pooledBuffer(byteCount(dtype, all)), 0, dtype, all))
      }
      return tensor
    }
    const items = given.map((item, row) => this.#apply(item, indices[row]!, (name, dtype, shape) => (
      fits(this.#specs[name], dtype, shape) ? rowOf(wholeOf(name), row) : emptyTensor(dtype, shape)
    )))
    const batch: BatchFields = {}
    for (const name of this.#plan.fields) {
      // Fields that no item was changed in stay where they are, be it in mapped memory.
      if (items.every((item, row) => item[name] === given[row]![name])) {
        batch[name] = fields[name]
        continue
      }
      const tensor = wholeOf(name)
      items.forEach((item, row) => {
        const { data } = item[name]!
        const target = rowOf(tensor, row).data
        if (data.buffer !== target.buffer || data.byteOffset !== target.byteOffset) (target as Uint8Array).set(data as Uint8Array)
      })
      batch[name] = tensor
    }
    return batch
  }

  #apply(item: ItemFields, index: number, last: MakeField): ItemFields {
    const { augment } = this.#plan
    return augment.reduce((fields, op, place) => {
      try {
        return op.apply(fields, new Draws(this.#key, index, place, native().addNormal), place === augment.length - 1 ? last : ownMemory)
      } catch (error) {
        throw new TypeError(`batches: augment ${place} (${op.name}), item ${this.#items.id(index)}: ${(error as Error).message}`, { cause: error })
      }
    }, item)
  }
}

const ownMemory: MakeField = (_, dtype, shape) => emptyTensor(dtype, shape)

function itemIn(field: Tensor | readonly Tensor[], row: number): Tensor {
  return Array.isArray(field) ? (field as readonly Tensor[])[row]! : rowOf(field as Tensor, row)
}

function fits(spec: FieldSpecs[string] | undefined, dtype: string, shape: readonly number[]): boolean {
  return spec !== undefined && spec.dtype === dtype && spec.shape.length === shape.length && spec.shape.every((extent, axis) => extent === shape[axis])
}
