import { Manifest } from '../../dataset/manifest.js'
import { findDataset } from '../find.js'
import { humanBytes, shapeText, table } from '../format.js'
import type { Verb } from '../verb.js'

export const info: Verb = {
  name: 'info',
  summary: 'Shows one dataset: its recipe, fields, source, shards and who has it open.',
  usage: '<key or name>',
  example: 'tensorcache info train',
  options: {},
  positionals: [1, 1],
  async run(context) {
    const cache = await context.openCache({ readonly: true })
    const { store, key, record } = findDataset(cache, context.positionals[0]!)
    const { facts, rows, constants } = await Manifest.read(await store.blob(record.manifest))
    const sizes = new Map(Array.from(store.blobs(), ({ digest, record: { bytes } }) => [digest, bytes]))
    const shards = rows.blobs.map((digest) => ({ digest, bytes: sizes.get(digest) ?? null }))
    const pins = [...store.pins()].filter(({ dataset }) => dataset === key).map(({ owner, since }) => ({ owner, since: new Date(since).toISOString() }))
    const { identities: _, ...plain } = { ...facts, identities: undefined }
    if (context.json) {
      context.print(JSON.stringify({ ...plain, items: record.items, manifest: record.manifest, constants: Object.fromEntries(Object.entries(constants).map(([name, { dtype, shape }]) => [name, { dtype, shape }])), shards, pins }))
      return 0
    }
    const { provenance } = facts
    const lines = [
      ['key', key], ['digest', facts.digest], ['name', facts.name || '-'], ['namespace', facts.namespace || '-'], ['items', String(record.items)],
      ['fields', Object.entries(facts.fields).map(([name, { dtype, shape }]) => `${name} ${dtype} ${shapeText(shape)}`).join(', ')],
      ['constants', Object.entries(constants).map(([name, { dtype, shape }]) => `${name} ${dtype} ${shapeText(shape)}`).join(', ') || '-'],
      ...(facts.recipe as { ops: { name: string; version: number; params: unknown }[] }).ops.map(({ name, version, params }, i) => [i === 0 ? 'recipe' : '', `${name} (version ${version}) ${JSON.stringify(params)}`]),
      ...provenance.files.map(({ path, size, digest }, i) => [i === 0 ? 'source' : '', `${path}, ${humanBytes(size)}${digest === undefined ? '' : `, ${digest.slice(0, 16)}`}`]),
      ['computed', `${provenance.created} ${provenance.device === null ? '' : `on ${provenance.device.kind} (${provenance.device.name}), `}${Object.entries(provenance.versions).map(([name, version]) => `${name} ${version}`).join(', ')}`],
      ...shards.map(({ digest, bytes }, i) => [i === 0 ? 'shards' : '', `${digest.slice(0, 16)} ${bytes === null ? 'missing' : humanBytes(bytes)}`]),
      ...pins.map(({ owner, since }, i) => [i === 0 ? 'open in' : '', `${owner} since ${since}`]),
    ]
    for (const line of table(lines)) context.print(line)
    return 0
  },
}
