import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, renameSync, rmSync } from 'node:fs'
import { lstat, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { FileError } from '../core/errors.js'
import { isAlive, ownerName, thisProcess } from '../core/owner.js'
import { makeFolder } from '../core/paths.js'
import { FolderLock } from './folder-lock.js'

/**
 * The folder in which raw files lie between download and publication, shared by any number of processes. An item's files are a folder of their own:
 *
 * ```
 * <dir>/parts/<key>-<bytes>-<owner>/   being fetched: `bytes` are what it may come to
 * <dir>/ready/<key>-<bytes>/           whole, with `item.json`: names, sizes and SHA-256 of its files; never changed
 * <dir>/pins/<key>-<owner>             what a living process reads, or has not published yet: not removed by anyone
 * ```
 *
 * Room is taken, and files are removed, under one lock, so that all processes together keep to the budget. What a dead process left is taken over: a part is fetched on, a whole item is used when its digests agree.
 * Nothing is ever removed but names of these three forms.
 */
export class Staging {
  readonly dir: string
  readonly #owner: string
  readonly #budget: number
  readonly #lock: FolderLock
  /** Keys that this instance fetched, or has compared with their digests. */
  readonly #sound = new Set<string>()
  readonly #isMine: (key: string) => boolean

  private constructor(dir: string, budget: number, isMine: (key: string) => boolean) {
    this.dir = dir
    this.#budget = budget
    this.#owner = `${ownerName(thisProcess())}+${++instances}`
    this.#lock = new FolderLock(dir, this.#owner)
    this.#isMine = isMine
  }

  /** `isMine` says which keys belong to items of the list. Rejects with FileError when the folder cannot be used. */
  static async open(path: string, budget: number, isMine: (key: string) => boolean): Promise<Staging> {
    const dir = resolve(path)
    for (const name of ['', ...PLACES]) {
      const folder = join(dir, name)
      try {
        makeFolder(folder)
      } catch (cause) {
        throw new FileError(folder, `cannot be made (${(cause as { code?: string }).code})`, { cause })
      }
      // A link could lead to files of others.
      if (name !== '' && !(await lstat(folder)).isDirectory()) throw new FileError(folder, 'is not a folder')
    }
    return new Staging(dir, budget, isMine)
  }

  /**
   * Takes an item, or room for it. `pin`: it is needed now, so what is not pinned may go for it. With `need`, which says of a key how far away the next use of it is, what is needed last goes first, and of an item that is
   * not needed now only what is needed after it. `elsewhere`: another process fetches it. `full`: there is no room now.
   */
  take(key: string, bytes: number, { pin, need }: { pin: boolean; need?: ((key: string) => number) | undefined }): Promise<Taken> {
    return this.#lock.run(async () => {
      const found = await this.#look()
      if (pin) await writeFile(this.#pinPath(key), '')
      const ready = found.ready.find((one) => one.key === key)
      if (ready !== undefined) return { state: 'ready', folder: ready.path }
      const part = found.parts.filter((one) => one.key === key)
      if (part.some(({ living }) => living)) return { state: 'elsewhere' }
      const left = part[0]
      const gone: string[] = []
      const used = [...found.ready, ...found.parts].reduce((sum, one) => sum + one.bytes, 0) - (left?.bytes ?? 0)
      if (used + bytes > this.#budget) {
        const mayGo = pin ? () => true : need === undefined ? () => false : (one: Place) => need(one.key) > need(key)
        const spare = [...found.parts.filter((one) => !one.living && one !== left), ...found.ready.filter((one) => !found.pinned.has(one.key) && one.key !== key)].filter(mayGo)
        const inOrder = await this.#byNeed(spare, need)
        let over = used + bytes - this.#budget
        if (inOrder.reduce((sum, one) => sum + one.bytes, 0) < over) {
          if (pin) await rm(this.#pinPath(key), { force: true })
          return { state: 'full' }
        }
        for (const one of inOrder) {
          if (over <= 0) break
          await this.#remove(one.path)
          gone.push(one.key)
          over -= one.bytes
        }
      }
      const folder = join(this.dir, 'parts', `${key}-${bytes}-${this.#owner}`)
      if (left === undefined) await mkdir(folder)
      else await rename(left.path, folder)
      return { state: 'part', folder, gone }
    })
  }

  /** Makes a fetched part a whole item. */
  async finish(folder: string, key: string, files: readonly StagedFile[]): Promise<string> {
    await writeFile(join(folder, RECORD), JSON.stringify({ files }))
    const bytes = files.reduce((sum, file) => sum + file.size, 0)
    return await this.#lock.run(async () => {
      const target = join(this.dir, 'ready', `${key}-${bytes}`)
      await rename(folder, target)
      this.#sound.add(key)
      return target
    })
  }

  /** The paths of a whole item's files. Undefined when they are not what was fetched; they are removed then. Its digests are compared once, if another process fetched it. */
  async verified(folder: string, key: string, signal: AbortSignal): Promise<string[] | undefined> {
    try {
      const { files } = JSON.parse(await readFile(join(folder, RECORD), 'utf8')) as { files: StagedFile[] }
      const paths = files.map(({ name }) => join(folder, name))
      for (const [k, { size, sha256 }] of files.entries()) {
        if ((await stat(paths[k]!)).size !== size) throw new FileError(paths[k]!, `has not ${size} bytes`)
        if (!this.#sound.has(key) && await sha256Of(paths[k]!, signal) !== sha256) throw new FileError(paths[k]!, 'has another digest')
      }
      this.#sound.add(key)
      return paths
    } catch {
      signal.throwIfAborted()
      await this.#lock.run(() => this.#remove(folder))
      return undefined
    }
  }

  /** It is not in use here any more; it stays, as long as there is room. */
  unpin(keys: readonly string[]): Promise<void> {
    return keys.length === 0 ? Promise.resolve() : this.#lock.run(async () => {
      for (const key of keys) await rm(this.#pinPath(key), { force: true })
    })
  }

  /** Not needed again: removed, unless another process uses it, which does so later. */
  drop(keys: ReadonlySet<string>): Promise<void> {
    return keys.size === 0 ? Promise.resolve() : this.#lock.run(async () => {
      for (const key of keys) await rm(this.#pinPath(key), { force: true })
      const { ready, parts, pinned } = await this.#look()
      for (const one of ready) if (keys.has(one.key) && !pinned.has(one.key)) await this.#remove(one.path)
      for (const one of parts) if (keys.has(one.key) && !one.living) await this.#remove(one.path)
    })
  }

  /** Gives room back that was taken. What was fetched of it is kept, for whoever goes on. */
  async leave(folder: string): Promise<void> {
    await rename(folder, orphaned(folder)).catch(() => {})
  }

  /** Removes what dead processes left and nobody here needs: pins, and files of no item of this list that were left alone for a day. */
  sweep(): Promise<void> {
    return this.#lock.run(async () => {
      const { ready, parts, pinned } = await this.#look()
      const strange = [...ready.filter((one) => !pinned.has(one.key)), ...parts.filter((one) => !one.living)].filter((one) => !this.#isMine(one.key))
      for (const one of strange) if (Date.now() - (await stat(one.path)).mtimeMs > STRANGER_MS) await this.#remove(one.path)
    })
  }

  /** Lets go of what this instance holds. */
  close(): void {
    for (const place of ['pins', 'parts'] as const) {
      for (const name of list(join(this.dir, place))) {
        if (!name.endsWith(`-${this.#owner}`)) continue
        const path = join(this.dir, place, name)
        try {
          if (place === 'pins') rmSync(path, { force: true })
          else renameSync(path, orphaned(path))
        } catch { /* Another takes it over when this process has ended. */ }
      }
    }
  }

  async #look(): Promise<Found> {
    const ready = (await readdir(join(this.dir, 'ready'))).flatMap((name) => {
      const match = READY.exec(name)
      return match === null ? [] : [{ key: match[1]!, bytes: Number(match[2]), path: join(this.dir, 'ready', name) }]
    })
    const parts: Found['parts'] = []
    for (const name of await readdir(join(this.dir, 'parts'))) {
      const match = PART.exec(name)
      // Removing happens under the lock, so this one's remover is dead.
      if (match?.[3]!.startsWith(DOOMED)) await rm(join(this.dir, 'parts', name), { recursive: true, force: true })
      else if (match !== null) parts.push({ key: match[1]!, bytes: Number(match[2]), path: join(this.dir, 'parts', name), living: isLiving(match[3]!) })
    }
    const pinned = new Set<string>()
    for (const name of await readdir(join(this.dir, 'pins'))) {
      const match = PIN.exec(name)
      if (match === null) continue
      if (isLiving(match[2]!)) pinned.add(match[1]!)
      else await rm(join(this.dir, 'pins', name), { force: true })
    }
    return { ready, parts, pinned }
  }

  /** First what belongs to no item of this list, then what is needed last: where nobody says what that is, what came last. */
  async #byNeed(spare: readonly Place[], need: ((key: string) => number) | undefined): Promise<Place[]> {
    const all = await Promise.all(spare.map(async (one) => ({ one, mine: this.#isMine(one.key), need: need?.(one.key) ?? (await stat(one.path)).mtimeMs })))
    return all.sort((a, b) => Number(a.mine) - Number(b.mine) || (a.need === b.need ? 0 : b.need - a.need)).map(({ one }) => one)
  }

  /** Renamed first: what is half removed must not look whole. */
  async #remove(path: string): Promise<void> {
    const key = keyOfName(path.slice(path.lastIndexOf('/') + 1))!
    this.#sound.delete(key)
    const doomed = join(this.dir, 'parts', `${key}-0-${DOOMED}${process.pid}x${++removals}`)
    await rename(path, doomed).catch((error: unknown) => { if ((error as { code?: string }).code !== 'ENOENT') throw error })
    await rm(doomed, { recursive: true, force: true })
  }

  #pinPath(key: string): string {
    return join(this.dir, 'pins', `${key}-${this.#owner}`)
  }
}

