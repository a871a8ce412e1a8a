import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { layoutOf, type KernelLayout } from '../../ops/wgsl-layout.js'

export interface Kernel {
  readonly name: string
  readonly code: string
  readonly layout: KernelLayout
}

const FOLDER = new URL('../../../kernels/', import.meta.url)
const IMPORT = /^\/\/ import: ([a-z-]+)$/gm
const SHARED = ['exact', 'elements', 'integers', 'members', 'affine', 'neighbors']
const kernels = new Map<string, Kernel>()

/** A kernel of the folder `kernels/`, or one that `userKernel` has made. */
export function kernel(name: string): Kernel {
  return kernels.get(name) ?? remember(name, readFileSync(new URL(`${name}.wgsl`, FOLDER), 'utf8'))
}

/** A kernel from text that is not ours; its name begins with `user-`. */
export function userKernel(text: string): Kernel {
  const name = `user-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`
  return kernels.get(name) ?? remember(name, text)
}

/** The text with the shared files that it names in lines `// import: <name>` before it. Throws TypeError for one that does not exist. */
export function withImports(text: string): string {
  const names = Array.from(text.matchAll(IMPORT), (match) => match[1]!)
  for (const name of names) if (!SHARED.includes(name)) throw new TypeError(`WGSL: there is nothing to import that is called ${name}; there are ${SHARED.join(', ')}`)
  return [...names.map((name) => readFileSync(new URL(`shared/${name}.wgsl`, FOLDER), 'utf8')), text].join('\n')
}

function remember(name: string, text: string): Kernel {
  const code = withImports(text)
  const found = { name, code, layout: layoutOf(code) }
  kernels.set(name, found)
  return found
}

/** The bytes of a kernel's uniform. Throws TypeError for a value that is missing or too much: a misspelled one would be a silent zero. */
export function packParams(layout: KernelLayout, values: Readonly<Record<string, number | readonly number[]>>, into: DataView, at: number): void {
  for (const name of Object.keys(values)) if (!layout.params.some((param) => param.name === name)) throw new TypeError(`WGSL: Params has no ${name}`)
  for (const { name, type, offset } of layout.params) {
    const value = values[name]
    if (value === undefined) throw new TypeError(`WGSL: no value for Params.${name}`)
    if (type === 'vec4u') (value as readonly number[]).forEach((word, k) => into.setUint32(at + offset + 4 * k, word, true))
    else if (type === 'f32') into.setFloat32(at + offset, value as number, true)
    else if (type === 'i32') into.setInt32(at + offset, value as number, true)
    else into.setUint32(at + offset, value as number, true)
  }
}
