import { readFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findAdapters } from '../../src/devices/webgpu/dawn.js'
import { kernel } from '../../src/devices/webgpu/wgsl.js'

const folder = resolve(import.meta.dirname, '../../kernels')
const list = (path: string): string[] => readdirSync(path).filter((name) => name.endsWith('.wgsl')).sort()
const names = list(folder).map((name) => name.replace('.wgsl', ''))
const shared = list(join(folder, 'shared'))
const textOf = (name: string): string => readFileSync(join(folder, `${name}.wgsl`), 'utf8')
/** Lines without comments, at their numbers. */
const plain = (text: string): string[] => text.split('\n').map((line) => line.replace(/\/\/.*$/, '').trimEnd())

/** Floats only guess in these, with margins; integers decide, so that a rounding changes no result. */
const GUESSES = ['neighbors-fill', 'shared/neighbors.wgsl']

// --- order ---------------------------------------------------------------------------------------------------------------------------

/** Sections that stand where they should not: header comment, overrides, structs, bindings, what is private to the kernel, main. */
function disorder(text: string): string[] {
  const found: string[] = []
  if (!text.startsWith('// ')) found.push('no header comment')
  const lines = plain(text)
  const first = (pattern: RegExp): number => lines.findIndex((line) => pattern.test(line))
  const last = (pattern: RegExp): number => lines.findLastIndex((line) => pattern.test(line))
  const binding = /^@group\(0\) @binding\(\d+\) var<(storage, read|storage, read_write|uniform)> \w+/
  const order: [string, RegExp][] = [['override', /^override /], ['struct Params', /^struct Params /], ['binding', binding], ['function', /^fn /], ['main', /^fn main\(/]]
  const present = order.filter(([, pattern]) => first(pattern) >= 0)
  if (first(/^@compute/) < 0 || first(/^fn main\(/) !== last(/^fn /)) found.push('main is not last')
  present.slice(1).forEach(([name, pattern], k) => {
    const [before, earlier] = present[k]!
    const end = before === 'function' ? first(earlier) : last(earlier)
    if (first(pattern) < end) found.push(`${name} before ${before}`)
  })
  const kinds = lines.flatMap((line) => binding.exec(line)?.[1] ?? [])
  const rank = (kind: string): number => ['storage, read', 'storage, read_write', 'uniform'].indexOf(kind)
  if (kinds.some((kind, k) => k > 0 && rank(kind) < rank(kinds[k - 1]!))) found.push('bindings are not in the order inputs, outputs, params')
  if (kinds.at(-1) !== 'uniform') found.push('params is not the last binding')
  return found
}

// --- what must not stand in a kernel -------------------------------------------------------------------------------------------------

// Results of these differ between devices, or are not everywhere.
const BANNED = /\b(sqrt|inverseSqrt|fma|dot|mix|length|distance|normalize|exp2?|pow|log2?|sin|cos|tan|atan2?|smoothstep|round|fract|trunc|pack\w+|unpack\w+|quantizeToF16|subgroup\w*|quad\w*)\s*\(|^\s*(enable|requires)\b|\bf16\b|\bvec[234]h\b/

/** Of a struct or a vector; none of them is a float32. */
const MEMBER = /\b[a-z_]\w*\.\w+/gi

/** Names of float32 in a text: declared so, or made by something that gives float32. */
function floatNames(lines: readonly string[]): Set<string> {
  const names = new Set<string>()
  for (const line of lines) {
    for (const [, name] of line.matchAll(/\b(\w+)\s*:\s*(?:f32|array<f32[^>]*>)/g)) names.add(name!)
    for (const [, name] of line.matchAll(/\b(?:let|var)\s+(\w+)\s*=\s*(?:guard|load_flushed|member|square|sum8|clip|bitcast<f32>|f32|array<f32)\b/g)) names.add(name!)
  }
  for (const line of lines) for (const [, name] of line.matchAll(/\bfn\s+(\w+)\([^)]*\)\s*->\s*f32\b/g)) names.add(name!)
  return names
}

/** What stands between the brackets that open at `at`. */
function closing(text: string, at: number): number {
  let depth = 0
  for (let i = at; i < text.length; i++) {
    if (text[i] === '(' || text[i] === '[') depth++
    if ((text[i] === ')' || text[i] === ']') && --depth === 0) return i
  }
  return text.length
}

/** Lines in which float32 are added, subtracted, multiplied or divided otherwise than as the one operation directly within a guard(…). */
export function unguarded(text: string): string[] {
  const lines = plain(text)
  const floats = floatNames(lines)
  const found: string[] = []
  lines.forEach((line, k) => {
    // Indices count in u32, whatever they are of.
    let rest = line.replaceAll(/->/g, '').replace(/^\s*fn .*$/, '').replaceAll(MEMBER, 'part')
    for (let before = ''; before !== rest;) {
      before = rest
      rest = rest.replaceAll(/\b(\w+)\[[^[\]]*\]/g, '$1')
    }
    // Calls from the inside out: a guard with one operation, or none, is an operand like others.
    for (;;) {
      const call = /\b(\w+(?:<\w+>)?)\(([^()]*)\)/.exec(rest)
      if (call === null) break
      const [all, name, inside] = call as unknown as [string, string, string]
      const operations = inside.match(/(?<=[\w)]\s)[-+*/](?=\s[\w(])/g)?.length ?? 0
      const touches = inside.split(/\W+/).some((word) => floats.has(word) || word === 'FLOAT') || /\d\.\d/.test(inside)
      if (touches && operations > (name === 'guard' ? 1 : 0)) found.push(`${k + 1}: ${line.trim()}`)
      if (touches && /\//.test(inside)) found.push(`${k + 1}: ${line.trim()}`)
      const gives = floats.has(name) || /^(guard|load_flushed|member|bitcast<f32>|f32)$/.test(name) || (name === 'select' && touches && !/bits|u\b/.test(inside))
      rest = rest.replace(all, gives ? ' FLOAT' : ' other')
    }
    const touches = rest.split(/\W+/).some((word) => floats.has(word) || word === 'FLOAT') || /\d\.\d/.test(rest)
    if (touches && /[\w)]\s*([-+*/]=?)\s+[\w(]/.test(rest.replace(/\b(let|var)\s+\w+\s*(:\s*\w+\s*)?=\s*/, ''))) found.push(`${k + 1}: ${line.trim()}`)
  })
  return [...new Set(found)]
}

/** Declarations in loops that do not say what they begin with. Tint (Dawn 0.6.2) lets them keep what the last round left in them. */
function uninitialised(text: string): string[] {
  const code = plain(text).join('\n')
  const found: string[] = []
  for (const loop of code.matchAll(/\b(for|while|loop)\b/g)) {
    const open = code.indexOf('{', loop[1] === 'loop' ? loop.index : closing(code, code.indexOf('(', loop.index)))
    let depth = 0, end = open
    do {
      if (code[end] === '{') depth++
      if (code[end] === '}') depth--
      end++
    } while (depth > 0 && end < code.length)
    for (const [declaration] of code.slice(open, end).matchAll(/\bvar\s+\w+\s*:[^=;]*;/g)) found.push(declaration)
  }
  return [...new Set(found)]
}

/** Float code that may not know how wide a workgroup is, as far as a line shows: only loops over `local` and indices of invocations may. */
function knowsWorkgroup(text: string): string[] {
  const lines = plain(text)
  const floats = floatNames(lines)
  return lines.filter((line) => /\bWORKGROUP_SIZE\b/.test(line) && line.replaceAll(MEMBER, 'part').split(/\W+/).some((word) => floats.has(word) || /^(guard|f32)$/.test(word)))
}

const all = [...names.map((name) => [name, textOf(name)] as const), ...shared.map((file) => [`shared/${file}`, readFileSync(join(folder, 'shared', file), 'utf8')] as const)]

describe('kernels', () => {
  test.each(names)('%s: header, overrides, structs, bindings (inputs, outputs, params), helpers, main', (name) => {
    expect(disorder(textOf(name))).toEqual([])
  })

  test.each(all)('%s has nothing that devices do differently', (name, text) => {
    expect(plain(text).filter((line) => BANNED.test(line))).toEqual([])
    if (!GUESSES.includes(name)) expect(unguarded(text)).toEqual([])
    expect(uninitialised(text)).toEqual([])
    expect(knowsWorkgroup(text)).toEqual([])
  })

  test('the checks can fail', () => {
    for (const line of ['let y = sqrt(x);', 'let y = fma(a, b, c);', 'let s = subgroupAdd(x);', 'enable f16;', 'let v = pack2x16float(w);', 'var h: f16 = 1;', 'y = mix(a, b, t);']) expect(BANNED.test(line), line).toBe(true)
    const body = (line: string): string => `fn f(x: f32, y: f32) -> f32 {\n  ${line}\n}`
    for (const line of ['return x + y;', 'let z = guard(x * y) + x;', 'let z = guard(x * y + x);', 'let z = guard(x / y);', 'sum(bitcast<u32>(x - y));', 'x += y;', 'let z = x * 2.0;', 'let z = guard(guard(x + y) * x + y);']) {
      expect(unguarded(body(line)), line).not.toEqual([])
    }
    for (const line of ['return guard(x + y);', 'let z = guard(guard(x - y) - guard(y * x));', 'let z = guard(x + a[i + half]);', 'let i = a + b * 4u;', 'to[i + 1u] = bitcast<u32>(guard(x + y));']) expect(unguarded(body(line)), line).toEqual([])
    expect(uninitialised('for (var i = 0u; i < 2u; i++) {\n  if (true) {\n    var a: array<f32, 8>;\n  }\n}')).toEqual(['var a: array<f32, 8>;'])
    expect(uninitialised('var a: u32;\nfor (var i = 0u; i < 2u; i++) {\n  var b = array<f32, 8>();\n  var c: u32 = 1u;\n}')).toEqual([])
    expect(knowsWorkgroup('let x: f32 = 1;\nsums = x * f32(WORKGROUP_SIZE);')).toHaveLength(1)
    const right = textOf('resample')
    expect(disorder(right.replace(/^override TAPS.*$/m, '').replace('@compute', 'override TAPS: u32 = 0;\n@compute'))).not.toEqual([])
    expect(disorder(right.replace('storage, read_write> result', 'storage, read> result').replace('storage, read> source', 'storage, read_write> source'))).not.toEqual([])
    expect(disorder(right.slice(right.indexOf('override')))).toContain('no header comment')
  })
})

const adapters = await findAdapters()
describe.each(adapters.map(({ facts, open }) => [facts.name, open] as const))('on %s', (_name, open) => {
  test('every kernel compiles without a word from the compiler, and what is wrong does not', async () => {
    const device = await open()
    try {
      const words = async (code: string): Promise<string[]> => {
        device.pushErrorScope('validation')
        const { messages } = await device.createShaderModule({ code }).getCompilationInfo()
        const error = await device.popErrorScope()
        return [...messages.map(({ type, lineNum, message }) => `${type} ${lineNum}: ${message}`), ...error === null ? [] : [error.message]]
      }
      for (const name of names) expect(await words(kernel(name).code), name).toEqual([])
      expect(await words(kernel('move').code.replace('vec4u', 'vec5u'))).not.toEqual([])
    } finally {
      device.destroy()
    }
  })
})
