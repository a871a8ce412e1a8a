import { expect, test } from 'vitest'
import * as api from '../../src/index.js'

test('the public surface is exactly this', () => {
  // A name that goes away breaks programs; a name that comes is a promise. Change the list on purpose.
  expect(Object.keys(api).sort()).toEqual([
    'DiskFullError', 'FileError', 'FormatError', 'IntegrityError', 'ItemError', 'LeaseLostError', 'MissingDependencyError', 'NonFiniteError', 'RecipeError',
    'SourceChangedError', 'StoreError', 'TensorCacheError', 'UnsupportedError',
    'cast', 'concat', 'createWebgpuDevice', 'crop', 'cropForeground', 'crystalGraph', 'crystals', 'defineOp', 'events', 'folderTier', 'fromDataset', 'group', 'http', 'huggingFace', 'isValidFor', 'items', 'jsonl', 'keyOf', 'latticeParameters', 'nifti', 'niggli', 'normalize', 'npy', 'npz', 'openArrays', 'openCache', 'orient', 'pack', 'pad', 'parquet', 'parseRecipe', 'preview', 'primitive', 'randomCrop', 'randomFlip', 'randomIntensity', 'randomNoise', 'randomRotate90', 'recipe', 'reindexCache', 'rename', 'resample', 'reslice', 'restoreCache', 'safetensors', 'scalerOf', 'scenes', 'select', 'staged', 'stagedList', 'standardScaler', 'startProfile', 'strategyFor',
    'webgpuAdapters', 'zip',
  ])
})

test('the adapters are exactly these', async () => {
  expect(Object.keys(await import('../../src/adapters/arrow.js')).sort()).toEqual(['Tables', 'tables'])
  expect(Object.keys(await import('../../src/adapters/tfjs.js')).sort()).toEqual(['loadTf', 'tfBatches', 'toTensor', 'toTfDataset'])
})

test('importing it has no effect', async () => {
  const before = process.getActiveResourcesInfo().length
  await import('../../src/index.js')
  await import('../../src/adapters/tfjs.js')
  expect(process.getActiveResourcesInfo().length).toBe(before)
})
