/**
 * Models as ops of recipes, and tensors for onnxruntime and from it. Needs the package `onnxruntime-node`.
 *
 * @module tensorcache/onnx
 */

import { checkOptions, show } from '../core/options.js'
import { callOf, type OpCall } from '../ops/op.js'
import { readModel } from './onnx/models.js'
import { onnxOp } from './onnx/op.js'
import { OPTIONS, type OnnxOptions, type OnnxParams } from './onnx/params.js'

export { closeModels } from './onnx/session.js'
export { fromOrtTensor, toOrtTensor, type OrtLibrary, type OrtTensor } from './onnx/tensors.js'
export { onnxOp }
export type { OnnxOptions }

/**
 * An op that runs a model of onnxruntime-node on each item, `batch` of them in a call: the fields named by `inputs` go in, the model's outputs become fields, all other fields pass through.
 *
 * What the key has of it: SHA-256 of the model's file and of the files with its weights, which inputs and outputs are used, `batch`, `threads`, the providers, further settings, the version of onnxruntime, the system and the
 * processor (and NVIDIA's GPU and driver; of another GPU the machine's name). Not where the model lies.
 *
 * Calls always have `batch` items, the last one being repeated, because kernels choose by how many there are; and a call now and then is checked for what an item's place and the other items do to it. So an item is to have the same
 * bytes in every build of one key; `batch: 1` leaves nothing to chance.
 *
 * A model is opened when something has to be computed, once in a process, on a thread of its own, and closed when it has not been asked for half a minute. Where a provider other than `cpu` is named, it is opened here, so that one that is missing is known at once.
 *
 * Rejects with TypeError where options do not fit the model, FileError, FormatError for what is no model, UnsupportedError, and MissingDependencyError where onnxruntime-node or a provider is missing.
 */
export async function onnx(options: OnnxOptions): Promise<OpCall> {
  checkOptions('onnx', options, OPTIONS)
  const { model: path } = options
  if (typeof path !== 'string' && !(path instanceof URL)) throw new TypeError(`onnx: model must be the path of an .onnx file, not ${show(path)}`)
  const { digest } = await readModel(path)
  const call = callOf(onnxOp, { ...options, model: digest })
  const { providers } = call.params as OnnxParams
  if (providers.some((name) => name !== 'cpu')) await onnxOp.open!(call.params)
  return call
}
