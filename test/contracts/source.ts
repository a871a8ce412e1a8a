import { describe, expect, test } from 'vitest'
import { copyFileSync, readFileSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { rowOf } from '../../src/core/rows.js'
import { SourceChangedError } from '../../src/core/errors.js'
import { bytesOf, type Tensor } from '../../src/core/tensor.js'
import type { ItemRun, Source } from '../../src/sources/source.js'

export interface ContractItem { id: string; fields: Record<string, Tensor> }

export interface ContractCase {
  /** Opens the source; given again, it gives an equal one. */
  open(): Promise<Source>
  /** What its items must be. */
  items: readonly ContractItem[]
  /** Opens the source over copies of its files, for tests that damage them; left out for sources without files. */
  openCopies?(copy: (path: string) => string): Promise<Source>
}

/** What every source promises (src/sources/source.ts). Called once per implementation, and per form of its files. */
export function sourceContract(name: string, make: () => Promise<ContractCase>): void {
  describe(`source contract: ${name}`, () => {
    test('length, fields and ids', async () => {
      const { source, items } = await opened(make)
      expect(source.length).toBe(items.length)
      items.forEach((item, k) => expect(source.id(k)).toBe(item.id))
      expect(new Set(items.map((item) => item.id)).size).toBe(items.length)
      for (const index of [-1, source.length, 0.5, NaN]) expect(() => source.id(index)).toThrow(TypeError)
      for (const item of items) {
        expect(Object.keys(item.fields).sort()).toEqual(Object.keys(source.fields).sort())
        for (const [field, tensor] of Object.entries(item.fields)) {
          const spec = source.fields[field]!
          expect(tensor.dtype).toBe(spec.dtype)
          expect(tensor.shape.length).toBe(spec.shape.length)
          spec.shape.forEach((extent, axis) => { if (extent !== null) expect(tensor.shape[axis]).toBe(extent) })
        }
      }
      expect(JSON.parse(JSON.stringify(source.description))).toEqual(source.description)
      expect(source.selection === undefined).toBe(source.files.length === 0 && source.digest === undefined)
      source.close()
    })

    test('every range gives its items, in order, once', async () => {
      const { source, items } = await opened(make)
      const n = items.length
      const ranges = [[0, n], [0, 0], [n, n], [0, Math.min(1, n)], [Math.max(0, n - 1), n], [Math.floor(n / 3), Math.ceil((2 * n) / 3)], [0, n]]
      for (const [start, stop] of ranges) await expectItems(source, items, start!, stop!, Object.keys(source.fields))
      for (const field of Object.keys(source.fields)) await expectItems(source, items, 0, n, [field])
      source.close()
    })

    test('ranges read at the same time do not disturb each other', async () => {
      const { source, items } = await opened(make)
      const half = Math.floor(items.length / 2)
      const fields = Object.keys(source.fields)
      await Promise.all([[0, items.length], [half, items.length], [0, half], [half, half]].map(([start, stop]) => expectItems(source, items, start!, stop!, fields)))
      source.close()
    })

    test('data lies at a multiple of its element size', async () => {
      const { source } = await opened(make)
      for await (const run of source.read(0, source.length, { fields: Object.keys(source.fields) })) {
        for (const { data } of Object.values(run.fields)) expect(data.byteOffset % data.BYTES_PER_ELEMENT).toBe(0)
      }
      source.close()
    })

    test('released items are read again', async () => {
      const { source, items } = await opened(make)
      source.release(0, source.length)
      await expectItems(source, items, 0, source.length, Object.keys(source.fields))
      source.release(0, Math.floor(source.length / 2))
      source.release(source.length, source.length)
      await expectItems(source, items, 0, source.length, Object.keys(source.fields))
      source.close()
    })

    test('ranges and fields that are not there are misuse', async () => {
      const { source } = await opened(make)
      for (const [start, stop] of [[-1, 0], [0, source.length + 1], [1, 0], [0.5, 1], [0, NaN]]) {
        await expect(collect(source.read(start!, stop!, { fields: [] }))).rejects.toThrow(TypeError)
      }
      await expect(collect(source.read(0, source.length, { fields: ['no_such_field'] }))).rejects.toThrow(TypeError)
      source.close()
    })

    test('an aborted signal ends reading', async () => {
      const { source } = await opened(make)
      const reason = new Error('enough')
      await expect(collect(source.read(0, source.length, { fields: Object.keys(source.fields), signal: AbortSignal.abort(reason) }))).rejects.toBe(reason)
      source.close()
    })

    test('files say what they are, and their digest', async () => {
      const { source } = await opened(make)
      for (const file of source.files) {
        const bytes = readFileSync(file.path)
        expect(file.size).toBe(bytes.length)
        expect(await file.digest()).toBe(createHash('sha256').update(bytes).digest('hex'))
        await expect(file.digest(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
      }
      source.assertUnchanged()
      source.close()
    })

    test('a file that changes is noticed; without files nothing can change', async () => {
      const { open, openCopies } = await make()
      if (openCopies === undefined) {
        // Files that others read, too, are touched and not damaged.
        const source = await open()
        source.assertUnchanged()
        for (const { path } of source.files.slice(0, 1)) {
          utimesSync(path, new Date(0), new Date(0))
          expect(() => source.assertUnchanged()).toThrow(SourceChangedError)
        }
        return source.close()
      }
      const damages: ((path: string) => void)[] = [
        (path) => { const bytes = readFileSync(path); bytes[bytes.length >> 1]! ^= 1; writeFileSync(path, bytes) },
        (path) => { truncateSync(path, readFileSync(path).length - 1) },
        (path) => { truncateSync(path, 0) },
        (path) => { writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.from('x')])) },
        // Times put back after a change of content: the change time cannot be.
        (path) => { const bytes = readFileSync(path); writeFileSync(path, bytes.reverse()); utimesSync(path, new Date(0), new Date(0)) },
      ]
      for (const [k, damage] of damages.entries()) {
        const copies: string[] = []
        const source = await openCopies((path) => {
          const copy = `${path}.copy${k}.${copies.length}`
          copyFileSync(path, copy)
          copies.push(copy)
          return copy
        })
        // File times advance in steps of some milliseconds.
        await new Promise((resolve) => { setTimeout(resolve, 20) })
        damage(copies.at(-1)!)
        expect(() => source.assertUnchanged()).toThrow(SourceChangedError)
        await expect(collect(source.read(0, source.length, { fields: Object.keys(source.fields) }))).rejects.toThrow(SourceChangedError)
        await expect(Promise.all(source.files.map((file) => file.digest()))).rejects.toThrow(SourceChangedError)
        source.close()
      }
    })

    test('reading after close is refused', async () => {
      const { source } = await opened(make)
      source.close()
      source.close()
      if (source.length > 0) await expect(collect(source.read(0, source.length, { fields: Object.keys(source.fields) }))).rejects.toThrow()
    })
  })
}

async function opened(make: () => Promise<ContractCase>): Promise<{ source: Source; items: readonly ContractItem[] }> {
  const { open, items } = await make()
  return { source: await open(), items }
}

export async function collect(runs: AsyncIterable<ItemRun>): Promise<ItemRun[]> {
  const all: ItemRun[] = []
  for await (const run of runs) all.push(run)
  return all
}

async function expectItems(source: Source, items: readonly ContractItem[], start: number, stop: number, fields: readonly string[]): Promise<void> {
  let next = start
  for (const run of await collect(source.read(start, stop, { fields }))) {
    expect(run.start).toBe(next)
    expect(run.count).toBeGreaterThan(0)
    expect(Object.keys(run.fields).sort()).toEqual([...fields].sort())
    for (let k = 0; k < run.count; k++) {
      for (const field of fields) {
        const { dtype, shape, data } = rowOf(run.fields[field]!, k)
        const expected = items[run.start + k]!.fields[field]!
        expect({ dtype, shape }).toEqual({ dtype: expected.dtype, shape: expected.shape })
        expect(Buffer.compare(bytesOf(data), bytesOf(expected.data)), `item ${run.start + k}, ${field}`).toBe(0)
      }
    }
    next += run.count
  }
  expect(next).toBe(stop)
}
