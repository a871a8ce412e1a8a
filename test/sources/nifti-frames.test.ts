import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { DType } from '../../src/core/dtype.js'
import { FileError, FormatError, SourceChangedError, UnsupportedError } from '../../src/core/errors.js'
import { rowOf } from '../../src/core/rows.js'
import { bytesOf, type Tensor } from '../../src/core/tensor.js'
import { spacingOf } from '../../src/sources/gzip-index.js'
import { nifti, type NiftiOptions } from '../../src/sources/nifti.js'
import type { NiftiSource } from '../../src/sources/nifti-source.js'
import type { Notes, Source } from '../../src/sources/source.js'
import { collect, sourceContract, type ContractItem } from '../contracts/source.js'
import { tempDir } from '../support/temp.js'
import { DATATYPES, membersOf, niftiBytes, niftiGz, niftiParts, type NiftiForm } from './nifti-write.js'
import { random } from './random.js'
import { frameOf, LONG, longGz, longSeries, MapNotes } from './series.js'
import { file, pattern, type Plain } from './write.js'

const frames = true
const SFORM = [2, 0, 0, -10, 0, 3, 0, -20, 0, 0, 4, -30]
const affine: Tensor = { dtype: 'float64', shape: [4, 4], data: Float64Array.of(...SFORM, 0, 0, 0, 1) }
const idOf = (path: string): string => /([^/]+)\.(nii|hdr)(\.gz)?(\.copy.*)?$/.exec(path)![1]!
const bytes = (tensor: Plain | Tensor): Buffer => Buffer.from(bytesOf(tensor.data))

async function read(source: Source, item: number, fields = ['image'], notes?: Notes): Promise<Record<string, Tensor>> {
  const [run] = await collect(source.read(item, item + 1, { fields, ...(notes && { notes }) }))
  return Object.fromEntries(fields.map((name) => [name, rowOf(run!.fields[name]!, 0)]))
}

// --- contract -------------------------------------------------------------------------------------------------------------------

// Eleven frames, one frame, and an image without a fourth axis.
const series = [pattern('int16', [5, 4, 3, 11], 1), pattern('int16', [5, 4, 3, 1], 2), pattern('int16', [6, 2, 3], 3)]

function itemsOf(id: string, image: Plain): ContractItem[] {
  const count = image.shape[3]
  if (count === undefined) return [{ id, fields: { image: image as Tensor, affine } }]
  return Array.from({ length: count }, (_, k) => ({ id: `${id}/${String(k).padStart(String(count - 1).length, '0')}`, fields: { image: frameOf(image, k) as Tensor, affine } }))
}

for (const [name, suffix, write] of [
  ['.nii', '.nii', niftiBytes], ['.nii.gz', '.nii.gz', niftiGz],
  ['.nii.gz of many members', '.nii.gz', (image: Plain, form: NiftiForm) => membersOf(niftiBytes(image, form), 300)],
] as const) {
  sourceContract(`nifti, frames of ${name}`, async () => {
    const paths = series.map((image, k) => file(`v${k}${suffix}`, write(image, { sform: SFORM })))
    return { open: () => nifti(paths, { frames }), items: paths.flatMap((path, k) => itemsOf(idOf(path), series[k]!)), openCopies: (copy) => nifti(paths.map(copy), { frames }) }
  })
}

sourceContract('nifti, frames with labels', async () => {
  const dir = tempDir()
  for (const folder of ['images', 'labels', 'masks']) mkdirSync(join(dir, folder))
  const [image, label, mask] = [pattern('int16', [5, 4, 3, 12]), pattern('uint8', [5, 4, 3, 12], 7), pattern('uint8', [5, 4, 3], 9)]
  writeFileSync(join(dir, 'images/a.nii.gz'), niftiGz(image, { sform: SFORM }))
  writeFileSync(join(dir, 'labels/a.nii'), niftiBytes(label, { sform: SFORM }))
  writeFileSync(join(dir, 'masks/a.nii.gz'), niftiGz(mask, { sform: SFORM }))
  const fields = { image: 'images', label: 'labels', mask: 'masks' }
  const items = itemsOf('a', image).map((item, k) => ({ ...item, fields: { ...item.fields, label: frameOf(label, k) as Tensor, label_affine: affine, mask: mask as Tensor, mask_affine: affine } }))
  return { open: () => nifti(dir, { frames, fields }), items }
})

