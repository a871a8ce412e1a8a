import { afterAll } from 'vitest'
import { findAdapters, type AdapterFacts, type FoundAdapter } from '../../src/devices/webgpu/dawn.js'
import { Engine, type EngineOptions } from '../../src/devices/webgpu/engine.js'

export const ENGINE: EngineOptions = { poolBytes: 256 * 2 ** 20, frameBytes: 64 * 2 ** 20, bindingBytes: 2 ** 31, workgroupSize: 256, idleMs: 60_000 }

export interface TestEngine {
  readonly name: string
  readonly engine: Engine
  readonly facts: AdapterFacts
}

let adapters: Promise<FoundAdapter[]> | undefined
let opened: Promise<TestEngine[]> | undefined

/** One engine per adapter that Dawn finds, on this thread. */
export function engines(): Promise<TestEngine[]> {
  opened ??= (adapters ??= findAdapters()).then((found) => found.map((adapter) => ({ name: adapter.facts.name, facts: adapter.facts, engine: new Engine(adapter, ENGINE) })))
  return opened
}

/**
 * Another engine on the same adapter, with a device of its own, closed when the work is done. `limits` may be changed between runs, which saves compiling
 * everything for another engine.
 */
export async function withEngine<T>({ facts }: Pick<TestEngine, 'facts'>, options: Partial<EngineOptions>, work: (engine: Engine, limits: { frameBytes: number; bindingBytes: number }) => Promise<T>): Promise<T> {
  const adapter = (await (adapters ??= findAdapters())).find((found) => found.facts.name === facts.name)!
  const limits = { ...ENGINE, ...options }
  const engine = new Engine(adapter, limits)
  try {
    return await work(engine, limits)
  } finally {
    await engine.close()
  }
}

/**
 * SwiftShader takes up to a second for a pipeline where others take milliseconds. Short forms give it a part of what the others get, and say so in
 * their names.
 */
export function compilesSlowly({ name }: Pick<TestEngine, 'name'>): boolean {
  return /swiftshader/i.test(name)
}

afterAll(async () => {
  for (const { engine } of await (opened ?? [])) await engine.close()
})
