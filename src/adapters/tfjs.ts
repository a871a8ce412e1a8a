/**
 * Batches as tensors of TensorFlow.js. Nothing of it is loaded here but by `loadTf`: everything else takes the namespace that the caller has.
 *
 * @module tensorcache/tfjs
 */

export { loadTf, type LoadedTf, type LoadTfOptions, type TfPackage } from './tfjs/load.js'
export { tfBatches, type TfBatches, type TfBatchesOptions } from './tfjs/batches.js'
export { toTensor, type ToTensorOptions } from './tfjs/to-tensor.js'
export { toTfDataset, type TfDatasetOf, type TfDatasetOptions } from './tfjs/dataset.js'
export type { BatchSource, Element, TfBatch, TfBatchOptions, TfCollate, TfInputs, TfNames, TfPair } from './tfjs/elements.js'
export type { Selected, Selection } from './tfjs/selection.js'
export type { TensorFlow, TensorFlowWithData, TfData, TfGenerated, TensorOf, TfTensor } from './tfjs/namespace.js'
export type { TfDType } from './tfjs/convert.js'
