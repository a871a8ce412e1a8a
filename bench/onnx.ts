// What does a model cost as an op of a recipe? Items per second of batches that are computed when they are asked for, and of a build, beside a loop that reads the same batches and awaits session.run of onnxruntime-node.
import { rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { npy, openCache, recipe, select, type Tensor } from 'tensorcache'
import { closeModels, onnx, toOrtTensor } from 'tensorcache/onnx'
import { fillNoise, noise, writeNpy } from './lib/files.js'
import { inTurns, named, seconds, type Spread } from './lib/measure.js'
import { floats, onnxModel, type Graph } from './lib/onnx-model.js'
import { check, type Context, type Finding, type Question, type Target } from './lib/question.js'

const BATCH = 32
const SPINNING = 'the same batches and session.run'
const WAITING = 'the same, its threads not spinning between runs'
const MEMORY = 'session.run on arrays in memory'

async function run(context: Context): Promise<Finding[]> {
  const { pick } = context
  const findings = [
    ...await compared(context, 'conv net of 48 MFLOP', [3, 32, 32], convolutions(), pick({ tiny: 50, quick: 1024, full: 4096 })),
    ...await compared(context, 'dense layers of 15 MFLOP', [1024], layers(pick({ tiny: [1024, 64, 512], quick: [1024, 2048, 2048, 512], full: [1024, 2048, 2048, 512] })), pick({ tiny: 50, quick: 1024, full: 4096 })),
  ]
  await closeModels()
  return findings
}

async function compared({ dir, pick }: Context, what: string, shape: readonly number[], graph: Graph, items: number): Promise<Finding[]> {
  const threads = availableParallelism()
  const [rows, model, cacheDir] = [join(dir, 'rows.npy'), join(dir, 'model.onnx'), join(dir, 'cache')]
  writeNpy(rows, 'float32', [items, ...shape], fillNoise)
  writeFileSync(model, onnxModel(graph))
  const row = shape.reduce((product, extent) => product * extent, 1)
  const memory = Float32Array.from({ length: items * row }, (_, k) => noise(k))
  const batch = (from: number, to: number): ort.Tensor => new ort.Tensor('float32', memory.subarray(from * row, to * row), [to - from, ...shape])
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: threads })
  // As ours are set up: by default threads wait for the next run by spinning, which others that share the cores feel.
  const waiting = await ort.InferenceSession.create(model, { intraOpNumThreads: threads, extra: { session: { intra_op: { allow_spinning: '0' } } } })

  const steps = recipe([await onnx({ model, inputs: { x: 'x' }, batch: BATCH, threads }), select({ fields: ['y'] })])
  const source = await npy(rows, { fields: { x: 'data' } })
  await using off = await openCache({ dir: null })
  await using live = await off.dataset(source, steps, { cache: false })
  await using given = await off.dataset(source, recipe([]), { cache: false })

  const expected = (await session.run({ x: batch(0, Math.min(BATCH, items)) })).y!.data as Float32Array
  for await (const { y } of live.batches({ size: Math.min(BATCH, items) })) {
    check((y!.data as Float32Array).every((value, k) => Math.abs(value - expected[k]!) < 1e-4), `${what}: the first batch`)
    break
  }

  const inMemory = async (): Promise<number> => items / await seconds(async () => {
    for (let at = 0; at < items; at += BATCH) await waiting.run({ x: batch(at, Math.min(items, at + BATCH)) })
  })
  // What one would write without the op.
  const byHand = (of: ort.InferenceSession) => async (): Promise<number> => items / await seconds(async () => {
    for await (const { x } of given.batches({ size: BATCH })) await of.run({ x: toOrtTensor(ort, x as Tensor) })
  })
  const epoch = async (): Promise<number> => items / await seconds(async () => {
    let seen = 0
    for await (const { y } of live.batches({ size: BATCH })) seen += y!.shape[0]!
    check(seen === items, `${what}: an epoch of ${seen}`)
  })
  const build = async (): Promise<number> => {
    rmSync(cacheDir, { recursive: true, force: true })
    await using cache = await openCache({ dir: cacheDir, minFree: 0 })
    const time = await seconds(async () => {
      const dataset = await cache.dataset(source, steps)
      check(dataset.report.computed === items, `${what}: a build of ${dataset.report.computed}`)
      await dataset.close()
    })
    return items / time
  }
  const results = await inTurns(pick({ tiny: 1, quick: 5, full: 11 }), { live: epoch, [SPINNING]: byHand(session), [WAITING]: byHand(waiting), [MEMORY]: inMemory, build })
  await session.release()
  await waiting.release()
  source.close()
  const peers = named(results, SPINNING, WAITING)
  const limits = named(results, MEMORY)
  const unit = 'items/s'
  return [
    { what: `${what}: batches without a cache`, unit, ours: results.live, peers, limits, target: share(0.95, results.live, peers) },
    { what: `${what}: a build`, unit, ours: results.build, peers, limits, target: undefined },
  ]
}

/** Of the faster of them. */
function share(part: number, ours: Spread, peers: readonly Spread[]): Target {
  return { text: `≥ ${part * 100} % of the faster`, reached: ours.median >= part * Math.max(...peers.map(({ median }) => median)) }
}

/** Four convolutions and a dense layer: image [3, 32, 32] to ten numbers, for half of what ResNet-20 takes for such an image. */
function convolutions(): Graph {
  const weights = (dims: readonly number[], inputs: number): ReturnType<typeof floats> => floats(dims, (k) => noise(k + inputs) / Math.sqrt(inputs))
  return {
    inputs: { x: { type: 'float32', dims: ['n', 3, 32, 32] } },
    outputs: { y: { type: 'float32', dims: ['n', 10] } },
    weights: { w1: weights([32, 3, 3, 3], 27), w2: weights([64, 32, 3, 3], 288), w3: weights([64, 64, 3, 3], 576), w4: weights([64, 64, 3, 3], 577), w5: weights([64 * 16 * 16, 10], 16_384) },
    nodes: [
      ...[1, 2, 3, 4].flatMap((k) => [
        { op: 'Conv', inputs: [k === 1 ? 'x' : `r${k - 1}`, `w${k}`], outputs: [`c${k}`], attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: k === 1 ? [2, 2] : [1, 1] } },
        { op: 'Relu', inputs: [`c${k}`], outputs: [`r${k}`] },
      ]),
      { op: 'Flatten', inputs: ['r4'], outputs: ['f'] },
      { op: 'MatMul', inputs: ['f', 'w5'], outputs: ['y'] },
    ],
  }
}

function layers(sizes: readonly number[]): Graph {
  const count = sizes.length - 1
  return {
    inputs: { x: { type: 'float32', dims: ['n', sizes[0]!] } },
    outputs: { y: { type: 'float32', dims: ['n', sizes[count]!] } },
    weights: Object.fromEntries(Array.from({ length: count }, (_, i) => [`w${i}`, floats([sizes[i]!, sizes[i + 1]!], (k) => noise(k + i) / Math.sqrt(sizes[i]!))])),
    nodes: Array.from({ length: count }, (_, i) => [
      { op: 'MatMul', inputs: [i === 0 ? 'x' : `r${i}`, `w${i}`], outputs: [`m${i}`] },
      { op: 'Relu', inputs: [`m${i}`], outputs: [i === count - 1 ? 'y' : `r${i + 1}`] },
    ]).flat(),
  }
}

export const onnxOps: Question = { name: 'onnx', about: 'models as ops', run }
