import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Raw files in a staging folder, parts included, and what is in use. */
export function rawFiles(dir: string): string[] {
  return ['parts', 'ready', 'pins'].flatMap((place) => namesIn(join(dir, place)))
}

export function rawBytes(dir: string): number {
  let sum = 0
  for (const place of ['parts', 'ready']) {
    for (const folder of namesIn(join(dir, place))) {
      for (const name of namesIn(join(dir, place, folder))) if (!name.endsWith('.json')) sum += statSync(join(dir, place, folder, name), { throwIfNoEntry: false })?.size ?? 0
    }
  }
  return sum
}

/** None where it is gone meanwhile. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
