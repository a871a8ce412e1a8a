import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Folder of the project, wherever the compiled benchmark lies. */
export const root = dirname(fileURLToPath(import.meta.resolve('tensorcache/package.json')))
