import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

// Reads the declarations that the compiler writes, line by line: whether there is a comment before everything that is exported, and before each member of its classes, interfaces and object types, as far
// as these have lines of their own at the first level. It does not look at links, nor at types that are spoken of and not exported: `npm run docs` does, with a compiler.

const root = resolve(import.meta.dirname, '../..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, string | { types: string }> }
const entries = Object.values(manifest.exports).flatMap((target) => typeof target === 'string' ? [] : [join(root, target.types)])

type Read = (path: string) => string

/** Each exported name, and the file that declares it. */
function exportsOf(path: string, read: Read): { name: string; path: string }[] {
  const text = read(path)
  const own = [...text.matchAll(/^export (?:declare )?(?:abstract )?(?:function|class|interface|type|const) (\w+)/gm)].map(([, name]) => ({ name: name!, path }))
  const passed = [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)';/gm)].flatMap(([, names, from]) => namesIn(names!).map((name) => ({ name, path: declaredIn(name, fileOf(path, from!), read) })))
  return [...new Map([...own, ...passed].map((found) => [found.name, found])).values()]
}

/** Follows what a file has imported and exports again. */
function declaredIn(name: string, path: string, read: Read): string {
  const [, , from] = [...read(path).matchAll(/^import (?:type )?\{([^}]*)\} from '([^']+)';/gm)].find(([, names]) => namesIn(names!).includes(name)) ?? []
  return from === undefined ? path : declaredIn(name, fileOf(path, from), read)
}

function namesIn(list: string): string[] {
  return list.split(',').map((name) => name.trim().replace(/^type /, '')).filter((name) => name !== '')
}

function fileOf(path: string, from: string): string {
  return join(dirname(path), from.replace(/\.js$/, '.d.ts'))
}

/** What has no comment: the name itself, or `name.member`. */
function undocumented({ name, path }: { name: string; path: string }, read: Read): string[] {
  const lines = read(path).split('\n')
  const starts = lines.flatMap((line, at) => new RegExp(`^export (declare )?(abstract )?(function|class|interface|type|const) ${name}\\b`).test(line) ? [at] : [])
  if (starts.length === 0) return [`${name}: no declaration in ${path}`]
  return starts.flatMap((start) => {
    const bad = isCommented(lines, start) ? [] : [name]
    if (!/^export (declare )?(abstract )?(class|interface|type) /.test(lines[start]!) || !lines[start]!.trimEnd().endsWith('{')) return bad
    for (let at = start + 1; at < lines.length && !lines[at]!.startsWith('}'); at++) {
      const member = /^ {4}(?:readonly |static |abstract |async |get )*(\w+|'[^']+'|\[Symbol\.\w+\])\??[:(<]/.exec(lines[at]!)?.[1]
      if (member !== undefined && member !== 'constructor' && !isCommented(lines, at)) bad.push(`${name}.${member}`)
    }
    return bad
  })
}

function isCommented(lines: readonly string[], at: number): boolean {
  return lines[at - 1]!.trimEnd().endsWith('*/')
}

const found = entries.map((path) => [path, exportsOf(path, readText)] as const)

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}

test('everything that is exported says what it is', () => {
  expect(found.map(([, names]) => names.length).every((count) => count > 0)).toBe(true)
  expect(found[0]![1].length).toBeGreaterThan(150)
  expect(found.flatMap(([, names]) => names.flatMap((name) => undocumented(name, readText)))).toEqual([])
})

describe('the scan itself', () => {
  const files: Record<string, string> = {
    '/index.d.ts': "export { open, type Options } from './open.js';\nexport type { Passed } from './open.js';\n",
    '/open.d.ts': "import { type Passed } from './passed.js';\n/** Options. */\nexport interface Options {\n    /** A path. */\n    readonly dir: string;\n    readonly size?: number;\n    /** Opens. */\n    open(): void;\n    close(): void;\n}\nexport type { Passed };\nexport declare function open(options: Options): void;\n",
    '/passed.d.ts': '\nexport type Passed = string;\n',
  }
  const read: Read = (path) => files[path]!

  test('sees what has no comment', () => {
    expect(exportsOf('/index.d.ts', read).flatMap((name) => undocumented(name, read)).sort()).toEqual(['Options.close', 'Options.size', 'Passed', 'open'])
  })
})
