import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/cli/config/load.js'
import { COMMON } from '../../src/cli/run.js'
import { verbs } from '../../src/cli/verbs/index.js'
import { FileError } from '../../src/core/errors.js'

const root = resolve(import.meta.dirname, '../..')
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md')).map((name) => join('docs', name)).sort()]
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }

const textOf = (page: string): string => readFileSync(join(root, page), 'utf8')
const blocksOf = (page: string, language: string): string[] => [...textOf(page).matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map((match) => match[1]!)
/** Lines of shell blocks without their comments, and what stands in the text as code. */
const commandsOf = (page: string): string[] => [...blocksOf(page, '(?:sh|bash)?').flatMap((block) => block.split('\n')), ...[...textOf(page).matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!)].map((line) => line.replace(/\s#.*$/, '').trim())

describe('configuration in the docs', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tensorcache-docs-'))
  afterAll(() => rmSync(dir, { recursive: true, force: true }))
  const found = pages.flatMap((page) => blocksOf(page, 'yaml').map((block, i) => [page, i, block] as const))

  test('is there', () => expect(found.length).toBeGreaterThanOrEqual(4))

  test.each(found)('of %s, block %i, is what the configuration reader takes', async (page, i, block) => {
    const cwd = join(dir, `${page.replaceAll('/', '-')}-${i}`)
    mkdirSync(cwd)
    writeFileSync(join(cwd, 'base.yaml'), '')
    // A piece of one dataset stands for the rest.
    writeFileSync(join(cwd, 'tensorcache.yaml'), block.startsWith('source:') ? `datasets:\n  it:\n${block.replace(/^/gm, '    ')}` : block)
    const config = loadConfig({ cwd, env: {} })
    expect(config.datasetNames.length).toBeGreaterThanOrEqual(1)
    config.cache()
    for (const name of config.datasetNames) {
      const dataset = config.dataset(name)
      // Its files are not here; its options are all looked at before.
      if (dataset.from === undefined) await expect(dataset.open()).rejects.toBeInstanceOf(FileError)
    }
  })
})

/** What is wrong with a command, if it is one of ours. */
function faultOf(command: string): string | undefined {
  const [program, name, ...words] = command.split(/\s+/)
  if (program === 'npm') return name === 'run' && scripts[words[0]!] === undefined ? `there is no script ${words[0]}` : undefined
  if (program !== 'tensorcache' || name === undefined || !/^[a-z]+$/.test(name)) return undefined
  const verb = verbs.find((known) => known.name === name)
  if (verb === undefined) return `there is no verb ${name}`
  const unknown = words.filter((word) => word.startsWith('--')).map((word) => word.slice(2).split('=', 1)[0]!).find((option) => verb.options[option] === undefined && COMMON[option] === undefined)
  return unknown === undefined ? undefined : `${name} has no option --${unknown}`
}

describe('commands in the docs', () => {
  // What a log line looks like is no command.
  const others = /^tensorcache (?:hit|reuse|build) \S+: /
  const found = pages.flatMap((page) => commandsOf(page).filter((command) => !others.test(command)).map((command) => ({ page, command })))

  test('name verbs, options and scripts that there are', () => {
    expect(found.filter(({ command }) => command.startsWith('tensorcache ')).length).toBeGreaterThan(20)
    expect(found.map(({ page, command }) => ({ page, command, fault: faultOf(command) })).filter(({ fault }) => fault !== undefined)).toEqual([])
  })

  test.each([['tensorcache biuld train'], ['tensorcache build --profle'], ['npm run dcos']])('would not be %s', (command) => expect(faultOf(command)).toBeDefined())
})

describe('links', () => {
  test.each(pages)('of %s lead somewhere', (page) => {
    const links = [...textOf(page).replace(/```[\s\S]*?```/g, '').matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map((match) => match[1]!)
    const broken = links.filter((link) => {
      const [path, heading] = link.split('#') as [string, string?]
      const target = path === '' ? page : join(dirname(page), path)
      return !existsSync(join(root, target)) || (heading !== undefined && target.endsWith('.md') && !headingsOf(target).includes(heading))
    })
    expect(broken).toEqual([])
  })
})

/** As a page's links name them: in small letters, with - for blanks, without other signs. */
function headingsOf(page: string): string[] {
  return [...textOf(page).matchAll(/^#+ (.+)$/gm)].map((match) => match[1]!.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
}
