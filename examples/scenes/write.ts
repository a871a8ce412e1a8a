// What `Scene.write` of PhiFlow leaves behind, for fields on a one-dimensional grid: `sim_000000/velocity_000000.npz` and a description.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32, deflateRawSync } from 'node:zlib'

/** Frames [count, cells] of a velocity, each a file of [x, vector]. */
export function writeScene(folder: string, frames: Float32Array, cells: number, description: Readonly<Record<string, unknown>>): void {
  mkdirSync(folder, { recursive: true })
  for (let frame = 0; frame * cells < frames.length; frame++) {
    const data = frames.subarray(frame * cells, (frame + 1) * cells)
    writeFileSync(join(folder, `velocity_${String(frame).padStart(6, '0')}.npz`), zip({
      dim_names: texts(['x', 'vector']), dim_types: texts(['spatial', 'channel']), field_type: texts(['CenteredGrid'], true), data: array('<f4', `(${cells}, 1)`, Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
    }))
  }
  writeFileSync(join(folder, 'description.json'), JSON.stringify(description, null, 2))
}

/** The .npy form: a header of a multiple of 64 bytes, then the elements. */
function array(descr: string, shape: string, data: Buffer): Buffer {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`
  const header = Buffer.alloc(Math.ceil((11 + text.length) / 64) * 64, ' ')
  header.write(`\x93NUMPY\x01\x00${' '.repeat(2)}${text}`, 'latin1')
  header.writeUInt16LE(header.length - 10, 8)
  header.write('\n', header.length - 1)
  return Buffer.concat([header, data])
}

/** Four bytes a character. */
function texts(all: readonly string[], isScalar = false): Buffer {
  const length = Math.max(...all.map((text) => text.length))
  const data = Buffer.alloc(4 * length * all.length)
  all.forEach((text, k) => Array.from(text).forEach((character, i) => data.writeUInt32LE(character.codePointAt(0)!, 4 * (k * length + i))))
  return array(`<U${length}`, isScalar ? '()' : `(${all.length},)`, data)
}

function zip(arrays: Readonly<Record<string, Buffer>>): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const [name, bytes] of Object.entries(arrays)) {
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
