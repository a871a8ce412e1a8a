import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { openCache, type Cache, type PutOptions, type Value } from '../../src/index.js'
import { expectSound } from '../support/soundness.js'
import { tempDir } from '../support/temp.js'

/** Two caches of this process and one of another. */
const ACTORS = 3
const NAMESPACES = ['', 'a', 'a/b', 'ab']
const SIZES = [0, 3, 5000, 12_000]
const HOUR = 3_600_000

interface Step {
  readonly actor: number
  readonly op: 'put' | 'compute' | 'get' | 'has' | 'keys' | 'delete' | 'clear' | 'prune' | 'prune namespace' | 'scope' | 'reopen'
  readonly key: number
  readonly namespace: number
  readonly size: number
  readonly life: 'no end' | 'an hour' | 'over'
  readonly keep: boolean
  readonly compression: 'none' | 'lz4'
}

const stepArbitrary: fc.Arbitrary<Step> = fc.record({
  actor: fc.nat(ACTORS - 1),
  op: fc.constantFrom<Step['op'][]>('put', 'put', 'put', 'compute', 'compute', 'get', 'get', 'has', 'keys', 'delete', 'clear', 'prune', 'prune namespace', 'scope', 'reopen'),
  key: fc.nat(4), namespace: fc.nat(NAMESPACES.length - 1), size: fc.constantFrom(...SIZES),
  life: fc.constantFrom<Step['life'][]>('no end', 'no end', 'an hour', 'over'), keep: fc.boolean(), compression: fc.constantFrom<Step['compression'][]>('none', 'lz4'),
})

/** What a cache should hold. */
interface Held { readonly value: Value; readonly over: boolean; readonly again: boolean }

const below = (namespace: string, prefix: string): boolean => prefix === '' || namespace === prefix || namespace.startsWith(`${prefix}/`)

class Model {
  readonly held = new Map<string, Held & { readonly namespace: string; readonly key: string }>()

  put(namespace: string, key: string, held: Held): void {
    this.held.set(`${namespace}|${key}`, { ...held, namespace, key })
  }

  get(namespace: string, key: string): Value | undefined {
    const found = this.held.get(`${namespace}|${key}`)
    return found === undefined || found.over ? undefined : found.value
  }

  /** Gives how many went. */
  drop(which: (held: Held & { namespace: string; key: string }) => boolean): number {
    let dropped = 0
    for (const [name, held] of this.held) if (which(held) && this.held.delete(name)) dropped++
    return dropped
  }
}

type Does = (op: string, ...args: unknown[]) => Promise<unknown>

function inside(cache: Cache): Does {
  return async (op, ...args) => {
    const [key, value, options] = args as [string, Value, PutOptions]
    switch (op) {
      case 'put': return cache.put(key, value, options)
      case 'compute': return cache.getOrCompute(key, () => value, options)
      case 'get': return (await cache.get(key, value as object))?.value
      case 'has': return cache.has(key, value as object)
      case 'delete': return cache.delete(key, value as object)
      case 'clear': return cache.clear(args[0] as object)
      case 'prune': return cache.prune(args[0] as object)
      case 'keys': {
        const keys: string[] = []
        for await (const each of cache.keys(args[0] as object)) keys.push(each)
        return keys.sort()
      }
      case 'scope': {
        await using scope = cache.scope(key)
        for (const [name, content] of value as unknown as [string, Value][]) await scope.put(name, content, { namespace: 'inner' })
        return undefined
      }
      default: return cache.close()
    }
  }
}

async function outside(options: object): Promise<Does> {
  const child: ChildProcess = fork(join(import.meta.dirname, 'model-child.mjs'), [JSON.stringify(options)], { serialization: 'advanced' })
  await once(child, 'message')
  return async (op, ...args) => {
    child.send({ op, args })
    const [{ result, error }] = await once(child, 'message') as [{ result?: unknown; error?: string }]
    if (error !== undefined) throw new Error(error)
    return result
  }
}

test('any sequence of operations, in three caches of two processes, behaves as one map', async () => {
  await fc.assert(fc.asyncProperty(fc.array(stepArbitrary, { maxLength: 30 }), async (steps) => {
    const dir = join(tempDir(), 'cache')
    const options = { dir, minFree: 0 }
    const open = async (actor: number): Promise<Does> => actor === 2 ? outside(options) : inside(await openCache(options))
    const actors = await Promise.all(Array.from({ length: ACTORS }, (_, actor) => open(actor)))
    const model = new Model()
    let count = 0
    let last = 0
    for (const step of steps) {
      const { actor, op, size, keep, compression } = step
      const namespace = NAMESPACES[step.namespace]!
      const key = `k${step.key}`
      // What memory holds may be 5 ms older than what others changed.
      if (actor !== last) await sleep(6)
      last = actor
      const does = actors[actor]!
      const value = { n: ++count, data: new Float32Array(size).fill(count) }
      const life = step.life === 'no end' ? {} : { expiresAt: Date.now() + (step.life === 'over' ? -HOUR : HOUR) }
      const over = step.life === 'over'
      if (op === 'put') {
        await does('put', key, value, { namespace, keep, compression, ...life })
        model.put(namespace, key, { value, over, again: false })
      } else if (op === 'compute') {
        const before = model.get(namespace, key)
        expect(await does('compute', key, value, { namespace, keep, compression, ...life })).toEqual(before ?? value)
        if (before === undefined) model.put(namespace, key, { value, over, again: !keep })
      } else if (op === 'get') {
        expect(await does('get', key, { namespace })).toEqual(model.get(namespace, key))
      } else if (op === 'has') {
        expect(await does('has', key, { namespace })).toBe(model.get(namespace, key) !== undefined)
      } else if (op === 'keys') {
        expect(await does('keys', { namespace })).toEqual(Array.from(model.held.values()).filter((held) => held.namespace === namespace && !held.over).map((held) => held.key).sort())
      } else if (op === 'delete') {
        expect(await does('delete', key, { namespace })).toBe(model.drop((held) => held.namespace === namespace && held.key === key) === 1)
      } else if (op === 'clear') {
        expect(await does('clear', { namespace })).toBe(model.drop((held) => below(held.namespace, namespace)))
      } else if (op === 'prune') {
        // What can be made again, and what nobody gets any more.
        expect(await does('prune', { maxSize: 0 })).toMatchObject({ entries: model.drop((held) => held.again || held.over), pinned: 0 })
      } else if (op === 'prune namespace' && namespace !== '') {
        expect(await does('prune', { namespace })).toMatchObject({ entries: model.drop((held) => below(held.namespace, namespace)) })
      } else if (op === 'scope') {
        await does('scope', `scope/${count}`, [['x', value], ['y', 1]])
      } else if (op === 'reopen') {
        await does('close')
        actors[actor] = await open(actor)
      }
    }
    for (const does of actors) await does('close')
    const cache = await openCache({ ...options, memory: 0 })
    for (const { namespace, key } of model.held.values()) expect((await cache.get(key, { namespace }))?.value).toEqual(model.get(namespace, key))
    expect((await cache.stats()).stored.entries).toBe(model.held.size)
    await expectSound(cache, dir)
    await cache.close()
  }), { numRuns: 15 })
}, 240_000)
