import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { constants, deflateRawSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { sizeOf, type DType } from '../../src/core/dtype.js'
import { FileError, FormatError, SourceChangedError, UnsupportedError } from '../../src/core/errors.js'
import { rowOf } from '../../src/core/rows.js'
import { bytesOf, type Tensor } from '../../src/core/tensor.js'
import { inspectArrays } from '../../src/sources/arrays.js'
import { scenes, type ScenesOptions } from '../../src/sources/scenes.js'
import { openDescribed } from '../../src/sources/types.js'
import type { Source } from '../../src/sources/source.js'
import { collect, sourceContract, type ContractItem } from '../contracts/source.js'
import { tempDir } from '../support/temp.js'
import { frameName, phiBytes, textBytes, writeScene, type SceneForm } from './scene-write.js'
import { file, npyBytes, npyHeader, pattern, zipBytes, type Plain } from './write.js'

const FIXTURES = resolve(import.meta.dirname, '../fixtures/scenes')
const goldens = (JSON.parse(readFileSync(join(FIXTURES, 'goldens.json'), 'utf8')) as { fields: Record<string, { dtype: DType; shape: number[]; sha256: string }> }).fields

/** Every item as it is read, alone. */
async function itemsOf(source: Source): Promise<{ id: string; fields: Record<string, Tensor> }[]> {
  const runs = await collect(source.read(0, source.length, { fields: Object.keys(source.fields) }))
  return runs.flatMap((run) => Array.from({ length: run.count }, (_, k) => ({ id: source.id(run.start + k), fields: Object.fromEntries(Object.entries(run.fields).map(([name, rows]) => [name, rowOf(rows, k)])) })))
}

async function read(path: string | readonly string[], options?: ScenesOptions): Promise<{ id: string; fields: Record<string, Tensor> }[]> {
  const source = await scenes(path, options)
  const items = await itemsOf(source)
  source.close()
  return items
}

const errorOf = (path: string | readonly string[], options?: ScenesOptions): Promise<Error> => read(path, options).then(() => { throw new Error('nothing was refused') }, (error: Error) => error)
const stack = (frames: readonly Plain[]): Tensor => ({ ...pattern(frames[0]!.dtype, [frames.length, ...frames[0]!.shape]), data: concat(frames) } as Tensor)
const number = (value: number): Tensor => ({ dtype: 'float64', shape: [], data: Float64Array.of(value) })

function concat(frames: readonly Plain[]): Tensor['data'] {
  const bytes = Buffer.concat(frames.map(({ data }) => bytesOf(data)))
  const out = pattern(frames[0]!.dtype, [bytes.length / sizeOf(frames[0]!.dtype)])
  bytesOf(out.data).set(bytes)
  return out.data
}

function framesOf(count: number, shape: readonly number[], seed = 1, dtype: DType = 'float32'): Plain[] {
  return Array.from({ length: count }, (_, k) => pattern(dtype, shape, seed * 1000 + k + 1))
}

describe('what PhiFlow writes', () => {
  test.each(Object.keys(goldens))('%s', async (name) => {
    const [version, scene, field] = name.split('/') as [string, string, string]
    const item = (await read(join(FIXTURES, version), { fields: { value: field } })).find(({ id }) => id === scene)!
    const { dtype, shape, sha256 } = goldens[name]!
    expect(item.fields.value).toMatchObject({ dtype, shape })
    expect(createHash('sha256').update(bytesOf(item.fields.value!.data)).digest('hex')).toBe(sha256)
  })

  test('every field of its own accord, numbers of the description, windows by the frames\' own numbers', async () => {
    const source = await scenes(join(FIXTURES, 'phi3'), { window: 2, stride: 1, properties: { nu: 'viscosity', dt: 'physics.dt', pull: 'physics.forces.1' } })
    expect(source.fields).toEqual({ smoke: { dtype: 'float32', shape: [2, 4, 3] }, velocity: { dtype: 'float32', shape: [2, 5, 4, 2] }, ...Object.fromEntries(['nu', 'dt', 'pull'].map((name) => [name, { dtype: 'float64', shape: [] }])) })
    const items = await itemsOf(source)
    expect(items.map(({ id }) => id)).toEqual([0, 1].flatMap((k) => ['000000-000010', '000010-000020', '000020-000030'].map((frames) => `sim_00000${k}/${frames}`)))
    expect(items.map(({ fields: { nu, dt, pull } }) => [nu, dt, pull].map((value) => value!.data[0]))).toEqual([0, 0, 0, 1, 1, 1].map((k) => [0.1 * (k + 1), 0.5, k]))
    source.close()
  })

  test('one scene alone, or by a pattern', async () => {
    const alone = await read(join(FIXTURES, 'phi3/sim_000001'))
    expect(alone.map(({ id }) => id)).toEqual(['sim_000001'])
    const both = await read(join(FIXTURES, 'phi3/sim_*'))
    expect(both.map(({ id }) => id)).toEqual(['sim_000000', 'sim_000001'])
    expect(both[1]).toEqual(alone[0])
    const several = [join(FIXTURES, 'phi3'), join(FIXTURES, 'phi2')]
    expect((await read(several, { fields: ['velocity'], frames: { stop: 1 } })).map(({ id }) => id)).toEqual(['phi3/sim_000000', 'phi3/sim_000001', 'phi2/sim_000000'])
    // Ten steps between two frames there, one here: windows of both would mean two things.
    expect((await errorOf(several, { fields: ['velocity'] })).message).toMatch(/phi2\/sim_000000: frames of phi2\/sim_000000 are every 1, and those of phi3\/sim_000000 every 10: `frames: \{ step \}` chooses what both have$/)
  })

  test('names that are no field\'s are said how to be chosen', async () => {
    expect((await errorOf(join(FIXTURES, 'phi1'))).message).toMatch(/"Density" cannot be the name of a field: .*choose one with `fields: \{ field: "Density" \}`/)
  })

  test('inspect shows what its texts say', async () => {
    const { arrays: found } = await inspectArrays(join(FIXTURES, 'phi3/sim_000000/velocity_000000.npz'))
    const texts = Object.fromEntries(found.map(({ name, texts: said }) => [name, said]))
    expect(texts).toMatchObject({ dim_names: ['x', 'y', 'vector'], dim_types: ['spatial', 'spatial', 'channel'], field_type: ['StaggeredGrid'], data: undefined, extrapolation: undefined })
    const long = await inspectArrays(file('long.npz', zipBytes([{ name: 'a.npy', bytes: textBytes(['a'.repeat(20_000)]) }])))
    expect(long.arrays[0]).toMatchObject({ type: '<U20000', unusable: expect.stringMatching(/text/) })
    expect(long.arrays[0]!.texts).toBeUndefined()
  })

  test('what a description says opens it again', async () => {
    for (const options of [{ window: 2, stride: 1, frames: { start: 10 }, fields: { v: 'velocity' }, properties: ['viscosity'] }, {}]) {
      const source = await scenes(join(FIXTURES, 'phi3'), options)
      const again = (await openDescribed(source.description))!
      expect([again.selection, again.fields]).toEqual([source.selection, source.fields])
      expect(await itemsOf(again)).toEqual(await itemsOf(source))
    }
  })
})

// --- contract -------------------------------------------------------------------------------------------------------------------

const itemsFrom = (all: readonly { name: string; fields: Record<string, readonly Plain[]>; extra?: Record<string, Tensor> }[]): ContractItem[] => all.map(({ name, fields, extra }) => ({ id: name, fields: { ...Object.fromEntries(Object.entries(fields).map(([field, frames]) => [field, stack(frames)])), ...extra } }))

sourceContract('scenes, whole simulations of several shapes, with numbers', async () => {
  const dir = tempDir()
  const all = [[5, [4, 3]], [5, [4, 3]], [2, [4, 3]], [7, [6, 2]], [1, [1, 1]]].map(([count, shape], k) => ({ name: `sim_00000${k}`, fields: { u: framesOf(count as number, shape as number[], k), mask: framesOf(count as number, shape as number[], k + 50, 'uint8') }, extra: { nu: number(k / 3) } }))
  for (const [k, { name, fields }] of all.entries()) writeScene(join(dir, name), fields, { first: k, step: 5, description: { nu: k / 3 } })
  const made = (to: string): Promise<Source> => scenes(to, { properties: ['nu'] })
  return {
    open: () => made(dir), items: itemsFrom(all),
    // A folder is copied as a whole: its last frame is what is damaged.
    openCopies: async (copy) => {
      const last = join(dir, 'sim_000003', frameName('u', 33))
      const folder = tempDir()
      cpSync(dir, folder, { recursive: true, filter: (path) => !path.includes('.copy') })
      const moved = join(folder, 'sim_000003', frameName('u', 33))
      const copied = copy(last)
      rmSync(moved)
      symlinkSync(copied, moved)
      return made(folder)
    },
  }
})

for (const [name, window, stride] of [['overlapping', 4, 1], ['apart', 2, 3], ['one after the other', 3, 3]] as const) {
  sourceContract(`scenes, windows, ${name}`, async () => {
    const dir = tempDir()
    const all = [7, 5, 9].map((count, k) => ({ name: `sim_00000${k}`, frames: framesOf(count, [5, 2, 3], k) }))
    for (const { name: scene, frames } of all) writeScene(join(dir, scene), { u: frames }, { labels: { names: ['x', 'y', 'vector'] } })
    const items = all.flatMap(({ name: scene, frames }) => frames.flatMap((_, at): ContractItem[] => at % stride !== 0 || at + window > frames.length ? [] : [{ id: `${scene}/00000${at}-00000${at + window - 1}`, fields: { u: stack(frames.slice(at, at + window)) } }]))
    return { open: () => scenes(dir, { window, stride }), items }
  })
}

const arrays = [8, 8, 6].map((count, k) => ({ name: `run_${k}`, fields: { u: framesOf(count, [6, 4], k), p: framesOf(count, [6], k + 20, 'float64') } }))

sourceContract('scenes, a .npy for each field', async () => {
  const dir = tempDir()
  for (const { name, fields } of arrays) {
    mkdirSync(join(dir, name))
    for (const [field, frames] of Object.entries(fields)) writeFileSync(join(dir, name, `${field}.npy`), npyBytes(stack(frames)))
  }
  return { open: () => scenes(dir), items: itemsFrom(arrays) }
})

for (const deflate of [false, true]) {
  sourceContract(`scenes, a ${deflate ? 'deflated' : 'stored'} .npz for each simulation, windows`, async () => {
    const dir = tempDir()
    const paths = arrays.map(({ name, fields }) => {
      const path = join(dir, `${name}.npz`)
      writeFileSync(path, zipBytes([...Object.entries(fields).map(([field, frames]) => ({ name: `${field}.npy`, bytes: npyBytes(stack(frames)), deflate })), { name: 'solver.npy', bytes: textBytes(['rk4'], true) }, { name: 'dt.npy', bytes: npyBytes(pattern('float64', [])) }]))
      return path
    })
    const items = arrays.flatMap(({ name, fields }) => [0, 2, 4].filter((at) => at + 4 <= fields.u.length).map((at): ContractItem => ({ id: `${name}/00000${at}-00000${at + 3}`, fields: { u: stack(fields.u.slice(at, at + 4)), p: stack(fields.p.slice(at, at + 4)) } })))
    return { open: () => scenes(join(dir, '*.npz'), { window: 4, stride: 2 }), items, openCopies: (copy) => {
      const links = tempDir()
      for (const path of paths) symlinkSync(copy(path), join(links, basename(path)))
      return scenes(join(links, '*.npz'), { window: 4, stride: 2 })
    } }
  })
}

test('windows, strides and selections are what a plain implementation makes of them', async () => {
  const dir = tempDir()
  let cases = 0
  await fc.assert(fc.asyncProperty(
    fc.array(fc.integer({ min: 4, max: 14 }), { minLength: 1, maxLength: 3 }), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 7 }), fc.option(fc.record({ skip: fc.integer({ min: 0, max: 3 }), drop: fc.integer({ min: 0, max: 3 }), every: fc.integer({ min: 1, max: 3 }) })), fc.boolean(),
    async (counts, window, stride, first, step, chosen, inArrays) => {
      const folder = join(dir, String(cases++))
      const all = counts.map((count, k) => framesOf(count, [3, 2], k))
      all.forEach((frames, k) => {
        const path = join(folder, `sim_00000${k}`)
        mkdirSync(path, { recursive: true })
        if (inArrays) writeFileSync(join(path, 'u.npz'), zipBytes([{ name: 'arr_0.npy', bytes: npyBytes(stack(frames)), deflate: true }]))
        else writeScene(path, { u: frames }, { first, step })
      })
      const [origin, apart] = inArrays ? [0, 1] : [first, step]
      const shortest = Math.min(...counts)
      // Never all of the frames of the shortest.
      const start = Math.min(chosen?.skip ?? 0, shortest - 1)
      const stop = Math.max(start + 1, shortest - (chosen?.drop ?? 0))
      const frames = chosen === null ? undefined : { start: origin + start * apart, stop: origin + stop * apart, step: apart * chosen.every }
      const expected = all.flatMap((one, k) => {
        const kept = one.map((frame, at) => ({ frame, number: origin + at * apart })).filter(({ number: at }) => frames === undefined || (at >= frames.start && at < frames.stop && (at - frames.start) % frames.step === 0))
        const windows: { id: string; u: Tensor }[] = []
        for (let at = 0; at + window <= kept.length; at += stride) {
          const part = kept.slice(at, at + window)
          const numbers = [...new Set([part[0]!.number, part.at(-1)!.number])].map((value) => String(value).padStart(6, '0'))
          windows.push({ id: `sim_00000${k}/${numbers.join('-')}`, u: stack(part.map(({ frame }) => frame)) })
        }
        return windows.length === 0 ? [undefined] : windows
      })
      const options = { window, stride, ...(frames !== undefined && { frames }) }
      if (expected.includes(undefined)) expect((await errorOf(folder, options)).message).toMatch(/a window is of \d frames, and sim_\d+ has \d+$/)
      else expect((await read(folder, options)).map(({ id, fields }) => ({ id, u: fields.u }))).toEqual(expected)
    },
  ), { numRuns: 60, seed: 11 })
})

