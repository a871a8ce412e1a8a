// Scenes as PhiFlow writes them: slow, obvious, and able to lie on request.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { npyBytes, npyHeader, zipBytes, type Member, type Plain } from './write.js'

export interface Labels {
  readonly names?: readonly string[]
  readonly types?: readonly string[]
  readonly grid?: string
}

/** An array of text as NumPy has it: code points of 32 bits, filled up with zeros. */
export function textBytes(texts: readonly string[], scalar = false, descr?: string): Buffer {
  const length = Math.max(1, ...texts.map((text) => [...text].length))
  const data = Buffer.alloc(4 * length * texts.length)
  texts.forEach((text, k) => [...text].forEach((character, i) => data.writeUInt32LE(character.codePointAt(0)!, 4 * (k * length + i))))
  return Buffer.concat([npyHeader(`{'descr': '${descr ?? `<U${length}`}', 'fortran_order': False, 'shape': ${scalar ? '()' : `(${texts.length},)`}, }`), data])
}

/** A pickle of nothing: what is read of it would be code. */
export const objectBytes = Buffer.concat([npyHeader("{'descr': '|O', 'fortran_order': False, 'shape': (), }"), Buffer.from('\x80\x04N.', 'latin1')])

export function phiMembers(data: Plain, { names = ['x', 'y', 'z'].slice(0, data.shape.length), types = names.map((name) => name === 'vector' ? 'channel' : 'spatial'), grid = 'CenteredGrid' }: Labels = {}): Member[] {
  const text = (name: string, bytes: Buffer): Member => ({ name: `${name}.npy`, bytes, deflate: true })
  return [text('dim_names', textBytes(names)), text('dim_types', textBytes(types)), text('dim_item_names', objectBytes), text('field_type', textBytes([grid], true)), text('extrapolation', objectBytes), { name: 'data.npy', bytes: npyBytes(data), deflate: true }]
}

export function phiBytes(data: Plain, labels?: Labels): Buffer {
  return zipBytes(phiMembers(data, labels))
}

export function frameName(field: string, frame: number): string {
  return `${field}_${String(frame).padStart(6, '0')}.npz`
}

export interface SceneForm {
  readonly first?: number
  readonly step?: number
  readonly labels?: Labels
  readonly description?: unknown
}

/** A folder with a file for each frame of each field. */
export function writeScene(path: string, fields: Readonly<Record<string, readonly Plain[]>>, { first = 0, step = 1, labels, description }: SceneForm = {}): string {
  mkdirSync(path, { recursive: true })
  for (const [field, frames] of Object.entries(fields)) frames.forEach((data, k) => writeFileSync(join(path, frameName(field, first + k * step)), phiBytes(data, labels)))
  if (description !== undefined) writeFileSync(join(path, 'description.json'), typeof description === 'string' ? description : JSON.stringify(description))
  return path
}
