import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FileError, FormatError, UnsupportedError } from '../../src/core/errors.js'
import { scenes, type ScenesOptions } from '../../src/sources/scenes.js'
import { objectBytes, phiBytes, phiMembers, textBytes, writeScene } from '../sources/scene-write.js'
import { npyBytes, npyHeader, pattern, zipBytes, type Member } from '../sources/write.js'
import { tempDir } from '../support/temp.js'
import { expectRefused } from './refuse.js'

const DATA = pattern('float32', [4, 3, 2])
const NAMES = ['x', 'y', 'vector']

async function useScene(path: string, options?: ScenesOptions): Promise<void> {
  const source = await scenes(dirname(path), options)
  try {
    for await (const run of source.read(0, source.length, { fields: Object.keys(source.fields) })) expect(run.count).toBeGreaterThan(0)
  } finally {
    source.close()
  }
}

/** A scene of one frame, some of whose members are others. */
function frame(replaced: Readonly<Record<string, Buffer | undefined>>): string {
  const folder = join(tempDir(), 'sim_000000')
  mkdirSync(folder)
  const members = phiMembers(DATA, { names: NAMES }).flatMap((member): Member[] => {
    const name = member.name.slice(0, -4)
    if (!(name in replaced)) return [member]
    return replaced[name] === undefined ? [] : [{ ...member, bytes: replaced[name] }]
  })
  const path = join(folder, 'velocity_000000.npz')
  writeFileSync(path, zipBytes(members))
  return path
}
const refused = (replaced: Readonly<Record<string, Buffer | undefined>>, place: RegExp, kind?: typeof FormatError | typeof UnsupportedError): Promise<void> => expectRefused(frame(replaced), place, kind, useScene)
const texts = (descr: string, shape: string, data: Buffer): Buffer => Buffer.concat([npyHeader(`{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`), data])

test('the frame these attacks start from is sound, without its labels too, and with labels that are objects', async () => {
  await useScene(frame({}))
  await useScene(frame({ dim_types: undefined, field_type: undefined }))
  await useScene(frame({ dim_names: undefined, dim_types: undefined }))
  await useScene(frame({ dim_names: objectBytes, dim_types: objectBytes, field_type: objectBytes }))
})

describe('labels', () => {
  test('too few names', () => refused({ dim_names: textBytes(['x', 'y']) }, /dim_names.*expected 3 different names/))
  test('too many names', () => refused({ dim_names: textBytes(['x', 'y', 'z', 'vector']) }, /dim_names/))
  test('a name twice', () => refused({ dim_names: textBytes(['x', 'x', 'vector']) }, /dim_names/))
  test('too few kinds', () => refused({ dim_types: textBytes(['spatial']) }, /dim_types.*expected 3 kinds/))
  test('a kind nobody knows', () => refused({ dim_types: textBytes(['spatial', 'constructor', 'channel']) }, /dim_types.*"constructor"/))
  test('a grid nobody knows', () => refused({ field_type: textBytes(['PointCloud'], true) }, /field_type.*"PointCloud"/, UnsupportedError))
  test('a billion names', () => refused({ dim_names: texts('<U6', '(1000000000,)', Buffer.alloc(24)) }, /dim_names.*at most 65536 bytes of text/))
  test('a billion names of no length', () => refused({ dim_names: texts('<U0', '(1000000000,)', Buffer.alloc(0)) }, /dim_names.*at most 65536 bytes of text/))
  test('names longer than a file', () => refused({ dim_names: texts('<U999999999', '(3,)', Buffer.alloc(24)) }, /dim_names.*at most 65536 bytes of text/))
  test('names that are cut off', () => refused({ dim_names: texts('<U6', '(3,)', Buffer.alloc(71)) }, /dim_names.*expected 72 bytes/))
  test('no Unicode', () => refused({ dim_names: texts('<U1', '(3,)', Buffer.from('ffffffff7800000079000000', 'hex')) }, /dim_names.*Unicode/))
  test('a damaged header', () => refused({ dim_names: Buffer.from('\x93NUMPY\x01\x00\xff\xff', 'latin1') }, /dim_names/))
  test('data that is not there', () => refused({ data: undefined }, /array of the frame: it holds none/, UnsupportedError))
  test('data that is an object', () => refused({ data: objectBytes }, /Python objects/, UnsupportedError))
  test('data of another size', () => refused({ data: npyBytes(DATA).subarray(0, -4) }, /array "data".*96 bytes/))
  test('labels in another byte order, and in bytes, are labels', async () => {
    const wide = Buffer.concat(['x', 'y', 'v'].map((name) => Buffer.from([0, 0, 0, name.charCodeAt(0)])))
    await useScene(frame({ dim_names: texts('>U1', '(3,)', wide) }))
    await useScene(frame({ dim_names: texts('|S2', '(3,)', Buffer.from('x\0y\0v\0')) }))
  })
})

