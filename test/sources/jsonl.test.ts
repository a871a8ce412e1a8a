import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { rowOf } from '../../src/core/rows.js'
import type { Tensor } from '../../src/core/tensor.js'
import { defineOp, recipe } from '../../src/index.js'
import { jsonl, type JsonlOptions } from '../../src/sources/jsonl.js'
import type { Source } from '../../src/sources/source.js'
import { collect, sourceContract, type ContractItem } from '../contracts/source.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { file } from './write.js'

interface Sample { readonly doc: string; readonly text: string; readonly label: number; readonly ok: boolean; readonly spectrum: readonly number[] }

const samples: readonly Sample[] = Array.from({ length: 23 }, (_, k) => ({ doc: `d-${k}`, text: k % 5 === 0 ? '' : 'é𝄞"\\\n'.repeat(k % 4) + k, label: k * 3 - 20, ok: k % 3 === 0, spectrum: Array.from({ length: k % 4 }, (_, i) => i / 8 - k) }))
const line = ({ doc, text, label, ok, spectrum }: Sample): string => JSON.stringify({ doc_id: doc, text, meta: { label, 'v1.0': { ok } }, spectrum })
const utf8 = (text: string): Tensor => { const data = new TextEncoder().encode(text); return { dtype: 'uint8', shape: [data.length], data } }
const itemOf = ({ doc, text, label, ok, spectrum }: Sample): ContractItem => ({
  id: doc,
  fields: {
    text: utf8(text),
    label: { dtype: 'int32', shape: [], data: Int32Array.of(label) },
    ok: { dtype: 'bool', shape: [], data: Uint8Array.of(ok ? 1 : 0) },
    spectrum: { dtype: 'float64', shape: [spectrum.length], data: Float64Array.from(spectrum) },
  },
})
const OPTIONS: JsonlOptions = { id: 'doc_id', fields: { text: 'text', label: { column: 'meta.label', dtype: 'int32' }, ok: { column: ['meta', 'v1.0', 'ok'] }, spectrum: 'spectrum' } }
const contents = (part: readonly Sample[], end = '\n'): Buffer => Buffer.from(part.map((sample) => line(sample) + end).join(''))

const FORMS: readonly (readonly [name: string, bytes: Buffer])[] = [
  ['line feeds', contents(samples)],
  ['CRLF', contents(samples, '\r\n')],
  ['no newline at the end', contents(samples).subarray(0, -1)],
  ['a byte order mark', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), contents(samples)])],
  ['empty lines', Buffer.concat([Buffer.from('\n \t\r\n'), contents(samples, '\n\n\r\n  \n')])],
]
for (const [name, bytes] of FORMS) {
  sourceContract(`jsonl, ${name}`, async () => {
    const path = file('rows.jsonl', bytes)
    return { open: () => jsonl(path, OPTIONS), items: samples.map(itemOf), openCopies: (copy) => jsonl(copy(path), OPTIONS) }
  })
}

sourceContract('jsonl, two files, of which one is empty and one is not kept resident', async () => {
  const paths = [file('a.jsonl', contents(samples.slice(0, 9))), file('none.jsonl', Buffer.from('\n')), file('b.jsonl', contents(samples.slice(9)))]
  const options = { ...OPTIONS, residencyBytes: 0 }
  return { open: () => jsonl(paths, options), items: samples.map(itemOf), openCopies: (copy) => jsonl(paths.map(copy), options) }
})

sourceContract('jsonl, no lines', async () => {
  const path = file('none.jsonl', Buffer.from(''))
  return { open: () => jsonl(path, { fields: ['text'] }), items: [] }
})

async function all(source: Source, field: string): Promise<unknown[]> {
  const found: unknown[] = []
  for (const run of await collect(source.read(0, source.length, { fields: [field] }))) for (let k = 0; k < run.count; k++) found.push(Array.from(rowOf(run.fields[field]!, k).data as Float64Array))
  source.close()
  return found
}
const of = (text: string, options?: JsonlOptions): Promise<Source> => jsonl(file('x.jsonl', Buffer.from(text)), options)

