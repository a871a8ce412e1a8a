import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll } from 'vitest'

/** What a server does wrong with a request; undefined: nothing. `nth` counts the GETs of the file from 1. */
export type Fault = (request: IncomingMessage, response: ServerResponse, file: Served, nth: number) => 'handled' | undefined

export interface Served {
  bytes: Buffer
  etag?: string | undefined
  lastModified?: string | undefined
  fault?: Fault | undefined
  headFault?: Fault | undefined
}

export interface Remote {
  readonly url: string
  readonly files: Map<string, Served>
  /** Requests as `GET /name`, with the range where one was asked for. */
  readonly log: string[]
  /** Names of the files that were asked for with GET. */
  gets(): string[]
  close(): Promise<void>
}

/** A server on the loopback that keeps to HTTP, ranges and validators included, until a file's `fault` says otherwise. */
export async function serve(files: Readonly<Record<string, Served>> = {}): Promise<Remote> {
  const served = new Map(Object.entries(files))
  const log: string[] = []
  const counts = new Map<string, number>()
  const server = createServer((request, response) => {
    const name = decodeURIComponent(request.url!.slice(1).replace(/\?.*/, ''))
    const { range } = request.headers
    log.push(`${request.method} /${name}${range === undefined ? '' : ` ${range}`}`)
    const file = served.get(name)
    if (file === undefined) return void response.writeHead(404).end()
    const isGet = request.method === 'GET'
    const nth = (counts.get(name) ?? 0) + (isGet ? 1 : 0)
    counts.set(name, nth)
    if ((isGet ? file.fault : file.headFault)?.(request, response, file, nth) === 'handled') return
    answer(request, response, file)
  })
  await new Promise<void>((done) => { server.listen(0, '127.0.0.1', done) })
  const close = (): Promise<void> => new Promise((done) => {
    server.close(() => done())
    server.closeAllConnections()
  })
  closing.push(close)
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, files: served, log, gets: () => log.filter((line) => line.startsWith('GET')).map((line) => line.split(' ')[1]!.slice(1)), close }
}

const closing: (() => Promise<void>)[] = []
afterAll(async () => { for (const close of closing) await close() })

export function answer(request: IncomingMessage, response: ServerResponse, { bytes, etag, lastModified }: Served): void {
  const validators = { ...(etag !== undefined && { etag }), ...(lastModified !== undefined && { 'last-modified': lastModified }), 'accept-ranges': 'bytes' }
  const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  const condition = request.headers['if-range']
  if (request.method === 'HEAD' || asked === null || (condition !== undefined && condition !== etag && condition !== lastModified)) {
    response.writeHead(200, { ...validators, 'content-length': bytes.length }).end(request.method === 'HEAD' ? undefined : bytes)
    return
  }
  const from = Number(asked[1])
  if (from >= bytes.length) {
    response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end()
    return
  }
  const to = asked[2] === '' ? bytes.length - 1 : Math.min(bytes.length - 1, Number(asked[2]))
  response.writeHead(206, { ...validators, 'content-length': to - from + 1, 'content-range': `bytes ${from}-${to}/${bytes.length}` }).end(bytes.subarray(from, to + 1))
}

/** The first `share` of the bytes under the headers of all of them, then the end of the connection. */
export function cutAt(share: number): Fault {
  return (_, response, { bytes, etag }) => {
    response.writeHead(200, { 'content-length': bytes.length, ...(etag !== undefined && { etag }) })
    response.write(bytes.subarray(0, Math.floor(bytes.length * share)), () => setTimeout(() => response.destroy(), 20))
    return 'handled'
  }
}

export const status = (code: number, headers: Record<string, string> = {}): Fault => (_, response) => {
  response.writeHead(code, headers).end()
  return 'handled'
}

/** Only the first `count` times. */
export const first = (count: number, fault: Fault): Fault => (request, response, file, nth) => nth <= count ? fault(request, response, file, nth) : undefined

export const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
