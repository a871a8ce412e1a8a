// Fetching over HTTP: every fault ends in the right bytes or in an error that says which URL and why.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { http, huggingFace, type FetchContext, type RemoteFile } from '../../src/index.js'
import { tempDir } from '../support/temp.js'
import { answer, cutAt, digestOf, first, serve, status, type Fault, type Remote, type Served } from './remote.js'

const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3 & 255))
const other = Buffer.from(bytes).reverse()
const fetcher = http({ retries: 3, backoff: 1, timeout: 300 })

let remote: Remote
let dir: string
beforeEach(async () => {
  dir = tempDir()
  remote = await serve()
})

async function fetched(served: Partial<Served>, expected: FetchContext['expected'] = {}, given = fetcher): Promise<Buffer> {
  remote.files.set('a.bin', { bytes, etag: '"v1"', ...served })
  const file: RemoteFile = { url: `${remote.url}/a.bin?token=secret`, name: 'a.bin' }
  await given.fetch(file, join(dir, 'a.bin'), { expected, bytesMax: 2 ** 20, signal: new AbortController().signal })
  expect(readdirSync(dir)).toEqual(['a.bin'])
  return readFileSync(join(dir, 'a.bin'))
}

describe('ends in the right bytes', () => {
  test.each<[string, Fault]>([
    ['500, then not', first(2, status(500))],
    ['429 with Retry-After', first(1, status(429, { 'retry-after': '0' }))],
    ['nothing for too long', first(1, () => 'handled')],
    ['a reset before the answer', first(1, (_, response) => { response.socket!.resetAndDestroy(); return 'handled' })],
    ['no answer to the range that is missing', first(2, (request, response, file, nth) => nth === 1 ? cutAt(0.5)(request, response, file, nth) : status(416, { 'content-range': 'bytes */7' })(request, response, file, nth))],
    ['a part that was not asked for', first(2, (request, response, file, nth) => {
      if (nth === 1) return cutAt(0.5)(request, response, file, nth)
      response.writeHead(206, { 'content-range': `bytes 5-9/${bytes.length}`, 'content-length': 5, etag: '"v1"' }).end('wrong')
      return 'handled'
    })],
  ])('after %s', async (_, fault) => {
    expect((await fetched({ fault })).equals(bytes)).toBe(true)
  })

  test('after resets in the middle, from where they were', async () => {
    expect((await fetched({ fault: first(1, cutAt(0.5)) })).equals(bytes)).toBe(true)
    expect(remote.log[1]).toMatch(/^GET \/a\.bin bytes=\d{4,}-$/)
  })

  test('when another version lies there after a reset: of that one', async () => {
    const fault: Fault = (request, response, file, nth) => {
      if (nth > 1) return undefined
      cutAt(0.5)(request, response, file, nth)
      remote.files.set('a.bin', { bytes: other, etag: '"v2"' })
      return 'handled'
    }
    expect((await fetched({ fault })).equals(other)).toBe(true)
  })

  test('without validators nothing is fetched on', async () => {
    expect((await fetched({ etag: undefined, fault: first(1, cutAt(0.5)) })).equals(bytes)).toBe(true)
    expect(remote.log).toEqual(['GET /a.bin', 'GET /a.bin'])
  })

  test('behind redirects, and the headers stay with the host they are for', async () => {
    const there = await serve({ real: { bytes } })
    const seen: (string | undefined)[] = []
    there.files.get('real')!.fault = (request) => { seen.push(request.headers['x-key'] as string | undefined); return undefined }
    const fault: Fault = (request, response) => {
      seen.push(request.headers['x-key'] as string | undefined)
      response.writeHead(302, { location: `${there.url}/real` }).end()
      return 'handled'
    }
    expect((await fetched({ fault }, {}, http({ headers: { 'x-key': 'k' }, retries: 0 }))).equals(bytes)).toBe(true)
    expect(seen).toEqual(['k', undefined])
  })
})

