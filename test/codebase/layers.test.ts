import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '../..')
const src = join(root, 'src')

// Which rooms a room may enter, besides itself. Data flows from sources to datasets; nothing below knows what is above it.
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  core: [],
  native: ['core'],
  ops: ['core'],
  sources: ['core', 'native'],
  devices: ['core', 'native', 'ops'],
  store: ['core', 'native', 'sources'],
  cache: ['core', 'native', 'store'],
  dataset: ['core', 'native', 'ops', 'sources', 'devices', 'store', 'cache'],
  // Each a subpath of its own, with a package that only its users need. What a dataset is they know as types alone.
  adapters: ['core', 'native', 'ops', 'sources', 'cache', 'dataset'],
  // The files that lie directly in src: the public surface and what puts the rooms together.
  '.': ['core', 'native', 'ops', 'sources', 'devices', 'store', 'cache', 'dataset'],
  cli: ['.', 'core', 'native', 'ops', 'sources', 'devices', 'store', 'cache', 'dataset', 'adapters'],
}

interface Import { readonly from: string; readonly to: string; readonly typeOnly: boolean }

export function importsOf(path: string, text: string): Import[] {
  const found: Import[] = []
  for (const match of text.matchAll(/(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'(\.[^']+)'/g)) {
    found.push({ from: path, to: resolve(dirname(path), match[2]!.replace(/\.js$/, '.ts')), typeOnly: match[1] !== undefined })
  }
  for (const match of text.matchAll(/import\('(\.[^']+)'\)/g)) found.push({ from: path, to: resolve(dirname(path), match[1]!.replace(/\.js$/, '.ts')), typeOnly: false })
  return found
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts')).map((name) => join(src, name))
const imports = files.flatMap((path) => importsOf(path, readFileSync(path, 'utf8')))
const room = (path: string): string => relative(src, path).includes('/') ? relative(src, path).split('/')[0]! : '.'

function forbidden(list: readonly Import[]): string[] {
  return list.filter(({ from, to }) => room(from) !== room(to) && !(ALLOWED[room(from)] ?? []).includes(room(to))).map(({ from, to }) => `${relative(src, from)} → ${relative(src, to)}`)
}

function cycles(list: readonly Import[]): string[] {
  const edges = new Map<string, string[]>()
  for (const { from, to, typeOnly } of list) if (!typeOnly) edges.set(from, [...edges.get(from) ?? [], to])
  const state = new Map<string, 'open' | 'done'>()
  const found: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === 'done') return
    if (state.get(path) === 'open') {
      found.push([...trail.slice(trail.indexOf(path)), path].map((name) => relative(src, name)).join(' → '))
      return
    }
    state.set(path, 'open')
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
    state.set(path, 'done')
  }
  for (const path of edges.keys()) visit(path, [])
  return found
}

describe('layers', () => {
  test('every folder of src has its rule', () => {
    const folders = new Set(files.map(room))
    expect([...folders].filter((name) => ALLOWED[name] === undefined)).toEqual([])
    expect(imports.length).toBeGreaterThan(50)
  })

  test('no module imports from a room above its own', () => {
    expect(forbidden(imports)).toEqual([])
  })

  test('no import cycle', () => {
    expect(cycles(imports)).toEqual([])
  })

  test('the checks can fail', () => {
    const wrong = { from: join(src, 'core/dtype.ts'), to: join(src, 'store/store.ts'), typeOnly: false }
    expect(forbidden([wrong])).toEqual(['core/dtype.ts → store/store.ts'])
    expect(cycles([wrong, { from: wrong.to, to: wrong.from, typeOnly: false }])).toHaveLength(1)
  })

  test('an adapter works with whatever is a dataset by its form', () => {
    const seen = imports.filter(({ from, to }) => room(from) === 'adapters' && room(to) === 'dataset')
    expect(seen.length).toBeGreaterThan(0)
    expect(seen.filter(({ typeOnly }) => !typeOnly)).toEqual([])
  })

  test('the device interface imports no implementation', () => {
    const seen = imports.filter(({ from }) => from === join(src, 'devices/device.ts'))
    expect(seen.filter(({ typeOnly }) => !typeOnly)).toEqual([])
  })
})
