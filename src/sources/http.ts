import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { SourceChangedError } from '../core/errors.js'
import { checkOptions, duration, number, show } from '../core/options.js'
import { shownUrl, type FetchContext, type Fetcher, type RemoteFile, type RemoteIdentity } from './fetcher.js'
import { faultOf, HttpFault, request, retrying, statusFault, Watch, type HttpRules } from './http-request.js'

/** Options of `http`. */
export interface HttpOptions {
  /** Sent with every request to the URL's own host; not to another that it redirects to. */
  readonly headers?: Readonly<Record<string, string>>
  /** How often an attempt that brought less than 1 MiB is repeated. Default 5. */
  readonly retries?: number
  /** Wait before the first retry, doubled each time up to 30 s, with jitter; `Retry-After` counts instead. Default 500 ms. */
  readonly backoff?: number | string
  /** Longest time without a byte. Default 60 s. */
  readonly timeout?: number | string
}

/**
 * Fetches `http:` and `https:` URLs with Node's own fetch. What a broken connection left is fetched on from there, if the server says it is still the same file; status 408, 425, 429 and 5xx, resets and silence are tried again.
 */
export function http(options: HttpOptions = {}): Fetcher {
  return httpFetcher(rulesOf('http', options))
}

export function rulesOf(where: string, options: HttpOptions): HttpRules {
  checkOptions(where, options, ['headers', 'retries', 'backoff', 'timeout'])
  const headers = options.headers ?? {}
  if (typeof headers !== 'object') throw new TypeError(`${where}: headers must be { name: value }, not ${show(headers)}`)
  for (const [name, value] of Object.entries(headers)) if (typeof value !== 'string') throw new TypeError(`${where}: headers.${name} must be a text, not ${show(value)}`)
  return {
    headers, retries: number(where, 'retries', options.retries, { integer: true, min: 0, max: 100 }, 5),
    backoffMs: duration(where, 'backoff', options.backoff, 500), timeoutMs: duration(where, 'timeout', options.timeout, 60_000),
  }
}

/** `known` reads what a first answer says about the content, where that is more than its final one does. */
export function httpFetcher(rules: HttpRules, known: (first: Headers) => RemoteIdentity | undefined = () => undefined): Fetcher {
  return {
    identify: async ({ url }, { signal }) => await retrying(url, rules, signal, async () => await watched(rules, signal, async (watch) => {
      let { response, first } = await request(url, 'HEAD', {}, rules, watch.signal)
      const fromFirst = known(first)
      if (fromFirst !== undefined && response.ok) return fromFirst
      // Servers that know no HEAD, and URLs that are signed for GET.
      if ([403, 405, 501].includes(response.status)) {
        ({ response, first } = await request(url, 'GET', { range: 'bytes=0-0' }, rules, watch.signal))
        await response.body?.cancel()
      }
      if (!response.ok) throw statusFault(response)
      return known(first) ?? identityOf(response)
    })),
    fetch: async (file, path, context) => {
      const part = `${path}.part`
      await retrying(file.url, rules, context.signal, async (brought) => await watched(rules, context.signal, async (watch) => { await attempt(file, part, context, rules, watch, brought) }))
      await rm(`${part}.json`, { force: true })
      await rename(part, path)
    },
  }
}

async function watched<T>(rules: HttpRules, signal: AbortSignal, work: (watch: Watch) => Promise<T>): Promise<T> {
  const watch = new Watch(rules.timeoutMs, signal)
  try {
    return await work(watch)
  } catch (error) {
    signal.throwIfAborted()
    throw faultOf(error, watch.signal)
  } finally {
    watch.end()
  }
}

function identityOf(response: Response): RemoteIdentity {
  const { headers } = response
  const total = totalOf(response)
  return { etag: headers.get('etag') ?? undefined, lastModified: headers.get('last-modified') ?? undefined, size: total }
}

/** Bytes of the whole file. */
function totalOf({ status, headers }: Response): number | undefined {
  const text = status === 206 || status === 416 ? /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1] : headers.get('content-length')
  return text === null || text === undefined ? undefined : Number(text)
}

