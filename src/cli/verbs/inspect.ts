import { inspectArrays } from '../../sources/arrays.js'
import { humanBytes, shapeText, table } from '../format.js'
import type { Verb } from '../verb.js'

export const inspect: Verb = {
  name: 'inspect',
  summary: 'Shows the header of a .npy, .npz or .safetensors file: arrays, dtypes, shapes, how they are stored.',
  usage: '<file>',
  example: 'tensorcache inspect train.npz',
  options: {},
  positionals: [1, 1],
  async run(context) {
    const file = await inspectArrays(context.positionals[0]!)
    if (context.json) {
      context.print(JSON.stringify({ ...file, arrays: file.arrays.map((array) => ({ ...array, dtype: array.dtype ?? null, shape: array.shape ?? null, unusable: array.unusable ?? null })) }))
      return 0
    }
    context.print(`${file.path}: ${file.format}, ${humanBytes(file.bytes)}`)
    const rows = file.arrays.map((array) => [
      array.name, array.dtype ?? array.type, array.shape === undefined ? '-' : shapeText(array.shape), humanBytes(array.storedBytes),
      array.unusable ?? [array.compressed ? 'compressed' : array.mappable ? 'mapped' : 'stored', ...(array.order === 'Fortran' ? ['Fortran order'] : []), ...(array.byteOrder === 'big' ? ['big-endian'] : [])].join(', '),
    ])
    for (const line of table([['array', 'dtype', 'shape', 'stored', ''], ...rows], [3])) context.print(line)
    for (const [key, value] of Object.entries(file.metadata)) context.print(`${key}: ${value.length > 200 ? `${value.slice(0, 200)}…` : value}`)
    return 0
  },
}
