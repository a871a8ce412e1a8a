// A writer of .npz files, as NumPy's savez_compressed makes them, for what examples make themselves.
import { crc32, deflateRawSync } from 'node:zlib'

/** A .npz of members in the .npy form, by name. */
export function zip(members: Readonly<Record<string, Buffer>>): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const [name, bytes] of Object.entries(members)) {
    const [file, stored] = [Buffer.from(`${name}.npy`), deflateRawSync(bytes)]
    // Version, flags, method, time, date, then what both records say in the same order.
    const facts = Buffer.alloc(26)
    facts.writeUInt16LE(20, 0)
    facts.writeUInt16LE(8, 4)
    facts.writeUInt16LE(33, 8)
    facts.writeUInt32LE(crc32(bytes), 10)
    facts.writeUInt32LE(stored.length, 14)
    facts.writeUInt32LE(bytes.length, 18)
    facts.writeUInt16LE(file.length, 22)
    const place = Buffer.alloc(14)
    place.writeUInt32LE(offset, 10)
    const local = [Buffer.from('PK\x03\x04'), facts, file, stored]
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x00', 'latin1'), facts, place, file]))
    parts.push(...local)
    offset += local.reduce((sum, part) => sum + part.length, 0)
  }
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  for (const at of [8, 10]) end.writeUInt16LE(directory.length, at)
  end.writeUInt32LE(directory.reduce((sum, entry) => sum + entry.length, 0), 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, ...directory, end])
}

/** The .npy form: a header of a multiple of 64 bytes, then the elements in C order. `descr` as NumPy has it: `<f4`. */
export function array(descr: string, shape: readonly number[], elements: NodeJS.ArrayBufferView): Buffer {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`
  const header = Buffer.alloc(Math.ceil((11 + text.length) / 64) * 64, ' ')
  header.write(`\x93NUMPY\x01\x00${' '.repeat(2)}${text}`, 'latin1')
  header.writeUInt16LE(header.length - 10, 8)
  header.write('\n', header.length - 1)
  return Buffer.concat([header, Buffer.from(elements.buffer, elements.byteOffset, elements.byteLength)])
}
