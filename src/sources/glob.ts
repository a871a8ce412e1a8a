import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** A file that a pattern names, and what each of its wildcards stands for in it. */
export interface GlobMatch {
  readonly path: string
  readonly wildcards: readonly string[]
}

export function isPattern(path: string): boolean {
  return /[*?]/.test(path)
}

/** The deepest folder that all of these files lie below. */
export function commonFolder(paths: readonly string[]): string {
  let folder = dirname(paths[0] ?? '/')
  for (const path of paths) while (folder !== '/' && !path.startsWith(`${folder}/`)) folder = dirname(folder)
  return folder
}

/** The folder before the first wildcard of an absolute pattern, and the rest of it by folders. */
export function splitPattern(pattern: string): { base: string; parts: readonly string[] } {
  const parts = pattern.split('/')
  const first = parts.findIndex(isPattern)
  // `**` behind `**` adds nothing but ways to match.
  return { base: parts.slice(0, first).join('/') || '/', parts: parts.slice(first).filter((part, k, all) => part !== '' && !(part === '**' && all[k - 1] === '**')) }
}

/**
 * Files that an absolute pattern names, by path, compared by code units: `*` and `?` stand for any characters within a name, `**` for any folders or none. Names that begin with
 * a dot are left out. Empty when the folder is not there. With `folders` the last part of the pattern names folders, too.
 */
export async function glob(pattern: string, { folders = false } = {}): Promise<GlobMatch[]> {
  const { base, parts } = splitPattern(pattern)
  const found = new Map<string, GlobMatch>()
  for await (const match of walk(base, parts, [], folders)) if (!found.has(match.path)) found.set(match.path, match)
  return [...found.values()].sort((a, b) => a.path < b.path ? -1 : 1)
}

async function* walk(folder: string, [part, ...rest]: readonly string[], wildcards: readonly string[], folders: boolean): AsyncGenerator<GlobMatch> {
  if (part === undefined) return
  if (part === '**') {
    // The last part alone names every file.
    yield* walk(folder, rest.length === 0 ? ['*'] : rest, [...wildcards, ''], folders)
    for (const entry of await entriesOf(folder)) {
      if (!entry.isDirectory()) continue
      for await (const { path, wildcards: below } of walk(join(folder, entry.name), ['**', ...rest], [], folders)) {
        yield { path, wildcards: [...wildcards, join(entry.name, below[0]!), ...below.slice(1)] }
      }
    }
    return
  }
  if (rest.length > 0 && !isPattern(part)) return yield* walk(join(folder, part), rest, wildcards, folders)
  const wanted = nameOf(part)
  for (const entry of await entriesOf(folder)) {
    const match = wanted.exec(entry.name)
    if (match === null) continue
    const path = join(folder, entry.name)
    if (rest.length > 0) yield* walk(path, rest, [...wildcards, ...match.slice(1)], folders)
    else if (folders || !entry.isDirectory()) yield { path, wildcards: [...wildcards, ...match.slice(1)] }
  }
}

async function entriesOf(folder: string): Promise<{ name: string; isDirectory(): boolean }[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes((error as { code: string }).code)) return []
    throw error
  })
  // Hidden files are what desktops leave beside others.
  return entries.filter(({ name }) => !name.startsWith('.'))
}

/** Of several wildcards the first take as little as they can. */
function nameOf(part: string): RegExp {
  return new RegExp(`^${part.replaceAll(/\*+|\?|[^*?]+/g, (piece) => piece.startsWith('*') ? '(.*?)' : piece === '?' ? '(.)' : piece.replaceAll(/[\\^$.|+()[\]{}]/g, '\\$&'))}$`, 's')
}
