import { open, rename, rm, type FileHandle } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { UsageError } from '../verb.js'

/** A file that appears whole or not at all: written under another name, synced, renamed. */
export async function writeWhole(path: string, force: boolean, write: (file: Output) => Promise<void>): Promise<void> {
  if (existsSync(path) && !force) throw new UsageError(`${path} exists; --force replaces it`)
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`
  const handle = await open(temporary, 'wx')
  try {
    const output = new Output(handle)
    await write(output)
    await handle.sync()
    await handle.close()
    await rename(temporary, path)
  } catch (error) {
    await handle.close().catch(() => undefined)
    await rm(temporary, { force: true })
    throw error
  }
}

export class Output {
  readonly #handle: FileHandle
  /** Bytes appended so far. */
  position = 0

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.#write(bytes, this.position)
    this.position += bytes.byteLength
  }

  /** Writes over bytes that were appended before. */
  patch(bytes: Uint8Array, position: number): Promise<void> {
    return this.#write(bytes, position)
  }

  async #write(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.byteLength;) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.byteLength - done, position + done)
      done += bytesWritten
    }
  }
}
