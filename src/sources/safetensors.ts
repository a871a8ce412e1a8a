import { ArraySource, type ArraySourceOptions, type Paths } from './array-source.js'
import type { Source } from './source.js'

export type SafetensorsOptions = ArraySourceOptions

/**
 * Rows of the tensors of a .safetensors file, or of several that follow one another. Opening reads the header only.
 *
 * Rejects with FileError, FormatError for a damaged or hostile file or for tensors of unequal length, UnsupportedError when elements of a tensor
 * that is asked for are of a type that is not read, TypeError when there is no such tensor.
 */
export async function safetensors(paths: Paths, options?: SafetensorsOptions): Promise<Source> {
  return ArraySource.open('safetensors', paths, options)
}
