import { extname, resolve } from 'node:path'
import { statSync } from 'node:fs'
import { exportArrays } from '../export/arrays.js'
import { writeNpz } from '../export/npz.js'
import { writeWhole } from '../export/output.js'
import { writeSafetensors } from '../export/safetensors.js'
import { findDataset } from '../find.js'
import { humanBytes, humanOf } from '../format.js'
import { UsageError, type Verb } from '../verb.js'

export const exportVerb: Verb = {
  name: 'export',
  summary: 'Writes a whole dataset as one standard file, .safetensors or .npz.',
  usage: '<key or name> --output FILE',
  example: 'tensorcache export train --output train.safetensors',
  options: {
    output: { type: 'string', value: 'FILE', about: 'file to write; its suffix chooses the format' },
    force: { type: 'boolean', about: 'replace a file that exists' },
  },
  positionals: [1, 1],
  async run(context) {
    const { output } = context.values
    if (typeof output !== 'string') throw new UsageError('export: --output FILE is needed')
    const format = extname(output)
    if (format !== '.safetensors' && format !== '.npz') throw new UsageError(`export: the output must end in .safetensors or .npz, not ${format || 'nothing'}`)
    const cache = await context.openCache({ readonly: true })
    const { key } = findDataset(cache, context.positionals[0]!)
    const dataset = (await cache.openDataset(key))!
    const arrays = await exportArrays(dataset, context.signal)
    const ids = Array.from({ length: dataset.length }, (_, i) => dataset.id(i))
    await writeWhole(output, context.values.force === true, async (file) => {
      if (format === '.npz') await writeNpz(file, arrays, ids)
      else await writeSafetensors(file, arrays, ids, { 'tensorcache.key': dataset.key, 'tensorcache.digest': dataset.digest })
    })
    if (format === '.npz') {
      for (const { name, dtype } of arrays) if (dtype === 'bfloat16') context.note(`tensorcache: ${name} is bfloat16, which NumPy has not; its bits are written as uint16`)
    }
    const { size } = statSync(output)
    if (context.json) context.print(JSON.stringify({ output: resolve(output), key, digest: dataset.digest, items: dataset.length, bytes: size }))
    else context.print(`${output}: ${humanOf(dataset.length, 'item')}, ${humanBytes(size)}`)
    return 0
  },
}
