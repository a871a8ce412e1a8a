import { fromHex } from '../../core/hash.js'
import { Manifest } from '../../dataset/manifest.js'
import { isAlive, parseOwner } from '../../core/owner.js'
import { findDataset } from '../find.js'
import { humanAgo, humanBytes, humanCount, humanSeconds, shapeText, table } from '../format.js'
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
    // A process that was killed has left its pin; the next one that writes removes it.
    const pins = [...store.pins()].filter(({ dataset, owner }) => dataset === key && isAlive(owner) !== false)
      .map(({ owner, since }) => ({ owner, process: parseOwner(owner)?.pid ?? null, host: parseOwner(owner)?.host ?? null, since: new Date(since).toISOString() }))
    const lastUse = store.upkeep.lastUse(fromHex(key), record.created)
    const now = Date.now()
    const { identities: _, ...plain } = { ...facts, identities: undefined }
    if (context.json) {
      context.print(JSON.stringify({ ...plain, items: record.items, bytes: record.bytes, seconds: record.seconds ?? null, lastUse: new Date(lastUse).toISOString(), manifest: record.manifest, constants: Object.fromEntries(Object.entries(constants).map(([name, { dtype, shape }]) => [name, { dtype, shape }])), shards, pins }))
      return 0
    }
    const { provenance } = facts
    const lines = [
      ['key', key], ['digest', facts.digest], ['name', facts.name || '-'], ['namespace', facts.namespace || '-'], ['items', `${humanCount(record.items)}, ${humanBytes(record.bytes)}`], ['last used', humanAgo(now - lastUse)],
      ['fields', Object.entries(facts.fields).map(([name, { dtype, shape }]) => `${name} ${dtype} ${shapeText(shape)}`).join(', ')],
      ['constants', Object.entries(constants).map(([name, { dtype, shape }]) => `${name} ${dtype} ${shapeText(shape)}`).join(', ') || '-'],
      ...(facts.recipe as { ops: { name: string; version: number; params: unknown }[] }).ops.map(({ name, version, params }, i) => [i === 0 ? 'recipe' : '', `${name} (version ${version}) ${JSON.stringify(params)}`]),
      ...provenance.files.map(({ path, size, digest }, i) => [i === 0 ? 'source' : '', `${path}, ${humanBytes(size)}${digest === undefined ? '' : `, ${digest.slice(0, 16)}`}`]),
      ['computed', `${provenance.created} ${provenance.device === null ? '' : `on ${provenance.device.kind} (${provenance.device.name}), `}${Object.entries(provenance.versions).map(([name, version]) => `${name} ${version}`).join(', ')}${record.seconds === undefined ? '' : `, in ${humanSeconds(record.seconds)}`}`],
      ...shards.map(({ digest, bytes }, i) => [i === 0 ? 'shards' : '', `${digest.slice(0, 16)} ${bytes === null ? 'missing' : humanBytes(bytes)}`]),
      ...pins.map(({ owner, process, host, since }, i) => [i === 0 ? 'open in' : '', `${process === null ? owner : `process ${process} on ${host}`}, since ${since} (${humanAgo(now - Date.parse(since))})`]),
    ]
    for (const line of table(lines)) context.print(line)
    return 0
  },
}
