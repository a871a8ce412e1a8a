import { UnsupportedError } from '../core/errors.js'
import { brief } from './brief.js'
import type { CifBlock } from './cif.js'
import { fault, type Where } from './cif-tokens.js'

/** x' = rotation · x + translation on fractional coordinates: 12 numbers, row by row `r r r t`. */
export type Operation = readonly number[]

/** Operations with different axes would multiply any crystal: the largest group of 230 lists 192, a supercell's some hundreds. */
const OPERATIONS_MAX = 1_024
const IDENTITY: Operation = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
/** `-x`, `+1/2`, `0.25`, `2x`, `2/3*y`: an optional sign, a number or fraction, an axis. */
const TERM = /([+-]?)(?:(\d+(?:\.\d*)?|\.\d+)(?:\/(\d+(?:\.\d*)?))?)?\*?([xyz]?)/y

/**
 * The symmetry operations a block lists. Without a list the crystal must be P1, or say nothing of its symmetry: there is no table of space groups
 * here, because one symbol stands for several settings and the list does not.
 *
 * Throws FormatError when an operation is none, UnsupportedError when a space group is named only.
 */
export function operationsOf({ values }: CifBlock, where: Where): readonly Operation[] {
  for (const tag of ['_symmetry_equiv_pos_as_xyz', '_space_group_symop_operation_xyz']) {
    const list = values.get(tag)
    if (list === undefined || list.every((text) => text === '?' || text === '.')) continue
    if (list.length > OPERATIONS_MAX) throw fault(where, tag, `at most ${OPERATIONS_MAX} symmetry operations`, `${list.length}`)
    if (list.length === 1 && list[0] === 'x, y, z') return [IDENTITY]
    const operations = list.map((text) => parseOperation(text) ?? raise(fault(where, tag, 'an operation such as -x,y+1/2,-z', brief(text))))
    if (!operations.some(isIdentity)) throw fault(where, tag, 'x,y,z among the operations', list.length === 1 ? brief(list[0]) : `${list.length} others`)
    return operations
  }
  const refuse = (reason: string): never => { throw new UnsupportedError({ ...where, reason: `${reason}; write the CIF with its operations (_space_group_symop_operation_xyz), or with all atoms of the cell in P1` }) }
  if (values.has('_space_group_symop_magn_operation_xyz')) return refuse('its symmetry is given by magnetic operations only')
  for (const tag of ['_symmetry_int_tables_number', '_space_group_it_number']) {
    const number = valueOf(values, tag)
    if (number !== undefined && number !== '1') return refuse(`space group number ${brief(number)} is named, but its operations are not listed`)
  }
  for (const tag of ['_symmetry_space_group_name_h-m', '_space_group_name_h-m_alt', '_symmetry_space_group_name_hall', '_space_group_name_hall']) {
    const name = valueOf(values, tag)
    if (name !== undefined && !/^\s*p\s*_?\s*1\s*$/i.test(name)) return refuse(`space group ${brief(name)} is named, but its operations are not listed`)
  }
  return [IDENTITY]
}

/** Undefined when the text is no operation that keeps the volume. */
export function parseOperation(text: string): Operation | undefined {
  const parts = text.toLowerCase().replace(/\s+/g, '').split(',')
  if (parts.length !== 3) return undefined
  const operation: number[] = []
  for (const part of parts) {
    const row = [0, 0, 0, 0]
    if (part === '') return undefined
    for (TERM.lastIndex = 0; TERM.lastIndex < part.length;) {
      const at = TERM.lastIndex
      const [all, sign, number, over, axis] = TERM.exec(part)!
      // Terms are told apart by their signs; without one only the first may stand. A sign or a * alone is no term.
      if (all === '' || (number === undefined && axis === '') || (sign === '' && at > 0) || (axis === '' && all.endsWith('*')) || (number === undefined && all.includes('*'))) return undefined
      const value = (sign === '-' ? -1 : 1) * (number === undefined ? 1 : Number(number)) / (over === undefined ? 1 : Number(over))
      row['xyz'.indexOf(axis === '' ? '-' : axis!) >= 0 ? 'xyz'.indexOf(axis!) : 3]! += value
    }
    operation.push(...row)
  }
  const [a, b, c, , d, e, f, , g, h, i] = operation as [number, number, number, number, number, number, number, number, number, number, number, number]
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
  return Math.abs(Math.abs(determinant) - 1) < 1e-6 && operation.every(Number.isFinite) ? operation : undefined
}

export function isIdentity(operation: Operation): boolean {
  return operation.every((value, k) => value === IDENTITY[k])
}

function valueOf(values: CifBlock['values'], tag: string): string | undefined {
  const value = values.get(tag)?.[0]
  return value === '?' || value === '.' || value === '' ? undefined : value
}

function raise(error: Error): never {
  throw error
}
