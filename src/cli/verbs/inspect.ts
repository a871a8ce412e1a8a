import { extname } from 'node:path'
import { inspectArrays, type FileInfo } from '../../sources/arrays.js'
import { inspectCif, inspectCsv, type CifInfo, type CsvInfo } from '../../sources/crystal-inspect.js'
import { isImageName } from '../../sources/nifti-items.js'
import { inspectNifti, type NiftiInfo } from '../../sources/nifti-inspect.js'
import { inspectJsonl, inspectParquet, type TableInfo } from '../../sources/table-inspect.js'
import { humanBytes, shapeText, table } from '../format.js'
import type { Verb } from '../verb.js'

export const inspect: Verb = {
  name: 'inspect',
  summary: 'Shows what a file holds: arrays of .npy, .npz and .safetensors, data blocks of .cif, columns of .csv, .jsonl and .parquet, headers of .nii and .hdr.',
  usage: '<file>',
  example: 'tensorcache inspect train.npz',
  options: {},
  positionals: [1, 1],
  async run(context) {
    const path = context.positionals[0]!
    const suffix = extname(path).toLowerCase()
    const info = await (isImageName(path) ? inspectNifti : BY_SUFFIX[suffix] ?? inspectArrays)(path)
    if (context.json) {
      context.print(JSON.stringify('arrays' in info ? { ...info, arrays: info.arrays.map((array) => ({ ...array, dtype: array.dtype ?? null, shape: array.shape ?? null, unusable: array.unusable ?? null })) } : info.format === 'nifti' ? { ...info, dtype: info.dtype ?? null, scale: info.scale ?? null, unusable: info.unusable ?? null } : info))
      return 0
    }
    context.print(`${info.path}: ${info.format}, ${humanBytes(info.bytes)}`)
    for (const line of linesOf(info)) context.print(line)
    return 0
  },
}

const BY_SUFFIX: Readonly<Record<string, (path: string) => Promise<CifInfo | CsvInfo | TableInfo>>> = { '.cif': inspectCif, '.csv': inspectCsv, '.jsonl': inspectJsonl, '.ndjson': inspectJsonl, '.parquet': inspectParquet }

function linesOf(info: FileInfo | CifInfo | CsvInfo | TableInfo | NiftiInfo): string[] {
  if ('arrays' in info) return arrayLines(info)
  if (info.format === 'nifti') return volumeLines(info)
  if (info.format === 'cif') return blockLines(info)
  return info.format === 'csv' ? columnLines(info) : [`${info.rows} rows`, ...table([['column', 'type'], ...info.columns.map(({ name, type, usable }) => [name, usable ? type : `cannot be a field: ${type}`])])]
}

function arrayLines(file: FileInfo): string[] {
  const rows = file.arrays.map((array) => [
    array.name, array.dtype ?? array.type, array.shape === undefined ? '-' : shapeText(array.shape), humanBytes(array.storedBytes),
    array.texts?.join(', ') ?? array.unusable ?? [array.compressed ? 'compressed' : array.mappable ? 'mapped' : 'stored', ...(array.order === 'Fortran' ? ['Fortran order'] : []), ...(array.byteOrder === 'big' ? ['big-endian'] : [])].join(', '),
  ])
  return [...table([['array', 'dtype', 'shape', 'stored', ''], ...rows], [3]), ...Object.entries(file.metadata).map(([key, value]) => `${key}: ${value.length > 200 ? `${value.slice(0, 200)}…` : value}`)]
}

function blockLines({ blocks }: CifInfo): string[] {
  const lengths = (lattice: readonly number[]): string => [0, 3, 6].map((row) => Math.hypot(...lattice.slice(row, row + 3)).toFixed(4)).join(' ')
  const rows = blocks.map(({ name, formula, atoms, lattice, unusable }) => unusable === undefined ? [name, `${atoms}`, lengths(lattice!), formula!] : [name, '-', '-', unusable])
  return table([['block', 'atoms', 'a b c (Å)', 'unit cell'], ...rows], [1])
}

function columnLines({ rows, columns, raggedRows }: CsvInfo): string[] {
  return [`${rows} rows${raggedRows === 0 ? '' : `, ${raggedRows} of which have other fields than the header`}`, `columns: ${columns.map((name) => JSON.stringify(name)).join(', ')}`]
}

function volumeLines({ version, dtype, type, shape, byteOrder, compressed, scale, affine, unusable }: NiftiInfo): string[] {
  const facts = [`NIfTI-${version}`, `${dtype ?? type} ${shapeText(shape)}`, ...(byteOrder === 'big' ? ['big-endian'] : []), ...(compressed ? ['compressed'] : []), ...(scale === undefined ? [] : [`scaled by ${scale.slope}, plus ${scale.inter}`])]
  return [facts.join(', '), ...(unusable === undefined ? [] : [`cannot be read: ${unusable}`]), 'voxel to world, mm:', ...table(affine.map((row) => row.map((value) => String(Number(value.toPrecision(7))))), [0, 1, 2, 3])]
}
