import { realpathSync } from 'node:fs'
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

/** True when two folders are one, or one lies in the other. */
export function overlap(a: string, b: string): boolean {
  const [one, other] = [a, b].map((path) => realPath(path).replace(/\/?$/, sep)) as [string, string]
  return one.startsWith(other) || other.startsWith(one)
}
