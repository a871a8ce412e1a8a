import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { FormatError, UnsupportedError } from '../../src/core/errors.js'
import { nifti, type NiftiOptions } from '../../src/sources/nifti.js'
import { random } from '../sources/random.js'
import { membersOf, niftiBytes, niftiGz, niftiParts, type NiftiForm } from '../sources/nifti-write.js'
import { file, pattern } from '../sources/write.js'
import { expectRefused } from './refuse.js'

const IMAGE = pattern('int16', [4, 3, 2])

async function use(path: string, options: NiftiOptions = {}): Promise<void> {
  const source = await nifti(path, options)
  for await (const _ of source.read(0, source.length, { fields: Object.keys(source.fields) }));
}
const useFrames = (path: string): Promise<void> => use(path, { frames: true })

const refused = (bytes: Uint8Array, place: RegExp, name = 'x.nii', kind: typeof FormatError | typeof UnsupportedError = FormatError): Promise<void> => expectRefused(file(name, bytes), place, kind, use)
/** Read by frames, which goes through the seek index. */
const refusedByFrames = (bytes: Uint8Array, place: RegExp, name = 'x.nii.gz'): Promise<void> => expectRefused(file(name, bytes), place, FormatError, useFrames)

/** The lie refused in both versions and byte orders, alone and compressed. */
async function lie(form: NiftiForm, place: RegExp): Promise<void> {
  for (const version of [1, 2] as const) {
    for (const big of [false, true]) {
      const bytes = niftiBytes(IMAGE, { version, big, ...form })
      await refused(bytes, place)
      await refused(gzipSync(bytes), place, 'x.nii.gz')
    }
  }
}

describe('NIfTI headers', () => {
  test('an empty file', () => refused(Buffer.alloc(0), /size/))
  test('three bytes', () => refused(Buffer.from([0x5c, 1, 0]), /size/))
  test('cut within the header', async () => {
    for (const version of [1, 2] as const) for (const length of [4, 100, version === 1 ? 347 : 539]) await refused(niftiBytes(IMAGE, { version }).subarray(0, length), /size/)
  })
  test('another size of the header', () => lie({ lies: { sizeofHdr: 349 } }, /sizeof_hdr/))
  test('a size of the header that is negative', () => lie({ lies: { sizeofHdr: -348 } }, /sizeof_hdr/))
  test('something else', () => refused(Buffer.from('PK\x03\x04'.padEnd(600)), /sizeof_hdr.*PK/))
  test('no magic: Analyze 7.5', () => lie({ lies: { magic: '\0\0\0\0' } }, /magic.*Analyze/))
  test('another magic', () => lie({ lies: { magic: 'n+3\0' } }, /magic/))
  test('a magic of the other version', async () => {
    await refused(niftiBytes(IMAGE, { lies: { magic: 'n+2\0' } }), /magic/)
    await refused(niftiBytes(IMAGE, { version: 2, lies: { magic: 'n+1\0' } }), /magic/)
  })
  test('a magic without its zero', () => lie({ lies: { magic: 'n+1 ' } }, /magic/))
  test('the magic of a pair in a single file', async () => {
    await refused(niftiBytes(IMAGE, { lies: { magic: 'ni1\0' } }), /magic.*pair/)
    await refused(niftiBytes(IMAGE, { version: 2, lies: { magic: 'ni2\0' } }), /magic.*pair/)
  })
  test('NIfTI-2 that was transferred as text', () => refused(niftiBytes(IMAGE, { version: 2, lies: { ends: '\n\n\x1a\n' } }), /magic.*text/))
  test.each([0, -1, 8, 1024])('%i axes', (axes) => lie({ lies: { axes } }, /dim\[0\]/))
  test.each([[[0, 3, 2]], [[4, -3, 2]], [[4, 3, 0]]])('extents %j', (dim) => lie({ lies: { dim } }, /dim\[\d\]/))
  test('extents of the FreeSurfer hack', () => lie({ lies: { dim: [-1, 1, 1] } }, /dim\[1\]/))
  test('extents whose product is no exact integer', async () => {
    await refused(niftiBytes(IMAGE, { lies: { axes: 7, dim: Array<number>(7).fill(32767) } }), /dim: expected a size/)
    await refused(niftiBytes(IMAGE, { version: 2, lies: { dim: [2 ** 31, 2 ** 31, 2] } }), /dim: expected a size/)
  })
  test('an extent beyond the exact integers', () => refused(niftiBytes(IMAGE, { version: 2, lies: { dim: [2 ** 62, 1, 1] } }), /dim\[1\]/))
  test.each([0, 3, 255, 4096, -4])('datatype %i', (datatype) => lie({ lies: { datatype } }, /datatype/))
  test.each([0, 8, 32, -16])('bitpix %i of int16', (bitpix) => lie({ lies: { bitpix } }, /bitpix: expected 16/))
  test('an offset of 0 in a single file', () => lie({ lies: { voxOffset: 0 } }, /vox_offset/))
  test('an offset within the header', () => lie({ lies: { voxOffset: 351 } }, /vox_offset/))
  test('a negative offset', () => lie({ lies: { voxOffset: -352 } }, /vox_offset/))
  test.each([NaN, Infinity, 352.5])('an offset of %d', (voxOffset) => refused(niftiBytes(IMAGE, { lies: { voxOffset } }), /vox_offset/))
  test('an offset beyond the file', () => lie({ lies: { voxOffset: 2 ** 24 } }, /data/))
  test('an offset beyond the exact integers', () => refused(niftiBytes(IMAGE, { version: 2, lies: { voxOffset: 2 ** 53 } }), /vox_offset/))
  test.each([NaN, Infinity])('an intercept of %d beside a slope', (inter) => lie({ slope: 1, inter }, /scl_inter/))
  test('an sform that is not finite', () => lie({ sform: [1, 0, 0, 0, 0, NaN, 0, 0, 0, 0, 1, 0] }, /srow/))
  test('a quaternion that is too long', () => lie({ qform: [1, 1, 0] }, /quatern/))
  test('a quaternion that is not finite', () => lie({ qform: [NaN, 0, 0] }, /quatern/))
  test('sizes of voxels that are not finite', () => lie({ pixdim: [1, Infinity, 1] }, /pixdim/))
})