describe('jsonl', () => {
  test('without options, every column of the first line that can be a field is one', async () => {
    const source = await of('{"text":"a","n":1,"yes":true,"list":[1,2],"none":null,"object":{"a":1},"words":["a"]}\n')
    expect(source.fields).toEqual({ text: { dtype: 'uint8', shape: [null] }, n: { dtype: 'float64', shape: [] }, yes: { dtype: 'bool', shape: [] }, list: { dtype: 'float64', shape: [null] } })
    expect(source.id(0)).toMatch(/^\d+-x\/0$/)
    source.close()
    await expect(of('{"Some Text":"a"}')).rejects.toThrow(/column "Some Text" \(choose its name with `fields`\).*snake_case.*"some_text"/s)
  })

  test('lists of a given length have it in their shape', async () => {
    const source = await of('{"v":[1,2]}\n{"v":[3,4]}\n', { fields: { v: { column: 'v', length: 2, dtype: 'float32' } } })
    expect(source.fields.v).toEqual({ dtype: 'float32', shape: [2] })
    expect(await all(source, 'v')).toEqual([[1, 2], [3, 4]])
  })

  test('a default stands for what is missing and for null, also on the first line', async () => {
    expect(await all(await of('{}\n{"n":null}\n{"n":3}\n', { fields: { n: { column: 'n', default: -1 } } }), 'n')).toEqual([[-1], [-1], [3]])
    expect(await all(await of('{"a":1}\n{"t":"b"}\n', { fields: { t: { column: 't', default: 'a' } } }), 't')).toEqual([[97], [98]])
    expect(await all(await of('{"a":1}\n{"t":[4]}\n', { fields: { t: { column: 't', default: [] } } }), 't')).toEqual([[], [4]])
  })

  test('integers are exact to the last digit of 64 bits', async () => {
    const fields = { n: { column: 'n', dtype: 'uint64' as const } }
    expect(await all(await of('{"n":9007199254740991}\n{"n":"18446744073709551615"}\n', { fields }), 'n')).toEqual([[9007199254740991n], [18446744073709551615n]])
  })

  test('names that objects have by nature are columns like others', async () => {
    expect(await all(await of('{"__proto__":{"constructor":1}}\n', { fields: { n: { column: ['__proto__', 'constructor'] } } }), 'n')).toEqual([[1]])
    await expect(of('{"a":1}\n', { fields: { n: 'constructor' } })).rejects.toThrow(/line 1, column "constructor": expected .* found nothing/)
  })

  test('misuse is told before anything is read', async () => {
    const path = join(tempDir(), 'none.jsonl')
    for (const [options, message] of [
      [{ field: {} }, /misspelled option "field" should be "fields"/],
      [{ fields: {} }, /fields names no column/],
      [{ fields: { Text: 'text' } }, /snake_case/],
      [{ fields: ['a', 'a'] }, /names "a" twice/],
      [{ fields: { a: { column: 'a', type: 'int32' } } }, /misspelled option "type" should be "dtype"/],
      [{ fields: { a: { column: 'a', dtype: 'float16' } } }, /fields.a.dtype must be one of int8/],
      [{ fields: { a: { column: 'a..b' } } }, /must be the name of a column/],
      [{ fields: { a: { column: 'a', length: -1 } } }, /length must be an integer from 0/],
      [{ fields: { a: { column: 'a', default: {} } } }, /default must be/],
      [{ id: 7 }, /id must be the name of a column/],
    ] as const) await expect(jsonl(path, options as never)).rejects.toThrow(message)
    await expect(jsonl([])).rejects.toThrow(TypeError)
    await expect(jsonl(path)).rejects.toThrow(/there is no such file/)
  })

  test('an option that does not fit what the first line holds is misuse', async () => {
    await expect(of('{"a":"x"}', { fields: { a: { column: 'a', dtype: 'int32' } } })).rejects.toThrow(/dtype is for numbers, and the first line has a text there/)
    await expect(of('{"a":1}', { fields: { a: { column: 'a', length: 2 } } })).rejects.toThrow(/length is for lists/)
    await expect(of('{"a":1}', { fields: { a: { column: 'a', dtype: 'uint8', default: 256 } } })).rejects.toThrow(/default must be an integer that uint8 can hold, not "256"/)
  })

  test('a document that is edited is computed again, and no other is even parsed', async () => {
    const path = join(tempDir(), 'docs.jsonl')
    let parsed: string[] = []
    const count = defineOp({ name: 'letters', version: 1, infer: () => ({ letters: { dtype: 'int32', shape: [] } }), run: ({ text }) => {
      parsed.push(Buffer.from((text as Tensor).data as Uint8Array).toString())
      return { letters: { dtype: 'int32', shape: [], data: Int32Array.of((text as Tensor).data.length) } }
    } })
    const docs = Array.from({ length: 50 }, (_, k) => ({ id: k, text: `document ${k}` }))
    const write = (): void => writeFileSync(path, docs.map((doc) => `${JSON.stringify(doc)}\n`).join(''))
    const cache = await smallCache(join(tempDir(), 'cache'))
    const run = async (): Promise<[computed: number, digest: string]> => {
      parsed = []
      const source = await jsonl(path, { fields: ['text'], id: 'id' })
      const dataset = await cache.dataset(source, recipe([count()]))
      source.close()
      return [dataset.report.computed, dataset.digest]
    }
    write()
    const [, before] = await run()
    expect(parsed.length).toBe(50)
    docs[17]!.text = 'another'
    write()
    expect((await run())[0]).toBe(1)
    expect(parsed).toEqual(['another'])
    docs[17]!.text = 'document 17'
    docs.forEach((doc) => { Object.assign(doc, { note: 'of no field' }) })
    write()
    expect(await run()).toEqual([0, before])
    await cache.close()
  })

  test('witnesses tell what a line holds, and how it is read', async () => {
    const text = '{"a":1}\n{"a":2}\n\n{"a":1}\n{"a":3}'
    const of3 = async (source: Source): Promise<string[]> => {
      const bytes = Buffer.from(await source.witnesses!(0, source.length, { fields: ['a'] }))
      source.close()
      return Array.from({ length: bytes.length / 32 }, (_, k) => bytes.toString('hex', 32 * k, 32 * k + 32))
    }
    const [first, second, third] = await of3(await of(text))
    expect(third).toBe(first)
    expect(second).not.toBe(first)
    const [whole] = await of3(await of(text, { fields: { a: { column: 'a', dtype: 'int32' } } }))
    expect(whole).not.toBe(first)
  })
})
