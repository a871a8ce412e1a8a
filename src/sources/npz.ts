import { ArraySource, type ArraySourceOptions, type Paths } from './array-source.js'
import type { Source } from './source.js'

export type NpzOptions = ArraySourceOptions

/**
 * Rows of the arrays of a .npz file, or of several that follow one another. Stored members are mapped, deflated ones are read by ranges of rows.
 * Opening reads the directory and the headers of the arrays that are used; other members (Python objects, text) are not touched.
 *
 * Rejects with FileError, FormatError for a damaged or hostile file or for arrays of unequal length, UnsupportedError when an array that is
 * asked for does not hold numbers, TypeError when there is no such array.
 */
export async function npz(paths: Paths, options?: NpzOptions): Promise<Source> {
  return ArraySource.open('npz', paths, options)
}