test('frames of more than a mebibyte, stored and in Fortran order, are mapped and come out the same', async () => {
  const dir = tempDir()
  const frames = framesOf(2, [600, 500])
  mkdirSync(join(dir, 'sim_0'))
  frames.forEach((frame, k) => writeFileSync(join(dir, 'sim_0', frameName('u', k)), zipBytes([{ name: 'data.npy', bytes: npyBytes(frame, { fortran: k === 1, big: k === 1 }) }])))
  expect((await read(dir))[0]!.fields.u).toEqual(stack(frames))
  // Each window is a run of its own, and takes what it shares from the file.
  const long = framesOf(6, [600, 500], 3)
  writeScene(join(dir, 'sim_1'), { u: long })
  const items = await read(join(dir, 'sim_1'), { window: 4, stride: 1 })
  expect(items.length).toBe(3)
  items.forEach(({ fields }, k) => expect(Buffer.compare(bytesOf(fields.u!.data), bytesOf(stack(long.slice(k, k + 4)).data))).toBe(0))
})

test('a file that is replaced while items are read is an error, and so is a description', async () => {
  const dir = tempDir()
  writeScene(join(dir, 'sim_0'), { u: framesOf(4, [3]) }, { description: { nu: 1 } })
  for (const name of [frameName('u', 2), 'description.json']) {
    const source = await scenes(dir, { properties: ['nu'] })
    await new Promise((done) => { setTimeout(done, 20) })
    writeFileSync(join(dir, 'sim_0', name), name.endsWith('json') ? '{"nu":2}' : phiBytes(pattern('float32', [3], 77)))
    await expect(itemsOf(source)).rejects.toThrow(SourceChangedError)
    expect(() => source.assertUnchanged()).toThrow(SourceChangedError)
  }
})

