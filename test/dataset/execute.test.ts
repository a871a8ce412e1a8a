import { setTimeout } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { isRagged, rowOf, type Rows } from '../../src/core/rows.js'
import type { FieldSpecs, Tensor } from '../../src/core/tensor.js'
import { Executor } from '../../src/dataset/execute.js'
import type { Piece } from '../../src/dataset/shard-builder.js'
import type { DeviceSource } from '../../src/devices/device.js'
import { segments } from '../../src/ops/compile.js'
import { defineOp, type OpOptions } from '../../src/ops/define-op.js'
import type { OpParams } from '../../src/ops/op.js'
import { recipe } from '../../src/ops/recipe.js'

const count = 100
const ids = Array.from({ length: count }, (_, i) => `item_${i}`)
const numbered: Piece = { count, fields: { x: { dtype: 'int32', shape: [count], data: Int32Array.from(ids, (_, i) => i) } } }
const noDevice: DeviceSource = { open: () => Promise.reject(new Error('a host op needs no device')) } as unknown as DeviceSource

function run(op: OpOptions<OpParams>['run'], infer: (fields: FieldSpecs) => FieldSpecs = (fields) => fields): Promise<Piece[]> {
  return new Executor(segments(recipe([defineOp({ name: 'lab.op', infer, run: op! })()])), noDevice).run(numbered, ids, undefined)
}

const valueOf = ({ x }: Readonly<Record<string, Tensor>>): number => x!.data[0] as number
const vector = (values: readonly number[]): Tensor => ({ dtype: 'int32', shape: [values.length, 1], data: Int32Array.from(values) })
const column: (fields: FieldSpecs) => FieldSpecs = () => ({ x: { dtype: 'int32', shape: [null, 1] } })

describe('host ops', () => {
  test('a bounded number of items is under way at once, and results keep their order', async () => {
    let [active, most] = [0, 0]
    const [piece, ...others] = await run(async (item) => {
      most = Math.max(most, ++active)
      await setTimeout(valueOf(item) % 3)
      active--
      return { x: { ...item.x!, data: Int32Array.of(valueOf(item) * 2) } as Tensor }
    })
    expect(others).toEqual([])
    expect([...(piece!.fields.x as Tensor).data]).toEqual(ids.map((_, i) => 2 * i))
    expect(most).toBe(16)
  })

  test('of several items that fail, the first is named, however long it takes; none begins after it', async () => {
    const begun: number[] = []
    await expect(run(async (item) => {
      const i = valueOf(item)
      begun.push(i)
      await setTimeout(i === 20 ? 30 : 1)
      if (i >= 20) throw new Error(`no ${i}`)
      return item
    })).rejects.toMatchObject({ code: 'E_ITEM', item: 'item_20' })
    expect(begun.length).toBeLessThan(60)
  })

  test('items that differ in axis 0 are one ragged piece', async () => {
    const [piece, ...others] = await run((item) => ({ x: vector(Array.from({ length: valueOf(item) % 4 }, () => valueOf(item))) }), column)
    expect(others).toEqual([])
    const x = piece!.fields.x as Rows
    expect(isRagged(x)).toBe(true)
    ids.forEach((_, i) => expect(rowOf(x, i)).toEqual(vector(Array.from({ length: i % 4 }, () => i))))
  })

  test('items that differ elsewhere are cut there', async () => {
    const pieces = await run((item) => {
      const i = valueOf(item)
      return { x: { dtype: 'int32', shape: [i % 2, i < 60 ? 1 : 2], data: new Int32Array(i % 2 * (i < 60 ? 1 : 2)) } }
    }, () => ({ x: { dtype: 'int32', shape: [null, null] } }))
    expect(pieces.map((piece) => piece.count)).toEqual([60, 40])
  })
})
