import { expect } from 'vitest'
import { FormatError, UnsupportedError } from '../../src/core/errors.js'
import { openArrays } from '../../src/sources/arrays.js'

/** A hostile file must be refused well within these: the limits leave room for a busy machine, not for work in proportion to what a file claims. */
const MILLISECONDS_MAX = 2_000
const BYTES_MAX = 64 * 2 ** 20

/**
 * Opens the file and reads everything, as arrays or with `read`. Expects a FormatError (or an UnsupportedError) that names the file and a place
 * matching `place`, in bounded time and memory.
 */
export async function expectRefused(path: string, place: RegExp, kind: typeof FormatError | typeof UnsupportedError = FormatError, read: (path: string) => Promise<void> = use): Promise<void> {
  const before = process.memoryUsage().rss
  const began = performance.now()
  const error = await read(path).then(() => undefined, (error: unknown) => error)
  expect(error, 'nothing was refused').toBeDefined()
  if (!(error instanceof kind)) throw error
  expect(error.file).toBe(path)
  expect(`${error.place}: ${error.message}`).toMatch(place)
  expect(performance.now() - began).toBeLessThan(MILLISECONDS_MAX)
  expect(process.memoryUsage().rss - before).toBeLessThan(BYTES_MAX)
}

export async function use(path: string): Promise<void> {
  using arrays = await openArrays(path)
  for (const array of Object.values(arrays)) await array.read()
}
