// Burgers simulations in folders as PhiFlow writes them → windows of 8 frames, a new one every 4, on half as many cells, for a model that predicts the next frames from the ones before. The viscosity of each
// simulation comes along from its description.
import { join } from 'node:path'
import { normalize, recipe, resample, scenes, type Dataset, type Tensor } from 'tensorcache'
import type { Example } from '../example.js'
import { CELLS, COURANT, initial, solve, STEP } from '../hybrid/burgers.js'
import { writeSheet, type Picture, type Rgb, type Row } from '../sheet.js'
import { writeScene } from './write.js'

const SIMULATIONS = 24
const FRAMES = 40
const [WINDOW, STRIDE] = [8, 4]
/** Brings the speeds of all waves below 1. */
const FACTOR = 1.25
/** How many of them are drawn. */
const DRAWN = 6
/** The mean of every field, and how far from it is drawn in full colour. */
const [MEAN, FAR] = [0.3, 0.45]

/** `dir`: where the simulations are written, and the picture. */
export function burgers(dir: string): Example & { readonly sheet: string } {
  const sheet = join(dir, 'burgers.png')
  const source: Example['source'] = () => scenes(join(dir, 'sims'), { fields: { u: 'velocity' }, window: WINDOW, stride: STRIDE, properties: { nu: 'viscosity' } })
  return {
    name: 'scenes',
    about: `${SIMULATIONS} Burgers simulations of ${FRAMES} frames → windows of ${WINDOW}: resample → scale`,
    sheet,
    recipe: recipe([
      resample({ shape: [CELLS / 2], axes: [1], method: 'area', fields: ['u'] }),
      normalize({ mode: 'scale', factor: FACTOR, fields: ['u'] }),
    ]),
    async prepare() {
      for (let k = 0; k < SIMULATIONS; k++) {
        const viscosity = [0.002, 0.005, 0.02][k % 3]!
        writeScene(join(dir, 'sims', `sim_${String(k).padStart(6, '0')}`), solve(initial(k), COURANT, { count: FRAMES, nu: viscosity }), CELLS, { viscosity, dt: STEP, name: 'Burgers' })
      }
    },
    source,
    async look(dataset) {
      writeSheet(sheet, await rowsOf(dataset, join(dir, 'sims')))
      return `Simulations above, their windows below: ${sheet}`
    },
  }
}

interface Window { readonly id: string; readonly u: Tensor<'float32'>; readonly nu: Tensor<'float64'> }

/** The first simulations as they are stored, x to the right and time downwards, each above its windows as they are in the cache. */
async function rowsOf(dataset: Dataset, folder: string): Promise<Row[][]> {
  const whole = await scenes(folder, { fields: { u: 'velocity' } })
  const perScene = dataset.length / whole.length
  const blocks: Row[][] = []
  for await (const { start, count, fields } of whole.read(0, DRAWN, { fields: ['u'] })) {
    const { data } = fields.u as Tensor<'float32'>
    for (let k = 0; k < count; k++) {
      const windows = await Promise.all(Array.from({ length: perScene }, async (_, i) => await dataset.get((start + k) * perScene + i) as unknown as Window))
      blocks.push([
        { caption: `${whole.id(start + k)}: ${FRAMES} frames of ${CELLS} cells, nu ${windows[0]!.nu.data[0]}`, pictures: [picture(data.subarray(k * FRAMES * CELLS, (k + 1) * FRAMES * CELLS), CELLS, { wide: 8, high: 3, scale: 1 })] },
        { caption: `${windows.length} windows: ${WINDOW} frames of ${CELLS / 2} cells`, pictures: windows.map(({ u }) => picture(u.data, CELLS / 2, { wide: 2, high: 6, scale: FACTOR })) },
      ])
    }
  }
  whole.close()
  return blocks
}

/** Frames [n, cells] of speeds times `scale`, each cell so many pixels wide and high: red where the fluid is faster than on average, blue where it is slower. */
function picture(frames: Float32Array, cells: number, { wide, high, scale }: { readonly wide: number; readonly high: number; readonly scale: number }): Picture {
  return {
    width: cells * wide, height: frames.length / cells * high,
    at(u, v): Rgb {
      const value = Math.max(-1, Math.min(1, (frames[Math.floor(v / high) * cells + Math.floor(u / wide)]! / scale - MEAN) / FAR))
      const bright = Math.round(255 * Math.sqrt(Math.abs(value)))
      return value < 0 ? [bright >> 3, bright >> 1, bright] : [bright, bright >> 1, bright >> 3]
    },
  }
}
