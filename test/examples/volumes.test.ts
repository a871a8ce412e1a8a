import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { PNG } from 'pngjs'
import { beforeAll, describe, expect, test } from 'vitest'
import { volumes, type VolumesResult } from '../../examples/volumes/volumes.js'
import { nifti, openCache, type Cache, type Tensor } from '../../src/index.js'
import { tempDir } from '../support/temp.js'

interface Torso { readonly image: Tensor<'float32'>; readonly mask: Tensor<'uint8'>; readonly affine: Tensor<'float64'>; readonly mask_affine: Tensor<'float64'>; readonly foreground_box: Tensor<'int32'>; readonly lesion_ml: Tensor<'float64'> }

let dir: string
let result: VolumesResult
/** What each command said, in order. */
let said: Map<string, string[]>
beforeAll(async () => {
  dir = join(tempDir(), 'volumes')
  result = await volumes(dir)
  said = new Map()
  for (const part of result.transcript.split(/^\$ tensorcache /m).slice(1)) {
    const [command, ...lines] = part.split('\n')
    said.set(command!, [...said.get(command!) ?? [], lines.join('\n')])
  }
}, 60_000)

/** Hits and computed of every line of `build`. */
function counts(command: string): (readonly [name: string, hits: number, computed: number])[] {
  return said.get(command)!.flatMap((text) => Array.from(text.matchAll(/^(\w+): \d+ items?, (\d+) hits?, (\d+) computed/gm), ([, name, hits, computed]) => [name!, Number(hits), Number(computed)] as const))
}

const digestOf = (command: string): string => /digest (\w{16})/.exec(said.get(command)!.at(-1)!)![1]!

async function withCache(name: string, use: (cache: Cache) => Promise<void>): Promise<void> {
  const cache = await openCache({ dir: join(dir, name), minFree: 0 })
  await use(cache)
  await cache.close()
}

