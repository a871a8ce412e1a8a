import { explain as explainDataset } from '../../dataset/explain.js'
import { checkDeviceChoice, deviceSource } from '../../devices/select.js'
import { UsageError, type Verb } from '../verb.js'

export const explain: Verb = {
  name: 'explain',
  summary: 'Says why a dataset of the configuration file hits or misses: the parameter, op version, seed, option or file that differs from the nearest dataset in the cache.',
  usage: '<dataset>',
  example: 'tensorcache explain train',
  options: { device: { type: 'string', value: 'auto|cpu|webgpu[:NAME]', about: 'for which device; it counts only where bytes may depend on it' } },
  positionals: [1, 1],
  async run(context) {
    const config = context.config()
    const [name] = context.positionals as [string]
    if (!config.datasetNames.includes(name)) throw new UsageError(`the configuration file has no dataset "${name}"; it has ${config.datasetNames.join(', ') || 'none'}`)
    const dataset = config.dataset(name)
    if (dataset.from !== undefined) throw new UsageError(`${name} is made from ${dataset.from}; explain that`)
    const cache = await context.openCache({ readonly: true })
    const device = deviceSource(checkDeviceChoice('explain', context.values.device ?? dataset.device))
    const source = await dataset.open()
    try {
      const { items, hits, hit, nearest, differences, harmless } = await explainDataset({ store: cache.store, source, recipe: dataset.recipe, device, signal: context.signal })
      if (context.json) {
        context.print(JSON.stringify({ name, items, hits, hit, nearest: nearest ?? null, differences, harmless }))
        return 0
      }
      context.print(`${name}: ${hit ? 'hit' : 'miss'}: ${hits} of ${items} items are in the cache`)
      if (nearest === undefined) context.print('the cache holds no dataset to compare with')
      else if (!hit || differences.length > 0 || harmless.length > 0) {
        context.print(`nearest: ${nearest.name || '-'} (${nearest.key.slice(0, 12)}, made ${nearest.created})${differences.length === 0 ? ': the same' : ''}`)
        for (const difference of differences) context.print(`  ${difference}`)
        for (const difference of harmless) context.print(`  ${difference} (changes nothing)`)
      }
    } finally {
      source.close()
      await device.close()
    }
    return 0
  },
}