describe('ends in an error that names the URL', () => {
  const where = '/a\\.bin\\?…: cannot be fetched: '
  test.each<[string, Fault, RegExp, FetchContext['expected']?]>([
    ['500 for ever', status(500), new RegExp(`${where}the server answered 500 .*, 4 attempts$`)],
    ['404', status(404), new RegExp(`${where}the server answered 404 Not Found$`)],
    ['a wait that is too long', status(503, { 'retry-after': '86400' }), /asks to wait 86400 s$/],
    ['silence for ever', () => 'handled', /nothing came for 300 ms, 4 attempts$/],
    ['resets for ever', cutAt(0), /the connection failed \(.*\), 4 attempts$/],
    ['another length', (request, response, file) => { answer(request, response, file); return 'handled' }, /it has 300000 bytes there, 17 were expected$/, { size: 17 }],
    ['more bytes than have room', (_, response) => { for (let k = 0; k < 20; k++) response.write(bytes); response.end(); return 'handled' }, /more than 1048576 bytes came$/],
    ['a file compressed on the way', (_, response) => { response.writeHead(200, { 'content-encoding': 'gzip' }).end(bytes); return 'handled' }, /encodes it \(gzip\)/],
    ['redirects in a circle', (_, response) => { response.writeHead(302, { location: '/a.bin' }).end(); return 'handled' }, /redirects more than 10 times$/],
  ])('%s', async (_, fault, message, expected) => {
    await expect(fetched({ fault }, expected)).rejects.toMatchObject({ code: 'E_FILE', message: expect.stringMatching(message) as string })
    await expect(fetched({ fault }, expected)).rejects.toThrow(expect.objectContaining({ message: expect.not.stringContaining('secret') as string }) as Error)
  })

  test('another version than was asked about', async () => {
    await expect(fetched({}, { etag: '"v0"' })).rejects.toMatchObject({ code: 'E_SOURCE_CHANGED', message: expect.stringMatching(/ETag was "v0", now it is "v1"/) as string })
  })

  test('an abort is the caller\'s own', async () => {
    const reason = new Error('enough')
    await expect(fetcher.fetch({ url: `${remote.url}/a.bin`, name: 'a.bin' }, join(dir, 'a.bin'), { expected: {}, bytesMax: 1, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})

describe('what is known beforehand', () => {
  const ask = (name: string): Promise<unknown> => fetcher.identify!({ url: `${remote.url}/${name}`, name }, { signal: new AbortController().signal })

  test('ETag and size, or time and size; where HEAD is refused, from a range', async () => {
    remote.files.set('a', { bytes, etag: '"v1"' })
    remote.files.set('b', { bytes, lastModified: 'Mon, 01 Jan 2024 00:00:00 GMT', headFault: status(405) })
    remote.files.set('c', { bytes, headFault: first(1, status(404)) })
    expect(await ask('a')).toMatchObject({ etag: '"v1"', size: 300_000 })
    expect(await ask('b')).toMatchObject({ lastModified: 'Mon, 01 Jan 2024 00:00:00 GMT', size: 300_000 })
    await expect(ask('c')).rejects.toThrow(/404/)
  })

  test('a hub says the SHA-256 of large files, and sees the token alone', async () => {
    const there = await serve({ blob: { bytes } })
    const tokens: (string | undefined)[] = []
    const linked: Fault = (request, response) => {
      tokens.push(request.headers.authorization)
      response.writeHead(302, { location: `${there.url}/blob`, 'x-linked-etag': `"${digestOf(bytes)}"`, 'x-linked-size': String(bytes.length) }).end()
      return 'handled'
    }
    there.files.get('blob')!.fault = (request) => { tokens.push(request.headers.authorization); return undefined }
    remote.files.set('datasets/me/volumes/resolve/main/a b/x.nii.gz', { bytes, fault: linked, headFault: linked })
    const hub = huggingFace({ repo: 'me/volumes', endpoint: remote.url, token: 't' })
    const file = { url: 'a b/x.nii.gz', name: 'x.nii.gz' }
    const signal = new AbortController().signal
    expect(await hub.identify!(file, { signal })).toEqual({ sha256: digestOf(bytes), size: bytes.length })
    await hub.fetch(file, join(dir, 'x'), { expected: {}, bytesMax: 2 ** 20, signal })
    expect(readFileSync(join(dir, 'x')).equals(bytes)).toBe(true)
    expect(tokens).toEqual(['Bearer t', 'Bearer t', undefined])
    await expect(hub.fetch({ url: 'http://127.0.0.1:1/x', name: 'x' }, join(dir, 'y'), { expected: {}, bytesMax: 1, signal })).rejects.toThrow(/is not a file of/)
  })
})

test('misuse', () => {
  expect(() => http({ retrys: 3 } as never)).toThrow(/"retrys" should be "retries"/)
  expect(() => http({ headers: { a: 1 } } as never)).toThrow(TypeError)
  expect(() => huggingFace({ repo: '../x/y' })).toThrow(/owner\/name/)
  expect(() => huggingFace({ repo: 'x/y', token: 5 } as never)).toThrow(/not number/)
})
