import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '../..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, string | Record<string, string>>; bin: Record<string, string>; allowScripts: Record<string, boolean> }

describe('package', () => {
  test('every export and command exists', () => {
    const targets = [...Object.values(manifest.exports).flatMap((target) => typeof target === 'string' ? [target] : Object.values(target)), ...Object.values(manifest.bin)]
    expect(targets.length).toBeGreaterThan(3)
    expect(targets.filter((target) => !existsSync(join(root, target)))).toEqual([])
  })

  // False for those whose script is not wanted: it downloads what the tests do not use, or asks for donations.
  test('every package with an install script is named, so that installing prints no warning', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, { hasInstallScript?: boolean; resolved?: string; optional?: boolean }> }
    const scripted = Object.entries(lock.packages).filter(([path, entry]) => path !== '' && entry.hasInstallScript === true).map(([path]) => path.split('node_modules/').at(-1)!)
    // fsevents is for macOS only and is never installed elsewhere.
    expect(scripted.filter((name) => typeof manifest.allowScripts[name] !== 'boolean' && name !== 'fsevents')).toEqual([])
  })

  test('the lock files name no registry', () => {
    for (const file of ['package-lock.json', 'scripts/api/package-lock.json']) {
      const { packages } = JSON.parse(readFileSync(join(root, file), 'utf8')) as { packages: Record<string, { resolved?: string }> }
      expect(Object.values(packages).filter((entry) => entry.resolved !== undefined)).toEqual([])
    }
  })

  test('the text of the project speaks of the project alone', () => {
    const folders = ['src', 'native/src', 'docs', 'examples', 'test', 'scripts', 'bench', '.ci']
    const texts = [...folders.flatMap((folder) => existsSync(join(root, folder)) ? readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)) : []), 'README.md', 'CHANGELOG.md', 'CONTRIBUTING.md']
      .filter((name) => /\.(ts|cc|h|inc|md|mjs|py|wgsl|yaml)$/.test(name) && existsSync(join(root, name)) && !name.includes('node_modules/') && !name.endsWith('package.test.ts'))
    const bad = texts.filter((name) => /\/work\/|\bissue #?\d|\bDESIGN\.md|in this session/i.test(readFileSync(join(root, name), 'utf8')))
    expect(bad).toEqual([])
  })
})
