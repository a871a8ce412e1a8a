import { npyArrays, npzArrays, type NamedArrays } from './array-file.js'
import type { OpenFile } from './file.js'
import { LooseFile, statusOf } from './loose-file.js'
import { MemoryFile, type StoredFile } from './stored-file.js'

/** Smaller files are read whole: mapping one costs more than that. */
const WHOLE_BYTES_MAX = 2 ** 20
/** Files of arrays that are read by rows, kept open because what is inflated to reach a row is known the next time. */
const OPEN_MAX = 8

/** One of many .npz and .npy files, open while it is read. */
export class ArraysFile extends LooseFile {
  static override async open(path: string): Promise<ArraysFile> {
    return new ArraysFile(path, await statusOf(path))
  }

  /** Its arrays, while `use` runs. Rejects with SourceChangedError when it is no longer the file that was opened. */
  async reading<T>(use: (arrays: NamedArrays) => Promise<T>): Promise<T> {
    if (this.size <= WHOLE_BYTES_MAX) return await use(await this.arraysIn(new MemoryFile(this.path, await this.bytes())))
    return await this.mapped(async (file) => await use(await this.arraysIn(file)))
  }

  async arraysIn(file: StoredFile): Promise<NamedArrays> {
    return await (this.path.endsWith('.npy') ? npyArrays : npzArrays)(file)
  }
}

interface Held {
  readonly opening: Promise<{ readonly file: OpenFile; readonly arrays: NamedArrays }>
  users: number
}

/** The files of one source that are read by rows: a few of them open, those that were used last. */
export class ArrayFiles {
  /** Least recently used first. */
  readonly #held = new Map<ArraysFile, Held>()
  #closed = false

  async reading<T>(file: ArraysFile, use: (arrays: NamedArrays) => Promise<T>): Promise<T> {
    let held = this.#held.get(file)
    if (held === undefined) {
      const made = held = { opening: open(file), users: 0 }
      made.opening.catch(() => { if (this.#held.get(file) === made) this.#held.delete(file) })
    }
    this.#held.delete(file)
    this.#held.set(file, held)
    held.users++
    try {
      return await use((await held.opening).arrays)
    } finally {
      held.users--
      this.#evict()
    }
  }

  close(): void {
    this.#closed = true
    this.#evict()
  }

  #evict(): void {
    for (const [file, held] of this.#held) {
      if (held.users > 0 || (!this.#closed && this.#held.size <= OPEN_MAX)) continue
      this.#held.delete(file)
      held.opening.then(({ file: opened }) => opened.close(), () => undefined)
    }
  }
}

async function open(file: ArraysFile): Promise<{ file: OpenFile; arrays: NamedArrays }> {
  const opened = file.map()
  try {
    return { file: opened, arrays: await file.arraysIn(opened) }
  } catch (error) {
    opened.close()
    throw error
  }
}
