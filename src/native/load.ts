import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { MissingDependencyError } from '../core/errors.js'
import type { Addon } from './addon.js'

let addon: Addon | undefined

/** The native addon, loaded on first use. `src/native` and `dist/native` lie equally deep, so both find the same build. */
export function native(): Addon {
  if (addon !== undefined) return addon
  const path = fileURLToPath(new URL('../../native/build/tensorcache.node', import.meta.url))
  try {
    addon = createRequire(import.meta.url)(path) as Addon
  } catch (cause) {
    throw new MissingDependencyError(`The native part of tensorcache is not built (${path}). Build it with a C++ compiler: npm rebuild tensorcache, or in a clone: npm run build`, { cause })
  }
  return addon
}
