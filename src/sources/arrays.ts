import { FormatError } from '../core/errors.js'
import { checkOptions } from '../core/options.js'
import type { LazyTensor } from '../core/tensor.js'
import { openArrayFile, unusableInfo, type ArrayEntry, type ArrayInfo, type ArrayFormat } from './array-file.js'
import type { FileOptions } from './file.js'

/** Arrays of a file by name. `using arrays = await openArrays(…)`, or `arrays[Symbol.dispose]()`, lets go of the file. */
export type Arrays = Readonly<Record<string, LazyTensor>> & Disposable

/**
 * Opens a .npy (one array, `data`), .npz or .safetensors file: headers only, nothing else is read. An array that this library does not
 * read (Python objects, text, an encrypted member) is listed and throws UnsupportedError when it is used.
 *
 * Rejects with FileError when the file is not there, FormatError when it is damaged or hostile.
 */
export async function openArrays(path: string | URL, options: FileOptions = {}): Promise<Arrays> {
  checkOptions('openArrays', options, ['residencyBytes'])
  const opened = await openArrayFile(path, undefined, options)
  try {
    const arrays = Object.create(null) as Record<string, LazyTensor>
    for (const name of opened.names) arrays[name] = (await opened.entry(name)).array
    opened.file.assertUnchanged()
    Object.defineProperty(arrays, Symbol.dispose, { value: () => opened.file.close() })
    return Object.freeze(arrays) as Arrays
  } catch (error) {
    opened.file.close()
    throw error
  }
}

/** Lets go of the file. Views that were handed out stay valid; further reads reject. */
export function closeArrays(arrays: Arrays): void {
  arrays[Symbol.dispose]()
}

export interface FileInfo {
  readonly path: string
  readonly format: ArrayFormat
  readonly bytes: number
  /** `__metadata__` of a safetensors file; empty otherwise. */
  readonly metadata: Readonly<Record<string, string>>
  readonly arrays: readonly ArrayInfo[]
}

async function described({ info, texts }: ArrayEntry): Promise<ArrayInfo> {
  // One that is too large to be labels is like any other that is not read.
  const said = await texts?.().catch(() => undefined)
  return said === undefined ? info : { ...info, texts: said }
}

/** What the headers of a file say, for people. An array whose header is damaged is listed with the reason. */
export async function inspectArrays(path: string | URL): Promise<FileInfo> {
  const opened = await openArrayFile(path)
  try {
    const arrays: ArrayInfo[] = []
    for (const name of opened.names) {
      arrays.push(await opened.entry(name).then(described).catch((error: unknown) => {
        if (error instanceof FormatError) return unusableInfo(name, error)
        throw error
      }))
    }
    return { path: opened.file.path, format: opened.format, bytes: opened.file.size, metadata: opened.metadata, arrays }
  } finally {
    opened.file.close()
  }
}