// --- what is refused ------------------------------------------------------------------------------------------------------------

describe('folders', () => {
  const made = (fields: Record<string, readonly Plain[]> = { u: framesOf(6, [3, 2]), v: framesOf(6, [3, 2], 2) }): string => {
    const dir = tempDir()
    for (const k of [0, 1]) writeScene(join(dir, `sim_00000${k}`), fields, { step: 10 })
    return dir
  }
  const without = (...names: string[]): string => {
    const dir = made()
    for (const name of names) rmSync(join(dir, name))
    return dir
  }

  test.each([
    ['a frame is missing', without('sim_000001/v_000020.npz'), /^E_FILE .*\/sim_000001\/v_000020\.npz: frame 20 of v is missing in sim_000001, where there are frames 0 to 50; frames are every 10$/],
    ['a frame of every field is missing', without('sim_000001/u_000040.npz', 'sim_000001/v_000040.npz'), /frame 40 of u is missing in sim_000001/],
    ['a field begins later', without('sim_000000/u_000000.npz'), /frame 0 of u is missing in sim_000000/],
    ['a field ends earlier', without('sim_000000/u_000050.npz'), /frame 50 of u is missing in sim_000000/],
    ['a simulation has every other frame', without(...[10, 30, 50].flatMap((frame) => [`sim_000000/u_0000${frame}.npz`, `sim_000000/v_0000${frame}.npz`])), /frame 10 of u is missing in sim_000000, where there are frames 0 to 40; frames are every 10, as in sim_000001$/],
  ])('%s', async (_, dir, message) => {
    const error = await errorOf(dir)
    expect(error).toBeInstanceOf(FileError)
    expect(`${(error as FileError).code} ${error.message}`).toMatch(message)
  })

  test('what is not asked for may be missing', async () => {
    expect((await read(without('sim_000001/v_000020.npz'), { fields: ['u'] })).length).toBe(2)
    expect((await read(without('sim_000000/u_000000.npz'), { frames: { start: 10 } }))[0]!.fields.u!.shape).toEqual([5, 3, 2])
    expect((await read(without('sim_000001/v_000020.npz'), { frames: { stop: 20 } }))[1]!.fields.v!.shape).toEqual([2, 3, 2])
    expect((await read(without('sim_000001/v_000010.npz', 'sim_000001/u_000010.npz'), { frames: { step: 20 } }))[1]!.fields.v!.shape).toEqual([3, 3, 2])
  })

  test('no frames, no fields, no folder, no simulations', async () => {
    expect((await errorOf(made(), { frames: { start: 60 } })).message).toMatch(/sim_000000: has no frames of u, v from 60 on$/)
    expect((await errorOf(made(), { fields: ['velocity'] })).message).toMatch(/sim_000000: has no field "velocity"; it has "u", "v"$/)
    expect((await errorOf(made({ velocity: framesOf(2, [2]) }), { fields: { u: 'velocty' } })).message).toMatch(/did you mean "velocity"\?$/)
    expect((await errorOf(join(tempDir(), 'none'))).message).toMatch(/there is no such file or folder$/)
    expect((await errorOf(join(tempDir(), 'sim_*'))).message).toMatch(/there is no such folder or file$/)
    const empty = tempDir()
    expect((await errorOf(empty)).message).toMatch(/holds no simulations: no frames/)
    mkdirSync(join(empty, 'sim_000000'))
    expect((await errorOf(empty)).message).toMatch(/sim_000000: holds no frames/)
    const differ = made()
    writeScene(join(differ, 'sim_000002'), { w: framesOf(2, [2]) })
    expect((await errorOf(differ)).message).toMatch(/no field is in all simulations: it has "u", "v", and .*sim_000002 has "w"$/)
    writeFileSync(join(empty, 'notes.txt'), '')
    expect((await errorOf(join(empty, 'notes.txt'))).message).toMatch(/is no folder of a simulation, and no \.npz or \.npy file$/)
  })

  test('what every simulation has is taken', async () => {
    const dir = made()
    writeScene(join(dir, 'sim_000002'), { u: framesOf(3, [3, 2]), extra: framesOf(3, [1]) })
    expect((await errorOf(dir)).message).toMatch(/frames of sim_000002 are every 1, and those of sim_000000 every 10/)
    rmSync(join(dir, 'sim_000002'), { recursive: true })
    writeScene(join(dir, 'sim_000002'), { u: framesOf(3, [3, 2]), extra: framesOf(3, [1]) }, { step: 10 })
    const source = await scenes(dir)
    expect(source.fields).toEqual({ u: { dtype: 'float32', shape: [null, 3, 2] } })
    expect([0, 2].map((k) => source.known!(k).u!.shape)).toEqual([[6, 3, 2], [3, 3, 2]])
  })

  test('links are followed, to their end and no further', async () => {
    const [dir, elsewhere] = [tempDir(), made()]
    symlinkSync(join(elsewhere, 'sim_000000'), join(dir, 'sim_000007'))
    expect((await read(dir)).map(({ id }) => id)).toEqual(['sim_000007'])
    symlinkSync('.', join(dir, 'sim_000008'))
    expect((await errorOf(dir)).message).toMatch(/sim_000008: holds no frames/)
    rmSync(join(dir, 'sim_000008'))
    symlinkSync('sim_000009', join(dir, 'sim_000009'))
    const error = await errorOf(dir)
    expect(error).toBeInstanceOf(FileError)
    expect(error.message).toMatch(/sim_000009: is a link that leads back to itself$/)
    rmSync(join(dir, 'sim_000009'))
    const frame = join(elsewhere, 'sim_000000/u_000010.npz')
    rmSync(frame)
    symlinkSync('u_000010.npz', frame)
    expect((await errorOf(dir)).message).toMatch(/u_000010\.npz: cannot be read \(ELOOP\)$/)
  })

  test('two files of one frame, and numbers nobody can count', async () => {
    const dir = made()
    writeFileSync(join(dir, 'sim_000000/u_0010.npz'), phiBytes(pattern('float32', [3, 2])))
    expect((await errorOf(dir)).message).toMatch(/u_0010\.npz: is frame 10 of u, as "u_000010\.npz" is$|u_000010\.npz: is frame 10 of u, as "u_0010\.npz" is$/)
    rmSync(join(dir, 'sim_000000/u_0010.npz'))
    renameSync(join(dir, 'sim_000000/u_000050.npz'), join(dir, 'sim_000000/u_999999999999990.npz'))
    expect((await errorOf(dir)).message).toMatch(/frame 50 of u is missing in sim_000000/)
    renameSync(join(dir, 'sim_000000/u_999999999999990.npz'), join(dir, 'sim_000000/u_99999999999999999.npz'))
    expect((await errorOf(dir)).message).toMatch(/cannot be counted exactly/)
  })
})

