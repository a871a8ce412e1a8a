// Was the object smooth or grainy? A convolutional network for the patterns example.
import { randomFlip, randomRotate90 } from 'tensorcache'
import { patterns } from '../../patterns/patterns.js'
import { lists, type Task } from '../task.js'
import { network } from './network.js'

const FIELDS = ['x', 'y']

export const grains: Task = {
  name: 'patterns',
  about: 'smooth or grainy, from diffraction patterns, by a convolutional network',
  error: 'share of wrong classes',
  // The probe is round and the objects are random alike in all directions: a pattern that is turned or mirrored is as likely as itself.
  batches: { size: 16, fields: FIELDS, augment: [randomFlip({ axes: [0, 1], fields: ['x'] }), randomRotate90({ axes: [0, 1], fields: ['x'] })] },
  validation: { size: 64, fields: FIELDS },
  epochs: 12,
  falls: 5,
  rate: 0.01,
  async open(cache, { seed, cached }) {
    const source = await patterns.source()
    const options = { name: patterns.name, namespace: 'training/patterns' }
    const dataset = cached ? await cache.dataset(source, patterns.recipe, options) : await cache.dataset(source, patterns.recipe, { cache: false, name: options.name })
    return lists(await dataset.split({ train: 0.8, val: 0.2 }, { seed }), dataset, source)
  },
  model: async (tf, variables, { train }) => network(tf, variables, train.fields.x!.shape[0]!, 2),
}
