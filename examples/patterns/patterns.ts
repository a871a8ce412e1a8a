// Diffraction patterns for a classifier: uint16 counts in an uncompressed NPZ → float32 → 32 × 32 → zero mean, unit variance. The labels pass through
// and the probe belongs to the dataset as a whole.
import { cast, normalize, npz, recipe, resample } from 'tensorcache'
import type { Example } from '../example.js'
import { inExamples } from '../folder.js'

const file = inExamples('patterns/patterns.npz')

export const patterns: Example = {
  name: 'patterns',
  about: '64 × 64 diffraction patterns: cast → resample → z-score',
  recipe: recipe([
    cast({ dtype: 'float32', fields: ['x'] }),
    resample({ shape: [32, 32], fields: ['x'] }),
    normalize({ mode: 'zscore', fields: ['x'] }),
  ]),
  source: () => npz(file, { fields: { x: 'diffraction', y: 'label' }, constants: { probe: 'probe' } }),
}