describe('NIfTI data', () => {
  test('one byte is missing', async () => {
    const bytes = niftiBytes(IMAGE)
    await refused(bytes.subarray(0, -1), /data/)
    await refused(gzipSync(bytes.subarray(0, -1)), /data: expected gzip of 400 bytes/, 'x.nii.gz')
  })
  test('bytes that follow are left alone', async () => {
    const more = Buffer.concat([niftiBytes(IMAGE), Buffer.alloc(1000, 7)])
    await use(file('x.nii', more))
    await use(file('x.nii.gz', gzipSync(more)))
  })
  test('a small file that claims 4 GB', async () => {
    const lies = { dim: [1500, 1500, 900] }
    await refused(niftiBytes(IMAGE, { lies }), /data/)
    await refused(niftiGz(IMAGE, { lies }), /data.*cannot be so many/, 'x.nii.gz')
  })
  test('377 bytes that claim 18 GB', async () => {
    for (const [version, dim] of [[1, [2100, 2100, 2100]], [2, [2100, 2100, 2100]], [2, [2 ** 33, 1, 1]]] as const) {
      const bytes = niftiBytes(pattern('int16', [4, 3, 1]), { version, lies: { dim } })
      const cut = version === 1 ? Buffer.concat([bytes, Buffer.alloc(377)]).subarray(0, 377) : bytes
      await refused(cut, /data: expected 1\d{10} bytes, as the header says/)
      const gz = gzipSync(cut)
      expect(gz.length).toBeLessThanOrEqual(377)
      await refused(gz, /data.*cannot be so many/, 'x.nii.gz')
    }
    const frames = niftiBytes(IMAGE, { lies: { axes: 4, dim: [1000, 1000, 100, 92] } })
    await refusedByFrames(frames, /data: expected 1\d{10} bytes/, 'x.nii')
    await refusedByFrames(gzipSync(frames), /data.*cannot be so many/)
  })
  test('18 GB that could be there: one item is no more than 4 GiB', async () => {
    const gz = Buffer.concat([niftiGz(IMAGE, { lies: { dim: [2100, 2100, 2100] } }), Buffer.alloc(18 * 2 ** 20)])
    await refused(gz, /at most 4 GiB/, 'x.nii.gz', UnsupportedError)
  })
  test('a pair whose data is short', async () => {
    const { header, data } = niftiParts(IMAGE, { pair: true })
    const path = file('p.hdr', header)
    const { writeFileSync } = await import('node:fs')
    writeFileSync(path.replace('.hdr', '.img'), data.subarray(1))
    const error = await use(path).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'E_FORMAT', place: 'data', file: path.replace('.hdr', '.img') })
  })
})

