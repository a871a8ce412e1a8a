import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { indexFault } from './index-file.js'
import type { Layout } from './layout.js'

/** Entries of the index's tables, by their names. */
export interface IndexCounts {
  readonly counters: number
  readonly blobs: number
  readonly blobIds: number
  readonly checksums: number
  readonly entries: number
}

/** Walks the whole index, in a process of its own, which damage may end; undefined when there is none. Others may write meanwhile: what is walked is one snapshot. */
export async function probeIndex(layout: Layout, signal?: AbortSignal): Promise<IndexCounts | { readonly fault: string } | undefined> {
  if (!existsSync(join(layout.index, 'data.mdb'))) return undefined
  const fault = indexFault(layout)
  if (fault !== undefined) return { fault }
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [probeFile(), layout.dir], { signal, maxBuffer: 2 ** 20 })
    return JSON.parse(stdout) as IndexCounts
  } catch (error) {
    signal?.throwIfAborted()
    const { stderr = '', signal: killed, message } = error as Error & { stderr?: string; signal?: string }
    const said = /^(?:\w*Error): (.*)$/m.exec(stderr)?.[1]
    return { fault: killed != null ? `reading it to its end ended in ${killed}` : said ?? message }
  }
}

// Node runs JavaScript only, so when this module is run from its TypeScript source (tests), the built program is used.
function probeFile(): string {
  const beside = fileURLToPath(new URL('./index-probe.js', import.meta.url))
  return existsSync(beside) ? beside : fileURLToPath(new URL('../../dist/store/index-probe.js', import.meta.url))
}
