/** A file that is not here. */
export interface RemoteFile {
  /** Where it is. */
  readonly url: string
  /** What it is called when it is here; a plain file name. */
  readonly name: string
  /** 64 hex digits: what it must be, and what it is known by. */
  readonly sha256?: string | undefined
  /** Bytes, where they are known beforehand. */
  readonly size?: number | undefined
}

/** What is known of a file's content before it is here. */
export interface RemoteIdentity {
  /** SHA-256 of its bytes, 64 hex digits. */
  readonly sha256?: string | undefined
  /** ETag as the server says it, quotes and all. */
  readonly etag?: string | undefined
  /** Last-Modified as the server says it. */
  readonly lastModified?: string | undefined
  /** Bytes. */
  readonly size?: number | undefined
}

/** What a fetcher is told besides the file. */
export interface FetchContext {
  /** What `identify` said, and the caller's list. What comes must be that. */
  readonly expected: RemoteIdentity
  /** More bytes than these have no room. */
  readonly bytesMax: number
  /** Aborted when nobody waits for the file any more. */
  readonly signal: AbortSignal
}

/** Brings files here. `http()` and `huggingFace()` are two; one's own needs `fetch` alone. */
export interface Fetcher {
  /** Asked of each file that has no `sha256` in the list. Left out, or nothing known: such a file is fetched by every build. */
  identify?(file: RemoteFile, context: { readonly signal: AbortSignal }): Promise<RemoteIdentity>
  /** Writes the whole file to `path`, in a folder of its own; what lies there already may be an earlier attempt. Retries what is worth it, rejects with what went wrong. Size and SHA-256 are checked behind it. */
  fetch(file: RemoteFile, path: string, context: FetchContext): Promise<void>
}

/** A URL for messages: what may be secret is left out. */
export function shownUrl(url: string): string {
  try {
    const { protocol, host, pathname, search } = new URL(url)
    return `${protocol}//${host}${pathname}${search === '' ? '' : '?…'}`
  } catch {
    return url
  }
}