describe('.nii.gz', () => {
  const bytes = niftiBytes(IMAGE)
  const gz = gzipSync(bytes)
  const edit = (change: (copy: Buffer) => void): Buffer => { const copy = Buffer.from(gz); change(copy); return copy }

  test('cut anywhere', async () => {
    for (let length = 3; length < gz.length; length++) await refused(gz.subarray(0, length), /./, 'x.nii.gz')
  })
  test('another method', () => refused(edit((copy) => { copy[2] = 7 }), /method/, 'x.nii.gz'))
  test('flags that do not exist', () => refused(edit((copy) => { copy[3] = 0x20 }), /flags/, 'x.nii.gz'))
  test('a name without an end', () => refused(edit((copy) => { copy[3] = 8; copy.fill(65, 10) }), /header of a member/, 'x.nii.gz'))
  test('an extra field that leaves the file', () => refused(edit((copy) => { copy[3] = 4; copy[10] = copy[11] = 0xff }), /header of a member/, 'x.nii.gz'))
  test('a wrong CRC of the header', () => refused(Buffer.concat([edit((copy) => { copy[3] = 2 }).subarray(0, 10), Buffer.from([1, 2]), gz.subarray(10)]), /CRC-16/, 'x.nii.gz'))
  test('a wrong CRC of the data', () => refused(edit((copy) => { copy[copy.length - 8]! ^= 1 }), /CRC-32/, 'x.nii.gz'))
  test('a wrong size', () => refused(edit((copy) => { copy[copy.length - 4]! ^= 1 }), /size is not/, 'x.nii.gz'))
  test('something else behind the member', () => refused(Buffer.concat([gz, Buffer.from('TAIL')]), /header of a member|not gzip/, 'x.nii.gz'))
  test('zeros behind the member', () => use(file('x.nii.gz', Buffer.concat([gz, Buffer.alloc(512)]))))
  test('a second member that is damaged', async () => {
    const two = membersOf(bytes, 380)
    await use(file('x.nii.gz', two))
    const broken = Buffer.from(two)
    broken[gzipSync(bytes.subarray(0, 380)).length + 12]! ^= 0x10
    await refused(broken, /data/, 'x.nii.gz')
  })
  test('a member that reaches back into the one before it', async () => {
    // Two members of equal text; the deflate stream of the second is of one that had the first as history.
    const { deflateRawSync, crc32 } = await import('node:zlib')
    const tail = bytes.subarray(300)
    const body = deflateRawSync(tail, { dictionary: bytes.subarray(0, 300) })
    const trailer = Buffer.alloc(8)
    trailer.writeUInt32LE(crc32(tail), 0)
    trailer.writeUInt32LE(tail.length, 4)
    await refused(Buffer.concat([gzipSync(bytes.subarray(0, 300)), gz.subarray(0, 10), body, trailer]), /too far back/, 'x.nii.gz')
  })
  test('much more than the header says', () => refused(gzipSync(Buffer.concat([bytes, Buffer.alloc(40 * 2 ** 20)])), /more than 16 MiB follow/, 'x.nii.gz'))
})

