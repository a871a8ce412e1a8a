import type { Question } from './lib/question.js'

/** In the order in which they are asked. Each is loaded only in the process that answers it. */
export const questions: Readonly<Record<string, () => Promise<Question>>> = {
  cast: async () => (await import('./cast.js')).cast,
  stream: async () => (await import('./stream.js')).streaming,
  resample: async () => (await import('./resample.js')).resample,
  images: async () => (await import('./images.js')).images,
  reading: async () => (await import('./reading.js')).reading,
  chunks: async () => (await import('./chunks.js')).chunks,
  batches: async () => (await import('./batches.js')).batches,
  resume: async () => (await import('./resume.js')).resume,
  tfjs: async () => (await import('./tfjs.js')).tfjs,
  onnx: async () => (await import('./onnx.js')).onnxOps,
  open: async () => (await import('./open.js')).open,
  publish: async () => (await import('./publish.js')).publish,
  compression: async () => (await import('./compression.js')).compression,
  loop: async () => (await import('./loop.js')).loop,
  crystals: async () => (await import('./crystals.js')).crystal,
  values: async () => (await import('./values.js')).values,
  entries: async () => (await import('./entries.js')).entries,
  volumes: async () => (await import('./volumes.js')).volumes,
  gzip: async () => (await import('./gzip.js')).gzip,
  missing: async () => (await import('./missing.js')).missing,
  scan: async () => (await import('./scan.js')).scan,
  gpu: async () => (await import('./gpu.js')).gpu,
}
