// How fast are images resized in two dimensions? Linear with half-pixel centres, through the device interface; tfjs on its CPU backend, which is JavaScript, and torch on one thread beside us.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { recipe, resample } from 'tensorcache'
import { copySpeed } from './lib/facts.js'
import { noise, writeArray } from './lib/files.js'
import { compile, createCpuDevice, segments } from './lib/internals.js'
import { inTurns, named, scaled, seconds } from './lib/measure.js'
import { check, timesPeer, type Context, type Finding, type Question } from './lib/question.js'

const FROM = 128
/** Neither half nor a divisor: weights differ from pixel to pixel. */
const TO = 80

async function run({ dir, pick, peer }: Context): Promise<Finding[]> {
  const count = pick({ tiny: 2, quick: 32, full: 512 })
  const images = Float32Array.from({ length: count * FROM * FROM }, (_, i) => noise(i))
  const out = new Float32Array(count * TO * TO)
  const [segment] = segments(recipe([resample({ shape: [TO, TO] })]))
  if (segment?.kind !== 'device') throw new Error('resample is a device op')
  const { program } = compile(segment, { x: { dtype: 'float32', shape: [FROM, FROM] } }, new Set(['x']))
  const device = createCpuDevice({ threads: 1 })
  const prepared = await device.prepare(program)
  const ours = (): Promise<unknown> => prepared.run({ count, inputs: [images], outputs: [out] })

  const tf = await import('@tensorflow/tfjs')
  tf.enableProdMode()
  await tf.setBackend('cpu')
  const tensor = tf.tensor4d(images, [count, FROM, FROM, 1])
  const theirs = (): Float32Array => tf.tidy(() => tf.image.resizeBilinear(tensor, [TO, TO], false, true).dataSync() as Float32Array)
  const torch = await peer('resample')
  const path = join(dir, 'images.npy')
  writeArray(path, 'float32', [count, FROM, FROM], images)
  await torch?.call('load', { path, dtype: 'float32' })

  await ours()
  const expected = reference(images, count)
  check(near(out, expected), 'the device')
  check(near(theirs(), expected), 'tfjs')
  if (torch !== undefined) {
    await torch.call('bilinear', { size: TO })
    const to = join(dir, 'torch.f32')
    await torch.call('save', { path: to })
    check(near(new Float32Array(Uint8Array.from(readFileSync(to)).buffer), expected), 'torch')
  }
  const rate = (took: number): number => count / took
  const results = await inTurns(pick({ tiny: 1, quick: 5, full: 15 }), {
    ours: async () => rate(await seconds(ours)),
    'torch bilinear, 1 thread': torch && (async () => rate(await torch.call('bilinear', { size: TO }))),
    'tfjs resizeBilinear, CPU backend': async () => rate(await seconds(theirs)),
  })
  torch?.stop()
  tensor.dispose()
  await device.close()
  const copy = await copySpeed(images.byteLength, pick({ tiny: 2, quick: 5, full: 9 }))
  const limit = { name: 'memcpy of the input, one thread', ...scaled(copy, 1e9 / (FROM * FROM * 4)) }
  const [fromTfjs] = named(results, 'tfjs resizeBilinear, CPU backend')
  return [{
    what: `${count} images of ${FROM}² float32 → ${TO}², linear, 1 thread`, unit: 'images/s', ours: results.ours, limits: [limit], target: timesPeer(1, results.ours, fromTfjs, 'tfjs'),
    peers: named(results, 'tfjs resizeBilinear, CPU backend', 'torch bilinear, 1 thread'),
  }]
}

/** Half-pixel centres, edges repeated, in float64. */
function reference(images: Float32Array, count: number): Float64Array {
  const places = Array.from({ length: TO }, (_, i) => {
    const position = Math.min(Math.max((i + 0.5) * FROM / TO - 0.5, 0), FROM - 1)
    const low = Math.min(Math.floor(position), FROM - 2)
    return { low, part: position - low }
  })
  const made = new Float64Array(count * TO * TO)
  for (let image = 0, at = 0; image < count; image++) {
    for (const { low: y, part: v } of places) {
      for (const { low: x, part: u } of places) {
        const corner = (image * FROM + y) * FROM + x
        const [top, bottom] = [corner, corner + FROM].map((from) => images[from]! * (1 - u) + images[from + 1]! * u) as [number, number]
        made[at++] = top * (1 - v) + bottom * v
      }
    }
  }
  return made
}

/** Positions in float32 are off by some 2^-17 of a pixel in tfjs and torch; neighbours differ by 2 at most. */
function near(found: Float32Array, expected: Float64Array): boolean {
  return found.length === expected.length && expected.every((value, i) => Math.abs(found[i]! - value) < 5e-5)
}

export const images: Question = { name: 'images', about: 'images resized in two dimensions', run }