describe('onBadItem: skip', () => {
  test('leaves out what is no sound simulation, and says why', async () => {
    const dir = tempDir()
    const scene = (k: number, form: SceneForm = {}, data = framesOf(5, [3], k)): string => writeScene(join(dir, `sim_00000${k}`), { u: data, v: data }, { step: 2, description: { nu: k }, ...form })
    mkdirSync(join(dir, 'sim_000000'))
    for (const k of [1, 2, 3, 7]) scene(k)
    rmSync(join(scene(4), frameName('v', 4)))
    scene(5, { step: 3 })
    scene(6, {}, framesOf(1, [3]))
    scene(8, {}, framesOf(5, [3], 8, 'int8'))
    writeFileSync(join(scene(9), frameName('u', 0)), 'PK')
    rmSync(join(dir, 'sim_000007', 'description.json'))
    const options: ScenesOptions = { fields: ['u', 'v'], window: 3, stride: 1, properties: ['nu'], onBadItem: 'skip' }
    const source = await scenes(dir, options)
    expect([source.length, source.id(0), source.id(8)]).toEqual([9, 'sim_000001/000000-000004', 'sim_000003/000004-000008'])
    expect((await itemsOf(source)).map(({ fields }) => fields.nu!.data[0])).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3])
    const reasons = [/holds no frames/, /frame 4 of v is missing in sim_000004/, /frames of sim_000005 are every 3, and those of sim_000001 every 2/, /a window is of 3 frames, and sim_000006 has 1/, /description\.json: there is no such file/, /found int8/, /zip end record/]
    expect(source.skipped!.map(({ id }) => id)).toEqual([0, 4, 5, 6, 7, 8, 9].map((k) => `sim_00000${k}`))
    source.skipped!.forEach(({ file: path, reason }, k) => {
      expect(reason).toMatch(reasons[k]!)
      expect(path).toContain(source.skipped![k]!.id)
    })
    expect((await openDescribed(source.description))!.selection).toEqual(source.selection)
  })

  test('when none is left it is an error, and misuse is one all the same', async () => {
    const dir = tempDir()
    mkdirSync(join(dir, 'sim_000000'))
    expect((await errorOf(dir, { onBadItem: 'skip' })).message).toMatch(/none of 1 simulations can be read; of the first: .*holds no frames/)
    await expect(scenes(join(FIXTURES, 'phi3'), { array: 'values', onBadItem: 'skip' })).rejects.toThrow(TypeError)
    const source = await scenes(join(FIXTURES, 'phi3'), { onBadItem: 'skip' })
    expect([source.length, source.skipped]).toEqual([2, []])
    expect((await scenes(join(FIXTURES, 'phi3'))).skipped).toBeUndefined()
  })
})

