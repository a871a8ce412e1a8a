import { FormatError } from '../core/errors.js'
import { brief } from './brief.js'
import type { StoredBytes } from './bytes.js'
import type { NpyHeader } from './npy-header.js'
import { product } from './ranges.js'

/** Names of axes and the like: what says more is no label. */
const TEXTS_BYTES_MAX = 2 ** 16
const TEXT = /^([<>|=]?)([USa])(\d+)$/

/** Whether the elements of an array are text: bytes, or code points of 32 bits. */
export function isText(header: NpyHeader): boolean {
  return TEXT.test(header.descr)
}

/** The elements of a small array of text, in the order of the file, without the zeros that fill them up. Rejects with FormatError. */
export async function readTexts(bytes: StoredBytes, place: string, header: NpyHeader): Promise<readonly string[]> {
  const fail = (expected: string, found: string): never => { throw new FormatError({ file: bytes.file.path, place, expected, found }) }
  const [, order, kind, length] = TEXT.exec(header.descr)!
  const size = Number(length) * (kind === 'U' ? 4 : 1)
  const count = product(header.shape)
  const found = bytes.size - header.dataOffset
  if (!(size * count <= TEXTS_BYTES_MAX) || count > TEXTS_BYTES_MAX) fail(`at most ${TEXTS_BYTES_MAX} bytes of text`, `shape [${header.shape.join(', ')}] of ${header.descr}`)
  if (size * count !== found) fail(`${size * count} bytes for shape [${header.shape.join(', ')}] of ${header.descr}`, `${found}`)
  const stored = new Uint8Array(found)
  await bytes.read(header.dataOffset, stored, 1)
  const view = new DataView(stored.buffer)
  return Array.from({ length: count }, (_, k) => {
    const codes = Array.from({ length: Number(length) }, (_, i) => kind === 'U' ? view.getUint32(k * size + 4 * i, order !== '>') : stored[k * size + i]!)
    while (codes.at(-1) === 0) codes.pop()
    const wrong = codes.find((code) => code > 0x10ffff)
    return wrong === undefined ? String.fromCodePoint(...codes) : fail('Unicode text', brief(`code point ${wrong}`))
  })
}
