import * as fc from 'fast-check'
import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { FormatError, UnsupportedError } from '../../src/core/errors.js'
import { jsonl, type JsonlOptions } from '../../src/sources/jsonl.js'
import { file } from '../sources/write.js'

const MILLISECONDS_MAX = 4_000
const BYTES_MAX = 512 * 2 ** 20

async function use(path: string, options?: JsonlOptions): Promise<number> {
  const source = await jsonl(path, options)
  try {
    let items = 0
    await source.witnesses!(0, source.length, { fields: Object.keys(source.fields) })
    for await (const run of source.read(0, source.length, { fields: Object.keys(source.fields) })) items += run.count
    return items
  } finally {
    source.close()
  }
}

/** Expects an error that names the file and what matches `place`, in bounded time and memory. */
async function expectRefused(path: string, place: RegExp, options?: JsonlOptions, kind: typeof FormatError | typeof UnsupportedError = FormatError): Promise<void> {
  const before = process.memoryUsage().rss
  const began = performance.now()
  const error = await use(path, options).then(() => undefined, (error: unknown) => error)
  expect(error, 'nothing was refused').toBeDefined()
  if (!(error instanceof kind)) throw error
  expect(error.file).toBe(path)
  expect(error.message.length).toBeLessThan(1_000)
  expect(`${error.place}: ${error.message}`).toMatch(place)
  expect(performance.now() - began).toBeLessThan(MILLISECONDS_MAX)
  expect(process.memoryUsage().rss - before).toBeLessThan(BYTES_MAX)
}

const refused = (text: string | Uint8Array, place: RegExp, options?: JsonlOptions, kind?: typeof UnsupportedError): Promise<void> => expectRefused(file('x.jsonl', Buffer.from(text as string)), place, options, kind)
const GOOD = '{"text":"a","n":1}\n'

/** A file of which all but the beginning is a hole. */
function sparse(head: string, bytes: number): string {
  const path = file('large.jsonl', Buffer.from(head))
  const handle = openSync(path, 'r+')
  ftruncateSync(handle, bytes)
  closeSync(handle)
  return path
}

test('the file these attacks start from is sound', async () => {
  expect(await use(file('x.jsonl', Buffer.from(GOOD.repeat(3))))).toBe(3)
})

