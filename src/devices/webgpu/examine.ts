import { ARITHMETIC, Canary, CHECKED_KERNELS, type Verdicts } from './canary.js'
import { findAdapters, type AdapterFacts } from './dawn.js'
import { Engine } from './engine.js'
import { dawnVersion } from './local.js'

export interface ExaminedAdapter extends AdapterFacts {
  /** By check: `arithmetic`, then each kernel. `unknown` when the device could not be opened. */
  readonly canary: Readonly<Record<string, 'passed' | 'failed' | 'unknown'>>
}

const OPTIONS = { poolBytes: 64 * 2 ** 20, frameBytes: 64 * 2 ** 20, bindingBytes: 2 ** 31, workgroupSize: 256, idleMs: 1_000 }

/** Every adapter with its verdicts; what is not `known` is checked now. Rejects with MissingDependencyError without the `webgpu` package. */
export async function examineAdapters(known: Verdicts): Promise<{ adapters: ExaminedAdapter[]; learned: Verdicts }> {
  const adapters: ExaminedAdapter[] = []
  const learned: Record<string, boolean> = {}
  for (const found of await findAdapters()) {
    const engine = new Engine(found, OPTIONS)
    const canary = new Canary(engine, found.facts, dawnVersion(), known)
    const verdicts: Record<string, 'passed' | 'failed' | 'unknown'> = {}
    for (const name of [ARITHMETIC, ...CHECKED_KERNELS]) {
      try {
        const checked = await canary.check([name])
        verdicts[name] = checked.failed.includes(name) ? 'failed' : 'passed'
        Object.assign(learned, checked.learned)
      } catch {
        verdicts[name] = 'unknown'
      }
    }
    await engine.close()
    adapters.push({ ...found.facts, canary: verdicts })
  }
  return { adapters, learned }
}
