import { afterAll } from 'vitest'
import { findAdapters, type AdapterFacts } from '../../src/devices/webgpu/dawn.js'
import { Engine, type EngineOptions } from '../../src/devices/webgpu/engine.js'

export const ENGINE: EngineOptions = { poolBytes: 256 * 2 ** 20, frameBytes: 64 * 2 ** 20, bindingBytes: 2 ** 31, workgroupSize: 256, idleMs: 60_000 }

export interface TestEngine {
  readonly name: string
  readonly engine: Engine
  readonly facts: AdapterFacts
}

let opened: Promise<TestEngine[]> | undefined

/** One engine per adapter that Dawn finds, on this thread. */
export function engines(): Promise<TestEngine[]> {
  opened ??= findAdapters().then((found) => found.map((adapter) => ({ name: adapter.facts.name, facts: adapter.facts, engine: new Engine(adapter, ENGINE) })))
  return opened
}

afterAll(async () => {
  for (const { engine } of await (opened ?? [])) await engine.close()
})