describe('lines', () => {
  test('invalid UTF-8', () => refused(Buffer.concat([Buffer.from(GOOD), Buffer.from('{"text":"'), Buffer.from([0xc3, 0x28]), Buffer.from('","n":1}')]), /line 2: .*expected UTF-8/))
  test('an overlong form', () => refused(Buffer.concat([Buffer.from(GOOD), Buffer.from('{"text":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('","n":1}')]), /line 2: .*expected UTF-8/))
  test('UTF-16', () => refused(Buffer.from(`\ufeff${GOOD}`, 'utf16le'), /line 1: .*expected UTF-8/))
  test('half of a surrogate pair', () => refused(`${GOOD}{"text":"\\ud800","n":1}`, /line 2, column "text": .*half of a surrogate pair/))
  test('cut off', () => refused(GOOD + GOOD.slice(0, 9), /line 2: .*expected an object in JSON/))
  test('empty lines are counted in messages', () => refused(`\n\r\n${GOOD}\n\n[1]\n`, /line 6: .*expected an object in JSON, found \[1\]/))
  test('junk behind the object', () => refused(`${GOOD}{"text":"a","n":1}{}\n`, /line 2: .*an object in JSON/))
  test('a byte order mark in the middle', () => refused(`${GOOD}\ufeff${GOOD}`, /line 2: .*an object in JSON/))
  for (const value of ['1', 'null', '"text"', '[]', 'NaN', '{a:1}', '{\'a\':1}', '\0']) test(`a line that is ${JSON.stringify(value)}`, () => refused(`${GOOD}${value}\n`, /line 2: .*expected an object in JSON/))
  test('an array over several lines', () => refused('[\n{"text":"a"},\n{"text":"b"}\n]\n', /line 1: .*an object in JSON/))
  for (const [name, open] of [['arrays', '['], ['objects', '{"a":']] as const) {
    test(`a million ${name} within each other`, () => refused(`${GOOD}{"text":"a","n":${open.repeat(1_000_000)}\n`, /line 2: .*at most 1000 levels/))
  }
  test('a million brackets in a text are a text', async () => {
    expect(await use(file('x.jsonl', Buffer.from(`${GOOD}{"text":"\\\\\\"${'['.repeat(1_000_000)}","n":1}\n`)))).toBe(2)
  })
  test('a line of 100 MB of text', () => refused(`${GOOD}{"text":"${'a'.repeat(100_000_000)}","n":1}\n`, /line 2: .*at most 67108864 bytes/))
  test('a line of 8 GiB', () => expectRefused(sparse(`${GOOD}{"text":"`, 8 * 2 ** 30), /line 2: .*at most 67108864 bytes/))
  test('zeros', () => expectRefused(sparse('', 2 ** 30), /line 1: .*at most 67108864 bytes/))
  test('100 MB of empty lines', async () => {
    expect(await use(file('x.jsonl', Buffer.concat([Buffer.from(GOOD), Buffer.alloc(100_000_000, '\n'), Buffer.from(GOOD)])))).toBe(2)
  })
  test('a compressed file', async () => {
    const path = file('x.jsonl.gz', gzipSync(GOOD))
    await expectRefused(path, /compressed with gzip.*unpack it first \(gunzip\)/, undefined, UnsupportedError)
    await refused(Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0]), /compressed with zstd/, undefined, UnsupportedError)
  })
})

describe('values', () => {
  const number = (dtype?: 'int32' | 'uint8' | 'int64' | 'float32' | 'float64'): JsonlOptions => ({ fields: { n: { column: 'n', ...(dtype && { dtype }) } } })
  const second = (value: string, place: RegExp, options: JsonlOptions): Promise<void> => refused(`{"n":1}\n{"n":${value}}\n`, place, options)
  test('a column that is missing', () => refused(`${GOOD}{"text":"a"}\n`, /line 2, column "n": .*expected a number \(or `default`\), found nothing/))
  test('null', () => second('null', /line 2, column "n": .*found nothing/, number()))
  test('another kind', async () => {
    for (const value of ['"1"', 'true', '[1]', '{}']) await second(value, /line 2, column "n": .*expected a number/, number())
    for (const value of ['1', 'true', '[1]', '{}']) await refused(`{"n":"a"}\n{"n":${value}}\n`, /expected a text/, number())
    for (const value of ['1', '"true"', '[1]', '{}']) await refused(`{"n":true}\n{"n":${value}}\n`, /expected true or false/, number())
    for (const value of ['1', '"1"', 'true', '{}']) await refused(`{"n":[1]}\n{"n":${value}}\n`, /expected a list of numbers/, number())
  })
  test('a list that holds something else', async () => {
    for (const value of ['["1"]', '[null]', '[[1]]', '[true]']) await refused(`{"n":[1]}\n{"n":${value}}\n`, /expected a number in the list/, number())
  })
  test('a list of another length', () => refused('{"n":[1,2]}\n{"n":[1]}\n', /a list of 2 numbers, found one of 1/, { fields: { n: { column: 'n', length: 2 } } }))
  test('numbers beyond the dtype', async () => {
    await second('1e999', /a number that float64 can hold, found Infinity/, number())
    await second('1e39', /a number that float32 can hold/, number('float32'))
    for (const value of ['256', '-1', '0.5', '1e999']) await second(value, /an integer that uint8 can hold/, number('uint8'))
    for (const value of ['2147483648', '-2147483649']) await second(value, /an integer that int32 can hold/, number('int32'))
  })
  test('integers that were rounded when they were parsed', async () => {
    await second('9007199254740993', /as a text of digits where it is beyond 2\^53, found 9007199254740992/, number('int64'))
    for (const value of ['"9223372036854775808"', '"1e3"', '"0x10"', '""', '" 1"', `"${'9'.repeat(1000)}"`]) await second(value, /an integer that int64 can hold/, number('int64'))
  })
  test('a first line that says nothing', async () => {
    for (const value of ['null', '{}', '["a"]', '[null]']) await refused(`{"n":${value}}\n{"n":1}\n`, /line 1, column "n": .*\(or `default`\)/, number())
  })
  test('ids that are none, or there twice', async () => {
    const options: JsonlOptions = { fields: ['n'], id: 'id' }
    for (const id of ['', '"id":null,', '"id":"",', '"id":0.5,', '"id":[1],', '"id":9007199254740993,']) await refused(`{"id":"a","n":1}\n{${id}"n":1}\n`, /line 2, column "id": .*an id: a text or an integer/, options)
    await refused('{"id":"a","n":1}\n\n{"id":"a","n":2}\n', /line 3, column "id": .*each id once, found "a" of line 1 again/, options)
    await refused('{"id":"1","n":1}\n{"id":1,"n":2}\n', /each id once/, options)
  })
})

test('bytes that are changed, left out, or put in give items or an error that says where', async () => {
  const text = '{"text":"a\\u00e9é","n":-1.5e3,"list":[1,2],"ok":true}\r\n\n{"text":"b","n":2,"list":[],"ok":false}\n'
  const path = file('x.jsonl', Buffer.from(''))
  let sound = 0
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(text.length), fc.nat(3), fc.string({ unit: fc.constantFrom(...'{}[]:,"\\u09eE+-.\n\r\t \0é'), maxLength: 3 })), { minLength: 1, maxLength: 4 }), async (edits) => {
    writeFileSync(path, edits.reduce((made, [at, cut, put]) => made.slice(0, at) + put + made.slice(at + cut), text))
    const error = await use(path, { fields: { text: 'text', n: 'n', list: 'list', ok: 'ok' } }).then(() => { sound++ }, (error: unknown) => error)
    if (error !== undefined && !(error instanceof FormatError)) throw error
  }), { numRuns: 500 })
  expect(sound).toBeGreaterThan(0)
})