describe('frames', () => {
  const scene = (change: (path: string) => void, labels = {}): string => {
    const dir = writeScene(join(tempDir(), 'sim_000000'), { u: framesOf(4, [3, 2]) }, { labels })
    change(dir)
    return dir
  }
  const other = (data: Plain, labels = {}): (path: string) => void => (path) => writeFileSync(join(path, frameName('u', 2)), phiBytes(data, labels))

  test.each([
    ['another dtype', other(pattern('float64', [3, 2])), /frame 2 of u in sim_000000: expected float32 \[x 3, y 2\], as .*u_000000\.npz has, of a CenteredGrid, found float64 \[x 3, y 2\] of a CenteredGrid/],
    ['another shape', other(pattern('float32', [3, 3])), /found float32 \[x 3, y 3\]/],
    ['another rank', other(pattern('float32', [3, 2, 1])), /found float32 \[x 3, y 2, z 1\]/],
    ['other axes', other(pattern('float32', [3, 2]), { names: ['y', 'x'] }), /found float32 \[y 3, x 2\]/],
    ['another grid', other(pattern('float32', [3, 2]), { grid: 'StaggeredGrid' }), /found float32 \[x 3, y 2\] of a StaggeredGrid/],
    ['a frame cut off', (path: string) => writeFileSync(join(path, frameName('u', 2)), phiBytes(pattern('float32', [3, 2])).subarray(0, -30)), /u_000002\.npz: zip end record/],
    ['an empty frame', (path: string) => writeFileSync(join(path, frameName('u', 2)), ''), /u_000002\.npz: zip end record/],
  ])('%s', async (_, change, message) => {
    const error = await errorOf(scene(change))
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(message)
  })

  test('simulations that differ in dtype or axes, or are too short for a window', async () => {
    const dir = tempDir()
    for (const [k, dtype] of (['float32', 'float64'] as const).entries()) writeScene(join(dir, `sim_${k}`), { u: framesOf(2, [3], k, dtype) })
    expect((await errorOf(dir)).message).toMatch(/sim_1\/u_000000\.npz: u in sim_1: expected the dtype and axes that .*sim_0\/u_000000\.npz has: float32 \[x 3\] of a CenteredGrid, found float64/)
    rmSync(join(dir, 'sim_1'), { recursive: true })
    writeScene(join(dir, 'sim_1'), { u: framesOf(1, [3]) })
    expect((await errorOf(dir, { window: 2 })).message).toMatch(/a window is of 2 frames, and sim_1 has 1$/)
  })

  test('an item of more than 4 GiB: windows are what helps', async () => {
    const dir = tempDir()
    mkdirSync(join(dir, 'sim_0'))
    // As many bytes as could be a GiB, of which nothing but the header is looked at.
    const header = npyHeader("{'descr': '|u1', 'fortran_order': False, 'shape': (32768, 32768), }")
    const claims = { bytes: header.length + 2 ** 30, storedBytes: 2 ** 21 }
    const stored = Buffer.concat([deflateRawSync(Buffer.concat([header, Buffer.alloc(1024)]), { finishFlush: constants.Z_SYNC_FLUSH }), Buffer.alloc(2 ** 21)]).subarray(0, 2 ** 21)
    const bytes = zipBytes([{ name: 'data.npy', bytes: header, deflate: true, stored, local: claims, central: claims }])
    for (let k = 0; k < 5; k++) writeFileSync(join(dir, 'sim_0', `u_${k}.npz`), bytes)
    const error = await scenes(dir).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(UnsupportedError)
    expect((error as Error).message).toMatch(/u in sim_0: one item is at most 4 GiB, and 5 frames of uint8 \[32768, 32768\] are more: `window` makes items of fewer$/)
    const source = await scenes(dir, { window: 2 })
    expect([source.length, source.fields.u!.shape]).toEqual([2, [2, 32768, 32768]])
  })

  test('objects and texts are not fields, and nothing of them is run', async () => {
    for (const array of ['extrapolation', 'dim_names', 'dim_item_names']) {
      const error = await errorOf(scene(() => undefined), { array })
      expect(error).toBeInstanceOf(UnsupportedError)
      expect(error.message).toMatch(array === 'dim_names' ? /text/ : /Python objects/)
    }
    expect((await errorOf(scene(() => undefined), { array: 'values' })).message).toMatch(/holds no array "values"; it holds "dim_names"/)
  })

  test('several arrays and no data: which one is not guessed', async () => {
    const two = zipBytes(['a', 'b'].map((name, k) => ({ name: `${name}.npy`, bytes: npyBytes(pattern('float32', [2], k)) })))
    const dir = scene((path) => { for (let k = 0; k < 4; k++) writeFileSync(join(path, frameName('u', k)), two) })
    const error = await errorOf(dir)
    expect(error).toBeInstanceOf(UnsupportedError)
    expect(error.message).toMatch(/there are "a", "b" \(`array` says which/)
    expect((await read(dir, { array: 'b' }))[0]!.fields.u).toEqual(stack(Array.from({ length: 4 }, () => pattern('float32', [2], 1))))
  })
})

describe('arrays of frames', () => {
  test('fields of unequal lengths, arrays without frames', async () => {
    const dir = tempDir()
    writeFileSync(join(dir, 'a.npz'), zipBytes([['u', [4, 2]], ['x', [2]], ['t', []]].map(([name, shape]) => ({ name: `${name as string}.npy`, bytes: npyBytes(pattern('float32', shape as number[])) }))))
    const path = join(dir, 'a.npz')
    expect((await errorOf(path)).message).toMatch(/array "x": expected 4 frames, as "u" has \(`fields` says which arrays are fields\), found shape \[2\]/)
    expect((await read(path, { fields: ['u'] })).map(({ id, fields }) => [id, fields.u!.shape])).toEqual([['a', [4, 2]]])
    expect((await errorOf(path, { fields: ['t'] })).message).toMatch(/found a 0-d array/)
    expect((await errorOf(path, { fields: ['u'], frames: { start: 4 } })).message).toMatch(/has no frames from 4 on: its arrays hold 4$/)
    expect((await errorOf(path, { properties: ['nu'] })).message).toMatch(/are in the description\.json of a simulation's folder, and .*a\.npz is a file$/)
  })

  test('a single .npy is a field called data', async () => {
    const dir = tempDir()
    const frames = framesOf(3, [2, 2])
    writeFileSync(join(dir, 'a.npy'), npyBytes(stack(frames), { fortran: true }))
    expect(await read(join(dir, '*.npy'), { frames: { step: 2 } })).toEqual([{ id: 'a', fields: { data: stack([frames[0]!, frames[2]!]) } }])
  })
})

describe('properties', () => {
  const made = (description?: unknown): string => writeScene(join(tempDir(), 'sim_0'), { u: framesOf(1, [2]) }, { description })

  test.each([
    [undefined, 'nu', FileError, /description\.json: there is no such file, and properties are asked for$/],
    ['{"nu": NaN}', 'nu', FormatError, /description\.json: JSON: expected an object, found /],
    [{ nu: 'high' }, 'nu', FormatError, /property "nu": expected a number, found "high"$/],
    [{ nu: 1 }, 'physics.nu', FormatError, /property "physics\.nu": expected a number, found nothing$/],
    [{ nu: [1] }, 'nu', FormatError, /expected a number, found /],
    [[], 'constructor.length', FormatError, /expected a number, found nothing$/],
  ])('%j, %s', async (description, path, kind, message) => {
    const error = await errorOf(made(description), { properties: { nu: path } })
    expect(error).toBeInstanceOf(kind)
    expect(error.message).toMatch(message)
  })
})

test('misuse is said before any work', async () => {
  const wrong: [unknown, RegExp][] = [
    [{ windw: 3 }, /misspelled option "windw" should be "window"/], [{ window: 0 }, /window must be an integer from 1/], [{ window: 2.5 }, /window/], [{ stride: 2 }, /stride says where windows begin/], [{ window: 2, stride: 0 }, /stride/],
    [{ fields: {} }, /fields must be/], [{ fields: { U: 'u' } }, /cannot be the name of a field/], [{ fields: { u: 3 } }, /fields\.u must be a name/], [{ fields: 'u' }, /fields must be/], [{ frames: { from: 1 } }, /unknown option "from"/],
    [{ frames: { start: -1 } }, /start/], [{ frames: { step: 0 } }, /step/], [{ frames: { start: 5, stop: 5 } }, /stop must be greater/], [{ array: 3 }, /array must be/], [{ properties: ['u'], fields: ['u'] }, /there is a field "u" already/],
  ]
  for (const [options, message] of wrong) await expect(scenes('/nowhere', options as ScenesOptions), JSON.stringify(options)).rejects.toThrow(message)
  for (const [options] of wrong) await expect(scenes('/nowhere', options as ScenesOptions)).rejects.toThrow(TypeError)
  await expect(scenes([])).rejects.toThrow(/no path given/)
  await expect(scenes(join(FIXTURES, 'phi3'), { properties: ['velocity'] })).rejects.toThrow(/property "velocity"|there is a field/)
  expect(existsSync('/nowhere')).toBe(false)
})