// --- what it does ---------------------------------------------------------------------------------------------------------------

describe('frames', () => {
  test.each(Object.keys(DATATYPES) as DType[])('%s in both byte orders, versions and forms', async (dtype) => {
    const image = pattern(dtype, [4, 3, 2, 5])
    for (const [version, big] of [[1, false], [1, true], [2, false], [2, true]] as const) {
      const dir = tempDir()
      const { header, data } = niftiParts(image, { version, big, pair: true })
      writeFileSync(join(dir, 'pair.hdr'), header)
      writeFileSync(join(dir, 'pair.img'), data)
      writeFileSync(join(dir, 'plain.nii'), niftiBytes(image, { version, big, extension: Buffer.alloc(16) }))
      writeFileSync(join(dir, 'zipped.nii.gz'), niftiGz(image, { version, big }))
      const source = await nifti(dir, { frames })
      expect(source.length).toBe(15)
      for (let item = 0; item < 15; item++) expect(Buffer.compare(bytes((await read(source, item)).image!), bytes(frameOf(image, item % 5))), source.id(item)).toBe(0)
      source.close()
    }
  })

  test('scaling and dtype are those of images', async () => {
    const path = file('s.nii.gz', niftiGz(pattern('int16', [4, 3, 2, 5]), { slope: 0.5, inter: 3 }))
    const [all, one] = [await nifti(path), await nifti(path, { frames, dtype: 'float64' })]
    expect([all.fields.image, one.fields.image]).toEqual([{ dtype: 'float32', shape: [4, 3, 2, 5] }, { dtype: 'float64', shape: [4, 3, 2] }])
    const whole = (await read(all, 0)).image!
    expect(Array.from((await read(one, 3)).image!.data as Float64Array)).toEqual(Array.from(whole.data as Float32Array).filter((_, k) => k % 5 === 3))
  })

  test('an image that goes with every frame is read once', async () => {
    const dir = tempDir()
    writeFileSync(join(dir, 'a.nii'), niftiBytes(pattern('int16', [4, 3, 2, 6])))
    writeFileSync(join(dir, 'b.nii'), niftiBytes(pattern('uint8', [4, 3, 2])))
    const source = await nifti(dir, { frames, fields: { image: 'a.nii', label: 'b.nii' } })
    const runs = await collect(source.read(0, 6, { fields: ['label'] }))
    expect(new Set(runs.map(({ fields }) => (fields.label as Tensor).data)).size).toBe(1)
    const first = await source.witnesses!(0, 6, { fields: ['label'] })
    // The label of every frame is the same thing, its image is not.
    expect(new Set(Array.from({ length: 6 }, (_, k) => Buffer.from(first.subarray(k * 32, k * 32 + 32)).toString('hex'))).size).toBe(1)
    const second = await source.witnesses!(0, 6, { fields: ['image'] })
    expect(new Set(Array.from({ length: 6 }, (_, k) => Buffer.from(second.subarray(k * 32, k * 32 + 32)).toString('hex'))).size).toBe(6)
  })

  test('without the option keys are what they were', async () => {
    const path = file('x.nii', niftiBytes(pattern('int16', [4, 3, 2, 6])))
    const [one, two, three] = [await nifti(path), await nifti(path, { frames: false }), await nifti(path, { frames })]
    expect(two.selection).toEqual(one.selection)
    expect(JSON.stringify(one.selection)).not.toContain('frames')
    expect(three.selection).not.toEqual(one.selection)
    expect(three.description).toMatchObject({ frames: true })
  })

  test('different numbers of frames name both files', async () => {
    const dir = tempDir()
    writeFileSync(join(dir, 'a.nii'), niftiBytes(pattern('int16', [4, 3, 2, 6])))
    writeFileSync(join(dir, 'b.nii'), niftiBytes(pattern('uint8', [4, 3, 2, 5])))
    const error: unknown = await nifti(dir, { frames, fields: { image: 'a.nii', label: 'b.nii' } }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(FormatError)
    expect((error as Error).message).toMatch(/b\.nii: field label: expected 6 frames, as .*a\.nii has, or no fourth axis, found 5/)
  })

  test('a fifth axis is refused, but for one of 1', async () => {
    const five = file('five.nii', niftiBytes(pattern('int16', [4, 3, 2, 6, 3])))
    await expect(nifti(five, { frames })).rejects.toThrow(UnsupportedError)
    await expect(nifti(five, { frames })).rejects.toThrow(/\[4, 3, 2, 6, 3\] has one behind it/)
    expect((await nifti(file('one.nii', niftiBytes(pattern('int16', [4, 3, 2, 6, 1]))), { frames })).length).toBe(6)
  })

  test('more frames than anybody has are refused', async () => {
    const path = file('many.nii', niftiBytes(pattern('uint8', [1, 1, 1, 2 ** 20 + 1]), { version: 2 }))
    await expect(nifti(path, { frames })).rejects.toThrow(/1048576 frames, and it has 1048577/)
  })

  test('ids that meet are refused', async () => {
    const dir = tempDir()
    mkdirSync(join(dir, 'a'))
    writeFileSync(join(dir, 'a.nii'), niftiBytes(pattern('int16', [4, 3, 2, 6])))
    writeFileSync(join(dir, 'a/2.nii'), niftiBytes(pattern('int16', [4, 3, 2])))
    await expect(nifti(dir, { frames })).rejects.toThrow(FileError)
    await expect(nifti(dir, { frames })).rejects.toThrow(/a frame that is "a\/2"/)
  })

  test.each<[NiftiOptions, RegExp]>([[{ frames, time: 'leading' }, /time says where/], [{ frames, squeeze: false }, /squeeze says where/], [{ frames: 1 as never }, /frames must be/]])('options %j', async (options, message) => {
    await expect(nifti(file('o.nii', niftiBytes(pattern('int16', [4, 3, 2, 6]))), options)).rejects.toThrow(message)
    await expect(nifti('/nowhere.nii', options)).rejects.toThrow(TypeError)
  })
})

// --- resume points --------------------------------------------------------------------------------------------------------------

describe('a long series', () => {
  let plain: Source
  let raw: Buffer
  const paths: Record<string, string> = {}
  const { every, block } = spacingOf(LONG.frameBytes * LONG.frames)
  /** Points are left at ends of pieces of 192 KiB. */
  const perItem = LONG.frameBytes + every + block + 192 * 1024

  beforeAll(async () => {
    raw = longSeries()
    plain = await nifti(file('long.nii', raw), { frames })
    paths.one = file('long.nii.gz', longGz(raw))
    paths.many = file('members.nii.gz', longGz(raw, 450))
  })

  async function check(source: Source, item: number, notes?: Notes): Promise<void> {
    expect(Buffer.compare(bytes((await read(source, item, ['image'], notes)).image!), bytes((await read(plain, item)).image!)), `frame ${item}`).toBe(0)
  }
  const open = async (path: string): Promise<NiftiSource> => await nifti(path, { frames }) as NiftiSource

  test.each(['one', 'many'])('in order a file (%s) is inflated once, whoever remembers', async (name) => {
    const [source, notes] = [await open(paths[name]!), new MapNotes()]
    let item = 0
    for await (const run of source.read(0, source.length, { fields: ['image'], notes })) expect(Buffer.compare(bytes(rowOf(run.fields.image!, 0)), bytes((await read(plain, item++)).image!))).toBe(0)
    // An inflater that has hardly begun is not kept.
    expect(await source.inflated()).toBeLessThan(raw.length + 65_536)
    expect(notes.kept.size).toBe(1)
    source.close()

    // Once more from the note: in order each frame goes on where the one before has ended.
    const again = await open(paths[name]!)
    for await (const _ of again.read(0, again.length, { fields: ['image'], notes }));
    expect(await again.inflated()).toBeLessThan(raw.length * 1.05)
    again.close()
  })

  test.each(['one', 'many'])('shuffled, a second run (%s) inflates no more than a frame and what lies before it to a point', async (name) => {
    const notes = new MapNotes()
    const first = await open(paths[name]!)
    for await (const _ of first.read(0, first.length, { fields: ['image'], notes }));
    first.close()
    const second = await open(paths[name]!)
    const draw = random(5)
    let before = 0
    for (let k = 0; k < 40; k++) {
      await check(second, draw(LONG.frames), notes)
      const now = await second.inflated()
      expect(now - before).toBeLessThanOrEqual(perItem)
      before = now
    }
    expect(notes.puts).toBeLessThan(8)
    second.close()
  })

  test('what was passed in a first run that ended early is not passed again', async () => {
    const notes = new MapNotes()
    const first = await open(paths.one!)
    await check(first, 500, notes)
    first.close()
    const second = await open(paths.one!)
    await check(second, 400, notes)
    expect(await second.inflated()).toBeLessThanOrEqual(perItem)
    // Beyond, it goes on from the last point.
    await check(second, 831, notes)
    expect(await second.inflated()).toBeLessThan(raw.length - 500 * LONG.frameBytes + 3 * perItem)
    await check(second, 3, notes)
    second.close()
    const third = await open(paths.one!)
    await check(third, 830, notes)
    expect(await third.inflated()).toBeLessThanOrEqual(perItem)
    third.close()
  })

  test('without anybody to remember, a source remembers for itself', async () => {
    const folder = tempDir()
    for (let k = 0; k < 10; k++) writeFileSync(join(folder, `f${k}.nii.gz`), longGz(raw))
    const source = await open(folder)
    // One after the other, so that each is closed before its turn comes again.
    for (let k = 0; k < 10; k++) await check(source, 0)
    for (let k = 0; k < 2; k++) expect(Buffer.compare(bytes((await read(source, k * LONG.frames + 831)).image!), bytes((await read(plain, 831)).image!))).toBe(0)
    for (let k = 2; k < 10; k++) await read(source, k * LONG.frames)
    const before = await source.inflated()
    await read(source, 700)
    expect(await source.inflated() - before).toBeLessThanOrEqual(perItem)
    source.close()
  })

  test('damage is refused, and everything from then on', async () => {
    const bad = longGz(raw)
    bad[bad.length >> 1]! ^= 0x10
    const source = await open(file('bad.nii.gz', bad))
    await check(source, 10)
    await expect(read(source, 831)).rejects.toMatchObject({ code: 'E_FORMAT' })
    await expect(read(source, 830)).rejects.toThrow(/data: expected gzip of/)
    source.close()
  })

  test('several reads at a time', async () => {
    const [source, notes] = [await open(paths.many!), new MapNotes()]
    await Promise.all([0, 800, 3, 400, 831, 17, 401, 830].map((item) => check(source, item, notes)))
    source.close()
  })

  test('a file that changed while it was open', async () => {
    const path = file('changing.nii.gz', longGz(raw))
    const source = await open(path)
    await check(source, 5)
    await new Promise((resolve) => { setTimeout(resolve, 20) })
    writeFileSync(path, longGz(longSeries(2)))
    await expect(read(source, 5)).rejects.toThrow(SourceChangedError)
    source.close()
  })

  test('a signal ends a long way to a frame', async () => {
    const source = await open(paths.one!)
    const ended = new AbortController()
    const reading = collect(source.read(831, 832, { fields: ['image'], signal: ended.signal }))
    ended.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
    await check(source, 831)
    source.close()
  })
})
