import { fileURLToPath } from 'node:url'

/** `examples/…` of the project, where the data lie: compiled examples run from build/examples/. */
export function inExamples(path: string): string {
  return fileURLToPath(new URL(`${import.meta.url.endsWith('.js') ? '../../examples/' : './'}${path}`, import.meta.url))
}
