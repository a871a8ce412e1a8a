import { readdir, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FileError, FormatError } from '../core/errors.js'
import { CIF_BYTES_MAX, cifBlocks, holdsAtoms } from './cif.js'
import type { Where } from './cif-tokens.js'
import { isAboutContent, type BadEntry, type CrystalEntries, type LoadedEntries } from './crystal-entries.js'
import { LooseFile } from './loose-file.js'

/** Files that are opened and read at the same time, and the bytes of them. */
const FILES_LOADED = 256
const FILES_AT_ONCE = 32
const BYTES_LOADED = 32 * 2 ** 20
/** Of one file. */
const BLOCKS_MAX = 100_000

interface FoundFile { readonly path: string; readonly id: string }

/** Blocks of CIF files, in the order of the paths; a folder's files by name, compared by code units. */
export class CrystalFiles implements CrystalEntries {
  readonly length: number
  readonly files: readonly LooseFile[]
  readonly #ids: readonly string[]
  readonly #fileOf: readonly number[]
  /** Where the block begins in the text of its file. */
  readonly #startOf: readonly number[]
  #closed = false

  private constructor(files: readonly LooseFile[], blocks: readonly Block[]) {
    this.files = files
    this.length = blocks.length
    this.#ids = blocks.map(({ id }) => id)
    this.#fileOf = blocks.map(({ file }) => file)
    this.#startOf = blocks.map(({ start }) => start)
  }

  /** With `everyBlock`, each block that holds atoms is a place, so each file is read; otherwise each file is one, and none is read. */
  static async open(paths: readonly (string | URL)[], everyBlock: boolean, bad: BadEntry): Promise<CrystalFiles> {
    const found: FoundFile[] = []
    for (const path of paths) for (const one of await filesOf(path)) found.push(one)
    const repeated = new Set(found.map(({ id }) => id)).size < found.length
    const files: LooseFile[] = []
    const blocks: Block[] = []
    for (let at = 0; at < found.length; at += FILES_AT_ONCE) {
      const some = await Promise.all(found.slice(at, at + FILES_AT_ONCE).map(({ path }) => LooseFile.open(path)))
      const blocksOf = everyBlock ? await eachOf(some, blocksWithAtoms) : some.map(() => [{ name: '', start: 0 }])
      for (const [k, result] of blocksOf.entries()) {
        const id = repeated ? `${files.length}/${found[at + k]!.id}` : found[at + k]!.id
        if (result instanceof Error) {
          bad(blocks.length, result)
          blocks.push({ file: files.length, start: 0, id })
        } else {
          const named = new Set(result.map(({ name }) => name)).size === result.length && result.every(({ name }) => name !== '')
          for (const [i, { name, start }] of result.entries()) blocks.push({ file: files.length, start, id: result.length === 1 ? id : `${id}/${named ? name : i}` })
        }
        files.push(some[k]!)
      }
    }
    return new CrystalFiles(files, blocks)
  }

  id(place: number): string {
    return this.#ids[place]!
  }

  row(): undefined {}

  where(place: number): Where {
    return { file: this.files[this.#fileOf[place]!]!.path, place: `item ${this.#ids[place]}` }
  }

  async load(places: readonly number[], signal: AbortSignal | undefined): Promise<LoadedEntries> {
    if (this.#closed) throw new FileError(this.files[0]!.path, 'has been closed')
    const texts = new Map<number, string | Error>()
    let count = 0
    for (let bytes = 0; count < places.length; count++) {
      const file = this.#fileOf[places[count]!]!
      if (texts.has(file)) continue
      bytes += this.files[file]!.size
      if (count > 0 && (bytes > BYTES_LOADED || texts.size === FILES_LOADED)) break
      texts.set(file, '')
    }
    const wanted = [...texts.keys()]
    for (let at = 0; at < wanted.length; at += FILES_AT_ONCE) {
      signal?.throwIfAborted()
      await Promise.all(wanted.slice(at, at + FILES_AT_ONCE).map(async (file) => { texts.set(file, await this.files[file]!.text(CIF_BYTES_MAX).catch(contentError)) }))
    }
    const cif = (k: number): string => {
      const text = texts.get(this.#fileOf[places[k]!]!)!
      if (text instanceof Error) throw text
      return text.slice(this.#startOf[places[k]!])
    }
    return { count, raw: (k) => Buffer.from(cif(k)), meaning: 'file', cif, properties: () => [] }
  }

  release(): void {}

  assertUnchanged(): void {
    for (const file of this.files) file.assertUnchanged()
  }

  close(): void {
    this.#closed = true
  }
}

interface Block { readonly file: number; readonly start: number; readonly id: string }

async function filesOf(given: string | URL): Promise<FoundFile[]> {
  const path = resolve(typeof given === 'string' ? given : fileURLToPath(given))
  const stats = await stat(path).catch(() => undefined)
  if (stats?.isDirectory() !== true) return [{ path, id: withoutSuffix(basename(path)) }]
  const cifs = (await namesIn(path, '')).sort()
  if (cifs.length === 0) throw new FileError(path, 'the folder holds no .cif file')
  return cifs.map((name) => ({ path: join(path, name), id: withoutSuffix(name) }))
}

/** Together, or one after the other when they are large. */
async function eachOf<T>(files: readonly LooseFile[], use: (file: LooseFile) => Promise<T>): Promise<T[]> {
  if (files.reduce((sum, { size }) => sum + size, 0) <= BYTES_LOADED) return Promise.all(files.map(use))
  const results: T[] = []
  for (const file of files) results.push(await use(file))
  return results
}

/** The .cif files below a folder. Node's recursive `readdir` asks for the status of each file, on the event loop: 0.3 s for 100,000. */
async function namesIn(folder: string, prefix: string): Promise<string[]> {
  const names: string[] = []
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    // Hidden files are what desktops leave beside others.
    if (entry.name.startsWith('.')) continue
    if (entry.isDirectory()) for (const name of await namesIn(folder, `${prefix}${entry.name}/`)) names.push(name)
    else if (/\.cif$/i.test(entry.name)) names.push(`${prefix}${entry.name}`)
  }
  return names
}

async function blocksWithAtoms(file: LooseFile): Promise<{ name: string; start: number }[] | Error> {
  const text = await file.text(CIF_BYTES_MAX).catch(contentError)
  // The usual file has one block, which needs not be looked into here.
  if (text instanceof Error) return text
  const header = /(?:^|\s)data_/gi
  if (!header.test(text) || !header.test(text)) return [{ name: '', start: 0 }]
  try {
    const blocks: { name: string; start: number }[] = []
    for (const block of cifBlocks(text, { file: file.path, place: 'file' })) {
      if (!holdsAtoms(block)) continue
      if (blocks.length === BLOCKS_MAX) throw new FormatError({ file: file.path, place: 'file', expected: `at most ${BLOCKS_MAX} data blocks with atoms`, found: 'more' })
      blocks.push({ name: block.name, start: block.start })
    }
    return blocks.length > 0 ? blocks : new FormatError({ file: file.path, place: 'file', expected: 'a data block with atoms', found: 'none' })
  } catch (error) {
    return contentError(error)
  }
}

/** What is wrong with one file is a value: other files may be sound. */
function contentError(error: unknown): Error {
  if (isAboutContent(error)) return error
  throw error
}

function withoutSuffix(name: string): string {
  return name.replace(/\.cif$/i, '')
}