test('a checksum that labels share does not make a frame of another shape one of this', async () => {
  const path = frame({})
  writeFileSync(join(dirname(path), 'velocity_000001.npz'), phiBytes(pattern('float32', [4, 2, 3]), { names: NAMES }))
  await expect(useScene(path)).rejects.toThrow(/frame 1 of velocity in sim_000000: expected float32 \[x 4, y 3, vector 2\].*found float32 \[x 4, y 2, vector 3\]/)
})

test('bits that fell over are found wherever data lies', async () => {
  const sound = zipBytes([{ name: 'data.npy', bytes: npyBytes(DATA) }])
  const folder = writeScene(join(tempDir(), 'sim_000000'), {})
  const path = join(folder, 'velocity_000000.npz')
  writeFileSync(path, sound)
  await useScene(path)
  const data = sound.indexOf(Buffer.from(npyBytes(DATA)).subarray(128))
  for (const at of [data, data + 50, data + 95]) {
    const bytes = Buffer.from(sound)
    bytes[at]! ^= 4
    writeFileSync(path, bytes)
    await expectRefused(path, /CRC-32/, FormatError, useScene)
  }
})

describe('descriptions', () => {
  const described = (text: string): string => {
    const path = frame({})
    writeFileSync(join(dirname(path), 'description.json'), text)
    return path
  }
  const options = { properties: { nu: 'a.b' } }
  test('half a million levels', async () => {
    const error = await useScene(described(`{"a":${'['.repeat(500_000)}`), options).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(FormatError)
  })
  test('more than 16 MiB', async () => {
    const error = await useScene(described(`{"a":{"b":1}}${' '.repeat(2 ** 24)}`), options).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'E_FORMAT', expected: 'at most 16777216 bytes' })
  })
  test('what every object has is no property', async () => {
    for (const path of ['__proto__.b', 'a.__proto__', 'constructor.length']) await expect(useScene(described('{"a":{}}'), { properties: { nu: path } })).rejects.toThrow(/expected a number, found nothing/)
  })
})

test('20,000 frames of one simulation, of which one is missing', async () => {
  const folder = join(tempDir(), 'sim_000000')
  mkdirSync(folder)
  const bytes = zipBytes([{ name: 'data.npy', bytes: npyBytes(pattern('uint8', [1])) }])
  for (let k = 0; k < 20_000; k++) if (k !== 19_998) writeFileSync(join(folder, `u_${String(k).padStart(6, '0')}.npz`), bytes)
  const error = await scenes(folder).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(FileError)
  expect((error as Error).message).toMatch(/u_019998\.npz: frame 19998 of u is missing in sim_000000, where there are frames 0 to 19999; frames are every 1$/)
  const source = await scenes(folder, { frames: { stop: 19_998 }, window: 9_999 })
  expect([source.length, source.files.length]).toEqual([2, 19_998])
  source.close()
}, 60_000)
