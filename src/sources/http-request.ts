import { randomInt } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { FileError } from '../core/errors.js'
import { shownUrl } from './fetcher.js'

export interface HttpRules {
  /** Sent to the URL's own host, not to where it redirects. */
  readonly headers: Readonly<Record<string, string>>
  /** How often an attempt that brought nothing is repeated. */
  readonly retries: number
  /** Wait before the first retry, in ms; doubled each time, with jitter. */
  readonly backoffMs: number
  /** Longest time without a byte, in ms. */
  readonly timeoutMs: number
}

/** An attempt that failed. */
export class HttpFault extends Error {
  /** Worth another attempt. */
  readonly again: boolean
  /** What the server asked to wait, in ms. */
  readonly waitMs: number | undefined
  constructor(message: string, { again, waitMs, cause }: { again: boolean; waitMs?: number | undefined; cause?: unknown }) {
    super(message, { cause })
    this.again = again
    this.waitMs = waitMs
  }
}

const REDIRECTS_MAX = 10
const BACKOFF_MS_MAX = 30_000
/** A server that asks for more is not waited for. */
const RETRY_AFTER_MS_MAX = 300_000
/** An attempt that brought so much was not in vain: the count begins again. */
const PROGRESS_BYTES = 2 ** 20
const BUSY: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

/** Ends an attempt when nothing comes for too long. */
export class Watch {
  readonly #ended = new AbortController()
  readonly #timeoutMs: number
  readonly #timer: NodeJS.Timeout
  readonly signal: AbortSignal

  constructor(timeoutMs: number, signal: AbortSignal) {
    this.#timeoutMs = timeoutMs
    this.signal = AbortSignal.any([signal, this.#ended.signal])
    this.#timer = globalThis.setTimeout(() => this.#ended.abort(new HttpFault(`nothing came for ${this.#timeoutMs} ms`, { again: true })), timeoutMs)
  }

  alive(): void {
    this.#timer.refresh()
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}

export interface Answer {
  readonly response: Response
  /** The headers of the first answer, before redirects. */
  readonly first: Headers
}

/** One request, with its redirects. Rejects with HttpFault for what is no answer; any status is one. */
export async function request(url: string, method: 'GET' | 'HEAD', own: Readonly<Record<string, string>>, rules: HttpRules, signal: AbortSignal): Promise<Answer> {
  let at = new URL(url)
  const { origin } = at
  let first: Headers | undefined
  for (let hop = 0; hop <= REDIRECTS_MAX; hop++) {
    let response: Response
    try {
      // Bytes as they lie there: `fetch` would inflate what a server compresses on the way, and ranges count compressed bytes.
      response = await fetch(at, { method, redirect: 'manual', headers: { ...(at.origin === origin && rules.headers), 'accept-encoding': 'identity', ...own }, signal })
    } catch (error) {
      throw faultOf(error, signal)
    }
    first ??= response.headers
    const location = response.headers.get('location')
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return { response, first }
    await response.body?.cancel()
    const next = new URL(location, at)
    if (next.protocol !== 'https:' && next.protocol !== at.protocol) throw new HttpFault(`redirects from ${at.protocol} to ${next.protocol}//${next.host}`, { again: false })
    at = next
  }
  throw new HttpFault(`redirects more than ${REDIRECTS_MAX} times`, { again: false })
}

/** What a status that is no success means. */
export function statusFault(response: Response): HttpFault {
  const after = response.headers.get('retry-after')
  const waitMs = after === null ? undefined : /^\d+$/.test(after) ? Number(after) * 1000 : Math.max(0, Date.parse(after) - Date.now())
  const text = `the server answered ${response.status}${response.statusText === '' ? '' : ` ${response.statusText}`}`
  const asksTooMuch = waitMs !== undefined && waitMs > RETRY_AFTER_MS_MAX
  return new HttpFault(asksTooMuch ? `${text} and asks to wait ${Math.round(waitMs / 1000)} s` : text, { again: BUSY.has(response.status) && !asksTooMuch, waitMs: Number.isNaN(waitMs) ? undefined : waitMs })
}

/** An abort of the caller's own signal is no fault: it is thrown as it is. */
export function faultOf(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason as unknown
  if (error instanceof HttpFault) return error
  // fetch says "fetch failed" or "terminated", and why in its cause. Errors of the disk are none of the connection's.
  if (!(error instanceof TypeError)) return error
  const { code, message } = (error.cause ?? error) as { code?: string; message: string }
  return new HttpFault(`the connection failed (${code ?? message})`, { again: true, cause: error })
}

/**
 * Runs attempts until one succeeds. `attempt` tells of the bytes it brought. Rejects with FileError that names the URL and the last fault.
 */
export async function retrying<T>(url: string, rules: HttpRules, signal: AbortSignal, attempt: (brought: (bytes: number) => void) => Promise<T>): Promise<T> {
  for (let failed = 0, tried = 1; ; tried++) {
    let bytes = 0
    try {
      return await attempt((count) => { bytes += count })
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof HttpFault)) throw error
      failed = bytes >= PROGRESS_BYTES ? 1 : failed + 1
      if (!error.again || failed > rules.retries) throw new FileError(shownUrl(url), `cannot be fetched: ${error.message}${tried === 1 ? '' : `, ${tried} attempts`}`, { cause: error })
      const most = Math.min(BACKOFF_MS_MAX, rules.backoffMs * 2 ** (failed - 1))
      // Half of it at random: what failed together must not come again together.
      await setTimeout(error.waitMs ?? Math.ceil(most / 2 + randomInt(Math.floor(most / 2) + 1)), undefined, { signal })
    }
  }
}