export type Taken = { readonly state: 'ready'; readonly folder: string }
  /** Keys of items that went for it. */
  | { readonly state: 'part'; readonly folder: string; readonly gone: readonly string[] }
  | { readonly state: 'elsewhere' | 'full' }

export interface StagedFile {
  readonly name: string
  readonly size: number
  readonly sha256: string
}

interface Place {
  readonly key: string
  readonly bytes: number
  readonly path: string
}

interface Found {
  readonly ready: Place[]
  readonly parts: (Place & { readonly living: boolean })[]
  readonly pinned: ReadonlySet<string>
}

const PLACES = ['parts', 'ready', 'pins'] as const
export const RECORD = 'item.json'
const READY = /^([0-9a-f]{64})-(\d+)$/
const PART = /^([0-9a-f]{64})-(\d+)-(.+)$/
const PIN = /^([0-9a-f]{64})-(.+)$/
/** In the place of an owner: nobody, so that whoever needs it takes it. */
const NOBODY = 'nobody'
const DOOMED = 'doomed'
/** A list that shares the folder may be built tomorrow. */
const STRANGER_MS = 86_400_000
let instances = 0
let removals = 0

const keyOfName = (name: string): string | undefined => /^([0-9a-f]{64})-/.exec(name)?.[1]

/** One that cannot be looked at from here (another container) is taken for alive. */
function isLiving(owner: string): boolean {
  return !owner.startsWith(NOBODY) && isAlive(owner.replace(/\+.*$/, '')) !== false
}

function orphaned(path: string): string {
  const at = path.lastIndexOf('/') + 1
  const match = PART.exec(path.slice(at))!
  return `${path.slice(0, at)}${match[1]}-${match[2]}-${NOBODY}${process.pid}x${++removals}`
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

export async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path, { highWaterMark: 2 ** 20, signal })) hash.update(piece as Buffer)
  return hash.digest('hex')
}