describe('.nii.gz by frames', () => {
  const series = pattern('int16', [4, 3, 2, 6])
  const bytes = niftiBytes(series)
  const gz = gzipSync(bytes)
  const edit = (change: (copy: Buffer) => void): Buffer => { const copy = Buffer.from(gz); change(copy); return copy }

  test('that is sound', () => useFrames(file('x.nii.gz', gz)))
  test('cut anywhere', async () => {
    for (let length = 3; length < gz.length; length += 7) await refusedByFrames(gz.subarray(0, length), /./)
    await refusedByFrames(gz.subarray(0, -1), /data: expected gzip of 640 bytes/)
  })
  test('less than the header says', () => refusedByFrames(gzipSync(bytes.subarray(0, -1)), /ends after 639 bytes of the 640/))
  test('a wrong CRC of the data', () => refusedByFrames(edit((copy) => { copy[copy.length - 8]! ^= 1 }), /CRC-32/))
  test('a wrong size', () => refusedByFrames(edit((copy) => { copy[copy.length - 4]! ^= 1 }), /size is not/))
  test('something else behind the member', () => refusedByFrames(Buffer.concat([gz, Buffer.from('TAIL')]), /header of a member|not gzip/))
  test('a member behind the end', () => useFrames(file('x.nii.gz', Buffer.concat([gz, gzipSync(Buffer.alloc(1000, 7))]))))
  test('a member behind the end that is damaged', () => refusedByFrames(Buffer.concat([gz, edit((copy) => { copy[copy.length - 8]! ^= 1 })]), /CRC-32/))
  test('a member in the middle that is damaged', async () => {
    const two = membersOf(bytes, 500)
    await useFrames(file('x.nii.gz', two))
    const broken = Buffer.from(two)
    broken[gzipSync(bytes.subarray(0, 500)).length - 8]! ^= 1
    await refusedByFrames(broken, /CRC-32/)
  })
  test('much more than the header says', () => refusedByFrames(gzipSync(Buffer.concat([bytes, Buffer.alloc(40 * 2 ** 20)])), /more than 16 MiB follow/))
})

describe('gzip bombs', () => {
  /** 1 GB in 1 MB. */
  const bomb = gzipSync(Buffer.alloc(2 ** 24), { level: 9 })
  const bombs = Buffer.concat(Array<Buffer>(64).fill(bomb))

  test('behind a volume', async () => {
    const small = pattern('int16', [4, 3, 2, 6])
    await refused(Buffer.concat([niftiGz(IMAGE), bombs]), /more than 16 MiB follow/, 'x.nii.gz')
    await refusedByFrames(Buffer.concat([niftiGz(small), bombs]), /more than 16 MiB follow/)
  })
  test('in place of a header', () => refused(bombs, /sizeof_hdr/, 'x.nii.gz'))
  test('of members without content', async () => {
    const empty = gzipSync('')
    const members = Buffer.concat(Array<Buffer>(100_000).fill(empty))
    await use(file('x.nii.gz', Buffer.concat([niftiGz(IMAGE), members])))
    // The first MiB has no header in it.
    await refused(Buffer.concat([members, niftiGz(IMAGE)]), /NIfTI header, size/, 'x.nii.gz')
  })
})

test('any byte changed is refused or read, never anything else', async () => {
  const draw = random(5)
  const originals = [niftiBytes(IMAGE, { slope: 2, inter: 1, sform: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] }), niftiBytes(IMAGE, { version: 2, big: true }), membersOf(niftiBytes(IMAGE), 150)]
  for (const original of originals) {
    for (let k = 0; k < 150; k++) {
      const bytes = Buffer.from(original)
      for (let edits = 1 + draw(3); edits > 0; edits--) bytes[draw(bytes.length)] = draw(256)
      const error = await use(file('x.nii.gz', bytes)).then(() => undefined, (reason: unknown) => reason)
      if (error !== undefined) expect(['E_FORMAT', 'E_UNSUPPORTED']).toContain((error as { code?: string }).code)
    }
  }
})
