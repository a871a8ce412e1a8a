import { FileError } from '../core/errors.js'
import { checkOptions, choice, show } from '../core/options.js'
import { shownUrl, type Fetcher, type RemoteFile } from './fetcher.js'
import { httpFetcher, rulesOf, type HttpOptions } from './http.js'

/** Options of `huggingFace`. */
export interface HuggingFaceOptions extends HttpOptions {
  /** `owner/name`. */
  readonly repo: string
  /** Branch, tag or commit. Default `main`, which moves: name a commit to have the same files next year. */
  readonly revision?: string
  /** Default `dataset`. */
  readonly type?: 'dataset' | 'model' | 'space'
  /** Of an account that may read it; the caller's to find. */
  readonly token?: string
  /** Of another hub that speaks the same. */
  readonly endpoint?: string
}

const FOLDER = { dataset: 'datasets/', model: '', space: 'spaces/' } as const

/**
 * Fetches files of a Hugging Face repository: the items' `url` is the path in it, or a full URL. Plain `resolve` URLs through `http`, so that ranges, retries and checks are the same; of a large file the hub says its SHA-256
 * beforehand, which is what it is known by then.
 */
export function huggingFace(options: HuggingFaceOptions): Fetcher {
  const where = 'huggingFace'
  const { repo, revision = 'main', type, token, endpoint = 'https://huggingface.co', ...rest } = options
  checkOptions(where, options, ['repo', 'revision', 'type', 'token', 'endpoint', 'headers', 'retries', 'backoff', 'timeout'])
  if (typeof repo !== 'string' || !/^[\w.-]+(\/[\w.-]+)?$/.test(repo)) throw new TypeError(`${where}: repo must be owner/name, not ${show(repo)}`)
  for (const [name, value] of Object.entries({ revision, endpoint, token })) if (value !== undefined && (typeof value !== 'string' || value === '')) throw new TypeError(`${where}: ${name} must be a text, not ${name === 'token' ? typeof value : show(value)}`)
  const base = `${endpoint.replace(/\/$/, '')}/${FOLDER[choice(where, 'type', type, ['dataset', 'model', 'space'], 'dataset')]}${repo}/resolve/${encodeURIComponent(revision)}/`
  const rules = rulesOf(where, { ...rest, headers: { ...rest.headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) } })
  const fetcher = httpFetcher(rules, (first) => {
    const digest = first.get('x-linked-etag')?.replaceAll('"', '')
    const size = first.get('x-linked-size')
    return digest !== undefined && /^[0-9a-f]{64}$/.test(digest) ? { sha256: digest, size: size === null ? undefined : Number(size) } : undefined
  })
  const there = (file: RemoteFile): RemoteFile => /^https?:/.test(file.url) ? own(file) : { ...file, url: `${base}${file.url.split('/').map(encodeURIComponent).join('/')}` }
  // The token is for this hub alone.
  const own = (file: RemoteFile): RemoteFile => {
    if (!file.url.startsWith(`${endpoint.replace(/\/$/, '')}/`)) throw new FileError(shownUrl(file.url), `is not a file of ${endpoint}`)
    return file
  }
  return {
    identify: async (file, context) => await fetcher.identify!(there(file), context),
    fetch: async (file, path, context) => await fetcher.fetch(there(file), path, context),
  }
}