describe('volumes', () => {
  test('computes what is missing, and nothing else', () => {
    expect(counts('build')).toEqual([['torsos', 0, 4], ['contrast', 0, 1], ['torsos', 4, 0], ['contrast', 1, 0]])
    expect(counts('build torsos')).toEqual([['torsos', 4, 1]])
  })

  test('maps each volume to a hash of its own, and the added one to a shard of its own', () => {
    const rows = Array.from(said.get('map torsos')![0]!.matchAll(/^(\w{64})  (\w+)  (\w{16}):(\d)$/gm), ([, digest, id, shard, row]) => ({ digest, id, shard, row }))
    expect(rows.map(({ id }) => id)).toEqual(['torso_1', 'torso_2', 'torso_3', 'torso_4', 'torso_5'])
    expect(new Set(rows.map(({ digest }) => digest)).size).toBe(5)
    expect(rows.map(({ row }) => row)).toEqual(['0', '1', '2', '3', '0'])
    expect(result.transcript).toContain(`One bit of the file ${rows[0]!.shard} is flipped`)
  })

  test('finds the bit that fell over and mends it, with the same bytes', async () => {
    const mended = said.get('verify --fix')![0]!
    expect(mended).toMatch(/^damaged: .*has the SHA-256/m)
    expect(mended).toMatch(/^rebuilt: dataset volumes\/torsos: 4 of 5 items computed from nifti/m)
    expect(mended).toMatch(/1 damaged, mended$/m)
    await withCache('cache', async (cache) => {
      expect(await cache.verify()).toMatchObject({ sound: true, damaged: [] })
      expect((await cache.openDataset('torsos'))!.digest).toMatch(new RegExp(`^${digestOf('build torsos')}`))
    })
  })

  test('a server gives the same dataset, each file once, and none of them stays', async () => {
    const command = 'build served --config served.yaml'
    expect(counts(command)).toEqual([['served', 0, 5]])
    expect(digestOf(command)).toBe(digestOf('build torsos'))
    expect(result.fetched).toBe(10)
    await withCache('cache', async (cache) => withCache('cache-served', async (served) => {
      const [remote, local] = [(await served.openDataset('served'))!, (await cache.openDataset('torsos'))!]
      expect([remote.key, remote.digest]).toEqual([local.key, local.digest])
      expect(Array.from({ length: 5 }, (_, k) => remote.id(k))).toEqual(Array.from({ length: 5 }, (_, k) => local.id(k)))
    }))
    for (const place of ['parts', 'ready', 'pins']) expect(readdir(join(dir, 'staging', place)), place).toEqual([])
  })

  test('whatever way a torso was stored, it comes out upright, 4 mm a voxel, in one shape, with lesion and mask where they were in the world', async () => {
    const source = await nifti(join(dir, 'scans/torsos.csv'), { fields: { image: 'VolumeName', mask: 'MaskName' }, dtype: 'float32' })
    await withCache('cache', async (cache) => {
      const dataset = (await cache.openDataset('torsos'))!
      expect(dataset.length).toBe(5)
      const radii = [17, 21, 12, 24, 15]
      for (let k = 0; k < 5; k++) {
        const made = await dataset.get(k) as unknown as Torso
        expect([made.image.dtype, made.mask.dtype, made.image.shape, made.mask.shape]).toEqual(['float32', 'uint8', [88, 56, 48], [88, 56, 48]])
        expect(made.mask_affine.data).toEqual(made.affine.data)
        const column = (axis: number): number[] => [0, 1, 2].map((row) => made.affine.data[4 * row + axis]!)
        for (const axis of [0, 1, 2]) {
          expect(Math.hypot(...column(axis))).toBeCloseTo(4, 6)
          expect(column(axis)[axis], 'the axis runs to the right, the front, the head').toBeGreaterThan(3.5)
        }
        expect([made.image.data.reduce((a, b) => Math.min(a, b)), made.image.data.reduce((a, b) => Math.max(a, b))]).toEqual([0, 1])
        // The lesion is as large as the list says, and lies where it lay.
        expect(made.lesion_ml.data[0]).toBeCloseTo(4 / 3 * Math.PI * radii[k]! ** 3 / 1000, 1)
        const { count, centre } = lesionOf(made.mask, made.affine)
        expect(count * 0.064 / made.lesion_ml.data[0]!).toBeGreaterThan(0.8)
        expect(count * 0.064 / made.lesion_ml.data[0]!).toBeLessThan(1.2)
        for await (const { fields } of source.read(k, k + 1, { fields: ['mask', 'mask_affine'] })) {
          const stored = lesionOf(unbatched(fields.mask as Tensor<'uint8'>), unbatched(fields.mask_affine as Tensor<'float64'>))
          expect(Math.hypot(...centre.map((mm, axis) => mm - stored.centre[axis]!)), 'mm, of voxels of up to 9.5').toBeLessThan(4)
        }
        // In the liver, between its 115 HU and the lesion's 20 HU on the scale from -175 to 275.
        const inside = made.image.data.filter((_, at) => made.mask.data[at] === 2)
        expect(inside.reduce((sum, value) => sum + value, 0) / inside.length).toBeCloseTo(195 / 450, 1)
      }
    })
    source.close()
  })

  test('the series has its time first, eight millimetres a voxel', async () => {
    await withCache('cache', async (cache) => {
      const dataset = (await cache.openDataset('volumes/contrast'))!
      expect(await dataset.get(0)).toMatchObject({ id: 'contrast', image: { dtype: 'float32', shape: [5, 46, 30, 22] } })
    })
  })

  test('the picture shows what it should: grey slices, contours in two colours, as high as wide in millimetres', () => {
    const { width, height, data } = PNG.sync.read(readFileSync(result.sheet))
    const colours = new Map<string, number>()
    for (let at = 0; at < data.length; at += 4) {
      const colour = [...data.subarray(at, at + 3)].join()
      colours.set(colour, (colours.get(colour) ?? 0) + 1)
    }
    expect(colours.get('64,170,255')).toBeGreaterThan(1000)
    expect(colours.get('255,96,64')).toBeGreaterThan(300)
    expect(colours.get('255,255,255')).toBeGreaterThan(500)
    expect(width).toBeGreaterThan(1000)
    expect(height).toBeGreaterThan(900)
  })
})

function readdir(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : []
}

function unbatched<T extends Tensor>(tensor: T): T {
  return { ...tensor, shape: tensor.shape.slice(1) }
}

/** How many voxels the lesion has, and where its middle is, in mm. */
function lesionOf({ shape, data }: Tensor<'uint8'>, { data: affine }: Tensor<'float64'>): { count: number; centre: number[] } {
  const [, ny, nz] = shape as [number, number, number]
  const sums = [0, 0, 0]
  let count = 0
  data.forEach((label, at) => {
    if (label !== 2) return
    count++
    const voxel = [Math.floor(at / (ny * nz)), Math.floor(at / nz) % ny, at % nz]
    for (const row of [0, 1, 2]) sums[row]! += voxel.reduce((sum, position, axis) => sum + affine[4 * row + axis]! * position, affine[4 * row + 3]!)
  })
  return { count, centre: sums.map((sum) => sum / count) }
}
