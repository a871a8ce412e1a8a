import { ArraySource, type ArraySourceOptions, type Paths } from './array-source.js'
import type { Source } from './source.js'

/** Options of `npy`. */
export type NpyOptions = Pick<ArraySourceOptions, 'fields' | 'residencyBytes'>

/**
 * Rows of a .npy file, or of several that follow one another and agree in dtype and in the shape of a row. The array is called `data`:
 * `fields: { x: 'data' }` gives its field another name. Opening reads the header only.
 *
 * Rejects with FileError, FormatError for a damaged file, UnsupportedError when its elements are not numbers.
 */
export async function npy(paths: Paths, options?: NpyOptions): Promise<Source> {
  return ArraySource.open('npy', paths, options)
}
