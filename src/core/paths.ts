import { mkdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, sep } from 'node:path'

/** An absolute path without links, as far as it is there: what is not there yet will lie where its nearest parent does. */
export function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    const parent = dirname(path)
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error
    return join(realPath(parent), basename(path))
  }
}

/** Makes a folder, and those above it, where there is none. `mkdirSync` with `recursive` never returns where a file system takes no new folders and calls them missing, as /proc does. */
export function makeFolder(path: string): void {
  const parent = dirname(path)
  try {
    make(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error
    makeFolder(parent)
    make(path)
  }
}

function make(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !statSync(path).isDirectory()) throw error
  }
}

/** True when two folders are one, or one lies in the other. */
export function overlap(a: string, b: string): boolean {
  const [one, other] = [a, b].map((path) => realPath(path).replace(/\/?$/, sep)) as [string, string]
  return one.startsWith(other) || other.startsWith(one)
}
