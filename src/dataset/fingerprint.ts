import type { Fingerprint } from '../cache/options.js'
import { fromHex, sha256, toHex } from '../core/hash.js'
import { OpenFile } from '../sources/file.js'
import type { SourceFile } from '../sources/source.js'
import type { Store } from '../store/store.js'

/** A digest is remembered when its file has been left alone for longer than the clock of the file system may lag. */
const SETTLED_NS = 50_000_000n

/** What a file's digest is to be remembered as. */
export interface Learned {
  readonly stat: string
  readonly digest: Buffer
}

/** SHA-256 of a file, from what is remembered by device, inode, size and times, or by reading it; `learned` takes what may be remembered from then on. */
export async function digestOf(store: Store | undefined, file: SourceFile, learned: Learned[], signal: AbortSignal | undefined): Promise<string> {
  const stat = statKey(file)
  const known = store?.fileDigest(stat)
  if (known !== undefined) {
    file.recall?.(known)
    return known
  }
  const digest = await file.digest(signal)
  computed.set(file, digest)
  if (BigInt(Date.now()) * 1_000_000n - file.ctimeNs > SETTLED_NS) learned.push({ stat, digest: fromHex(digest) })
  return digest
}

/** What a file is known by: its digest, its path, size and time, or both. Not read again for `content` when it is as it was. */
export function nameOf(file: SourceFile, fingerprint: Fingerprint, digest: string | undefined): string {
  const path = `${file.path}:${file.size}:${file.mtimeNs}`
  return fingerprint === 'stat' ? path : fingerprint === 'combined' ? `${digest}:${path}` : digest!
}

/** 64 hex digits for a file: of `content` its SHA-256. Rejects with FileError, and with SourceChangedError when it is written meanwhile. */
export async function fingerprintOf(store: Store | undefined, path: string | URL, mode: Fingerprint, signal: AbortSignal | undefined): Promise<string> {
  signal?.throwIfAborted()
  const opened = OpenFile.open(path)
  try {
    const file = opened.sourceFile()
    const learned: Learned[] = []
    const digest = mode === 'stat' ? undefined : await digestOf(store, file, learned, signal)
    if (learned.length > 0) {
      opened.assertUnchanged()
      await store?.remember({ files: learned })
    }
    return mode === 'content' ? digest! : toHex(sha256(nameOf(file, mode, digest)))
  } finally {
    opened.close()
  }
}

/** Digests of files that were computed for a key, and were too young to be remembered. */
const computed = new WeakMap<SourceFile, string>()

/** A file's digest, as far as it is known. */
export function knownDigest(store: Store, file: SourceFile): string | undefined {
  return computed.get(file) ?? store.fileDigest(statKey(file))
}

/** Under which a file's digest is remembered. */
export function statKey({ dev, ino, size, mtimeNs, ctimeNs }: { dev: bigint; ino: bigint; size: number; mtimeNs: bigint; ctimeNs: bigint }): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`
}