/** One request for what is missing of a file; what comes is kept in `part`. */
async function attempt(file: RemoteFile, part: string, { expected, bytesMax }: FetchContext, rules: HttpRules, watch: Watch, brought: (bytes: number) => void): Promise<void> {
  const before = await readFile(`${part}.json`, 'utf8').then((text) => JSON.parse(text) as RemoteIdentity, () => undefined)
  const have = before === undefined ? 0 : await stat(part).then(({ size }) => size, () => 0)
  // Only what the server can tell apart from another version is fetched on.
  const validator = before?.etag !== undefined && !before.etag.startsWith('W/') ? before.etag : before?.lastModified
  const resumes = have > 0 && validator !== undefined
  const { response } = await request(file.url, 'GET', resumes ? { range: `bytes=${have}-`, 'if-range': validator } : {}, rules, watch.signal)
  const again = async (message: string): Promise<never> => {
    await rm(`${part}.json`, { force: true })
    throw new HttpFault(message, { again: true })
  }
  try {
    const total = totalOf(response)
    if (resumes && response.status === 416) {
      // Nothing is missing, or the file is another one.
      if (total === have && (expected.size ?? have) === have) return
      await again('the server has no such range')
    }
    if (!response.ok) throw statusFault(response)
    const encoding = response.headers.get('content-encoding')
    if (encoding !== null && encoding !== 'identity') throw new HttpFault(`the server encodes it (${encoding}) though it was asked not to`, { again: false })
    const now = identityOf(response)
    assertSame(file.url, expected, now)
    if (response.status === 206) {
      const from = Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? NaN)
      if (!resumes || from !== have || (before!.etag !== undefined && now.etag !== before!.etag)) await again('the server gave another part than was asked for')
    }
    const size = expected.size ?? total
    if (size !== undefined && total !== undefined && total !== size) throw new HttpFault(`it has ${total} bytes there, ${size} were expected`, { again: false })
    if ((size ?? 0) > bytesMax) throw new HttpFault(`it has ${size} bytes, for which there is no room (${bytesMax})`, { again: false })
    await writeFile(`${part}.json`, JSON.stringify(now))
    await receive(response, part, response.status === 206 ? have : 0, { size, bytesMax }, watch, brought)
  } finally {
    // Not read to its end: the connection is of no further use.
    if (!response.bodyUsed) await response.body?.cancel().catch(() => {})
  }
}

async function receive(response: Response, part: string, from: number, { size, bytesMax }: { size: number | undefined; bytesMax: number }, watch: Watch, brought: (bytes: number) => void): Promise<void> {
  const handle = await open(part, from > 0 ? 'r+' : 'w')
  let at = from
  try {
    for await (const piece of response.body ?? []) {
      watch.alive()
      const bytes = piece as Uint8Array
      if (at + bytes.byteLength > (size ?? bytesMax)) throw new HttpFault(`more than ${size ?? bytesMax} bytes came`, { again: false })
      for (let done = 0; done < bytes.byteLength;) done += (await handle.write(bytes, done, bytes.byteLength - done, at + done)).bytesWritten
      at += bytes.byteLength
      brought(bytes.byteLength)
    }
  } catch (error) {
    throw faultOf(error, watch.signal)
  } finally {
    await handle.close()
  }
  if (size !== undefined && at !== size) throw new HttpFault(`it ended after ${at} of ${size} bytes`, { again: true })
}

/** The file must still be the one that was asked about: what is made of it is remembered under that name. */
function assertSame(url: string, expected: RemoteIdentity, now: RemoteIdentity): void {
  if (expected.sha256 !== undefined) return
  for (const [name, what] of [['etag', 'ETag'], ['lastModified', 'Last-Modified']] as const) {
    if (expected[name] === undefined) continue
    if (now[name] !== expected[name]) throw new SourceChangedError(shownUrl(url), `its ${what} was ${expected[name]}, now it is ${now[name] ?? 'missing'}`)
    return
  }
}
